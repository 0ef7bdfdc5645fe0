//! The real programs, built from this tree.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// cargo, as it was invoked.
#[must_use]
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(root());
    cargo
}

/// Where the programs are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The operator's command line.
    pub fwcast: PathBuf,
    /// The daemon for Linux devices.
    pub agent: PathBuf,
}

impl Programs {
    /// Builds both in release and finds them.
    ///
    /// # Errors
    /// They do not build.
    pub fn build() -> Result<Self> {
        eprintln!("building fwcast and fwcast-agent");
        let built = cargo()
            .args(["build", "--release", "--message-format", "json-render-diagnostics"])
            .args(["--package", "distributor", "--package", "agent-linux", "--bins"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(built.status.success(), "the programs do not build");
        let messages = String::from_utf8(built.stdout).context("cargo's output is not UTF-8")?;
        Ok(Self { fwcast: executable(&messages, "fwcast")?, agent: executable(&messages, "fwcast-agent")? })
    }
}

impl Programs {
    /// Cargo's folder of what it builds, where results of long measurements are kept.
    #[must_use]
    pub fn target(&self) -> PathBuf {
        self.fwcast.ancestors().nth(2).unwrap_or(&self.fwcast).to_owned()
    }

    /// A digest of both: it tells one state of the code from another.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn digest(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for program in [&self.fwcast, &self.agent] {
            hash.update(
                std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?,
            );
        }
        Ok(hex::encode(&hash.finalize()[..8]))
    }
}

/// The program with this name in cargo's messages, which are one JSON object per line.
pub(crate) fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .with_context(|| format!("cargo did not build a program {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_its_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"a"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"fwcast"},"executable":"/t/release/fwcast"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executable(messages, "fwcast").unwrap(), Path::new("/t/release/fwcast"));
        assert!(executable(messages, "a").is_err() && executable(messages, "b").is_err());
    }

    #[test]
    fn the_root_has_the_workspace() {
        assert!(root().join("Cargo.lock").is_file());
    }
}
