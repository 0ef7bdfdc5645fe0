//! The distributor of fwcast: keys, groups, agents and images on the operator's machine.
//!
//! The binary `fwcast` is a thin `main` over [`cli`]. State on disk is in [`state`].

pub mod cli;
pub mod commands;
pub mod exit;
pub mod files;
pub mod keys;
pub mod output;
pub mod state;
pub mod yaml;
