//! The boot stage, at the start of the flash.
#![no_std]
#![no_main]

use board_common::boot::BootStage;
use boot_stage::exchange::BySpare;
use cortex_m_rt::entry;
use embassy_rp::block::ImageDef;
use rp2350::console::{self, Console};
use rp2350::flash::Flash;
use rp2350::place::{ACTIVE, LAYOUT, provisioning};
use rp2350::{CHIP, watchdog};

/// Makes this a program for the chip's boot ROM.
#[unsafe(link_section = ".start_block")]
#[used]
static IMAGE: ImageDef = ImageDef::secure_exe();

#[entry]
fn main() -> ! {
    watchdog::stop();
    // At full speed: the signature and the whole image are checked.
    let chip = embassy_rp::init(Default::default());
    console::start(chip.UART0, chip.PIN_0, chip.PIN_1);
    let stage = BootStage {
        flash: Flash::new(chip.FLASH),
        layout: LAYOUT,
        exchange: BySpare,
        provisioning: provisioning(),
        active: ACTIVE,
        console: Console,
        clock: CHIP.clock,
        watchdog: watchdog::start,
    };
    // SAFETY: the flash is mapped at ACTIVE, and no device that writes memory is on; the agent sets up the
    // clocks and the timer again.
    unsafe { stage.run() }
}
