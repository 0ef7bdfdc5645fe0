//! One document of a text with several.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use super::walk::{self, Inner, Node, Place};
use super::{YamlError, YamlErrorKind, printable};

/// Most problems reported for one document.
pub const PROBLEMS_MAX: usize = 20;

/// A document, and the place of everything in it.
#[derive(Debug, Clone)]
pub struct Document {
    root: Node,
}

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// To the value of this key of a map.
    Key(String),
    /// To this element of a list, counted from 0.
    Index(usize),
}

/// A problem in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// What is wrong, without its place.
    pub problem: String,
}

impl Document {
    /// The documents of a text.
    ///
    /// # Errors
    /// The first problem that prevents reading the text: see the documentation of [`super`].
    pub fn all(text: &str) -> Result<Vec<Self>, YamlError> {
        Ok(walk::all(text)?.into_iter().map(|root| Self { root }).collect())
    }

    /// The one document of a text.
    ///
    /// # Errors
    /// The same as for [`Self::all`]; also if there is no document, or more than one.
    pub(super) fn one(text: &str) -> Result<Self, YamlError> {
        walk::one(text).map(|root| Self { root })
    }

    /// Whether it is empty, as after a `---` at the end.
    pub fn is_empty(&self) -> bool {
        self.root.is_null()
    }

    /// The text under a top-level key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &follow(&self.root, &key.into())?.1.inner {
            Inner::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The place of the value at the end of `path`: the value itself if it is one word, else its key. If the
    /// path leads nowhere, the place of the last value on it.
    pub fn place(&self, path: &[Step]) -> Place {
        place(&self.root, path, false)
    }

    /// Reads the document into `T`. Unknown keys are refused if `T` says `deny_unknown_fields`.
    ///
    /// # Errors
    /// All problems, at most [`PROBLEMS_MAX`]: after each, the affected value is left out and the rest is
    /// read again.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Vec<Diagnostic>> {
        let first = match read::<T>(&self.root) {
            Ok(value) => return Ok(value),
            Err(problem) => problem,
        };
        let mut root = self.root.clone();
        let mut found = Vec::new();
        let mut taken_out: Vec<Vec<Step>> = Vec::new();
        let mut next = Some(first);
        while let Some(Problem { path, text }) = next {
            if !follows(&text, &path, &taken_out) {
                found.push(Diagnostic { place: problem_place(&root, &path, &text), problem: plainly(&text) });
            }
            if found.len() >= PROBLEMS_MAX || !take_out(&mut root, &path) {
                break;
            }
            match path.split_last() {
                // The elements after it in the list have moved up.
                Some((Step::Index(_), list)) => taken_out.retain(|other| !other.starts_with(list)),
                _ => taken_out.push(path),
            }
            next = read::<T>(&root).err();
        }
        Err(found)
    }

    /// Reads the document into `T`, or returns the first problem in `serde`'s words.
    pub(super) fn read_strictly<T: DeserializeOwned>(&self) -> Result<T, YamlError> {
        read(&self.root).map_err(|Problem { path, text }| {
            let Place { line, column, .. } = problem_place(&self.root, &path, &text);
            YamlError { line, column, kind: YamlErrorKind::Content(printable(&text)) }
        })
    }
}

/// The problem, in the words of `serde`.
struct Problem {
    path: Vec<Step>,
    text: String,
}

fn read<T: DeserializeOwned>(root: &Node) -> Result<T, Problem> {
    serde_path_to_error::deserialize(root)
        .map_err(|error| Problem { path: steps(error.path()), text: error.inner().to_string() })
}

fn problem_place(root: &Node, path: &[Step], text: &str) -> Place {
    place(root, path, text.starts_with("unknown field"))
}

/// Whether a problem at `path` is only a consequence of what was taken out before.
fn follows(text: &str, path: &[Step], taken_out: &[Vec<Step>]) -> bool {
    match between_quotes(text, "missing field ") {
        Some(key) => {
            let whole: Vec<Step> = path.iter().cloned().chain([key.into()]).collect();
            taken_out.contains(&whole)
        }
        None => taken_out.iter().any(|other| other.len() > path.len() && other.starts_with(path)),
    }
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_string())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

fn steps(path: &serde_path_to_error::Path) -> Vec<Step> {
    let step = |segment: &Segment| match segment {
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().map_while(step).collect()
}

/// The value that a step from `node` leads to, and the place of its key.
fn follow<'a>(node: &'a Node, step: &Step) -> Option<(Option<Place>, &'a Node)> {
    match (&node.inner, step) {
        (Inner::List(elements), Step::Index(index)) => elements.get(*index).map(|element| (None, element)),
        (Inner::Map(entries), Step::Key(key)) => {
            entries.iter().find(|entry| &entry.0 == key).map(|(_, place, node)| (Some(*place), node))
        }
        _ => None,
    }
}

fn place(root: &Node, path: &[Step], key_wanted: bool) -> Place {
    let (mut node, mut key) = (root, None);
    for step in path {
        let Some(next) = follow(node, step) else { break };
        (key, node) = next;
    }
    let scalar = matches!(node.inner, Inner::Scalar { .. });
    match key {
        Some(key) if key_wanted || !scalar => key,
        // The first key of a map stands for the map.
        _ => match &node.inner {
            Inner::Map(entries) => entries.first().map_or(node.place, |entry| entry.1),
            _ => node.place,
        },
    }
}

/// Takes a value out; returns whether it was there.
fn take_out(root: &mut Node, path: &[Step]) -> bool {
    let Some((last, way)) = path.split_last() else { return false };
    let mut node = root;
    for step in way {
        let next = match (&mut node.inner, step) {
            (Inner::List(elements), Step::Index(index)) => elements.get_mut(*index),
            (Inner::Map(entries), Step::Key(key)) => {
                entries.iter_mut().find(|entry| &entry.0 == key).map(|entry| &mut entry.2)
            }
            _ => None,
        };
        let Some(next) = next else { return false };
        node = next;
    }
    match (&mut node.inner, last) {
        (Inner::List(elements), Step::Index(index)) if *index < elements.len() => {
            elements.remove(*index);
            true
        }
        (Inner::Map(entries), Step::Key(key)) => {
            let before = entries.len();
            entries.retain(|entry| &entry.0 != key);
            entries.len() < before
        }
        _ => false,
    }
}

/// The text between the first backquotes after `before`, at the beginning of a text.
fn between_quotes<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_prefix('`')?.split('`').next()
}

/// Rephrases `serde` messages for people who write YAML.
fn plainly(text: &str) -> String {
    let plain = text
        .replacen("unknown field", "unknown key", 1)
        .replacen("missing field", "missing key", 1)
        .replacen("unknown variant", "unknown word", 1)
        .replacen("invalid type: unit value", "there is nothing here", 1)
        .replacen("invalid type: map", "there is a map here", 1)
        .replacen("invalid type: sequence", "there is a list here", 1)
        .replacen("invalid type", "wrong kind of value", 1)
        .replacen("invalid value", "wrong value", 1)
        .replacen("a nonzero u8", "a number from 1 to 255", 1)
        .replacen("a nonzero u16", "a number from 1 to 65535", 1)
        .replacen("a nonzero u32", "a number from 1 on", 1)
        .replace('`', "'");
    printable(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its fields' names and kinds matter")]
    struct Small {
        port: u16,
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its fields' names and kinds matter")]
    struct Inner {
        size: u8,
        name: Option<String>,
    }

    fn told(text: &str) -> Vec<(usize, usize, String)> {
        let document = &Document::all(text).unwrap()[0];
        let found = document.read::<Small>().unwrap_err();
        found.into_iter().map(|one| (one.place.line, one.place.column, one.problem)).collect()
    }

    #[test]
    fn several_documents_keep_their_places() {
        let text = "# é\nport: 1\n---\ninner:\n  - size: 1\n    name: é\n---\n";
        let documents = Document::all(text).unwrap();
        assert_eq!(documents.len(), 3);
        assert!(documents[2].is_empty() && !documents[0].is_empty());
        let path = ["inner".into(), 0.into(), "name".into()];
        let place = documents[1].place(&path);
        assert_eq!((place.line, place.column, place.characters), (6, 11, 1));
        // A list is shown by its key, a map element by its first key.
        assert_eq!(documents[1].place(&path[..1]).line, 4);
        assert_eq!((documents[1].place(&path[..2]).line, documents[1].place(&path[..2]).column), (5, 5));
        assert_eq!(Document::all("").unwrap().len(), 0);
    }

    #[test]
    fn all_that_is_wrong_is_told_each_at_its_place() {
        let text =
            "port: http\nprot: 2\ninner:\n- {size: 1, more: 1}\n- {size: 300}\n- {size: 1, name: [1]}\n";
        let found = told(text);
        let places: Vec<_> = found.iter().map(|one| (one.0, one.1)).collect();
        assert_eq!(places, [(1, 7), (2, 1), (4, 13), (5, 10), (6, 13)], "{found:?}");
        assert!(found[1].2.starts_with("unknown key 'prot', expected 'port' or 'inner'"), "{found:?}");
    }

    #[test]
    fn what_is_missing_is_told_once() {
        let found = told("inner: [{name: a}, {size: 1}]\n");
        let texts: Vec<_> = found.iter().map(|one| one.2.as_str()).collect();
        assert_eq!(texts, ["missing key 'size'", "missing key 'port'"]);
        assert_eq!((found[0].0, found[0].1), (1, 10));
    }

    #[test]
    fn problems_have_a_limit() {
        let text = ["port: 1\ninner:\n".to_string(), "- {size: 300}\n".repeat(30)].concat();
        assert_eq!(told(&text).len(), PROBLEMS_MAX);
        let text = vec!["- [\n"; 30].concat();
        assert!(Document::all(&text).is_err());
    }
}
