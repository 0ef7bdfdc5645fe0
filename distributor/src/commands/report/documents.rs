//! Applied documents in lists.

use comfy_table::Table;
use jiff::Timestamp;
use serde::Serialize;

use super::labels;
use crate::commands::output::{Printable, age, columns};
use fwcast_store::Document;

/// Documents of one kind.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct DocumentList(pub Vec<Document>);

impl Printable for DocumentList {
    fn table(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns(["NAME", "GENERATION", "CHANGED", "LABELS"]);
        for document in &self.0 {
            table.add_row([
                document.name.to_string(),
                document.generation.to_string(),
                age(document.applied_at, now),
                labels(&document.labels),
            ]);
        }
        table
    }

    fn wide(&self) -> Table {
        let now = Timestamp::now();
        let mut table = columns(["NAME", "GENERATION", "CHANGED", "LABELS", "DIGEST"]);
        for document in &self.0 {
            table.add_row([
                document.name.to_string(),
                document.generation.to_string(),
                age(document.applied_at, now),
                labels(&document.labels),
                document.digest.to_string(),
            ]);
        }
        table
    }
}
