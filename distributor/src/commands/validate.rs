//! `fwcast validate`: checks rollout manifests and nothing else.

use clap::Args;
use comfy_table::Table;
use provisioning::Name;
use serde::Serialize;

use super::manifest_files::ManifestFiles;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, columns, say};
use fwcast_documents::{Diagnostic, Found, Manifests, check};

/// Check rollout manifests, without network, keys or state
#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    files: ManifestFiles,
}

#[derive(Serialize)]
struct Validated {
    ok: bool,
    documents: Vec<Shown>,
    problems: Vec<Diagnostic>,
}

#[derive(Serialize)]
struct Shown {
    kind: &'static str,
    name: Name,
    place: String,
}

impl Validate {
    /// Prints the documents, or all problems in them.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let manifests = self.files.read(global.output)?;
        for (kind, name) in check::open_references(&manifests) {
            say!("note: {kind} '{name}' is not in these files, so it was not checked");
        }
        output::print(global.output, &Validated::new(&manifests))?;
        Ok(Exit::Done)
    }
}

impl Validated {
    fn new(manifests: &Manifests) -> Self {
        let shown = |found: &Found| Shown {
            kind: found.manifest.kind().name(),
            name: found.manifest.metadata().name.clone(),
            place: manifests.place(found),
        };
        Self { ok: true, documents: manifests.found.iter().map(shown).collect(), problems: Vec::new() }
    }
}

impl Printable for Validated {
    fn table(&self) -> Table {
        let mut table = columns(["KIND", "NAME", "WHERE"]);
        for document in &self.documents {
            table.add_row([document.kind.to_owned(), document.name.to_string(), document.place.clone()]);
        }
        table
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.documents.iter().map(|document| document.name.to_string()).collect())
    }
}
