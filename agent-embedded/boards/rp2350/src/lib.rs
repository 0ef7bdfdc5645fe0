//! The board `rp2350`: a Raspberry Pi Pico 2 (Cortex-M33) with the Ethernet controller W5500 on SPI, wired as
//! on WIZnet's W5500-EVB-Pico2.
//!
//! This package alone touches registers; what an agent does is in `agent-embedded`. Nobody has run it on
//! hardware yet.
#![no_std]

pub mod console;
pub mod ethernet;
pub mod flash;
pub mod place;
pub mod watchdog;

use board_common::Chip;

/// What all boards have to know of the chip.
pub const CHIP: Chip = Chip { clock: 150_000_000, feed: watchdog::feed };

board_common::handlers!(console::Console);
