//! What an agent of fwcast is given when it is enrolled.
//!
//! [`Provisioning`] is the document: group key material under the names of the ACE key map, the agent's own key
//! pair, whom it obeys and trusts, and where they are. [`Provisioning::check`] parses it once into [`Checked`],
//! whose values the protocol crates take as they are. [`AgentFile`] is the one YAML file of a Linux agent.
//!
//! The crate has no I/O. With the feature `yaml`, `yaml::from_str` reads operators' YAML strictly.
#![no_std]

extern crate alloc;

pub mod address;
mod bytes;
mod document;
mod name;
#[cfg(feature = "yaml")]
pub mod yaml;

pub use bytes::{Hex, Secret};
pub use document::{AgentFile, Distributor, KeyMap, LinuxSettings, Manager, Provisioning, VERSION};
pub use name::{Name, NameError};
