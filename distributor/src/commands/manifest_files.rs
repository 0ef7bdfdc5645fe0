//! The files that `validate`, `plan`, `apply` and `run` read, and what is wrong in them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use provisioning::Name;
use provisioning::yaml::Step;
use serde::Serialize;

use crate::commands::exit_codes::Failure;
use crate::commands::output::{Format, say};
use crate::manifest::check::{self, Flaw};
use crate::manifest::source::Source;
use crate::manifest::{Found, Manifest, Manifests, Problem};
use crate::runner::prepare::Unprepared;

/// The option that names them.
#[derive(Debug, Args)]
pub(super) struct ManifestFiles {
    /// A file, a folder with *.yaml files, or - for standard input; may be given more than once
    #[arg(short, long = "file", value_name = "FILE|DIR|-", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Problems<'a> {
    ok: bool,
    documents: [(); 0],
    problems: &'a [Problem],
}

impl ManifestFiles {
    /// Reads and checks them, each by itself and together.
    ///
    /// # Errors
    /// All that is wrong was told; the sentence that is left to say.
    pub(super) fn read(&self, format: Format) -> Result<Manifests, Failure> {
        let read = Source::read(&self.files).and_then(Manifests::read);
        let checked = read.and_then(|manifests| check::check(&manifests).map(|()| manifests));
        checked.map_err(|problems| told(&problems, format))
    }
}

/// Tells the problems; the one sentence that is left to say.
pub(super) fn told(problems: &[Problem], format: Format) -> Failure {
    let files: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (found, places) = (count(problems.len(), "problem"), count(files.len(), "file"));
    if format.is_for_people() {
        problems.iter().for_each(|problem| say!("{}\n", problem.render()));
    } else if let Err(failure) =
        crate::commands::output::print_value(format, &Problems { ok: false, documents: [], problems })
    {
        return failure;
    }
    Failure::error(format!("{found} in {places}: correct what is said above and run this again"))
}

/// The one rollout of some documents: of this name, or the only one.
///
/// # Errors
/// There is none, or several and no name.
pub(super) fn one_rollout<'a>(manifests: &'a Manifests, name: Option<&Name>) -> Result<&'a Found, Failure> {
    let rollouts: Vec<&Found> = manifests
        .found
        .iter()
        .filter(|found| matches!(found.manifest, Manifest::Rollout(_)))
        .filter(|found| name.is_none_or(|name| found.manifest.metadata().name == *name))
        .collect();
    match (rollouts.as_slice(), name) {
        ([one], _) => Ok(one),
        ([], Some(name)) => {
            Err(Failure::usage(format!("there is no rollout '{name}' in these files: check the name")))
        }
        ([], None) => Err(Failure::usage("there is no document of kind Rollout in these files: add one")),
        (several, _) => {
            let names: Vec<String> =
                several.iter().map(|found| found.manifest.metadata().name.to_string()).collect();
            Err(Failure::usage(format!(
                "there are {} rollouts in these files: choose one with --rollout ({})",
                several.len(),
                names.join(", ")
            )))
        }
    }
}

/// What is wrong in a rollout's `spec`, with places in its file.
pub(super) fn placed(manifests: &Manifests, found: &Found, flaws: Vec<Flaw>) -> Vec<Problem> {
    let problem = |flaw: Flaw| {
        let path: Vec<Step> = std::iter::once(Step::from("spec")).chain(flaw.path).collect();
        manifests.problem(found, &path, flaw.problem)
    };
    flaws.into_iter().map(problem).collect()
}

/// The failure that is left when something could not be prepared.
pub(super) fn unprepared(unprepared: Unprepared, format: Format) -> Failure {
    match unprepared {
        Unprepared::Problems(problems) => told(&problems, format),
        Unprepared::Failure(failure) => failure,
    }
}
