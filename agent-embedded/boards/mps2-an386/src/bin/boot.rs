//! The boot stage.
#![no_std]
#![no_main]

use board_common::boot::BootStage;
use boot_stage::exchange::BySpare;
use cortex_m_rt::entry;
use mps2_an386::console::{self, Console};
use mps2_an386::flash::Flash;
use mps2_an386::place::{ACTIVE, LAYOUT, provisioning};
use mps2_an386::{CHIP, watchdog};

#[entry]
fn main() -> ! {
    console::start();
    // SAFETY: it is the only one in this program, which only holds references to the provisioning area.
    let flash = unsafe { Flash::take() };
    let stage = BootStage {
        flash,
        layout: LAYOUT,
        exchange: BySpare,
        provisioning: provisioning(),
        active: ACTIVE,
        console: Console,
        clock: CHIP.clock,
        watchdog: watchdog::start,
    };
    // SAFETY: the flash is mapped at ACTIVE, and no interrupt or device that writes memory is on.
    unsafe { stage.run() }
}
