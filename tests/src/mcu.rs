//! The emulated microcontroller: its programs, its flash in a file, and nodes that run in QEMU.

pub mod boards;
pub mod build;
pub mod cost;
pub mod cuts;
pub mod elf;
pub mod flash_file;
pub mod node;
pub mod setup;
pub mod trial;
