//! Which characters a text may have: those that every program reads in the same way.

use alloc::format;
use alloc::string::String;

use super::{YamlError, YamlErrorKind};

/// The byte order mark that some editors put at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text without a byte order mark at the beginning, if all its characters are allowed.
pub(super) fn checked(text: &str) -> Result<&str, YamlError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let (mut line, mut column) = (1, 1);
    // Whether there are only spaces before it in the line.
    let mut indented = true;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let kind = match c {
            '%' if column == 1 => Some(YamlErrorKind::Directive),
            '\t' if indented => Some(YamlErrorKind::Tab),
            '\r' if characters.peek() == Some(&'\n') => None,
            c if is_taken(c) => None,
            c => Some(YamlErrorKind::Character(c)),
        };
        if let Some(kind) = kind {
            return Err(YamlError { line, column, kind });
        }
        indented = c == '\n' || indented && c == ' ';
        (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    Ok(text)
}

/// The first character that programs read differently, also outside of YAML: its line, its column, and a
/// sentence about it.
pub fn first_refused(text: &str) -> Option<(usize, usize, String)> {
    let (mut line, mut column) = (1, 1);
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let ends_line = c == '\r' && characters.peek() == Some(&'\n');
        if !is_taken(c) && !ends_line {
            return Some((line, column, format!("{}; delete it", named(c))));
        }
        (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
    }
    None
}

/// Refused are control characters, line ends other than those of Unix and Windows, characters that change the
/// direction of text, and code points that are not characters.
fn is_taken(c: char) -> bool {
    match c {
        '\n' | '\t' => true,
        c if c.is_control() => false,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fff9}'..='\u{fffb}' => false,
        BYTE_ORDER_MARK => false,
        c => c as u32 & 0xfffe != 0xfffe,
    }
}

/// Why a character is refused, and what to do.
pub(super) fn refused(c: char) -> String {
    format!("{}; delete it, or write \"\\u{:04X}\" in quotes", named(c), c as u32)
}

/// Which character is refused, and why.
fn named(c: char) -> String {
    let (name, why) = match c {
        '\r' => ("a carriage return alone", "ends a line for some programs and not for others"),
        '\u{85}' | '\u{2028}' | '\u{2029}' => {
            ("a line separator", "ends a line for some programs and not for others")
        }
        BYTE_ORDER_MARK => ("a byte order mark", "belongs only to the beginning of a file"),
        c if c.is_control() => ("a control character", "is not seen in an editor"),
        _ => ("an invisible character", "is not seen in an editor"),
    };
    let code = c as u32;
    format!("there is {name} here (U+{code:04X}), which {why}")
}
