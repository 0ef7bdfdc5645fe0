//! The agent.
#![no_std]
#![no_main]

use core::future::pending;

use agent_embedded::hardware_address::hardware_address;
use agent_embedded::start::Entropy;
use board_common::agent::{self, Tasks, VERSION, Wrong};
use board_common::application::self_test;
use board_common::flash::FlashError;
use board_common::{Chip, executor, line, stack_paint};
use boot_stage::banks::BankedFlash;
use cortex_m_rt::entry;
use embassy_futures::block_on;
use embassy_stm32::eth::{self, Ethernet, GenericPhy, PacketQueue, Sma};
use embassy_stm32::peripherals::{ETH, ETH_SMA, RNG};
use embassy_stm32::rcc::{Hse, HseMode, Pll, PllDiv, PllMul, PllPreDiv, PllSource, Sysclk, VoltageScale};
use embassy_stm32::rng::{self, Rng};
use embassy_stm32::time::Hertz;
use embassy_stm32::{Config, Peripherals, bind_interrupts};
use static_cell::ConstStaticCell;
use stm32h563::console::{self, Console};
use stm32h563::flash::Flash;
use stm32h563::place::{self, LAYOUT};
use stm32h563::{cache, watchdog};

bind_interrupts!(struct Interrupts {
    ETH => eth::InterruptHandler;
    RNG => rng::InterruptHandler<RNG>;
});

/// The clock frequency of the processor and all buses.
const CLOCK: u32 = 250_000_000;

const CHIP: Chip = Chip { clock: CLOCK, feed: watchdog::feed };

/// Frames that wait for the network stack, and frames to be sent.
type Frames = PacketQueue<2, 8>;
type Device = Ethernet<'static, ETH, GenericPhy<Sma<'static, ETH_SMA>>>;

static FRAMES: ConstStaticCell<Frames> = ConstStaticCell::new(Frames::new());

#[entry]
fn main() -> ! {
    cache::on();
    stack_paint::paint();
    // SAFETY: main is entered once, and interrupts have their own critical sections.
    unsafe { cortex_m::interrupt::enable() };
    let chip = embassy_stm32::init(clocks());
    console::start(CLOCK);
    line!(Console, "agent: image version={VERSION}");
    match prepare(chip) {
        Ok((agent, mut network)) => {
            let (agent, network) = (agent.run(self_test()), network.run());
            executor::run(executor::beside(agent, network, pending::<()>(), pending::<()>()))
        }
        Err(wrong) => wrong.halt(Console, CHIP),
    }
}

/// 250 MHz from the 8 MHz that ST-LINK provides.
fn clocks() -> Config {
    let mut config = Config::default();
    config.rcc.hsi = None;
    // For the random number generator.
    config.rcc.hsi48 = Some(Default::default());
    config.rcc.hse = Some(Hse { freq: Hertz(8_000_000), mode: HseMode::BypassDigital });
    config.rcc.pll1 = Some(Pll {
        source: PllSource::HSE,
        prediv: PllPreDiv::DIV2,
        mul: PllMul::MUL125,
        divp: Some(PllDiv::DIV2),
        divq: Some(PllDiv::DIV2),
        divr: None,
    });
    config.rcc.sys = Sysclk::PLL1_P;
    config.rcc.voltage_scale = VoltageScale::Scale0;
    config
}

/// Not inlined, so that its stack is free again afterwards.
#[inline(never)]
fn prepare(chip: Peripherals) -> Result<Tasks<BankedFlash<Flash>, Console, Device>, Wrong<FlashError>> {
    let mut entropy = Entropy::default();
    let filled = block_on(Rng::new(chip.RNG, Interrupts).async_fill_bytes(&mut entropy));
    let entropy = filled.is_ok().then_some(entropy);
    // SAFETY: it is the only one in this program, which holds no reference into the flash where it is
    // written.
    let mut flash = unsafe { place::flash() };
    let provisioning = place::provisioning(&mut flash);
    let prepared = agent::prepare(flash, LAYOUT, provisioning, entropy)?;
    let device = Ethernet::new(
        FRAMES.take(),
        chip.ETH,
        Interrupts,
        chip.PA1,
        chip.PA7,
        chip.PC4,
        chip.PC5,
        chip.PG13,
        chip.PB15,
        chip.PG11,
        hardware_address(&cache::unique()),
        chip.ETH_SMA,
        chip.PA2,
        chip.PC1,
    );
    agent::connect(prepared, device, Console, CHIP)
}
