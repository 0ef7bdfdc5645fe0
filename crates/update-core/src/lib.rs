//! The update protocol of fwcast, without I/O: no socket, file, flash, clock, thread or log.
//!
//! The passive half (blocks, hash tree, SUIT manifest, key set) decides what an agent may trust and store.
//! No heap, unless feature `alloc` asks for what a host needs to build images and manifests.
#![no_std]
#[cfg(feature = "alloc")]
extern crate alloc;

// What an agent trusts and stores.
pub mod block;
pub mod block_set;
mod cbor;
mod cose;
pub mod device;
pub mod digest;
#[cfg(feature = "es256")]
pub mod es256;
pub mod key_set;
pub mod limits;
pub mod platform;
pub mod refusal;
pub mod suit;
#[cfg(feature = "alloc")]
pub mod suit_build;
#[cfg(feature = "alloc")]
pub mod suit_inspect;
pub mod tree;
#[cfg(feature = "alloc")]
pub mod tree_build;
