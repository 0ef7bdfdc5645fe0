//! Builds the state machine of an agent from its configuration, its saved records and a seed.

use group_manager::{Agent, Identity, Material};
use group_oscore::{Gid, ReplayWindow, SequenceNumbers};
use provisioning::Hex;
use update_core::block::{BlockSize, ImageSize, Layout};
use update_core::block_set::BlockSet;
use update_core::device::{Device, Installed};
use update_core::digest::Digest;
use update_core::limits::IMAGE_BYTES_MAX;
use update_core::platform::Record;
use update_core::reception::{AgentContext, Memory, Reception, ReceptionConfig};
use update_core::record::{CounterBounds, decode_installed};
use update_core::time::Instant;
use update_core::tree::TreeShape;

use crate::arguments::Profile;
use crate::config::{Config, shown};
use crate::failure::Failure;
use crate::file_store::record_name;
use crate::linux_platform::LinuxPlatform;
use crate::membership::{self, Membership};

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
    let membership = Membership::load(config, platform)?;
    let given = &config.provisioning;
    let material = membership.material(given);
    let counters = counters(config, platform, (material.gid, membership.before()))?;
    let booted_before = counters.is_some();
    // Counters of the keys before: the change to the new ones was interrupted before any was used.
    let counters = counters.filter(|bounds| bounds.gid == material.gid);
    let installed = installed(config, platform)?;
    let update = update(platform);
    let identity = membership::identity(given);
    let context = context(&identity, &material, counters.as_ref())?;
    let floor = counters.map_or(0, |bounds| bounds.floor).max(material.place.next);
    let member = membership::member(given, &material, seed.rotate_left(32))?;
    let place = material.place;
    let memory = Memory { blocks: &mut sets.blocks, pages: &mut sets.pages, parity: &mut sets.parity };
    let reception_config = reception_config(config, &material, installed, floor);
    let mut reception =
        Reception::without_update(reception_config, context, memory, booted_before, seed, Instant::default())
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
    Ok(Agent::new(reception, member, identity, place))
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

/// The Group OSCORE context with the distributor as the only other member.
fn context(
    identity: &Identity,
    material: &Material<'_>,
    bounds: Option<&CounterBounds>,
) -> Result<AgentContext, Failure> {
    let next = bounds.map_or(0, |bounds| bounds.reserved_end);
    let floor = bounds.map_or(0, |bounds| bounds.floor).max(material.place.next);
    let window = ReplayWindow::from_floor(floor);
    let context = identity.context_from(material, SequenceNumbers::new(next, next), window);
    context.map_err(|error| Failure::usage(format!("the group's keys cannot be derived: {error}")))
}

fn counters(
    config: &Config,
    platform: &LinuxPlatform,
    in_force: (Gid, Option<Gid>),
) -> Result<Option<CounterBounds>, Failure> {
    match load(config, platform, Record::Counters)? {
        Some(bytes) => {
            let bounds = CounterBounds::decode(&bytes)
                .map_err(|_| damaged(config, Record::Counters, "evict this agent and enroll it again"))?;
            of_this_group(config, bounds, in_force).map(Some)
        }
        None if platform.slots().record().counted => Err(Failure::not_allowed(format!(
            "{} is lost, and with it the numbers that must never be used again: evict this agent and \
             enroll it again, with an empty state folder",
            shown(&config.state_directory.join(record_name(Record::Counters)))
        ))),
        None => Ok(None),
    }
}

/// Counters only make sense with the keys they belong to. If those of another group overwrote them, returning
/// to the first group would start at 0 and repeat every nonce.
fn of_this_group(
    config: &Config,
    bounds: CounterBounds,
    (in_force, before): (Gid, Option<Gid>),
) -> Result<CounterBounds, Failure> {
    if bounds.gid == in_force || Some(bounds.gid) == before {
        return Ok(bounds);
    }
    Err(Failure::not_allowed(format!(
        "the counters in the state folder {} belong to another group (Gid {}, and the configuration has \
         Gid {}): give each group its own state folder, and keep this one, without which the agent can \
         never return to its group",
        shown(&config.state_directory),
        Hex::from(bounds.gid.as_bytes()),
        Hex::from(in_force.as_bytes())
    )))
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

fn load(config: &Config, platform: &LinuxPlatform, record: Record) -> Result<Option<Vec<u8>>, Failure> {
    platform.load(record).map_err(|error| {
        Failure::error(format!(
            "cannot read {}: {error}",
            shown(&config.state_directory.join(record_name(record)))
        ))
    })
}

fn damaged(config: &Config, record: Record, advice: &str) -> Failure {
    let path = config.state_directory.join(record_name(record));
    Failure::not_allowed(format!("{} is damaged: {advice}", shown(&path)))
}

#[cfg(test)]
mod tests {
    use provisioning::testing::enrolled;

    use super::*;

    #[test]
    fn nothing_is_accepted_from_before_the_enrolment() {
        let mut document = enrolled("239.192.0.1:5683".parse().unwrap(), "192.0.2.1:5683".parse().unwrap());
        document.distributor.next = 5_000;
        let given = document.check().unwrap();
        let (identity, membership) = (membership::identity(&given), Membership::default());
        let material = membership.material(&given);
        let floor = |bounds: Option<u64>| {
            let bounds = bounds.map(|floor| CounterBounds { gid: given.gid, reserved_end: 7, floor });
            let context = context(&identity, &material, bounds.as_ref()).unwrap();
            context.recipients().first().unwrap().window().floor()
        };
        assert_eq!(floor(None), Some(5_000));
        assert_eq!(floor(Some(100)), Some(5_000), "the same device, enrolled again");
        assert_eq!(floor(Some(6_000)), Some(6_000));
    }
}
