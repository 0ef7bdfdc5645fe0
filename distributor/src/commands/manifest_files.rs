//! The files that `validate`, `plan`, `apply` and `run` read, and the problems in them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::commands::exit_codes::Failure;
use crate::commands::output::{Format, print_value, say};
use fwcast_documents::source::Source;
use fwcast_documents::{ApplyError, PlanError};
use fwcast_documents::{Diagnostic, Manifests, check};
use fwcast_service::{BeginError, NotApplied};

/// The option that names them.
#[derive(Debug, Args)]
pub(super) struct ManifestFiles {
    /// A file, a folder with *.yaml files, or - for standard input; may be given more than once
    #[arg(short, long = "file", value_name = "FILE|DIR|-", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Diagnostics<'a> {
    ok: bool,
    documents: [(); 0],
    problems: &'a [Diagnostic],
}

impl ManifestFiles {
    /// These files.
    pub(super) const fn of(files: Vec<PathBuf>) -> Self {
        Self { files }
    }

    /// Reads and checks them, separately and together.
    ///
    /// # Errors
    /// The problems were printed already; this is the final sentence.
    pub(super) fn read(&self, format: Format) -> Result<Manifests, Failure> {
        let read = Source::read(&self.files).and_then(Manifests::read);
        let checked = read.and_then(|manifests| check::check(&manifests).map(|()| manifests));
        checked.map_err(|problems| told(&problems, format))
    }
}

/// Prints the problems; returns the final sentence.
pub(super) fn told(problems: &[Diagnostic], format: Format) -> Failure {
    let files: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (found, places) = (count(problems.len(), "problem"), count(files.len(), "file"));
    if format.is_for_people() {
        problems.iter().for_each(|problem| say!("{}\n", problem.render()));
    } else if let Err(failure) = print_value(format, &Diagnostics { ok: false, documents: [], problems }) {
        return failure;
    }
    Failure::error(format!("{found} in {places}: correct them and run this command again"))
}

/// Prints the problems found when the files were applied; returns the final failure.
pub(super) fn unapplied(error: NotApplied, format: Format) -> Failure {
    match error {
        NotApplied::Plan(error) => unplanned(error, format),
        NotApplied::Apply(ApplyError::Diagnostics(problems)) => told(&problems, format),
        NotApplied::Apply(error) => error.into(),
    }
}

/// Prints the problems found when the files were planned; returns the final failure.
pub(super) fn unplanned(error: PlanError, format: Format) -> Failure {
    match error {
        PlanError::Diagnostics(problems) => told(&problems, format),
        error => error.into(),
    }
}

/// Prints the problems found when a rollout was to begin; returns the final failure.
pub(super) fn not_begun(error: BeginError, format: Format) -> Failure {
    match error {
        BeginError::Apply(error) => unapplied(error.into(), format),
        BeginError::Plan(error) => unplanned(error, format),
        error => error.into(),
    }
}
