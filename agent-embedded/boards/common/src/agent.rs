//! The agent, put together from what a board has.

use core::net::SocketAddr;

use agent_embedded::drive::{Agent, Board, Buffer, SelfTest};
use agent_embedded::network::{self, NetworkError, Runner, Sockets};
use agent_embedded::provisioning::{OwnAddress, Provisioning, ProvisioningError};
use agent_embedded::start::{Entropy, Place, StartError, start};
use agent_embedded::store::{FlashStore, StoreError};
use boot_stage::layout::FlashLayout;
use embassy_net_driver_channel::driver::Driver;
use embedded_storage::nor_flash::NorFlash;
use static_cell::ConstStaticCell;
use update_core::reception::Reception;

use crate::board::CortexM;
use crate::{Console, line, stay};

/// What tells one build from another.
pub const VERSION: &str = match option_env!("FWCAST_IMAGE_VERSION") {
    Some(version) => version,
    None => "1",
};

const SELF_TEST: SelfTest =
    if cfg!(feature = "never-healthy") { SelfTest::Never } else { SelfTest::HearsDistributor };

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
    /// Random bytes from the chip.
    pub entropy: Entropy,
    /// Where it says what it does.
    pub console: C,
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
        let given = Provisioning::read(self.provisioning).map_err(Wrong::Provisioning)?;
        let board = CortexM::new(self.console);
        let opened = FlashStore::open(self.flash, self.layout);
        let mut store = opened.map_err(|error| Wrong::Start(StartError::Store(error)))?;
        let started = start(&mut store, &given, &PLACE, board.now(), self.entropy);
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
    /// Says why, for ever.
    pub fn halt(&self, console: impl Console) -> ! {
        stay(console, |console| line!(*console, "agent: cannot run: {}", self.text()))
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
