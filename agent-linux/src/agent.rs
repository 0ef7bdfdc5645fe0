//! The state machine of one agent: what it was given, what it saved, and a seed.

use group_oscore::{
    CommonContext, GroupContext, RecipientContext, ReplayWindow, SenderContext, SequenceNumbers,
};
use update_core::block::{BlockSize, ImageSize, Layout};
use update_core::block_set::BlockSet;
use update_core::device::{Device, Installed};
use update_core::digest::Digest;
use update_core::limits::IMAGE_BYTES_MAX;
use update_core::platform::Record;
use update_core::reception::{AgentContext, Memory, Reception, ReceptionConfig, Saved};
use update_core::record::{CounterBounds, decode_installed};
use update_core::time::Instant;
use update_core::tree::TreeShape;

use crate::config::{Config, shown};
use crate::failure::Failure;
use crate::file_store::record_name;
use crate::linux_platform::LinuxPlatform;

/// The memory of the sets of blocks and pages, for the largest image.
#[derive(Debug)]
pub struct Sets {
    blocks: Vec<u8>,
    pages: Vec<u8>,
}

impl Sets {
    /// For an image of [`IMAGE_BYTES_MAX`] in blocks of this size.
    #[must_use]
    pub fn for_blocks_of(block_size: BlockSize) -> Option<Self> {
        let layout = Layout { image_size: ImageSize::new(IMAGE_BYTES_MAX)?, block_size };
        let pages = TreeShape::new(layout).page_count();
        let memory = |count| vec![0; BlockSet::bytes_for(count)];
        Some(Self { blocks: memory(layout.block_count()), pages: memory(pages) })
    }
}

/// The state machine as it was left by the last run. `seed` should differ with every start.
///
/// # Errors
/// [`Failure`]: counters or records are lost or damaged, so that the agent must neither send nor accept.
pub fn reception<'m>(
    config: &Config,
    platform: &LinuxPlatform,
    sets: &'m mut Sets,
    seed: u64,
) -> Result<Reception<'m>, Failure> {
    let counters = counters(config, platform)?;
    // Another Gid is another group: its numbers have never been used.
    let bounds = counters.filter(|bounds| bounds.gid == config.provisioning.gid);
    let installed = installed(config, platform)?;
    let update = load(config, platform, Record::Update)?;
    let saved =
        Saved { update: update.as_deref(), trial: platform.trial(), booted_before: counters.is_some() };
    let context = context(config, bounds.as_ref())?;
    let floor = bounds.map_or(0, |bounds| bounds.floor);
    let memory = Memory { blocks: &mut sets.blocks, pages: &mut sets.pages };
    Reception::new(
        reception_config(config, installed, floor),
        context,
        memory,
        saved,
        seed,
        Instant::default(),
    )
    .ok_or_else(|| Failure::error("no memory for the sets of blocks"))
}

fn reception_config(config: &Config, installed: Option<Installed>, floor: u64) -> ReceptionConfig {
    let given = &config.provisioning;
    ReceptionConfig {
        device: Device { vendor: given.vendor, class: given.class, slot_bytes: IMAGE_BYTES_MAX, installed },
        keys: given.key_set,
        name: Digest::of(given.name.as_str().as_bytes()),
        distributor: given.distributor.sender_id,
        distributor_address: given.distributor.address,
        quiet: update_core::limits::QUIET,
        announce_spread: update_core::limits::ANNOUNCE_SPREAD,
        floor,
    }
}

/// The Group OSCORE context with the distributor as the only other member.
fn context(config: &Config, bounds: Option<&CounterBounds>) -> Result<AgentContext, Failure> {
    let given = &config.provisioning;
    let wrong = |error| Failure::usage(format!("the group's keys cannot be derived: {error}"));
    let common = CommonContext::derive(&given.group_parameters()).map_err(wrong)?;
    let next = bounds.map_or(0, |bounds| bounds.reserved_end);
    let numbers = SequenceNumbers::new(next, next);
    let credential = given.credential.clone();
    let sender =
        SenderContext::derive(&common, given.sender_id, credential, given.seed(), numbers).map_err(wrong)?;
    let window = bounds.map_or_else(ReplayWindow::fresh, |bounds| ReplayWindow::from_floor(bounds.floor));
    let distributor = &given.distributor;
    let credential = distributor.credential.clone();
    let recipient =
        RecipientContext::derive(&common, distributor.sender_id, credential, window).map_err(wrong)?;
    GroupContext::new(common, sender, [recipient]).map_err(|error| Failure::error(error.to_string()))
}

fn counters(config: &Config, platform: &LinuxPlatform) -> Result<Option<CounterBounds>, Failure> {
    match load(config, platform, Record::Counters)? {
        Some(bytes) => CounterBounds::decode(&bytes)
            .map(Some)
            .map_err(|_| damaged(config, Record::Counters, "evict this agent and enroll it anew")),
        None if platform.slots().record().counted => Err(Failure::not_allowed(format!(
            "{} is lost, and with it the numbers that must never be used again: evict this agent and \
             enroll it anew, with an empty state folder",
            shown(&config.state_directory.join(record_name(Record::Counters)))
        ))),
        None => Ok(None),
    }
}

fn installed(config: &Config, platform: &LinuxPlatform) -> Result<Option<Installed>, Failure> {
    let Some(bytes) = load(config, platform, Record::Installed)? else {
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
