//! The board `stm32h563`: ST's NUCLEO-H563ZI, a Cortex-M33 with Ethernet and 2 MiB of flash in two banks,
//! which the chip exchanges in hardware.
//!
//! This package alone touches registers; what an agent does is in `agent-embedded`. Nobody has run it on
//! hardware yet.
#![no_std]

pub mod banks;
pub mod console;
pub mod flash;
pub mod place;
pub mod watchdog;

use core::panic::PanicInfo;

use cortex_m_rt::{ExceptionFrame, exception};

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    board_common::on_panic(info, console::Console)
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    board_common::on_hard_fault(frame.pc(), console::Console)
}

/// A word of the flash cannot be read: its programming or erasing was cut. Whoever reads by
/// [`flash::Flash`] is told; elsewhere it means that the image that runs is damaged.
#[exception]
unsafe fn NonMaskableInt() {
    if !flash::on_unreadable() {
        cortex_m::peripheral::SCB::sys_reset();
    }
}
