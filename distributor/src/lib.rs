//! The command line of fwcast: it reads arguments, calls the service, and prints.
//!
//! The binary `fwcast` is a thin `main` over [`cli`]. What it does is in the package `fwcast-service`.

// A closed stdout or stderr must not abort a command: see `commands::output::say`.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod cli;
pub mod commands;
