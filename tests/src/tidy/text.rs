//! Rules over lines.

use super::{File, Violation};

/// The maximum number of columns in a line.
pub const COLUMNS_MAX: usize = 110;
/// The maximum number of lines in a Rust file.
pub const LINES_MAX: usize = 600;

/// Paths of one machine, and hosts that only a package manager needs. Each is split here, so that this list
/// does not match itself.
const BANNED: [&str; 12] = [
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/tmp/ba", "sh_jobs"),
    concat!("index.cra", "tes.io"),
    concat!("static.cra", "tes.io"),
    concat!("py", "pi.org"),
    concat!("registry.np", "mjs.org"),
    concat!("proxy.gol", "ang.org"),
    concat!("deb.deb", "ian.org"),
    concat!("artif", "actory"),
];

/// Lines of more than [`COLUMNS_MAX`] columns.
#[must_use]
pub fn too_wide(file: &File) -> Vec<Violation> {
    lines(file)
        .map(|(number, line)| (number, line.chars().count()))
        .filter(|(_, columns)| *columns > COLUMNS_MAX)
        .map(|(number, columns)| {
            Violation::new(&file.path, number, format!("{columns} columns, at most {COLUMNS_MAX}"))
        })
        .collect()
}

/// Files of more than [`LINES_MAX`] lines.
#[must_use]
pub fn too_long(file: &File) -> Option<Violation> {
    let count = file.text.lines().count();
    let what = format!("{count} lines, at most {LINES_MAX}: split it by its nouns");
    (count > LINES_MAX).then(|| Violation::new(&file.path, 0, what))
}

/// Words that reveal the machine on which a file was written.
#[must_use]
pub fn banned(file: &File) -> Vec<Violation> {
    lines(file)
        .flat_map(|(number, line)| {
            BANNED
                .iter()
                .filter(move |word| line.contains(**word))
                .map(move |word| Violation::new(&file.path, number, format!("{word} does not belong here")))
        })
        .collect()
}

fn lines(file: &File) -> impl Iterator<Item = (usize, &str)> {
    file.text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_line_is_too_wide_by_columns_and_not_by_bytes() {
        let right = "ä".repeat(COLUMNS_MAX);
        assert!(too_wide(&file("a.rs", &right)).is_empty());
        let found = too_wide(&file("a.rs", &format!("\n{right}x\n")));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
    }

    #[test]
    fn a_file_is_too_long_by_one_line() {
        assert_eq!(too_long(&file("a.rs", &"\n".repeat(LINES_MAX))), None);
        assert!(too_long(&file("a.rs", &"\n".repeat(LINES_MAX + 1))).is_some());
    }

    #[test]
    fn each_banned_word_is_found() {
        for word in BANNED {
            let found = banned(&file("a.md", &format!("fine\nsee {word}x\n")));
            assert_eq!(found.len(), 1, "{word}");
            assert_eq!(found[0].line, 2);
        }
        assert!(banned(&file("a.md", "the network, a home, crates.io-index\n")).is_empty());
    }
}
