//! The boot stage of a microcontroller, and what it shares with the agent in flash. No heap.
//!
//! [`start::start`] is the whole boot stage but for the jump: it carries an activated update out, or a roll
//! back, and checks what runs. A board's binary gives it a flash and a [`layout::FlashLayout`].
#![no_std]

pub mod banks;
pub mod boot_record;
pub mod exchange;
pub mod image;
pub mod layout;
pub mod medium;
pub mod planted;
pub mod record_log;
pub mod start;
pub mod verify;
