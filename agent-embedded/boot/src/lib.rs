//! The boot stage of a microcontroller, and what it shares with the agent in flash.
#![no_std]

pub mod exchange;
pub mod layout;
pub mod start;
