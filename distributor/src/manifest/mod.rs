//! Rollout manifests: the YAML that operators write.
//!
//! A document has `apiVersion: fwcast/v1`, a `kind`, `metadata` and a `spec`, and a file any number of
//! documents. [`group`], [`image`] and [`rollout`] are the three kinds; their schema is made from these types
//! ([`schema`]).
//!
//! ```text
//! files -- source --> text -- read --> Manifest -- check --> all problems, each with its line and a caret
//!                                         |
//!                                         +-- compile, with the fleet --> rollout::plan::Plan
//! ```
//!
//! What can be wrong in one value is checked when it is read, what concerns several values or documents in
//! [`check`], and what needs to know the agents in [`compile`]. Nothing here touches the network.

pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod document;
pub mod group;
pub mod image;
pub mod read;
pub mod rollout;
pub mod schema;
pub mod selector;
pub mod source;
mod text;
pub mod waves;

pub use diagnostic::Diagnostic;
pub use document::{Kind, Manifest, Metadata};
pub use read::{ChoiceError, Found, Manifests};
pub use text::{CoapGroup, Digest, ImageRef, Interface, Moment, Span, Version, WaveSize};
