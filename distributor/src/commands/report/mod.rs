//! The store's content, as commands print it.

mod agents;
mod described;
mod documents;
mod events;
pub mod outcome;
mod rollouts;
mod status;

use std::collections::BTreeMap;

use crate::commands::output::safe;

pub use agents::AgentList;
pub use described::{DescribedAgent, DescribedDocument, DescribedRollout};
pub use documents::DocumentList;
pub use events::{EventLine, EventList};
pub use rollouts::{RolloutList, RolloutRow};
pub use status::RolloutStatus;

/// Labels in one cell.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let all: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if all.is_empty() { "-".to_owned() } else { safe(&all.join(" ")).into_owned() }
}

/// A value that may be missing.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
