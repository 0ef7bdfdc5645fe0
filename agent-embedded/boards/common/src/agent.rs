//! The agent, put together from what a board has.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicBool, Ordering};

use agent_embedded::drive::{Agent, Board, Buffer, SelfTest};
use agent_embedded::network::{self, NetworkError, Runner, Sockets};
use agent_embedded::provisioning::{OwnAddress, Provisioning, ProvisioningError};
use agent_embedded::start::{Entropy, Place, StartError, start};
use agent_embedded::store::{FlashStore, StoreError};
use boot_stage::layout::FlashLayout;
use cortex_m::peripheral::SCB;
use embassy_net_driver_channel::driver::Driver;
use embedded_storage::nor_flash::NorFlash;
use static_cell::ConstStaticCell;
use update_core::platform::Trial;
use update_core::reception::Reception;

use crate::board::CortexM;
use crate::{Chip, Console, line, stay};

/// What tells one build from another.
pub const VERSION: &str = match option_env!("FWCAST_IMAGE_VERSION") {
    Some(version) => version,
    None => "1",
};

const SELF_TEST: SelfTest =
    if cfg!(feature = "never-healthy") { SelfTest::Never } else { SelfTest::HearsDistributor };

/// The image is on trial. So it is taken to be until its records have been read: the boot stage, which has
/// read them, knows better and goes back only where it is.
static ON_TRIAL: AtomicBool = AtomicBool::new(true);

static NETWORK: ConstStaticCell<network::Memory> = ConstStaticCell::new(network::Memory::new());
static PLACE: Place = Place::new();
static BUFFER: ConstStaticCell<Buffer> = ConstStaticCell::new([0; size_of::<Buffer>()]);

/// What a board has for the agent.
pub struct Parts<F, C> {
    /// Its flash.
    pub flash: F,
    /// Where everything lies there.
    pub layout: FlashLayout,
    /// The provisioning area.
    pub provisioning: &'static [u8],
    /// Random bytes from the chip; `None` when its source fails.
    pub entropy: Option<Entropy>,
    /// Where it says what it does.
    pub console: C,
    /// Clock and watchdog.
    pub chip: Chip,
}

/// The agent but for its network.
pub struct Prepared<F, C> {
    reception: &'static mut Reception<'static>,
    store: FlashStore<F>,
    board: CortexM<C>,
    name: &'static str,
    own: OwnAddress,
    coap_group: SocketAddr,
    seed: u64,
}

/// Agent and network stack, to be run beside each other for ever.
pub type Tasks<F, C, D> = (Agent<'static, F, Sockets, CortexM<C>>, Runner<'static, D>);

/// Why the agent does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong<E> {
    /// The provisioning area.
    Provisioning(ProvisioningError),
    /// Flash or records.
    Start(StartError<E>),
    /// The network controller does not answer.
    Controller,
    /// The chip's source of randomness.
    Randomness,
    /// The network stack.
    Network(NetworkError),
}

impl<F: NorFlash, C: Console> Parts<F, C> {
    /// Reads what was provisioned and stored.
    ///
    /// # Errors
    /// [`Wrong`].
    // Not inlined: what it needs of the stack is free again afterwards.
    #[inline(never)]
    pub fn prepare(self) -> Result<Prepared<F, C>, Wrong<F::Error>> {
        let of_store = |error| Wrong::Start(StartError::Store(error));
        let mut store = FlashStore::open(self.flash, self.layout).map_err(of_store)?;
        let trial = store.trial().map_err(of_store)?;
        ON_TRIAL.store(trial == Trial::Running, Ordering::Relaxed);
        if cfg!(feature = "cannot-start") {
            return Err(Wrong::Controller);
        }
        let given = Provisioning::read(self.provisioning).map_err(Wrong::Provisioning)?;
        let entropy = self.entropy.ok_or(Wrong::Randomness)?;
        let board = CortexM::new(self.console, self.chip);
        let started = start(&mut store, &given, &PLACE, board.now(), entropy);
        let (reception, seed) = started.map_err(Wrong::Start)?;
        let Provisioning { name, own, coap_group, .. } = given;
        Ok(Prepared { reception, store, board, name, own, coap_group, seed })
    }
}

impl<F: NorFlash, C: Console> Prepared<F, C> {
    /// Puts it on the network of this device.
    ///
    /// # Errors
    /// [`Wrong::Network`].
    #[inline(never)]
    pub fn connect<D: Driver>(self, device: D) -> Result<Tasks<F, C, D>, Wrong<F::Error>> {
        let Self { reception, store, mut board, name, own, coap_group, seed } = self;
        let started = network::start(NETWORK.take(), device, own, coap_group, seed);
        let (runner, network) = started.map_err(Wrong::Network)?;
        board.line(&format_args!("{name} listens to {coap_group}"));
        Ok((Agent { reception, store, network, board, self_test: SELF_TEST }, runner))
    }
}

/// The buffer for datagrams. It can be taken once.
pub fn buffer() -> &'static mut Buffer {
    BUFFER.take()
}

impl<E> Wrong<E> {
    /// Says why, for ever. On trial it says so once and starts anew: the image before may be able to run.
    pub fn halt(&self, mut console: impl Console, chip: Chip) -> ! {
        if ON_TRIAL.load(Ordering::Relaxed) {
            line!(console, "agent: cannot run: {}", self.text());
            SCB::sys_reset()
        }
        stay(console, chip, |console| line!(*console, "agent: cannot run: {}", self.text()))
    }

    const fn text(&self) -> &'static str {
        match self {
            Self::Provisioning(error) | Self::Start(StartError::Provisioning(error)) => error.text(),
            Self::Controller => "the Ethernet controller does not answer",
            Self::Randomness => "the chip's random number generator fails",
            Self::Network(error) => error.text(),
            Self::Start(StartError::Records | StartError::Store(StoreError::Lost)) => {
                "the records are damaged: enroll the device again"
            }
            Self::Start(StartError::Store(_)) => "the flash does not do what it should",
        }
    }
}
