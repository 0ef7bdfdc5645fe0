//! The agent.
#![no_std]
#![no_main]

use core::future::pending;

use agent_embedded::hardware_address::hardware_address;
use agent_embedded::parts::Prepared;
use agent_embedded::start::Entropy;
use board_common::agent::{self, VERSION, Wrong};
use board_common::application::self_test;
use board_common::{executor, line, stack_paint};
use cortex_m_rt::entry;
use embassy_rp::gpio::{Input, Level, Output, Pull};
use embassy_rp::peripherals::{PIN_16, PIN_17, PIN_18, PIN_19, PIN_20, PIN_21, SPI0, TRNG};
use embassy_rp::spi::{self, Spi};
use embassy_rp::trng::{self, Trng};
use embassy_rp::{Peri, bind_interrupts, otp};
use embassy_time::Delay;
use embedded_hal_bus::spi::ExclusiveDevice;
use rp2350::CHIP;
use rp2350::console::{self, Console};
use rp2350::ethernet::{self, Device, Runner};
use rp2350::flash::{Flash, FlashError};
use rp2350::place::{LAYOUT, provisioning};

bind_interrupts!(struct Interrupts {
    TRNG_IRQ => trng::InterruptHandler<TRNG>;
});

/// The frequency of the W5500's SPI in Hz. The chip supports 80 MHz; wires do not.
const SPI_FREQUENCY: u32 = 30_000_000;

/// The pins of the W5500, as on the W5500-EVB-Pico2.
struct Wires {
    spi: Peri<'static, SPI0>,
    miso: Peri<'static, PIN_16>,
    select: Peri<'static, PIN_17>,
    clock: Peri<'static, PIN_18>,
    mosi: Peri<'static, PIN_19>,
    reset: Peri<'static, PIN_20>,
    interrupt: Peri<'static, PIN_21>,
}

#[entry]
fn main() -> ! {
    stack_paint::paint();
    // SAFETY: main is entered once, and interrupts have their own critical sections.
    unsafe { cortex_m::interrupt::enable() };
    let chip = embassy_rp::init(Default::default());
    console::start(chip.UART0, chip.PIN_0, chip.PIN_1);
    line!(Console, "agent: image version={VERSION}");
    let wires = Wires {
        spi: chip.SPI0,
        miso: chip.PIN_16,
        select: chip.PIN_17,
        clock: chip.PIN_18,
        mosi: chip.PIN_19,
        reset: chip.PIN_20,
        interrupt: chip.PIN_21,
    };
    match prepare(Flash::new(chip.FLASH), chip.TRNG) {
        Ok(prepared) => executor::run(run(prepared, wires)),
        Err(wrong) => wrong.halt(Console, CHIP),
    }
}

/// Not inlined, so that its stack is free again afterwards.
#[inline(never)]
fn prepare(flash: Flash, trng: Peri<'_, TRNG>) -> Result<Prepared<Flash>, Wrong<FlashError>> {
    let mut entropy = Entropy::default();
    Trng::new(trng, Interrupts, trng::Config::default()).blocking_fill_bytes(&mut entropy);
    agent::prepare(flash, LAYOUT, provisioning(), Some(entropy))
}

async fn run(prepared: Prepared<Flash>, wires: Wires) {
    let started = match connect(wires).await {
        Ok((device, runner)) => agent::connect(prepared, device, Console, CHIP).map(|tasks| (tasks, runner)),
        Err(wrong) => Err(wrong),
    };
    match started {
        Ok(((agent, mut network), runner)) => {
            let (agent, network) = (agent.run(self_test()), network.run());
            executor::beside(agent, network, runner.run(), pending::<()>()).await;
        }
        Err(wrong) => wrong.halt(Console, CHIP),
    }
}

async fn connect(wires: Wires) -> Result<(Device, Runner), Wrong<FlashError>> {
    let mut config = spi::Config::default();
    config.frequency = SPI_FREQUENCY;
    let Wires { spi, miso, select, clock, mosi, reset, interrupt } = wires;
    let spi = Spi::new_blocking(spi, clock, mosi, miso, config);
    let select = Output::new(select, Level::High);
    let bus = ExclusiveDevice::new(spi, select, Delay).map_err(|_| Wrong::Controller)?;
    let interrupt = Input::new(interrupt, Pull::Up);
    let reset = Output::new(reset, Level::High);
    let unique = otp::get_chipid().map_err(|_| Wrong::Controller)?;
    let address = hardware_address(&unique.to_le_bytes());
    ethernet::start(address, bus, interrupt, reset).await.map_err(|_| Wrong::Controller)
}
