//! The boot stage of a microcontroller, and the code for flash that it shares with the agent. No heap.
//!
//! [`board::run`] is the whole boot stage: it carries out an activated update or a roll back, checks what is
//! to run, and jumps. A program implements [`board::Board`]: a flash, a [`layout::FlashLayout`], the way to
//! exchange the slots ([`exchange::BySpare`] or [`banks::ByBanks`]), and the jump.
#![no_std]

pub mod banks;
pub mod board;
pub mod boot_record;
pub mod exchange;
pub mod image;
pub mod layout;
pub mod medium;
pub mod planted;
pub mod record_log;
pub mod resets;
pub mod start;
pub mod unreadable;
pub mod verify;
