//! The agent for microcontrollers: no heap, no operating system, everything but the registers of a board.
#![no_std]

pub mod drive;
mod event_line;
pub mod hardware_address;
pub mod layouts;
#[cfg(feature = "net")]
pub mod network;
mod page;
pub mod provisioning;
pub mod start;
pub mod store;
