//! The map in `README.md` matches the repository.

use std::collections::BTreeSet;

use super::Violation;

/// Heading of the section with the map.
const HEADING: &str = "## Map";

/// Differences between the map and the tree: the map needs one bullet for each top-level folder, each
/// crate and each package of the distributor, and no others.
#[must_use]
pub fn differences(readme: &str, paths: &[&str]) -> Vec<Violation> {
    let drawn = drawn(readme);
    let there = folders(paths);
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (line, folder) in &drawn {
        if !there.contains(*folder) {
            found.push(Violation::new(
                "README.md",
                *line,
                format!("the map has `{folder}/`, the tree has not"),
            ));
        }
        if !seen.insert(*folder) {
            found.push(Violation::new("README.md", *line, format!("the map has `{folder}/` twice")));
        }
    }
    for folder in there.iter().filter(|folder| !seen.contains(folder.as_str())) {
        found.push(Violation::new("README.md", 0, format!("the map lacks `{folder}/`")));
    }
    found
}

/// Pages of `docs/` that `README.md` does not link.
#[must_use]
pub fn pages_not_linked(readme: &str, paths: &[&str]) -> Vec<Violation> {
    paths
        .iter()
        .filter(|path| path.starts_with("docs/"))
        .filter(|path| !readme.contains(&format!("]({path})")))
        .map(|path| Violation::new("README.md", 0, format!("no link to {path}")))
        .collect()
}

/// The folders of the map's bullets, with their lines.
fn drawn(readme: &str) -> Vec<(usize, &str)> {
    readme
        .lines()
        .enumerate()
        .skip_while(|(_, line)| *line != HEADING)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(index, line)| Some((index + 1, line.strip_prefix("- `")?.split_once("/`")?.0)))
        .collect()
}

/// The folders that the map must show: the top-level ones, each in `crates/`, and packages in `distributor/`.
fn folders(paths: &[&str]) -> BTreeSet<String> {
    let is_package = |folder: &str| paths.contains(&format!("{folder}/Cargo.toml").as_str());
    paths
        .iter()
        .flat_map(|path| {
            let parts: Vec<&str> = path.split('/').collect();
            let is_inner = parts.len() > 2 && is_package(&parts[..2].join("/"));
            let depth = if parts[0] == "crates" || parts[0] == "distributor" && is_inner { 2 } else { 1 };
            (1..=depth).filter(move |count| *count < parts.len()).map(move |count| (count, path))
        })
        .map(|(count, path)| path.split('/').take(count).collect::<Vec<_>>().join("/"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const README: &str = "# X\n- `not/`: a map\n\n## Map\n\n- `crates/`: core\n- `crates/a/`: a\n\
                          - `docs/`: pages\n\n## Licence\n- `nor/`: this\n";
    const PATHS: [&str; 4] = ["README.md", "crates/a/src/lib.rs", "docs/a.md", "crates/a/Cargo.toml"];

    #[test]
    fn a_true_map_has_no_differences() {
        assert_eq!(differences(README, &PATHS), []);
    }

    #[test]
    fn what_is_missing_too_much_or_twice_is_found() {
        let more: Vec<&str> = PATHS.into_iter().chain(["crates/b/src/lib.rs", "manifests/x.yaml"]).collect();
        let what: Vec<String> = differences(README, &more).into_iter().map(|found| found.what).collect();
        assert_eq!(what, ["the map lacks `crates/b/`", "the map lacks `manifests/`"]);
        let fewer = ["crates/a/src/lib.rs"];
        let found = differences(README, &fewer);
        assert_eq!(found, [Violation::new("README.md", 8, "the map has `docs/`, the tree has not")]);
        let twice = README.replace("## Licence", "- `docs/`: again\n## Licence");
        assert_eq!(differences(&twice, &PATHS).len(), 1);
        assert_eq!(differences("no map", &PATHS).len(), 3);
    }

    #[test]
    fn a_page_that_is_not_linked_is_found() {
        assert_eq!(pages_not_linked("see [a](docs/a.md)", &PATHS), []);
        assert_eq!(pages_not_linked("see docs/a.md", &PATHS).len(), 1);
    }
}
