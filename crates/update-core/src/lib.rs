//! The update protocol of fwcast as two state machines without I/O.
#![no_std]

pub mod platform;
