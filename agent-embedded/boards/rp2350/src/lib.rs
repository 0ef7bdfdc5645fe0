//! The board `rp2350`: a Raspberry Pi Pico 2 (Cortex-M33) with the Ethernet controller W5500 on SPI, wired as
//! on WIZnet's W5500-EVB-Pico2.
//!
//! Only this package touches registers; the agent itself is in `agent-embedded`. Nobody has run it on
//! hardware yet.
#![no_std]

pub mod console;
pub mod ethernet;
pub mod flash;
pub mod place;
pub mod watchdog;

use board_common::Chip;

/// What all boards must know about the chip.
pub const CHIP: Chip = Chip { clock: 150_000_000, feed: watchdog::feed };

board_common::handlers!(console::Console);
