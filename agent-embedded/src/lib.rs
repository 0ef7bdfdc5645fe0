//! The agent for microcontrollers: no heap, no operating system.
#![no_std]

mod page;
pub mod provisioning;
pub mod store;
