//! The agent for microcontrollers: no heap, no operating system.
#![no_std]

pub mod provisioning;
pub mod store;
