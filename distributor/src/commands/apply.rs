//! `fwcast apply`: documents into the database, images into the state folder.

use clap::Args;
use comfy_table::Table;
use provisioning::Name;
use serde::Serialize;

use super::kind::on_fleet_of;
use super::manifest_files::{ManifestFiles, unapplied};
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, columns};
use fwcast_documents::AppliedDocument;
use fwcast_store::Applied;

/// Store rollout manifests and the images they name; nothing is sent
///
/// Applying the same files again changes nothing. The documents of a running rollout and of its image cannot
/// be changed.
#[derive(Debug, Args)]
pub struct Apply {
    #[command(flatten)]
    files: ManifestFiles,
}

#[derive(Serialize)]
struct Line {
    kind: &'static str,
    name: Name,
    applied: Applied,
}

#[derive(Serialize)]
struct Lines(Vec<Line>);

impl Apply {
    /// Applies the documents, all or none.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let manifests = self.files.read(global.output)?;
        let applied = on_fleet_of(global.state_dir_or_new()?, async |fleet| {
            let applied = fleet.apply(&manifests).await;
            applied.map_err(|error| unapplied(error, global.output))
        })?;
        let line = |it: AppliedDocument| Line { kind: it.kind.name(), name: it.name, applied: it.applied };
        output::print(global.output, &Lines(applied.into_iter().map(line).collect()))?;
        Ok(Exit::Done)
    }
}

impl Printable for Lines {
    fn table(&self) -> Table {
        let mut table = columns(["KIND", "NAME", "APPLIED"]);
        for line in &self.0 {
            table.add_row([line.kind.to_owned(), line.name.to_string(), line.applied.to_string()]);
        }
        table
    }
}
