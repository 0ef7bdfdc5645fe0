//! From texts to documents.

use provisioning::Name;
use provisioning::yaml::{Document, PROBLEMS_MAX, Place, Step};
use serde::de::DeserializeOwned;

use super::check::UnplacedDiagnostic;
use super::rollout::Rollout;
use super::source::Source;
use super::{Diagnostic, Manifest};
use fwcast_store::kind::Kind;

/// All documents that were read, and their sources.
#[derive(Debug, Clone)]
pub struct Manifests {
    sources: Vec<Source>,
    /// The documents, in the order of the files and within each file.
    pub found: Vec<Found>,
}

/// Why documents do not determine one rollout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// No rollout has this name.
    #[error("there is no rollout '{0}' in these files: check the name")]
    NoneOfName(Name),
    /// There is no rollout.
    #[error("there is no document of kind Rollout in these files: add one")]
    None,
    /// There are several rollouts, and no name was given.
    #[error(
        "there are {} rollouts in these files: choose one with --rollout ({})", .0.len(), .0.join(", ")
    )]
    Several(Vec<String>),
}

/// A document that was read.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its content.
    pub manifest: Manifest,
    /// The index of its source.
    source: usize,
    document: Document,
}

impl Manifests {
    /// Reads all documents.
    ///
    /// # Errors
    /// Everything that is wrong in each of them; for one file not much more than [`PROBLEMS_MAX`].
    pub fn read(sources: Vec<Source>) -> Result<Self, Vec<Diagnostic>> {
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for (index, source) in sources.iter().enumerate() {
            let documents = match Document::all(&source.text) {
                Ok(documents) => documents,
                Err(error) => {
                    let place = Place { line: error.line, column: error.column, characters: 1 };
                    problems.push(Diagnostic::at(source, place, error.kind.to_string()));
                    continue;
                }
            };
            let documents: Vec<_> = documents.into_iter().filter(|document| !document.is_empty()).collect();
            if documents.is_empty() {
                let why = "there is no document in this file: write one, or leave the file out";
                problems.push(Diagnostic::with_file(&source.name, why));
            }
            let before = problems.len();
            for document in documents {
                // These are enough to begin with.
                if problems.len() - before >= PROBLEMS_MAX {
                    break;
                }
                match read(source, &document) {
                    Ok(manifest) => found.push(Found { manifest, source: index, document }),
                    Err(more) => problems.extend(more),
                }
            }
        }
        if problems.is_empty() { Ok(Self { sources, found }) } else { Err(problems) }
    }

    /// The source of a document.
    pub fn source(&self, found: &Found) -> &Source {
        &self.sources[found.source]
    }

    /// A problem at a place in a document.
    pub fn problem(&self, found: &Found, path: &[Step], problem: impl Into<String>) -> Diagnostic {
        Diagnostic::at(self.source(found), found.document.place(path), problem)
    }

    /// The problems in a rollout's `spec`, with places in its file.
    pub fn placed(&self, found: &Found, diagnostics: Vec<UnplacedDiagnostic>) -> Vec<Diagnostic> {
        let problem = |diagnostic: UnplacedDiagnostic| {
            let path: Vec<Step> = std::iter::once(Step::from("spec")).chain(diagnostic.path).collect();
            self.problem(found, &path, diagnostic.problem)
        };
        diagnostics.into_iter().map(problem).collect()
    }

    /// The rollout with this name, or the only one.
    ///
    /// # Errors
    /// There is none, or there are several and no name was given.
    pub fn one_rollout<'a>(&'a self, name: Option<&Name>) -> Result<(&'a Found, &'a Rollout), ChoiceError> {
        let rollout = |found: &'a Found| match found {
            it @ Found { manifest: Manifest::Rollout(rollout), .. } => Some((it, &**rollout)),
            _ => None,
        };
        let rollouts = self.found.iter().filter_map(rollout);
        let wanted = |(_, rollout): &(_, &Rollout)| name.is_none_or(|name| rollout.metadata.name == *name);
        let rollouts: Vec<(&'a Found, &'a Rollout)> = rollouts.filter(wanted).collect();
        match (rollouts.as_slice(), name) {
            ([one], _) => Ok(*one),
            ([], Some(name)) => Err(ChoiceError::NoneOfName(name.clone())),
            ([], None) => Err(ChoiceError::None),
            (several, _) => {
                let names = several.iter().map(|(_, rollout)| rollout.metadata.name.to_string());
                Err(ChoiceError::Several(names.collect()))
            }
        }
    }

    /// Where a document begins, as `file:line`.
    pub fn place(&self, found: &Found) -> String {
        format!("{}:{}", self.source(found).name, found.document.place(&[]).line)
    }
}

fn read(source: &Source, document: &Document) -> Result<Manifest, Vec<Diagnostic>> {
    let Some(kind) = document.text("kind") else {
        let names = Kind::ALL.map(Kind::name).join(", ");
        let why = format!("this document does not say its kind: add `kind:` with one of {names}");
        return Err(vec![Diagnostic::at(source, document.place(&["kind".into()]), why)]);
    };
    match Kind::ALL.into_iter().find(|known| known.name() == kind) {
        Some(Kind::RolloutGroup) => of_kind(source, document).map(Manifest::RolloutGroup),
        Some(Kind::Image) => of_kind(source, document).map(Manifest::Image),
        Some(Kind::Rollout) => of_kind(source, document).map(|it| Manifest::Rollout(Box::new(it))),
        None => {
            let names = Kind::ALL.map(Kind::name).join(", ");
            let why = format!("there is no kind '{}': write one of {names}", kind.escape_debug());
            Err(vec![Diagnostic::at(source, document.place(&["kind".into()]), why)])
        }
    }
}

fn of_kind<T: DeserializeOwned>(source: &Source, document: &Document) -> Result<T, Vec<Diagnostic>> {
    let at = |found: provisioning::yaml::Diagnostic| Diagnostic::at(source, found.place, found.problem);
    document.read().map_err(|found| found.into_iter().map(at).collect())
}
