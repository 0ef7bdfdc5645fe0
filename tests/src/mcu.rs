//! The emulated microcontroller: its programs, its flash in a file, and nodes that run in QEMU.

pub mod bad_starts;
pub mod boards;
pub mod build;
pub mod cost;
pub mod cuts;
pub mod elf;
pub mod flash_file;
pub mod flood;
mod hardships;
mod keys;
mod lamp;
pub mod node;
pub mod panics;
pub mod secrets;
pub mod setup;
pub mod tree;
pub mod trial;
pub mod twice;
