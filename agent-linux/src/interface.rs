//! A network interface by its name.

use nix::net::if_::{if_nameindex, if_nametoindex};

/// A network interface that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The system's number for it, never 0.
    pub index: u32,
}

/// There is no interface with this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no network interface '{}': this machine has {existing}", .name.escape_debug())]
pub struct NoInterface {
    name: String,
    existing: String,
}

impl Interface {
    /// Looks up a name.
    ///
    /// # Errors
    /// [`NoInterface`], which names those that exist.
    pub fn by_name(name: &str) -> Result<Self, NoInterface> {
        match if_nametoindex(name) {
            Ok(index) => Ok(Self { name: name.to_owned(), index }),
            Err(_) => Err(NoInterface { name: name.to_owned(), existing: existing() }),
        }
    }
}

fn existing() -> String {
    let names: Vec<String> = if_nameindex().map_or_else(
        |_| Vec::new(),
        |list| list.iter().map(|one| one.name().to_string_lossy().into_owned()).collect(),
    );
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_an_index() {
        let interface = Interface::by_name("lo").unwrap();
        assert!(interface.index > 0);
    }

    #[test]
    fn the_error_names_what_exists() {
        for name in ["nothing0", "", "a name that is much too long for an interface", "a\0b"] {
            let sentence = Interface::by_name(name).unwrap_err().to_string();
            assert!(sentence.contains("lo") && !sentence.contains('\0'), "{sentence}");
        }
    }
}
