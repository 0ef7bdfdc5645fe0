//! The board `rp2350`: a Raspberry Pi Pico 2 (Cortex-M33) with the Ethernet controller W5500 on SPI, wired as
//! on WIZnet's W5500-EVB-Pico2.
//!
//! This package alone touches registers; what an agent does is in `agent-embedded`. Nobody has run it on
//! hardware yet.
#![no_std]

pub mod console;
pub mod flash;
pub mod place;

use core::panic::PanicInfo;

#[panic_handler]
fn on_panic(info: &PanicInfo<'_>) -> ! {
    board_common::on_panic(info, console::Console)
}
