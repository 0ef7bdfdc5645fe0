//! Where rollout manifests come from: files, folders and standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use provisioning::yaml::TEXT_BYTES_MAX;

use super::Diagnostic;
use fwcast_state::files::{self, shown};

/// The most files that are read at once.
const FILES_MAX: usize = 1000;

/// A text and its source.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file's path as shown to the operator; `-` for standard input.
    pub name: String,
    /// The folder that relative paths in it start from.
    pub folder: PathBuf,
    /// The text.
    pub text: String,
}

impl Source {
    /// Reads what the operator named: `-` for standard input, a file, or all `*.yaml` files of a folder in
    /// order of their names.
    ///
    /// # Errors
    /// Every file that cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Vec<Self>, Vec<Diagnostic>> {
        let (mut sources, mut problems) = (Vec::new(), Vec::new());
        let mut take = |read: Result<Self, Diagnostic>| match read {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        };
        for path in paths {
            if path.as_os_str() == "-" {
                take(from_stdin());
            } else if path.is_dir() {
                match files_of(path) {
                    Ok(files) => files.iter().for_each(|file| take(from_file(file))),
                    Err(problem) => take(Err(problem)),
                }
            } else {
                take(from_file(path));
            }
        }
        if problems.is_empty() { Ok(sources) } else { Err(problems) }
    }
}

fn from_stdin() -> Result<Source, Diagnostic> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Diagnostic::with_file("-", format!("standard input cannot be read: {error}")))?;
    if bytes.len() > TEXT_BYTES_MAX {
        let why = format!("standard input is longer than {TEXT_BYTES_MAX} bytes: split it");
        return Err(Diagnostic::with_file("-", why));
    }
    from_bytes("-".to_owned(), PathBuf::from("."), bytes)
}

fn from_file(path: &Path) -> Result<Source, Diagnostic> {
    let name = name_of(path);
    match files::read(path, TEXT_BYTES_MAX as u64) {
        Ok(bytes) => from_bytes(name, path.parent().unwrap_or(Path::new("")).to_path_buf(), bytes),
        Err(error) => Err(Diagnostic::with_file(name, error.to_string())),
    }
}

fn from_bytes(name: String, folder: PathBuf, bytes: Vec<u8>) -> Result<Source, Diagnostic> {
    match String::from_utf8(bytes) {
        // A place in the text is one in the file also where some editor has put a byte order mark in front.
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.drain(..'\u{feff}'.len_utf8());
            }
            Ok(Source { name, folder, text })
        }
        Err(error) => {
            let place = error.utf8_error().valid_up_to();
            Err(Diagnostic::with_file(
                name,
                format!("this is not UTF-8 text at byte {place}: save it as UTF-8"),
            ))
        }
    }
}

/// The YAML files of a folder, without its subfolders.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, Diagnostic> {
    let problem = |why: String| Diagnostic::with_file(name_of(folder), why);
    let entries = std::fs::read_dir(folder)
        .and_then(|entries| {
            entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()
        })
        .map_err(|error| problem(format!("the folder {} cannot be read: {error}", shown(folder))))?;
    let is_yaml =
        |path: &PathBuf| path.extension().is_some_and(|it| it == "yaml" || it == "yml") && !path.is_dir();
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_yaml).collect();
    files.sort();
    if files.is_empty() {
        return Err(problem(format!(
            "there is no *.yaml file in the folder {}: check the path",
            shown(folder)
        )));
    }
    if files.len() > FILES_MAX {
        return Err(problem(format!(
            "there are more than {FILES_MAX} files in {}: name some",
            shown(folder)
        )));
    }
    Ok(files)
}

/// A path with control characters escaped.
fn name_of(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
