//! Whether an operator's command can be started at all: looked at before anything depends on it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::config::shown;

/// The longest first line of a script that is looked at: the kernel reads no more (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES_MAX: u64 = 256;

/// Why this command cannot be started, without a full stop; `None` if nothing speaks against it.
#[must_use]
pub fn problem(command: &[String]) -> Option<String> {
    let Some(program) = command.first().filter(|program| !program.is_empty()) else {
        return Some("no program is given".to_owned());
    };
    let Some(path) = find(program) else {
        return Some(format!("there is no program {}", shown(Path::new(program))));
    };
    not_executable(&path).or_else(|| interpreter_problem(&path))
}

/// The file of a program, which is looked for in `PATH` if it has no slash.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.exists());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn not_executable(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Err(error) => Some(format!("{} cannot be looked at: {error}", shown(path))),
        Ok(metadata) if metadata.is_dir() => Some(format!("{} is a folder", shown(path))),
        Ok(metadata) if !metadata.is_file() => Some(format!("{} is not a file", shown(path))),
        Ok(_) if access(path, AccessFlags::X_OK).is_err() => {
            Some(format!("{} is not executable: run `chmod +x` on it", shown(path)))
        }
        Ok(_) => None,
    }
}

/// A script whose interpreter is missing fails with an error that names the script.
fn interpreter_problem(path: &Path) -> Option<String> {
    let mut line = Vec::new();
    // What cannot be read can still be executed.
    let file = File::open(path).ok()?;
    BufReader::new(file.take(FIRST_LINE_BYTES_MAX)).read_until(b'\n', &mut line).ok()?;
    let line = line.strip_prefix(b"#!")?.trim_ascii_start();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    let interpreter = Path::new(std::ffi::OsStr::from_bytes(line.get(..end)?));
    if !interpreter.exists() {
        return Some(format!("{} needs {}, which does not exist", shown(path), shown(interpreter)));
    }
    not_executable(interpreter)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn told(program: &Path) -> String {
        problem(&[program.to_str().unwrap().to_owned()]).unwrap_or_default()
    }

    #[test]
    fn what_cannot_be_started_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        assert!(told(&path).starts_with("there is no program"));
        assert!(told(folder.path()).contains("is a folder"));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(told(&path).contains("chmod +x"), "{}", told(&path));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(told(&path), "");
        fs::write(&path, "#! /nothing/here -e\n").unwrap();
        assert!(told(&path).contains("needs '/nothing/here'"), "{}", told(&path));
        fs::write(&path, "#!").unwrap();
        assert!(told(&path).contains("needs"), "{}", told(&path));
        assert!(problem(&[]).is_some() && problem(&[String::new()]).is_some());
    }

    #[test]
    fn a_bare_name_is_looked_for_in_the_path() {
        assert_eq!(problem(&["true".to_owned()]), None);
        assert!(problem(&["no-such-program-anywhere".to_owned()]).is_some());
    }
}
