//! The rollout engine: a state machine without I/O, like those of the core.
//!
//! Everyone receives, few activate (protocol.md \[waves\]): an update goes to all agents of a rollout once.
//! Then one wave after the other activates it, soaks, and is judged by what its agents report. [`plan`] is
//! what to do, without selectors and files; [`record`] is what is known of each agent; [`state`] is the
//! progress of the whole rollout. Call [`Engine::poll`] until it returns [`Output::Wait`]; do what it asks
//! for, in that order, and hand in the results. If you store what [`Output::Save`] asks for, you can kill the
//! process at any moment and continue with [`Engine::resume`].

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(test)]
mod budget_tests;
mod engine;
mod judge;
mod many;
#[cfg(test)]
mod night_tests;
mod orders;
mod parity;
pub mod plan;
pub mod record;
#[cfg(test)]
mod retry_tests;
pub mod state;
mod steps;
#[cfg(test)]
mod stop_tests;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod wait_tests;
#[cfg(test)]
mod way_out_tests;
pub mod window;

pub use engine::{Changes, Engine, Input, Now, Output, Run, RunEnd, Task};
pub use judge::{Counts, in_words, reason_of};
pub use many::Many;
pub use parity::Parity;
pub use steps::Waits;
