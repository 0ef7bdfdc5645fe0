//! The agent.
#![no_std]
#![no_main]

use agent_embedded::drive::{Agent, Board, Buffer, SelfTest};
use agent_embedded::network::{self, NetworkError, Runner, Sockets};
use agent_embedded::provisioning::{Provisioning, ProvisioningError};
use agent_embedded::start::{Place, StartError, start};
use agent_embedded::store::{FlashStore, StoreError};
use board_common::{executor, halt, stack_paint};
use cortex_m_rt::entry;
use embassy_futures::join::join3;
use mps2_an386::board::{An386, LAYOUT, provisioning};
use mps2_an386::flash::{Flash, FlashError};
use mps2_an386::lan9118::{self, Frames};
use mps2_an386::{console, line, time};
use static_cell::ConstStaticCell;

/// What tells one build from another.
const VERSION: &str = match option_env!("FWCAST_IMAGE_VERSION") {
    Some(version) => version,
    None => "1",
};

const SELF_TEST: SelfTest =
    if cfg!(feature = "never-healthy") { SelfTest::Never } else { SelfTest::HearsDistributor };

static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());
static NETWORK: ConstStaticCell<network::Memory> = ConstStaticCell::new(network::Memory::new());
static PLACE: Place = Place::new();
static BUFFER: ConstStaticCell<Buffer> = ConstStaticCell::new([0; size_of::<Buffer>()]);

/// Why the agent does not run.
enum Wrong {
    Provisioning(ProvisioningError),
    Start(StartError<FlashError>),
    Ethernet,
    Network(NetworkError),
}

#[entry]
fn main() -> ! {
    stack_paint::paint();
    console::start();
    time::start();
    // SAFETY: main is entered once, and interrupts have their own critical sections.
    unsafe { cortex_m::interrupt::enable() };
    line!("agent: image version={VERSION}");
    match prepare() {
        Ok((agent, mut network, ethernet)) => {
            executor::run(join3(agent.run(BUFFER.take()), network.run(), lan9118::run(ethernet)))
        }
        Err(wrong) => {
            line!("agent: cannot run: {}", wrong.text());
            halt()
        }
    }
}

/// The three that run for ever beside each other: agent, network stack, Ethernet.
type Tasks = (Agent<'static, Flash, Sockets, An386>, Runner<'static, lan9118::Driver>, lan9118::Runner);

/// Not inlined: what it needs of the stack is free again afterwards.
#[inline(never)]
fn prepare() -> Result<Tasks, Wrong> {
    let given = Provisioning::read(provisioning()).map_err(Wrong::Provisioning)?;
    // SAFETY: the only one of this program, which holds references to the provisioning area only.
    let flash = unsafe { Flash::take() };
    let mut board = An386::default();
    let mut store = FlashStore::open(flash, LAYOUT).map_err(|it| Wrong::Start(StartError::Store(it)))?;
    let (reception, seed) = start(&mut store, &given, &PLACE, board.now()).map_err(Wrong::Start)?;
    let (frames, device, _) = lan9118::start(FRAMES.take()).ok_or(Wrong::Ethernet)?;
    let (runner, sockets) =
        network::start(NETWORK.take(), device, given.own, given.coap_group, seed).map_err(Wrong::Network)?;
    board.line(&format_args!("{} listens to {}", given.name, given.coap_group));
    let agent = Agent { reception, store, network: sockets, board, self_test: SELF_TEST };
    Ok((agent, runner, frames))
}

impl Wrong {
    const fn text(&self) -> &'static str {
        match self {
            Self::Provisioning(error) | Self::Start(StartError::Provisioning(error)) => error.text(),
            Self::Ethernet => "the Ethernet controller does not answer",
            Self::Network(error) => error.text(),
            Self::Start(StartError::Records | StartError::Store(StoreError::Lost)) => {
                "the records are damaged: enroll the device again"
            }
            Self::Start(StartError::Store(_)) => "the flash does not do what it should",
        }
    }
}
