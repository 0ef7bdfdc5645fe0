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

use cortex_m_rt::exception;

board_common::handlers!(console::Console);

/// A word of the flash cannot be read: its programming or erasing was cut. [`flash::Flash`]
/// reports it to its caller; elsewhere it means that the image that runs is damaged.
#[exception]
unsafe fn NonMaskableInt() {
    if !flash::on_unreadable() {
        cortex_m::peripheral::SCB::sys_reset();
    }
}
