//! The store's content, as commands print it.

mod agents;
mod described;
mod documents;
mod events;
pub mod outcome;
mod overview;
mod rollouts;
mod status;

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::commands::output::safe;

pub use agents::AgentList;
pub use described::{DescribedAgent, DescribedDocument, DescribedRollout};
pub use documents::DocumentList;
pub use events::{EventLine, EventList};
pub use overview::Glance;
pub use rollouts::{RolloutList, RolloutRow};
pub use status::RolloutStatus;

/// Labels in one cell.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    let all: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    if all.is_empty() { "-".to_owned() } else { safe(&all.join(" ")).into_owned() }
}

/// A vendor or class in one cell: the operator's word for it, else its UUID.
pub fn word_or_id(word: Option<&str>, id: &Uuid) -> String {
    word.map_or_else(|| id.to_string(), |word| safe(word).into_owned())
}

/// A vendor or class with all that is known of it.
pub fn word_and_id(word: Option<&str>, id: &Uuid) -> String {
    word.map_or_else(|| id.to_string(), |word| format!("{} ({id})", safe(word)))
}

/// A value that may be missing.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
