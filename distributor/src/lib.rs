//! The distributor of fwcast: keys, groups, agents, images and pushes on the operator's machine.
//!
//! The binary `fwcast` is a thin `main` over [`cli`]. State on disk is in [`state`]. The loop around the
//! state machine that distributes an update is in [`drive`].

// A closed stdout or stderr must not abort a command: see `commands::output::say`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod commands;
pub mod control;
pub mod drive;
pub mod files;
pub mod fleet;
pub mod image;
pub mod key_sets;
pub mod keys;
pub mod kind;
pub mod link;
pub mod manifest;
pub mod new_group;
pub mod random;
pub mod runner;
pub mod session;
pub mod signing;
pub mod socket;
pub mod state;
pub mod store;
pub mod values;
