//! A problem in a file, shown with its line and a caret below it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use provisioning::yaml::Place;
use serde::Serialize;

use super::source::Source;

/// The most characters that are shown of a line.
const SHOWN_MAX: usize = 100;
/// How many of them are before the place.
const SHOWN_BEFORE: usize = 60;

/// A problem at a place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file, as shown to the operator; `-` for standard input.
    pub file: String,
    /// The line, counted from 1; 0 for the whole file.
    pub line: usize,
    /// The column in characters, counted from 1; 0 as for `line`.
    pub column: usize,
    /// One sentence, without the final full stop.
    pub problem: String,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// The part of a line that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excerpt {
    text: String,
    /// The bytes that are marked.
    marked: Range<usize>,
    /// Whether it begins at the start of the line.
    from_start: bool,
}

impl Diagnostic {
    /// A problem at a place.
    pub fn at(source: &Source, place: Place, problem: impl Into<String>) -> Self {
        Self {
            file: source.name.clone(),
            line: place.line,
            column: place.column,
            problem: problem.into(),
            excerpt: excerpt(&source.text, place),
        }
    }

    /// A problem with a whole file.
    pub fn with_file(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, problem: problem.into(), excerpt: None }
    }

    /// The problem as shown to people: the sentence, the place, the line and a caret.
    pub fn render(&self) -> String {
        let title = Level::ERROR.primary_title(&self.problem);
        let origin = Origin::path(&self.file);
        let group = match &self.excerpt {
            None => title.element(origin),
            Some(excerpt) => {
                let marked = AnnotationKind::Primary.span(excerpt.marked.clone());
                let snippet = Snippet::source(&excerpt.text).line_start(self.line).annotation(marked);
                if excerpt.from_start {
                    title.element(snippet.path(&self.file))
                } else {
                    title.element(origin.line(self.line).char_column(self.column)).element(snippet)
                }
            }
        };
        Renderer::plain().render(&[group])
    }
}

/// The part of a line around a place. Only this much is passed on, however long the line is.
fn excerpt(text: &str, place: Place) -> Option<Excerpt> {
    let line = text.lines().nth(place.line.checked_sub(1)?)?;
    let before = place.column.saturating_sub(1);
    let from = before.saturating_sub(SHOWN_BEFORE);
    let shown: String = line.chars().skip(from).take(SHOWN_MAX).map(harmless).collect();
    let byte = |character: usize| shown.char_indices().nth(character).map_or(shown.len(), |(byte, _)| byte);
    let marked = byte(before - from)..byte(before - from + place.characters);
    Some(Excerpt { text: shown, marked, from_start: from == 0 })
}

/// A file may contain characters that control the reader's terminal.
fn harmless(c: char) -> char {
    let bidirectional =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match c {
        '\t' => ' ',
        c if c.is_control() || bidirectional => '\u{fffd}',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { name: "a.yaml".to_owned(), folder: ".".into(), text: text.to_owned() }
    }

    #[test]
    fn a_problem_is_shown_with_its_line_and_a_caret() {
        let place = Place { line: 2, column: 3, characters: 4 };
        let problem = Diagnostic::at(&source("a:\n  rate: fast\n"), place, "this is wrong");
        let shown = problem.render();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[0], "error: this is wrong", "{shown}");
        assert_eq!(lines[1].trim(), "--> a.yaml:2:3", "{shown}");
        assert!(shown.contains("2 |   rate: fast\n"), "{shown}");
        assert!(shown.trim_end().ends_with("|   ^^^^"), "{shown}");
    }

    #[test]
    fn neither_a_long_line_nor_a_control_character_does_harm() {
        let line = format!("{}\u{1b}[2J\u{202e}{}", "x".repeat(500_000), "y".repeat(500_000));
        let place = Place { line: 1, column: 500_001, characters: 500_000 };
        let shown = Diagnostic::at(&source(&line), place, "this is wrong").render();
        assert!(shown.len() < 1000 && !shown.contains(['\u{1b}', '\u{202e}']), "{shown}");
        assert!(shown.contains("a.yaml:1:500001"), "{shown}");
        // A place beyond the text is shown without a line.
        let place = Place { line: 9, column: 1, characters: 1 };
        assert!(Diagnostic::at(&source("a"), place, "this").render().contains("a.yaml"));
    }
}
