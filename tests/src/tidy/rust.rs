//! Rules over the tokens of Rust files: comments and string contents do not matter, and an item marked
//! `#[cfg(test)]` can be skipped as a whole.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{File, Violation};

/// A token as the rules see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub(super) line: usize,
    /// An identifier, a literal, a punctuation character, or a bracket.
    pub(super) text: String,
    /// Whether it is part of an item marked `#[cfg(test)]`.
    pub(super) in_test: bool,
}

/// What the core must never contain, as paths or calls of consecutive tokens.
const HANDS: [(&[&str], &str); 17] = [
    (&["extern", "crate", "std"], "std"),
    (&["std", ":", ":"], "std"),
    (&["unsafe"], "unsafe"),
    (&["println", "!"], "printing"),
    (&["eprintln", "!"], "printing"),
    (&["print", "!"], "printing"),
    (&["eprint", "!"], "printing"),
    (&["dbg", "!"], "printing"),
    (&["Instant", ":", ":", "now"], "a clock"),
    (&["SystemTime"], "a clock"),
    (&["UdpSocket"], "I/O"),
    (&["thread", ":", ":"], "a thread"),
    (&["tokio"], "I/O"),
    (&["tracing"], "a log"),
    (&["log", ":", ":"], "a log"),
    (&["getrandom"], "global randomness"),
    (&["OsRng"], "global randomness"),
];

/// Unfinished code. The words are split, so that this list does not match itself.
const UNFINISHED: [&[&str]; 3] = [&["todo", "!"], &["unimplemented", "!"], &["#", "[", "ignore"]];
const UNFINISHED_WORDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// The tokens of a file, or the violation that it is not Rust.
///
/// # Errors
/// The file cannot be parsed as Rust.
pub fn tokens(file: &File) -> Result<Vec<Token>, Violation> {
    let stream: TokenStream = file.text.parse().map_err(|error: proc_macro2::LexError| {
        Violation::new(&file.path, error.span().start().line, "does not read as Rust")
    })?;
    let mut flat = Vec::new();
    flatten(stream, false, &mut flat);
    Ok(flat)
}

/// What the core must not have: std, a clock, I/O, a thread, a log, global randomness, `unsafe`.
#[must_use]
pub fn hands(path: &str, tokens: &[Token]) -> Vec<Violation> {
    HANDS
        .iter()
        .flat_map(|(pattern, what)| {
            places(tokens, pattern)
                .filter(|place| !tokens[*place].in_test)
                .map(move |place| (tokens[place].line, what))
        })
        .map(|(line, what)| Violation::new(path, line, format!("the core has no {what}")))
        .collect()
}

/// Signatures that are checked by less than `verify_strict`: the trait `Verifier` provides the loose check of
/// Ed25519, and a signing key has one too. ES256 (`p256`) has no other.
#[must_use]
pub fn loose_verification(path: &str, tokens: &[Token]) -> Vec<Violation> {
    let names = |word: &str| tokens.iter().any(|token| token.text == word);
    let of_dalek = names("ed25519_dalek");
    let verifier = places(tokens, &["Verifier"]).filter(|_| of_dalek || !names("p256"));
    let own = places(tokens, &[".", "verify", "("]).filter(|_| of_dalek && names("SigningKey"));
    verifier
        .chain(own)
        .filter(|place| !tokens[*place].in_test)
        .map(|place| Violation::new(path, tokens[place].line, "check Ed25519 signatures with verify_strict"))
        .collect()
}

/// Macros for code that is not written yet, and tests that are not run.
#[must_use]
pub fn unfinished(path: &str, tokens: &[Token]) -> Vec<Violation> {
    UNFINISHED
        .iter()
        .flat_map(|pattern| places(tokens, pattern).map(move |place| (tokens[place].line, pattern.concat())))
        .map(|(line, what)| Violation::new(path, line, format!("{what} is left over")))
        .collect()
}

/// Words in comments that postpone work.
#[must_use]
pub fn unfinished_comments(file: &File) -> Vec<Violation> {
    file.text
        .lines()
        .enumerate()
        .flat_map(|(index, line)| {
            UNFINISHED_WORDS.iter().filter(|word| line.contains(**word)).map(move |word| (index + 1, word))
        })
        .map(|(line, word)| Violation::new(&file.path, line, format!("{word} is left over")))
        .collect()
}

/// The files of modules that a file declares under `#[cfg(test)]`.
#[must_use]
pub fn test_modules(file: &File) -> Vec<String> {
    let Ok(tokens) = tokens(file) else { return Vec::new() };
    let (beside, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let below = match name {
        "lib.rs" | "main.rs" | "mod.rs" => beside,
        _ => file.path.trim_end_matches(".rs"),
    };
    places(&tokens, &["mod"])
        .filter(|place| tokens[*place].in_test)
        .filter(|place| tokens.get(place + 2).is_some_and(|token| token.text == ";"))
        .map(|place| match named_path(&tokens[..place]) {
            Some(name) => format!("{beside}/{name}"),
            None => format!("{below}/{}.rs", tokens[place + 1].text),
        })
        .collect()
}

/// The file name of `#[path = "name"]` at the end of these tokens.
fn named_path(before: &[Token]) -> Option<&str> {
    match before.last_chunk::<6>()?.each_ref().map(|token| token.text.as_str()) {
        ["#", "[", "path", "=", name, "]"] => Some(name.trim_matches('"')),
        _ => None,
    }
}

/// Where these texts occur consecutively.
fn places<'a>(tokens: &'a [Token], pattern: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    tokens
        .windows(pattern.len())
        .enumerate()
        .filter(move |(_, window)| window.iter().zip(pattern).all(|(token, text)| token.text == *text))
        .map(|(place, _)| place)
}

fn flatten(stream: TokenStream, in_test: bool, flat: &mut Vec<Token>) {
    let mut trees = stream.into_iter().peekable();
    // From an attribute `#[cfg(test)]` to the end of its item: a body in braces, or a semicolon.
    let mut item = false;
    while let Some(tree) = trees.next() {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(ident) => {
                flat.push(Token { line, text: ident.to_string(), in_test: in_test || item });
            }
            TokenTree::Literal(literal) => {
                flat.push(Token { line, text: literal.to_string(), in_test: in_test || item });
            }
            TokenTree::Punct(punct) => {
                item |= punct.as_char() == '#' && trees.peek().is_some_and(is_cfg_test);
                flat.push(Token { line, text: punct.to_string(), in_test: in_test || item });
                item &= punct.as_char() != ';';
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                flat.push(Token { line, text: open.to_owned(), in_test: in_test || item });
                flatten(group.stream(), in_test || item, flat);
                let line = group.span_close().start().line;
                flat.push(Token { line, text: close.to_owned(), in_test: in_test || item });
                item &= group.delimiter() != Delimiter::Brace;
            }
        }
    }
}

fn is_cfg_test(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Group(group) if group.stream().to_string().replace(' ', "") == "cfg(test)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> Vec<Token> {
        tokens(&File { path: "a.rs".to_owned(), text: text.to_owned() }).unwrap()
    }

    #[test]
    fn each_hand_is_seen() {
        for text in [
            "extern crate std;",
            "use std::fmt;",
            "use ::std::fmt;",
            "use {std::fmt};",
            "fn f() -> std::string::String {}",
            "unsafe fn f() {}",
            "fn f() { println!(\"x\") }",
            "fn f() { eprintln!(\"x\") }",
            "fn f() { print!(\"x\") }",
            "fn f() { dbg!(1); }",
            "fn f() { let now = Instant::now(); }",
            "use core::time::SystemTime;",
            "fn f(socket: &UdpSocket) {}",
            "fn f() { thread::spawn(g) }",
            "fn f() { tracing::info!(\"x\") }",
            "fn f() { log::warn!(\"x\") }",
            "fn f() { getrandom::fill(x) }",
            "fn f() { OsRng.next_u32() }",
            "use tokio::net::TcpStream;",
        ] {
            assert_eq!(hands("a.rs", &lex(text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn comments_strings_and_tests_are_no_hands() {
        for text in [
            "// std::fmt\n/* unsafe */\n/// println!(\"x\")\nfn f() -> &'static str { \"std::fmt unsafe\" }",
            "#[cfg(test)]\nmod tests { use std::fmt; fn f() { println!(\"x\") } }",
            "#[cfg(test)]\nuse std::fmt;\nfn f() {}",
            "use core::fmt; fn f(no_std: u8, standard: u8) { catalog::x() }",
        ] {
            assert_eq!(hands("a.rs", &lex(text)), [], "{text}");
        }
    }

    #[test]
    fn after_a_test_item_the_rules_hold_again() {
        let text = "#[cfg(test)]\nmod tests { use std::fmt; }\nuse std::fmt;\n";
        assert_eq!(hands("a.rs", &lex(text)), [Violation::new("a.rs", 3, "the core has no std")]);
        let text = "#[cfg(test)]\nmod checks;\nuse std::fmt;\n";
        assert_eq!(hands("a.rs", &lex(text)).len(), 1);
        let text = "#[cfg(not(test))]\nmod real { use std::fmt; }\n";
        assert_eq!(hands("a.rs", &lex(text)).len(), 1);
    }

    #[test]
    fn only_strict_verification_passes() {
        let loose = |text: &str| loose_verification("a.rs", &lex(text)).len();
        assert_eq!(loose("use ed25519_dalek::{Verifier, VerifyingKey};"), 1);
        assert_eq!(loose("use signature::Verifier;"), 1);
        assert_eq!(loose("use ed25519_dalek::SigningKey; fn f(k: &SigningKey) { k.verify(b, s) }"), 1);
        assert_eq!(loose("use p256::ecdsa::signature::Verifier; fn f() { k.verify(b, s) }"), 0);
        assert_eq!(loose("use ed25519_dalek::VerifyingKey; fn f() { k.verify_strict(b, s) }"), 0);
        assert_eq!(loose("fn f() { sign1.verify(payload, key) }"), 0);
        assert_eq!(loose("#[cfg(test)] mod tests { use ed25519_dalek::Verifier; }"), 0);
    }

    #[test]
    fn unfinished_code_is_found() {
        for (text, what) in [
            ("fn f() { todo!() }", "todo!"),
            ("fn f() { unimplemented!(\"later\") }", "unimplemented!"),
            ("#[test]\n#[ignore]\nfn f() {}", "#[ignore"),
            ("#[ignore = \"slow\"]\nfn f() {}", "#[ignore"),
        ] {
            let found = unfinished("a.rs", &lex(text));
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(found[0].what, format!("{what} is left over"));
        }
        assert!(unfinished("a.rs", &lex("fn f(ignore: bool) { todo(ignore) }")).is_empty());
        for word in UNFINISHED_WORDS {
            let file = File { path: "a.rs".to_owned(), text: format!("fn f() {{}}\n// {word}: later\n") };
            assert_eq!(unfinished_comments(&file).len(), 1);
        }
    }

    #[test]
    fn files_of_test_modules_are_named() {
        let named = |path: &str| {
            let text =
                "mod real;\n#[cfg(test)]\nmod checks;\n#[cfg(test)]\nmod tests { mod inner; }\n".to_owned();
            test_modules(&File { path: path.to_owned(), text })
        };
        // A module inside a test module is not code of the core either; its path only has to be a different
        // one.
        assert_eq!(named("crates/a/src/lib.rs")[0], "crates/a/src/checks.rs");
        assert_eq!(named("crates/a/src/replay.rs")[0], "crates/a/src/replay/checks.rs");
        let text = "#[cfg(test)]\n#[path = \"b_checks.rs\"]\nmod checks;\n".to_owned();
        let file = File { path: "crates/a/src/b.rs".to_owned(), text };
        assert_eq!(test_modules(&file), ["crates/a/src/b_checks.rs"]);
        assert!(!named("crates/a/src/lib.rs").contains(&"crates/a/src/real.rs".to_owned()));
    }
}
