//! The agent of a board's own program: how it is assembled, and what happens if it cannot run.

use core::sync::atomic::{AtomicBool, Ordering};

use agent_embedded::board::EmbassyBoard;
use agent_embedded::network::{self, NetworkError};
use agent_embedded::parts::{Memory, NetworkAgent, Parts, Prepared};
use agent_embedded::start::{Entropy, StartError};
use agent_embedded::store::{FlashStore, StoreError};
use boot_stage::layout::FlashLayout;
use cortex_m::peripheral::SCB;
use embassy_net::driver::Driver;
use embassy_net::{Runner, StackResources};
use embedded_storage::nor_flash::NorFlash;
use static_cell::ConstStaticCell;
use update_core::platform::Trial;

use crate::application::{Lines, board};
use crate::{AGENT_RESETS, Chip, Console, line, reset_later, stay};

/// Distinguishes one build from another.
pub const VERSION: &str = match option_env!("FWCAST_IMAGE_VERSION") {
    Some(version) => version,
    None => "1",
};

/// Whether the image is on trial. This is assumed until the records have been read: the boot stage has read
/// them, and only rolls back an image that is on trial.
static ON_TRIAL: AtomicBool = AtomicBool::new(true);

/// With the feature `late`, the network controller first answers after this many starts.
const LATE_STARTS: u32 = 2;

static RESOURCES: ConstStaticCell<StackResources<{ network::SOCKETS }>> =
    ConstStaticCell::new(StackResources::new());
static MEMORY: Memory = Memory::new();

/// Agent and network stack, to be run alongside each other for ever.
pub type Tasks<F, C, D> = (NetworkAgent<F, EmbassyBoard, Lines<C>>, Runner<'static, D>);

/// Why the agent does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong<E> {
    /// The flash, the records or the provisioning area is unusable.
    Start(StartError<E>),
    /// The network controller does not answer.
    Controller,
    /// The chip's source of randomness fails.
    Randomness,
    /// The network did not start.
    Network(NetworkError),
}

impl<E> From<StartError<E>> for Wrong<E> {
    fn from(error: StartError<E>) -> Self {
        Self::Start(error)
    }
}

impl<E> From<StoreError<E>> for Wrong<E> {
    fn from(error: StoreError<E>) -> Self {
        Self::Start(StartError::Store(error))
    }
}

impl<E> From<NetworkError> for Wrong<E> {
    fn from(error: NetworkError) -> Self {
        Self::Network(error)
    }
}

/// Opens the flash, and notes whether the running image is on trial.
///
/// # Errors
/// [`Wrong::Start`].
pub fn open<F: NorFlash>(flash: F, layout: FlashLayout) -> Result<FlashStore<F>, Wrong<F::Error>> {
    let opened = FlashStore::open(flash, layout).and_then(|mut store| {
        ON_TRIAL.store(store.trial()? == Trial::Running, Ordering::Relaxed);
        Ok(store)
    });
    if let Err(StoreError::Lost) = opened {
        // The boot stage has found the same, and no reset brings them back.
        ON_TRIAL.store(false, Ordering::Relaxed);
    }
    Ok(opened?)
}

/// Opens the flash, and reads what was provisioned and stored. `entropy` is `None` if the chip's source of
/// randomness fails.
///
/// # Errors
/// [`Wrong`].
// Not inlined, so that its stack is free again afterwards.
#[inline(never)]
pub fn prepare<F: NorFlash>(
    flash: F,
    layout: FlashLayout,
    provisioning: &'static [u8],
    entropy: Option<Entropy>,
) -> Result<Prepared<F>, Wrong<F::Error>> {
    let store = open(flash, layout)?;
    let is_late = cfg!(feature = "late") && AGENT_RESETS.count() < LATE_STARTS;
    if cfg!(feature = "cannot-start") || is_late {
        return Err(Wrong::Controller);
    }
    let entropy = entropy.ok_or(Wrong::Randomness)?;
    Ok(Parts { store, provisioning, entropy }.prepare(&MEMORY)?)
}

/// Gives the agent a network stack of its own.
///
/// # Errors
/// [`Wrong::Network`].
#[inline(never)]
pub fn connect<F: NorFlash, C: Console, D: Driver>(
    prepared: Prepared<F>,
    device: D,
    console: C,
    chip: Chip,
) -> Result<Tasks<F, C, D>, Wrong<F::Error>> {
    let (config, seed) = (prepared.config()?, prepared.seed());
    let (stack, runner) = embassy_net::new(device, config, RESOURCES.take(), seed);
    let (name, coap_group) = (prepared.name(), prepared.coap_group());
    let mut agent = prepared.connect(stack, board(chip), Lines::new(console))?;
    agent.application.say(format_args!("{name} listens to {coap_group}"));
    network_works();
    Ok((agent, runner))
}

/// The agent is on the network, so the count of consecutive resets starts again.
pub fn network_works() {
    AGENT_RESETS.clear();
}

impl<E> Wrong<E> {
    /// Prints why, and resets the board later if that may help: a confirmed image tries again, one on trial
    /// is rolled back. Otherwise an image on trial resets at once, since the previous one may be able to run,
    /// and a confirmed one stays.
    pub fn halt(&self, mut console: impl Console, chip: Chip) -> ! {
        if self.may_pass() {
            reset_later(console, chip, &AGENT_RESETS, |console| {
                line!(*console, "agent: cannot run: {}: tries again after a reset", self.text());
            })
        }
        if ON_TRIAL.load(Ordering::Relaxed) {
            line!(console, "agent: cannot run: {}", self.text());
            SCB::sys_reset()
        }
        stay(console, chip, |console| line!(*console, "agent: cannot run: {}", self.text()))
    }

    /// Whether a reset may help.
    const fn may_pass(&self) -> bool {
        match self {
            Self::Start(error) => error.may_pass(),
            Self::Controller | Self::Randomness => true,
            Self::Network(error) => error.may_pass(),
        }
    }

    const fn text(&self) -> &'static str {
        match self {
            Self::Start(error) => error.text(),
            Self::Controller => "the Ethernet controller does not answer",
            Self::Randomness => "the chip's random number generator fails",
            Self::Network(error) => error.text(),
        }
    }
}
