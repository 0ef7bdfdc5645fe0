//! The update protocol of fwcast, without I/O: no socket, file, flash, clock, thread or log.
//!
//! Two machines have the same shape: [`reception::Reception`] is one agent's side,
//! `distribution::Distribution` (feature `alloc`) the distributor's side for one group. Time is an argument,
//! randomness a seed. Datagrams and storage results go in by `handle` and come out of `poll`. A device's
//! program is one loop around them:
//!
//! ```text
//! loop {
//!     match reception.poll(now(), &mut buffer) {
//!         Output::Transmit { to, len } => send(to, &buffer[..len]),
//!         Output::Task(task) => { let done = carry_out(task, &mut platform, &mut bytes);
//!                                 reception.handle(now(), Input::Done { done, bytes }) }
//!         Output::Event(event) => log(event),
//!         Output::Wait(until) => match receive_until(until, &mut buffer) {
//!             Some((from, via, bytes)) => reception.handle(now(), Input::Datagram { from, via, bytes }),
//!             None => reception.handle(now(), Input::Timeout),
//!         },
//!     }
//! }
//! ```
//!
//! Below the machines stands the passive half (blocks, hash tree, SUIT manifest, key set), which decides what
//! an agent may trust and store. There is no heap, unless feature `alloc` adds what a host needs, or `rs16`
//! the erasure code for large generations.
#![no_std]
#[cfg(any(feature = "alloc", feature = "rs16"))]
extern crate alloc;

// The two machines and the messages between them.
pub mod census;
pub mod codec;
pub mod command;
mod cycle;
#[cfg(feature = "alloc")]
pub mod distribution;
mod outgoing;
pub mod parity;
pub mod random;
pub mod reception;
pub mod record;
pub mod remark;
pub mod resource;
pub mod target;
pub mod time;

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

pub use codec::Malformed;
