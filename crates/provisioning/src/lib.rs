//! What an agent of fwcast is given when it is enrolled.
//!
//! [`Provisioning`] is the document: group key material under the names of the ACE key map, the agent's own
//! key pair, whom it obeys and trusts, and where they are. [`Provisioning::check`] parses it once into
//! [`Checked`], whose values the protocol crates take as they are. [`AgentFile`] is the one YAML file of a
//! Linux agent.
//!
//! The crate has no I/O. With the feature `yaml`, `yaml::from_str` reads operators' YAML strictly; with
//! `cbor` the document is written for the flash of a microcontroller.
#![no_std]

extern crate alloc;

pub mod address;
mod bytes;
#[cfg(feature = "cbor")]
pub mod cbor;
mod checked;
mod document;
mod error;
mod name;
#[cfg(feature = "yaml")]
pub mod yaml;

pub use bytes::{Hex, Secret};
pub use checked::{Checked, CheckedDistributor, CheckedManager};
pub use document::{
    AgentFile, CRED_FMT_CCS, Distributor, ECDH_SS_HKDF_256, ED25519_PARAMETERS, HKDF_SHA_256, KeyMap,
    LinuxSettings, Manager, Provisioning, SIGN_EDDSA, VERSION, X25519_PARAMETERS,
};
pub use error::ProvisioningError;
pub use name::{Name, NameError};
