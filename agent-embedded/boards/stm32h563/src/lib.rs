//! The board `stm32h563`: ST's NUCLEO-H563ZI, a Cortex-M33 with Ethernet and 2 MiB of flash in two banks,
//! which the chip swaps in hardware.
//!
//! Only this package touches registers; the agent itself is in `agent-embedded`. Nobody has run it on
//! hardware yet.
#![no_std]

pub mod banks;
pub mod cache;
pub mod console;
pub mod flash;
pub mod place;
pub mod watchdog;

use cortex_m_rt::exception;

board_common::handlers!(console::Console);

/// A word of the flash cannot be read. [`flash::Flash`] reports it to its caller if its programming or
/// erasing was cut. In the running image it means damage, which the boot stage finds after a reset. Anything
/// else would occur again after a reset, and is ignored.
#[exception]
unsafe fn NonMaskableInt() {
    flash::on_interrupt();
}
