//! From rollout manifests to a rollout that can begin.
//!
//! [`mod@apply`] takes images in and documents over, [`known`] makes a plan of them, [`stored`] reads them
//! back from the store.

pub mod apply;
pub mod known;
#[cfg(test)]
mod sample_tests;
pub mod stored;

pub use apply::{AppliedDocument, ApplyError, apply};
pub use known::{Known, NoDigest, PlanError, Planned, digest_of, members_of};
pub use stored::DocumentError;
