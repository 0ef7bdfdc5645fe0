//! Reads an operator's YAML file. [`provisioning::yaml`] defines which text is refused.

use std::path::Path;

use provisioning::yaml::{self, TEXT_BYTES_MAX};
use serde::de::DeserializeOwned;

use crate::commands::exit_codes::Failure;
use fwcast_state::files::{self, shown};

/// Reads a YAML file with secrets. It is refused if others can read it.
pub fn read_secret<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    parse(path, &files::read_secret(path, TEXT_BYTES_MAX as u64)?)
}

/// Reads a YAML file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    parse(path, &files::read(path, TEXT_BYTES_MAX as u64)?)
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to();
        let file = shown(path);
        Failure::error(format!("{file} is not UTF-8 text at byte {place}: save it as UTF-8"))
    })?;
    yaml::from_str(text).map_err(|error| {
        let place = match error.line {
            0 => String::new(),
            line => format!(":{line}:{}", error.column),
        };
        let file = shown(path);
        Failure::error(format!("{file}{place}: {}; correct the file there", error.kind))
    })
}
