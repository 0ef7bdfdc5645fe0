//! Rollout manifests: the YAML that operators write.
//!
//! A document has `apiVersion: fwcast/v1`, a `kind`, `metadata` and a `spec`. A file has any number of
//! documents. [`group`], [`image`] and [`rollout`] are the three kinds. Their schema is generated from these
//! types ([`schema`]).
//!
//! ```text
//! files -- source --> text -- read --> Manifest -- check --> all problems, each with its line and a caret
//!                                         |
//!                                         +-- apply --> the store -- stored --+
//!                                         |                                   v
//!                                         +---------------------------------> known -- compile --> Plan
//! ```
//!
//! A single value is checked when it is read. [`check`] checks several values or documents together.
//! [`compile`] checks what depends on the agents; it gets the content of the store and the groups' folders
//! from [`known`]. Nothing here touches the network.

// A closed stdout or stderr must not abort a command: only the command line prints.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod apply;
pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod document;
pub mod group;
pub mod image;
pub mod known;
pub mod read;
pub mod rollout;
#[cfg(test)]
mod sample_tests;
pub mod schema;
pub mod selector;
pub mod source;
pub mod stored;
mod text;
pub mod values;
pub mod waves;

pub use apply::{AppliedDocument, ApplyError, apply};
pub use diagnostic::Diagnostic;
pub use document::{Manifest, Metadata};
pub use known::{Known, NoDigest, PlanError, Planned, digest_of, members_of};
pub use read::{ChoiceError, Found, Manifests};
pub use stored::DocumentError;
pub use text::{CoapGroup, Digest, ImageRef, Interface, MaxUnavailable, Moment, Span, Version, WaveSize};
