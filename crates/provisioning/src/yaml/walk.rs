//! The walk over a text's events, which refuses what [`super`] refuses and notes the place of each value.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::characters;
use super::{DEPTH_MAX, DOCUMENTS_MAX, TEXT_BYTES_MAX, VALUES_MAX, YamlError, YamlErrorKind, printable};

/// The place of something in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// Length in characters, at least 1; a value that spans several lines counts to its end.
    pub characters: usize,
}

/// A value of a document, with its place and content.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) inner: Inner,
}

/// The content of a value.
#[derive(Debug, Clone)]
pub(super) enum Inner {
    /// One word, and whether it is plain: neither in quotes nor a block of text.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Keys with their places and values, in the order of the text.
    Map(Vec<(String, Place, Node)>),
}

/// A list or map that is open during the walk.
enum Open {
    List(Place, Vec<Node>),
    Map {
        place: Place,
        keys: BTreeSet<String>,
        entries: Vec<(String, Place, Node)>,
        key: Option<(String, Place)>,
    },
}

/// Walks over a text with exactly one document.
pub(super) fn one(text: &str) -> Result<Node, YamlError> {
    let mut documents = walk(text, 1)?;
    documents.pop().ok_or_else(|| at(Marker::new(0, 1, 0), YamlErrorKind::NotOneDocument))
}

/// Walks over a text with several documents.
pub(super) fn all(text: &str) -> Result<Vec<Node>, YamlError> {
    walk(text, DOCUMENTS_MAX)
}

/// Walks over the events of `text`, with at most this many documents.
fn walk(text: &str, documents_max: usize) -> Result<Vec<Node>, YamlError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(YamlError { line: 0, column: 0, kind: YamlErrorKind::TooLong });
    }
    let text = characters::checked(text)?;
    let mut walk = Walk { documents: Vec::new(), open: Vec::new(), values: 0, flow: 0, block: None };
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| {
            let kind = YamlErrorKind::Syntax(printable(error.info()));
            at(*error.marker(), kind)
        })?;
        let too_many = matches!(event, Event::DocumentStart(_)) && walk.documents.len() >= documents_max;
        let kind =
            if documents_max == 1 { YamlErrorKind::NotOneDocument } else { YamlErrorKind::TooManyDocuments };
        let checked = if too_many { Err(kind) } else { walk.step(event, span) };
        checked.map_err(|kind| at(span.start, kind))?;
    }
    if let Some(Place { line, column, .. }) = walk.block.filter(|_| !text.ends_with('\n')) {
        return Err(YamlError { line, column, kind: YamlErrorKind::OpenBlock });
    }
    Ok(walk.documents)
}

struct Walk {
    documents: Vec<Node>,
    open: Vec<Open>,
    values: usize,
    /// How many of the open lists and maps are written with brackets or braces, or are inside such a one.
    flow: usize,
    /// The last word, if it is a block of text.
    block: Option<Place>,
}

impl Walk {
    /// Handles one event in the enclosing list or map.
    fn step(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlErrorKind> {
        match event {
            Event::Alias(_) => Err(YamlErrorKind::Alias),
            Event::Scalar(text, style, anchor, tag) => {
                refuse_extras(anchor, tag.as_deref())?;
                self.scalar(&text, style, place(span))
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_extras(anchor, tag.as_deref())?;
                self.enter_flow(span);
                self.enter(Open::List(place(span), Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                refuse_extras(anchor, tag.as_deref())?;
                let (keys, entries) = (BTreeSet::new(), Vec::new());
                self.enter_flow(span);
                self.enter(Open::Map { place: place(span), keys, entries, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.flow = self.flow.saturating_sub(1);
                if let Some(ended) = self.open.pop() {
                    self.put(ended.close());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Only brackets and braces have a length.
    fn enter_flow(&mut self, span: Span) {
        if self.flow > 0 || !span.is_empty() {
            self.flow += 1;
        }
    }

    fn enter(&mut self, inner: Open) -> Result<(), YamlErrorKind> {
        if matches!(self.open.last(), Some(Open::Map { key: None, .. })) {
            return Err(YamlErrorKind::CompoundKey);
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(YamlErrorKind::TooDeep);
        }
        self.count()?;
        self.open.push(inner);
        Ok(())
    }

    /// A scalar is a key, a value or an element of a list.
    fn scalar(&mut self, text: &str, style: ScalarStyle, place: Place) -> Result<(), YamlErrorKind> {
        self.count()?;
        self.block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded).then_some(place);
        if self.block.is_some() && matches!(self.open.last(), None | Some(Open::Map { key: None, .. })) {
            return Err(YamlErrorKind::BlockAlone);
        }
        if style == ScalarStyle::Plain && text.starts_with('?') && self.flow > 0 {
            return Err(YamlErrorKind::QuestionMark);
        }
        let Some(Open::Map { keys, key: key @ None, .. }) = self.open.last_mut() else {
            let plain = style == ScalarStyle::Plain;
            self.put(Node { place, inner: Inner::Scalar { text: text.to_owned(), plain } });
            return Ok(());
        };
        if text == "<<" && style == ScalarStyle::Plain {
            return Err(YamlErrorKind::MergeKey);
        }
        if !keys.insert(text.to_owned()) {
            return Err(YamlErrorKind::DoubledKey(printable(text)));
        }
        *key = Some((text.to_string(), place));
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::List(_, elements)) => elements.push(node),
            Some(Open::Map { entries, key, .. }) => {
                if let Some((key, place)) = key.take() {
                    entries.push((key, place, node));
                }
            }
        }
    }

    fn count(&mut self) -> Result<(), YamlErrorKind> {
        self.values += 1;
        if self.values > VALUES_MAX { Err(YamlErrorKind::TooMany) } else { Ok(()) }
    }
}

impl Open {
    fn close(self) -> Node {
        match self {
            Self::List(place, elements) => Node { place, inner: Inner::List(elements) },
            Self::Map { place, entries, .. } => Node { place, inner: Inner::Map(entries) },
        }
    }
}

fn refuse_extras(anchor: usize, tag: Option<&Tag>) -> Result<(), YamlErrorKind> {
    if anchor != 0 {
        return Err(YamlErrorKind::Anchor);
    }
    if tag.is_some() {
        return Err(YamlErrorKind::Tag);
    }
    Ok(())
}

fn at(place: Marker, kind: YamlErrorKind) -> YamlError {
    YamlError { line: place.line(), column: place.col() + 1, kind }
}

fn place(span: Span) -> Place {
    Place { line: span.start.line(), column: span.start.col() + 1, characters: span.len().max(1) }
}
