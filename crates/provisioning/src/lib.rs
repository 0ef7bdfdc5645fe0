//! What an agent of fwcast is given at enrolment.
//!
//! [`Provisioning`] is the document: group key material under the names of the ACE key map, the agent's own
//! key pair, the parties that it obeys and trusts, and their addresses. [`Provisioning::check`] parses it
//! once into [`Checked`], whose values the protocol crates use directly. [`AgentFile`] is the single YAML
//! file of a Linux agent.
//!
//! The crate has no I/O. Its features:
//!
//! - `alloc`: the document.
//! - `yaml`: reads operators' YAML strictly, with `yaml::from_str`, and writes it. Implies `alloc`.
//! - `cbor`: reads the format for the flash of a microcontroller, without a heap; with `alloc`, writes it
//!   too.
//! - `testing`: an enrolled agent with publicly known keys.
#![no_std]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

#[cfg(feature = "alloc")]
pub mod address;
#[cfg(feature = "alloc")]
mod bytes;
#[cfg(feature = "cbor")]
pub mod cbor;
#[cfg(feature = "alloc")]
mod checked;
#[cfg(feature = "alloc")]
mod document;
#[cfg(feature = "alloc")]
mod error;
#[cfg(feature = "alloc")]
mod name;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "yaml")]
pub mod yaml;

#[cfg(feature = "alloc")]
pub use bytes::{Hex, Secret};
#[cfg(feature = "alloc")]
pub use checked::{Checked, CheckedDistributor, CheckedManager};
#[cfg(feature = "alloc")]
pub use document::{
    AgentFile, CRED_FMT_CCS, Distributor, ECDH_SS_HKDF_256, ED25519_PARAMETERS, HKDF_SHA_256, KeyMap,
    LinuxSettings, Manager, Provisioning, SIGN_EDDSA, VERSION, X25519_PARAMETERS,
};
#[cfg(feature = "alloc")]
pub use error::ProvisioningError;
#[cfg(feature = "alloc")]
pub use name::{Name, NameError};
