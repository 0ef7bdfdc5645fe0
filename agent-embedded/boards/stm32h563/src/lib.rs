//! The board `stm32h563`: ST's NUCLEO-H563ZI, a Cortex-M33 with Ethernet and 2 MiB of flash in two banks,
//! which the chip exchanges in hardware.
//!
//! This package alone touches registers; what an agent does is in `agent-embedded`. Nobody has run it on
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

/// A word of the flash cannot be read. [`flash::Flash`] reports it to its caller where its programming or
/// erasing was cut. In the image that runs it is damage, which the boot stage finds after a reset. Anything
/// else would come again after a reset, and is passed over.
#[exception]
unsafe fn NonMaskableInt() {
    flash::on_interrupt();
}
