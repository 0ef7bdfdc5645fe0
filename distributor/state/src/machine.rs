//! Which machine this is.

use std::env;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use update_core::digest::Hasher;

use super::StateError;
use crate::files;

/// The identity of the machine that owns the counters, so that a copy on another machine is noticed.
///
/// It is a hash of `/etc/machine-id`, because machine-id(5) asks to keep the original confidential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineId(String);

impl MachineId {
    /// This machine's identity, from the file that `FWCAST_MACHINE_ID_FILE` names, else `/etc/machine-id`.
    pub fn of_this_machine() -> Result<Self, StateError> {
        let path = env::var_os("FWCAST_MACHINE_ID_FILE")
            .map_or_else(|| PathBuf::from("/etc/machine-id"), PathBuf::from);
        Self::from_file(&path)
    }

    /// The identity in a file of 32 hexadecimal digits.
    pub fn from_file(path: &Path) -> Result<Self, StateError> {
        let none = || StateError::NoMachineId(path.into());
        let bytes = files::read(path, 64).map_err(|_| none())?;
        let text = files::text(&bytes).map_err(|_| none())?.trim();
        let zeros = text.bytes().all(|digit| digit == b'0');
        if text.len() != 32 || zeros || hex::decode(text).is_err() {
            return Err(none());
        }
        let mut hasher = Hasher::new();
        hasher.update(b"fwcast machine identity ");
        hasher.update(text.to_ascii_lowercase().as_bytes());
        Ok(Self(hex::encode(&hasher.finish().0[..16])))
    }

    /// The form in which it is stored and shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MachineId {
    type Err = String;

    /// As [`Self::as_str`] has it.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() != 32 || hex::decode(text).is_err() {
            return Err("a machine's identity has 32 hexadecimal digits: run `fwcast config machine` there"
                .to_owned());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_real_identity_is_taken_and_it_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        for text in ["", "uninitialized\n", "0123", &"0".repeat(32), &"g".repeat(32)] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(MachineId::from_file(&path), Err(StateError::NoMachineId(_))), "{text}");
        }
        let original = "0123456789abcdef0123456789abcdef";
        std::fs::write(&path, format!("{original}\n")).unwrap();
        let machine = MachineId::from_file(&path).unwrap();
        assert_eq!(machine.as_str().len(), 32);
        assert_ne!(machine.as_str(), original);
        // As an editor on another system saves it.
        std::fs::write(&path, format!("\u{feff}{original}\r\n")).unwrap();
        assert_eq!(MachineId::from_file(&path).unwrap(), machine);
        assert!(MachineId::from_file(&folder.path().join("none")).is_err());
    }
}
