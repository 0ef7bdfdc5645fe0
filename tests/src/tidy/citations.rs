//! Every page that a file cites is in the repository, and contains the cited rule.
//!
//! A citation is the name of a page and one of its rules in brackets, as in `protocol.md [tree]`; further
//! rules of the same page follow after a comma or `and`.

use std::collections::BTreeMap;

use super::{File, Violation};

/// Pages that are not in the repository. Each is split here, so that this list does not match itself.
const ELSEWHERE: [&str; 2] = [concat!("DES", "IGN"), concat!("THR", "EATS")];
/// The end of a page's name.
const PAGE: &str = ".md";
/// The longest name of a rule.
const RULE_BYTES_MAX: usize = 24;

/// Unresolved citations in `file`: the page is not among `pages` (path and text), or lacks the rule.
#[must_use]
pub fn unresolved(file: &File, pages: &BTreeMap<&str, &str>) -> Vec<Violation> {
    let prose = Prose::of(&file.text);
    let mut found = Vec::new();
    for word in ELSEWHERE {
        let what = format!("{word} is not in this repository: cite a page of docs/");
        found.extend(prose.find(word).map(|at| Violation::new(&file.path, prose.line(at), what.clone())));
    }
    for end in prose.find(PAGE).map(|at| at + PAGE.len()) {
        let text = &prose.text[..end];
        let start =
            text.rfind(|c: char| !c.is_ascii_alphanumeric() && !"_/.-".contains(c)).map_or(0, |at| at + 1);
        let Some(name) = text.get(start..).filter(|name| name.len() > PAGE.len()) else { continue };
        let line = prose.line(start);
        let named: Vec<&str> =
            pages.iter().filter(|(path, _)| is_named(path, name)).map(|(_, text)| *text).collect();
        if named.is_empty() {
            found.push(Violation::new(&file.path, line, format!("there is no page {name}")));
            continue;
        }
        for rule in rules(&prose.text[end..]) {
            let mark = format!("[{rule}]");
            if !named.iter().any(|text| text.contains(&mark)) {
                found.push(Violation::new(&file.path, line, format!("{name} has no rule {mark}")));
            }
        }
    }
    found
}

/// Whether a page has this name: its path from anywhere, or the end of it.
fn is_named(path: &str, name: &str) -> bool {
    let name = name.trim_start_matches("./").trim_start_matches("../");
    path == name || path.strip_suffix(name).is_some_and(|rest| rest.ends_with('/'))
}

/// The rules in brackets directly after the name of a page.
fn rules(mut rest: &str) -> Vec<&str> {
    let mut found = Vec::new();
    loop {
        let after = rest.trim_start_matches([',', ' ', '`']);
        let after = after.strip_prefix("and ").unwrap_or(after);
        let Some(inside) = after.strip_prefix("\\[").or_else(|| after.strip_prefix('[')) else {
            return found;
        };
        let Some((name, behind)) = inside.split_once(']') else { return found };
        let name = name.trim_end_matches('\\');
        let is_link = behind.starts_with('(') || name.starts_with('`');
        if is_link || name.len() > RULE_BYTES_MAX {
            return found;
        }
        found.push(name);
        rest = behind;
    }
}

/// A text without comment markers and with its lines joined, as a citation may span several lines.
struct Prose {
    text: String,
    /// Where each line begins.
    starts: Vec<usize>,
}

impl Prose {
    fn of(source: &str) -> Self {
        let (mut text, mut starts) = (String::new(), Vec::new());
        for line in source.lines() {
            starts.push(text.len());
            text.push_str(line.trim().trim_start_matches(['/', '!', '#']).trim());
            text.push(' ');
        }
        Self { text, starts }
    }

    fn find<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.text.match_indices(word).map(|(at, _)| at)
    }

    /// The line of a place, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let pages =
            BTreeMap::from([("docs/protocol.md", "* [tree] Leaf\n[one update] x"), ("README.md", "")]);
        let file = File { path: "a.rs".to_owned(), text: text.to_owned() };
        unresolved(&file, &pages).into_iter().map(|found| (found.line, found.what)).collect()
    }

    #[test]
    fn citations_that_resolve_pass() {
        for text in [
            "/// Checked first (protocol.md \\[tree\\], [one update]).\n",
            "// docs/protocol.md, [tree] and [one update]\n",
            "//! see protocol.md\n//! [one\n//! update], or the README.md\n",
            "[the protocol](docs/protocol.md); [more](../README.md)\n",
            "/// in protocol.md, [`Tree`] is not a rule, nor [is this](x)\n",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn citations_that_lead_nowhere_are_found() {
        assert_eq!(found("\n// see plan.md\n"), [(2, "there is no page plan.md".to_owned())]);
        assert_eq!(found("// col.md is no page\n").len(), 1);
        let lacks = (1, "protocol.md has no rule [leaf]".to_owned());
        assert_eq!(found("/// protocol.md \\[tree\\], [leaf]\n"), [lacks]);
        for word in ELSEWHERE {
            assert_eq!(found(&format!("// as {word} says\n")).len(), 1);
        }
    }
}
