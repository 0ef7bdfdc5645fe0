//! The boot stage, at the start of both banks.
#![no_std]
#![no_main]

use board_common::boot::BootStage;
use boot_stage::banks::ByBanks;
use cortex_m_rt::entry;
use stm32h563::banks::SwapBank;
use stm32h563::console::{self, Console};
use stm32h563::place::{self, ACTIVE, LAYOUT};
use stm32h563::{cache, watchdog};

/// The clock after a reset, which the boot stage does not change: half of the internal oscillator's.
const CLOCK: u32 = 32_000_000;

#[entry]
fn main() -> ! {
    cache::on();
    console::start(CLOCK);
    // SAFETY: it is the only one in this program, which holds no reference into the flash.
    let mut flash = unsafe { place::flash() };
    let provisioning = place::provisioning(&mut flash);
    let stage = BootStage {
        flash,
        layout: LAYOUT,
        exchange: ByBanks(SwapBank),
        provisioning,
        active: ACTIVE,
        console: Console,
        clock: CLOCK,
        watchdog: || {
            watchdog::start();
            // The image finds the cache as it is after a reset.
            cache::off();
        },
    };
    // SAFETY: the flash is mapped at ACTIVE, and no interrupt or device that writes memory is on.
    unsafe { stage.run() }
}
