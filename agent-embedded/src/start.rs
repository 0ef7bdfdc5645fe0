//! Restoring the state machine of a device as its last run left it.

mod counters;

use boot_stage::verify::Trust;
use embedded_storage::nor_flash::NorFlash;
use group_manager::limits::MEMBERSHIP_BYTES_MAX;
use group_manager::{Agent, Counted, InForce};
use static_cell::{ConstStaticCell, StaticCell};
use update_core::block_set::BlockSet;
use update_core::device::Device;
use update_core::digest::Digest;
use update_core::key_set::KeySet;
use update_core::limits::{GROUP_BLOCK_BYTES_MIN, RECORD_BYTES_MAX};
use update_core::platform::{Record, Trial};
use update_core::reception::{AgentContext, Input, Memory, Reception, ReceptionConfig};
use update_core::record::{Outcome, UpdateRecord};
use update_core::time::Instant;

use crate::provisioning::{Provisioning, ProvisioningError};
use crate::store::{FlashStore, StoreError};
pub use counters::GROUPS_MAX;
use counters::{counters, in_force};

/// Random bytes from the chip's own source; zeros if it has none.
pub type Entropy = [u8; 16];

/// The largest image in bytes that the sets below have room for.
pub const IMAGE_BYTES_MAX: u32 = 1024 * 1024;
/// The entries of a hash page of the smallest size.
const ENTRIES_MIN: u32 = GROUP_BLOCK_BYTES_MIN / update_core::tree::ENTRY_BYTES as u32;

const BLOCKS_MAX: u32 = IMAGE_BYTES_MAX / GROUP_BLOCK_BYTES_MIN;
const PAGES_MAX: u32 = pages(BLOCKS_MAX);

/// Pages of a hash tree over this many blocks.
const fn pages(blocks: u32) -> u32 {
    let level = blocks.div_ceil(ENTRIES_MIN);
    if level <= 1 { 1 } else { level + pages(level) }
}

/// The state machines of a device: the update protocol, and membership in its group.
pub type Machine<'m> = Agent<'m, &'m mut Reception<'m>>;

/// The permanent place of the state machines. It can be taken once.
pub struct Place {
    sets: ConstStaticCell<Sets>,
    reception: StaticCell<Option<Reception<'static>>>,
    machine: StaticCell<Machine<'static>>,
}

impl Place {
    /// An empty place.
    #[must_use]
    pub const fn new() -> Self {
        let sets = ConstStaticCell::new(Sets::new());
        Self { sets, reception: StaticCell::new(), machine: StaticCell::new() }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// The memory of the sets of blocks and pages.
#[derive(Debug)]
struct Sets {
    blocks: [u8; BlockSet::bytes_for(BLOCKS_MAX)],
    pages: [u8; BlockSet::bytes_for(PAGES_MAX)],
}

impl Sets {
    const fn new() -> Self {
        Self { blocks: [0; BlockSet::bytes_for(BLOCKS_MAX)], pages: [0; BlockSet::bytes_for(PAGES_MAX)] }
    }
}

/// Why the agent does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartError<E> {
    /// The flash or its records failed.
    Store(StoreError<E>),
    /// The provisioning area is unusable.
    Provisioning(ProvisioningError),
    /// The records are damaged. Without them a number could be used twice, or a downgrade could go unnoticed.
    Records,
    /// The device was used, and has no records any more.
    Wiped,
    /// The device has been in more groups than it can keep the counters of.
    Groups,
}

impl<E> StartError<E> {
    /// Whether what is known of the numbers that the device has used is lost. Its Group Manager can help.
    const fn is_loss_of_counters(&self) -> bool {
        matches!(self, Self::Records | Self::Wiped | Self::Groups | Self::Store(StoreError::Lost))
    }

    /// Whether a reset may help: the flash has refused an operation, or did not keep what was written. A
    /// reset changes neither the provisioning nor lost records.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Store(StoreError::Flash(_) | StoreError::NotKept))
    }

    /// The error in plain words.
    #[must_use]
    pub const fn text(&self) -> &'static str {
        match self {
            Self::Provisioning(error) => error.text(),
            Self::Records | Self::Store(StoreError::Lost) => {
                "the records are damaged: enroll the device again"
            }
            Self::Wiped => {
                "the records are gone, and with them the numbers that are used up: enroll the device again"
            }
            Self::Groups => {
                "the device has been in too many groups: erase it, and enroll it again in each of them"
            }
            Self::Store(_) => "the flash does not do what it should",
        }
    }
}

impl<E> From<StoreError<E>> for StartError<E> {
    fn from(error: StoreError<E>) -> Self {
        Self::Store(error)
    }
}

impl<E> From<ProvisioningError> for StartError<E> {
    fn from(error: ProvisioningError) -> Self {
        Self::Provisioning(error)
    }
}

/// Creates the state machines from what was provisioned and saved, and a seed for the network.
///
/// # Errors
/// [`StartError`]: the agent must neither send nor accept.
pub fn start<F: NorFlash>(
    store: &mut FlashStore<F>,
    given: &Provisioning<'_>,
    place: &'static Place,
    now: Instant,
    entropy: Entropy,
) -> Result<(&'static mut Machine<'static>, u64), StartError<F::Error>> {
    let keys = key_set(store, given)?;
    let counted = counters(store, &given.enrollment())?;
    if counted.0 == Counted::Lost {
        store.note_running(&keys)?;
    }
    let seed = given.seed(store.start_number(), &entropy);
    let reception = receive(store, given, place, (keys, counted), (seed, now))?;
    restore(store, reception, now)?;
    let machine = join(store, given, place, reception, (seed, now))?;
    if counted.0 == Counted::Lost {
        machine.lose_counters(now);
    }
    Ok((machine, seed))
}

/// The key set in force. A healthy image is on record afterwards.
#[inline(never)]
fn key_set<F: NorFlash>(
    store: &mut FlashStore<F>,
    given: &Provisioning<'_>,
) -> Result<KeySet, StartError<F::Error>> {
    let trust = Trust { root_key: &given.root_key, key_set: given.signed_key_set };
    let keys = store.key_set(&trust)?.ok_or(ProvisioningError::KeySet)?;
    store.note_installed(&keys)?;
    Ok(keys)
}

/// The machine of the update protocol, with nothing restored.
#[inline(never)]
fn receive<F: NorFlash>(
    store: &mut FlashStore<F>,
    given: &Provisioning<'_>,
    place: &'static Place,
    (keys, (counted, has_counted)): (KeySet, (Counted, bool)),
    (seed, now): (u64, Instant),
) -> Result<&'static mut Reception<'static>, StartError<F::Error>> {
    let (enrollment, mut record) = (given.enrollment(), [0; MEMBERSHIP_BYTES_MAX]);
    let in_force = in_force(store, &enrollment, &mut record)?;
    let config = config(store, given, &in_force, counted, keys)?;
    let context = given.identity()?.context_of(&in_force.keys, counted);
    let context = context.map_err(|_| ProvisioningError::Group)?;
    let sets = place.sets.take();
    let memory = Memory { blocks: &mut sets.blocks, pages: &mut sets.pages, parity: &mut [] };
    put(place, config, context, memory, (has_counted, seed, now)).ok_or(StartError::Records)
}

/// Creates it in its final place: each copy would cost 9 KiB of stack.
#[inline(never)]
fn put(
    place: &'static Place,
    config: ReceptionConfig,
    context: AgentContext,
    memory: Memory<'static>,
    (booted_before, seed, now): (bool, u64, Instant),
) -> Option<&'static mut Reception<'static>> {
    let make = || Reception::without_update(config, context, memory, booted_before, seed, now);
    place.reception.init_with(make).as_mut()
}

/// Puts membership beside it.
#[inline(never)]
fn join<F: NorFlash>(
    store: &mut FlashStore<F>,
    given: &Provisioning<'_>,
    place: &'static Place,
    reception: &'static mut Reception<'static>,
    (seed, now): (u64, Instant),
) -> Result<&'static mut Machine<'static>, StartError<F::Error>> {
    let (enrollment, mut record) = (given.enrollment(), [0; MEMBERSHIP_BYTES_MAX]);
    let in_force = in_force(store, &enrollment, &mut record)?;
    let member = enrollment.member(&in_force, seed.rotate_left(32), now);
    let (member, identity) = (member.map_err(|_| ProvisioningError::Group)?, given.identity()?);
    Ok(place.machine.init_with(|| Agent::new(reception, member, identity, in_force.keys.place)))
}

#[inline(never)]
fn config<F: NorFlash>(
    store: &mut FlashStore<F>,
    given: &Provisioning<'_>,
    in_force: &InForce<'_>,
    counted: Counted,
    keys: KeySet,
) -> Result<ReceptionConfig, StartError<F::Error>> {
    let installed = store.admits_above()?;
    Ok(ReceptionConfig {
        device: Device {
            vendor: given.vendor,
            class: given.class,
            slot_bytes: store.layout().image_bytes_max().min(IMAGE_BYTES_MAX),
            installed,
        },
        keys,
        name: Digest::of(given.name.as_bytes()),
        distributor: in_force.keys.distributor,
        distributor_address: in_force.keys.place.distributor,
        quiet: update_core::limits::QUIET,
        announce_spread: update_core::limits::ANNOUNCE_SPREAD,
        floor: counted.floor(&in_force.keys),
    })
}

/// Whether nothing is left to do for the update of this record.
fn is_over(record: &[u8]) -> bool {
    UpdateRecord::decode(record)
        .map_or(true, |update| !matches!(update.outcome, Outcome::Open | Outcome::RolledBack(_)))
}

/// Restores the saved update. If its record is lost or unreadable, the update can be fetched again, and
/// counts as none.
///
/// # Errors
/// The flash's own.
#[inline(never)]
pub fn restore<F: NorFlash>(
    store: &mut FlashStore<F>,
    reception: &mut Reception<'_>,
    now: Instant,
) -> Result<(), StoreError<F::Error>> {
    let trial = store.trial()?;
    let mut buffer = [0; RECORD_BYTES_MAX];
    let saved = match store.load(Record::Update, &mut buffer) {
        Err(StoreError::Lost) => None,
        saved => saved?,
    };
    let is_over = saved.is_none_or(is_over);
    let saved = saved.map(<[u8]>::len);
    // There is no record of an older image that runs again. The agent reports about it until an update is
    // being received, or has been tried.
    let previous = if store.runs_previous() && is_over { store.running(&mut buffer) } else { None };
    if let Some(bytes) = previous.or(saved).and_then(|len| buffer.get(..len)) {
        // The boot stage's trial need not be that of the update being received.
        reception.restore(bytes, |digest| if store.names(digest) { trial } else { Trial::None });
    }
    let runs = reception.digest().is_some_and(|digest| store.names(&digest));
    match trial {
        Trial::Recovered if runs => reception.handle(now, Input::Trial(trial)),
        // Nobody else will ask for that any more, and without it no update is accepted.
        Trial::Healthy if !runs => {
            // What cannot be stored now is retried at the next start.
            let _ = store.settle_now();
        }
        _ => {}
    }
    Ok(())
}
