//! The compiler keeps the packages of the distributor apart. What it does not see: only the command line
//! decides which kind of store there is.

use super::rust::Token;
use super::{File, Violation};

/// The packages that may name the kind of store; the others are generic over it.
const STORE_KEEPERS: [&str; 2] = ["distributor/src/", "distributor/store/"];

/// The places outside tests where a package names the kind of store, but should be generic over it.
#[must_use]
pub fn named_stores(file: &File, tokens: &[Token]) -> Vec<Violation> {
    if STORE_KEEPERS.iter().any(|package| file.path.starts_with(package)) {
        return Vec::new();
    }
    let named = tokens.iter().filter(|token| token.text == "SqliteStore" && !token.in_test);
    named
        .map(|token| Violation::new(&file.path, token.line, "names SqliteStore: take any Store".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rust::tokens;

    fn found(path: &str, text: &str) -> usize {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        named_stores(&file, &tokens(&file).unwrap()).len()
    }

    #[test]
    fn one_store_is_like_another() {
        let text = "use fwcast_store::SqliteStore;";
        assert_eq!(found("distributor/src/commands/x.rs", text), 0);
        assert_eq!(found("distributor/service/src/x.rs", text), 1);
        let in_a_test = "#[cfg(test)] mod tests { use fwcast_store::SqliteStore; }";
        assert_eq!(found("distributor/service/src/x.rs", in_a_test), 0);
    }
}
