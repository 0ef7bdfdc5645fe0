//! The rooms of the distributor are on floors, and a room may only name rooms below its own: the service
//! layer knows no command line, the store no manifests.

use super::rust::Token;
use super::{File, Violation};

/// Where the rooms are.
const HOUSE: &str = "distributor/src/";

/// The rooms, floor by floor from the ground up. A room is a module of the package with everything below it.
const FLOORS: [&[&str]; 9] = [
    &["control", "files", "kind", "random", "say", "values"],
    &["keys", "state"],
    &["image", "key_sets", "socket"],
    &["new_group", "signing", "store"],
    &["link", "manifest", "session"],
    &["drive"],
    &["runner"],
    &["fleet"],
    &["cli", "commands"],
];

/// The rooms that may name the kind of store; others are generic over it.
const STORE_KEEPERS: [&str; 2] = ["commands", "store"];

/// The rooms above its own, or unknown ones, that a file names outside its tests.
#[must_use]
pub fn climbs(file: &File, tokens: &[Token]) -> Vec<Violation> {
    let Some(room) = room_of(&file.path) else {
        return Vec::new();
    };
    let Some(own) = floor(room) else {
        let what = format!("the room {room} has no floor: give it one in tests/src/tidy/rooms.rs");
        return vec![Violation::new(&file.path, 0, what)];
    };
    let mut found = Vec::new();
    for window in tokens.windows(4).filter(|window| window.iter().all(|token| !token.in_test)) {
        let [a, b, c, d] = window else { continue };
        if (a.text.as_str(), b.text.as_str(), c.text.as_str()) != ("crate", ":", ":") {
            continue;
        }
        let is_above = floor(&d.text).is_none_or(|other| other > own || (other == own && d.text != room));
        let is_beside = room == "commands" && d.text == "cli" || room == "cli" && d.text == "commands";
        if is_above && !is_beside {
            let what = format!("{room} names {}, which is not below it", d.text);
            found.push(Violation::new(&file.path, d.line, what));
        }
    }
    if !STORE_KEEPERS.contains(&room) {
        let named = tokens.iter().filter(|token| token.text == "SqliteStore" && !token.in_test);
        found.extend(named.map(|token| {
            Violation::new(&file.path, token.line, format!("{room} names SqliteStore: take any Store"))
        }));
    }
    found
}

/// The room of a file; `None` outside the house, and for `lib.rs` and `main.rs`.
fn room_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix(HOUSE)?;
    let room = inside.split('/').next()?;
    let room = room.strip_suffix(".rs").unwrap_or(room);
    (room != "lib" && room != "main").then_some(room)
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&room))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::rust::tokens;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        climbs(&file, &tokens(&file).unwrap()).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_room_names_only_those_below() {
        assert!(
            found("distributor/src/fleet/x.rs", "use crate::store::Store; use crate::fleet::y;").is_empty()
        );
        assert_eq!(
            found("distributor/src/fleet/x.rs", "use crate::commands::output;"),
            ["fleet names commands, which is not below it"]
        );
        assert_eq!(
            found("distributor/src/store/x.rs", "fn f() { crate::manifest::g() }"),
            ["store names manifest, which is not below it"]
        );
        assert_eq!(
            found("distributor/src/session.rs", "use crate::manifest::x;"),
            ["session names manifest, which is not below it"]
        );
        // Code that is compiled only for tests may use anything.
        assert!(
            found("distributor/src/state/x.rs", "#[cfg(test)] mod tests { use crate::fleet; }").is_empty()
        );
        assert!(found("agent-linux/src/x.rs", "use crate::anything;").is_empty());
    }

    #[test]
    fn a_new_room_gets_a_floor() {
        assert!(found("distributor/src/http.rs", "").iter().any(|what| what.contains("no floor")));
        assert!(!found("distributor/src/fleet.rs", "use crate::http::x;").is_empty());
    }

    #[test]
    fn one_store_is_like_another() {
        assert!(found("distributor/src/commands/x.rs", "use crate::store::SqliteStore;").is_empty());
        assert_eq!(
            found("distributor/src/fleet/x.rs", "use crate::store::SqliteStore;"),
            ["fleet names SqliteStore: take any Store"]
        );
    }
}
