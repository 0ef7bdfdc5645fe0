//! The agent for microcontrollers: no heap, no operating system, everything but the registers of a board.
#![no_std]

#[cfg(feature = "net")]
pub mod board;
pub mod drive;
pub mod event;
pub mod hardware_address;
pub mod layouts;
#[cfg(feature = "net")]
pub mod network;
mod page;
#[cfg(feature = "net")]
pub mod parts;
pub mod start;
pub mod store;

pub use ::provisioning::cbor as provisioning;
