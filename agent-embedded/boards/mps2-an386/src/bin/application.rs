//! Firmware with the agent as a library: a lamp with its own task and socket.
//!
//! The lines between "agent" and "end of agent" are all that the firmware's author writes for the agent.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU32, Ordering};

use agent_embedded::drive::Application;
use agent_embedded::event::Event;
use agent_embedded::network;
use agent_embedded::parts::{Memory, NetworkAgent, Parts};
use agent_embedded::start::Entropy;
use board_common::agent::{VERSION, Wrong, network_works, open};
use board_common::application::{Lines, board};
use board_common::flash::FlashError;
use board_common::{executor, line, stack_paint};
use cortex_m_rt::entry;
use embassy_futures::join::join;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Runner, Stack, StackResources};
use embassy_time::{Duration, Instant, Ticker, Timer};
use mps2_an386::CHIP;
use mps2_an386::console::{self, Console};
use mps2_an386::flash::Flash;
use mps2_an386::lan9118::{self, Driver, Frames};
use mps2_an386::place::{LAYOUT, provisioning};
use mps2_an386::time;
use static_cell::ConstStaticCell;

// --- agent

static MEMORY: Memory = Memory::new();
/// The agent's sockets and the lamp's.
static SOCKETS: ConstStaticCell<StackResources<{ network::SOCKETS + 1 }>> =
    ConstStaticCell::new(StackResources::new());

type LampAgent = NetworkAgent<Flash, agent_embedded::board::EmbassyBoard, Lamp>;

struct Lamp(Lines<Console>);

impl Application for Lamp {
    fn on_event(&mut self, event: Event) {
        self.0.on_event(event);
    }

    /// Not while the lamp flashes, which it does at every third tick.
    fn may_restart(&mut self) -> bool {
        !TICKS.load(Ordering::Relaxed).is_multiple_of(3)
    }
}

/// The new image is healthy if the lamp blinks.
async fn self_test() -> bool {
    Timer::after_secs(1).await;
    TICKS.load(Ordering::Relaxed) > 5
}

#[inline(never)]
fn connect(
    device: Driver,
) -> Result<(LampAgent, Stack<'static>, Runner<'static, Driver>), Wrong<FlashError>> {
    // SAFETY: it is the only one in this program, which only holds references to the provisioning area.
    let store = open(unsafe { Flash::take() }, LAYOUT)?;
    let parts = Parts { store, provisioning: provisioning(), entropy: Entropy::default() };
    let prepared = parts.prepare(&MEMORY)?;
    let (config, seed) = (prepared.config()?, prepared.seed());
    let (stack, runner) = embassy_net::new(device, config, SOCKETS.take(), seed);
    let mut lamp = Lamp(Lines::new(Console));
    lamp.0.say(format_args!("{} listens to {}", prepared.name(), prepared.coap_group()));
    let agent = prepared.connect(stack, board(CHIP), lamp)?;
    network_works();
    Ok((agent, stack, runner))
}

// --- end of agent

/// The lamp changes its state this often.
const TICK: Duration = Duration::from_millis(100);
/// Ticks between two lines on the console.
const TICKS_PER_LINE: u32 = 10;
/// The UDP port on which the lamp reports its status.
const PORT: u16 = 7007;

static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());
/// Ticks since the start.
static TICKS: AtomicU32 = AtomicU32::new(0);
/// The longest time between two ticks, in milliseconds.
static GAP: AtomicU32 = AtomicU32::new(0);

#[entry]
fn main() -> ! {
    stack_paint::paint();
    console::start();
    time::start();
    // SAFETY: main is entered once, and interrupts have their own critical sections.
    unsafe { cortex_m::interrupt::enable() };
    line!(Console, "agent: image version={VERSION}");
    match start() {
        Ok(((agent, stack, mut network), ethernet)) => {
            let (agent, network) = (agent.run(self_test()), network.run());
            let lamp = join(blink(), answer(stack));
            executor::run(executor::beside(agent, network, lan9118::run(ethernet), lamp))
        }
        Err(wrong) => wrong.halt(Console, CHIP),
    }
}

type Started = ((LampAgent, Stack<'static>, Runner<'static, Driver>), lan9118::Runner);

fn start() -> Result<Started, Wrong<FlashError>> {
    let (ethernet, device, _) = lan9118::start(FRAMES.take()).ok_or(Wrong::Controller)?;
    Ok((connect(device)?, ethernet))
}

/// The lamp's own task.
async fn blink() {
    let mut ticker = Ticker::every(TICK);
    let mut last = Instant::now();
    loop {
        ticker.next().await;
        let now = Instant::now();
        let gap = (now - last).as_millis() as u32;
        last = now;
        GAP.fetch_max(gap, Ordering::Relaxed);
        let ticks = TICKS.fetch_add(1, Ordering::Relaxed) + 1;
        if ticks.is_multiple_of(TICKS_PER_LINE) {
            line!(Console, "lamp: ticks={ticks} longest={}", GAP.load(Ordering::Relaxed));
        }
    }
}

/// The lamp's own socket: anyone who asks gets the number of ticks so far.
async fn answer(stack: Stack<'static>) {
    let (mut received, mut sent) = ([PacketMetadata::EMPTY; 2], [PacketMetadata::EMPTY; 2]);
    let (mut questions, mut answers) = ([0; 64], [0; 64]);
    let mut socket = UdpSocket::new(stack, &mut received, &mut questions, &mut sent, &mut answers);
    if socket.bind(PORT).is_err() {
        line!(Console, "lamp: no socket");
        return;
    }
    loop {
        let mut question = [0; 16];
        let Ok((_, from)) = socket.recv_from(&mut question).await else { continue };
        let ticks = TICKS.load(Ordering::Relaxed).to_be_bytes();
        // If an answer is lost, the other side asks again.
        let _ = socket.send_to(&ticks, from.endpoint).await;
    }
}
