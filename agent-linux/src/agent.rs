//! Builds the state machine of an agent from its configuration, its saved records and a seed.

use group_manager::{Agent, Counted, Material};
use update_core::block::{BlockSize, ImageSize, Layout};
use update_core::block_set::BlockSet;
use update_core::device::{Device, Installed};
use update_core::digest::Digest;
use update_core::limits::IMAGE_BYTES_MAX;
use update_core::platform::Record;
use update_core::reception::{Memory, Reception, ReceptionConfig};
use update_core::record::decode_installed;
use update_core::time::Instant;
use update_core::tree::TreeShape;

use crate::arguments::Profile;
use crate::config::{Config, shown};
use crate::failure::Failure;
use crate::file_store::record_name;
use crate::linux_platform::LinuxPlatform;
use crate::membership::{self, damaged, load};

/// The memory for the sets of blocks and pages, for the largest image.
#[derive(Debug)]
pub struct Sets {
    blocks: Vec<u8>,
    pages: Vec<u8>,
    parity: Vec<u8>,
}

impl Sets {
    /// Memory for an image of [`IMAGE_BYTES_MAX`] in blocks of this size, and for parity symbols.
    #[must_use]
    pub fn for_blocks_of(block_size: BlockSize, profile: Profile) -> Option<Self> {
        let layout = Layout { image_size: ImageSize::new(IMAGE_BYTES_MAX)?, block_size };
        let pages = TreeShape::new(layout).page_count();
        let memory = |count| vec![0; BlockSet::bytes_for(count)];
        let parity = vec![0; profile.parity_bytes()];
        Some(Self { blocks: memory(layout.block_count()), pages: memory(pages), parity })
    }
}

/// The state machines as the last run left them. `seed` should differ with every start. A trial whose update
/// is no longer on record is ended.
///
/// # Errors
/// [`Failure`]: counters or records are lost or damaged, so the agent must not send or accept anything.
pub fn agent<'m>(
    config: &Config,
    platform: &mut LinuxPlatform,
    sets: &'m mut Sets,
    seed: u64,
) -> Result<Agent<'m>, Failure> {
    let record = membership::record(config, platform)?;
    let given = &config.provisioning;
    let enrollment = given.enrollment();
    let (in_force, counted) = membership::in_force(config, platform, &enrollment, record.as_deref())?;
    let keys = &in_force.keys;
    let booted_before = counted != Counted::Unused || in_force.before.is_some();
    let installed = installed(config, platform)?;
    let update = update(platform);
    let identity = given.identity();
    let context = identity
        .context_of(keys, counted)
        .map_err(|error| Failure::usage(format!("the group's keys cannot be derived: {error}")))?;
    let floor = counted.floor(keys);
    let now = Instant::default();
    let member = enrollment
        .member(&in_force, seed.rotate_left(32), now)
        .map_err(|error| Failure::usage(format!("the individual context cannot be derived: {error}")))?;
    let place = keys.place;
    let memory = Memory { blocks: &mut sets.blocks, pages: &mut sets.pages, parity: &mut sets.parity };
    let reception_config = reception_config(config, keys, installed, floor);
    let mut reception =
        Reception::without_update(reception_config, context, memory, booted_before, seed, now)
            .ok_or_else(|| Failure::error("no memory for the sets of blocks"))?;
    if let Some(bytes) = update {
        // The boot record may be about another update than the one being received.
        reception.restore(&bytes, |digest| platform.trial_of(digest));
        if reception.digest().is_some_and(|digest| platform.trial_digest() == Some(digest.0)) {
            reception.set_remark(platform.remark());
        }
    }
    platform.end_other_trial(reception.digest(), installed.map(|installed| installed.digest)).map_err(
        |error| {
            Failure::error(format!(
                "cannot end the trial of an image whose update is no longer on record: {error}"
            ))
        },
    )?;
    let mut agent = Agent::new(reception, member, identity, place);
    if counted == Counted::Lost {
        agent.lose_counters(now);
    }
    Ok(agent)
}

/// The saved state of the update. If it cannot be read, it counts as none, because it can be fetched again.
fn update(platform: &LinuxPlatform) -> Option<Vec<u8>> {
    platform.load(Record::Update).unwrap_or_else(|error| {
        tracing::error!(%error, "the saved state of the update cannot be read: it starts over");
        None
    })
}

fn reception_config(
    config: &Config,
    material: &Material<'_>,
    installed: Option<Installed>,
    floor: u64,
) -> ReceptionConfig {
    let given = &config.provisioning;
    ReceptionConfig {
        device: Device { vendor: given.vendor, class: given.class, slot_bytes: IMAGE_BYTES_MAX, installed },
        keys: given.key_set,
        name: Digest::of(given.name.as_str().as_bytes()),
        distributor: material.distributor,
        distributor_address: material.place.distributor,
        quiet: update_core::limits::QUIET,
        announce_spread: update_core::limits::ANNOUNCE_SPREAD,
        floor,
    }
}

fn installed(config: &Config, platform: &LinuxPlatform) -> Result<Option<Installed>, Failure> {
    let Some(bytes) = load(config, platform, Record::Installed)? else {
        if platform.slots().record().installed {
            return Err(Failure::not_allowed(format!(
                "{} is lost, and without it a downgrade would go unnoticed: put it back, or move everything \
                 but counters.cbor out of the folder and run fwcast-agent --install with the running image \
                 and its manifest sequence number",
                shown(&config.state_directory.join(record_name(Record::Installed)))
            )));
        }
        return Ok(None);
    };
    decode_installed(&bytes)
        .map(Some)
        .map_err(|_| damaged(config, Record::Installed, "without it a downgrade would go unnoticed"))
}

#[cfg(test)]
mod tests {
    use provisioning::testing::enrolled;
    use update_core::record::CounterBounds;

    use super::*;

    #[test]
    fn nothing_is_accepted_from_before_the_enrolment() {
        let mut document = enrolled("239.192.0.1:5683".parse().unwrap(), "192.0.2.1:5683".parse().unwrap());
        document.distributor.next = 5_000;
        let given = document.check().unwrap();
        let (identity, enrollment) = (given.identity(), given.enrollment());
        let floor = |floor: Option<u64>| {
            let counted = match floor {
                Some(floor) => Counted::Known(CounterBounds { gid: given.gid, reserved_end: 7, floor }),
                None => Counted::Unused,
            };
            let context = identity.context_of(&enrollment.keys, counted).unwrap();
            context.recipients().first().unwrap().window().floor()
        };
        assert_eq!(floor(None), Some(5_000));
        assert_eq!(floor(Some(100)), Some(5_000), "the same device, enrolled again");
        assert_eq!(floor(Some(6_000)), Some(6_000));
    }
}
