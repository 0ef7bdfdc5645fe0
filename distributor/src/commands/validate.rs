//! `fwcast validate`: rollout manifests, without looking at anything else.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use provisioning::Name;
use serde::Serialize;

use crate::cli::Global;
use crate::exit::{Exit, Failure};
use crate::manifest::source::Source;
use crate::manifest::{Found, Manifests, Problem, check};
use crate::output::{self, Format, Report, columns};

/// Check rollout manifests, without network, keys or state
#[derive(Debug, Args)]
pub struct Validate {
    /// A file, a folder with *.yaml files, or - for standard input; may be given more than once
    #[arg(short, long = "file", value_name = "FILE|DIR|-", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Validated {
    ok: bool,
    documents: Vec<Shown>,
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Shown {
    kind: &'static str,
    name: Name,
    place: String,
}

impl Validate {
    /// Prints the documents, or all that is wrong in them.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        match self.read() {
            Ok(manifests) => {
                for (kind, name) in check::open_references(&manifests) {
                    eprintln!("note: {kind} '{name}' is not in these files, so it was not looked at");
                }
                output::print(global.output, &Validated::new(&manifests))?;
                Ok(Exit::Done)
            }
            Err(problems) => Err(told(problems, global.output)?),
        }
    }

    fn read(&self) -> Result<Manifests, Vec<Problem>> {
        let manifests = Manifests::read(Source::read(&self.files)?)?;
        check::check(&manifests)?;
        Ok(manifests)
    }
}

/// Tells the problems, and the one sentence that is left to say.
fn told(problems: Vec<Problem>, format: Format) -> Result<Failure, Failure> {
    let files: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (found, places) = (count(problems.len(), "problem"), count(files.len(), "file"));
    let sentence = format!("{found} in {places}: correct what is said above and run this again");
    if format.is_for_people() {
        problems.iter().for_each(|problem| eprintln!("{}\n", problem.render()));
    } else {
        output::print(format, &Validated { ok: false, documents: Vec::new(), problems })?;
    }
    Ok(Failure::error(sentence))
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

impl Report for Validated {
    fn table(&self) -> Table {
        let mut table = columns(["KIND", "NAME", "WHERE"]);
        for document in &self.documents {
            table.add_row([document.kind.to_owned(), document.name.to_string(), document.place.clone()]);
        }
        table
    }
}
