//! Which machine the state folder belongs to.
//!
//! On another machine the counters in it would be used a second time. So the folder names its machine, by
//! what the hardware says of itself: `/etc/machine-id` may change with an update of the root file system.
//! Where the hardware says nothing, nothing is compared.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use provisioning::Hex;
use sha2::{Digest, Sha256};

use crate::disk::Disk;

/// The file in the state folder.
const MACHINE: &str = "machine";
/// Names another file, which takes the place of what the hardware says.
const ELSEWHERE: &str = "FWCAST_MACHINE_ID_FILE";
/// The serial number of a board or of a PC.
const SOURCES: [&str; 2] = ["/sys/firmware/devicetree/base/serial-number", "/sys/class/dmi/id/product_uuid"];
/// The longest identity that is read.
const IDENTITY_BYTES_MAX: u64 = 256;

/// A hash of what the machine says of itself: the numbers themselves are nobody's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine(String);

impl Machine {
    /// This machine; `None` if its hardware says nothing.
    ///
    /// # Errors
    /// The file that takes the place of the hardware cannot be read, or says nothing.
    pub fn of_this_one() -> io::Result<Option<Self>> {
        let Some(path) = std::env::var_os(ELSEWHERE) else {
            return Ok(SOURCES.iter().find_map(|path| Self::from_file(Path::new(path)).ok()?));
        };
        let nothing =
            || io::Error::other(format!("the file that {ELSEWHERE} names does not tell the machine"));
        Self::from_file(Path::new(&path)).ok().flatten().map(Some).ok_or_else(nothing)
    }

    /// The machine that a file tells; `None` if it says nothing.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn from_file(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(IDENTITY_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = bytes.trim_ascii();
        let says_something = text.iter().any(|byte| byte.is_ascii_alphanumeric() && *byte != b'0');
        let hash = Sha256::new().chain_update("fwcast agent machine ").chain_update(text).finalize();
        Ok(says_something.then(|| Self(Hex::from(&hash[..16]).to_string())))
    }
}

/// The state folder was written on another machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it was written on another machine: if its keys are in use there, enroll this device on its own \
     (`fwcast agent enroll`); if it has moved here for good, say so once with --moved"
)]
pub struct OtherMachine;

/// Whether the folder may be used on this machine, without changing anything: see [`claim`].
///
/// # Errors
/// The system's error.
pub fn check(disk: &Disk, machine: Option<&Machine>, moved: bool) -> io::Result<Result<(), OtherMachine>> {
    let known = disk.read(MACHINE)?;
    let is_other =
        machine.zip(known).is_some_and(|(machine, known)| known.trim_ascii() != machine.0.as_bytes());
    Ok(if is_other && !moved { Err(OtherMachine) } else { Ok(()) })
}

/// Gives the folder to this machine, if it may be used here. The first one that uses it is its machine, and
/// so is the one that it has `moved` to.
///
/// # Errors
/// The system's error.
pub fn claim(disk: &Disk, machine: Option<&Machine>, moved: bool) -> io::Result<Result<(), OtherMachine>> {
    let checked = check(disk, machine, moved)?;
    if let (Ok(()), Some(machine)) = (checked, machine) {
        let line = format!("{}\n", machine.0);
        if disk.read(MACHINE)?.as_deref() != Some(line.as_bytes()) {
            disk.replace(MACHINE, line.as_bytes())?;
        }
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_stays_on_its_machine_until_it_moves() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let (a, b) = (Machine("a".into()), Machine("b".into()));
        assert_eq!(claim(&disk, None, false).unwrap(), Ok(()));
        assert_eq!(check(&disk, Some(&b), false).unwrap(), Ok(()), "to look gives it to nobody");
        assert_eq!(claim(&disk, Some(&a), false).unwrap(), Ok(()));
        assert_eq!(claim(&disk, Some(&a), false).unwrap(), Ok(()));
        assert_eq!(claim(&disk, Some(&b), false).unwrap(), Err(OtherMachine));
        assert_eq!(claim(&disk, None, false).unwrap(), Ok(()), "the hardware says nothing today");
        assert_eq!(check(&disk, Some(&b), true).unwrap(), Ok(()));
        assert_eq!(check(&disk, Some(&a), false).unwrap(), Ok(()), "nor is it moved by that");
        assert_eq!(claim(&disk, Some(&b), true).unwrap(), Ok(()));
        assert_eq!(claim(&disk, Some(&a), false).unwrap(), Err(OtherMachine));
    }

    #[test]
    fn a_serial_number_that_says_nothing_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial-number");
        for (text, says_something) in
            [("", false), ("\0\n", false), ("00000000-0000", false), ("0000-1f", true), ("SN 7\0", true)]
        {
            std::fs::write(&path, text).unwrap();
            assert_eq!(Machine::from_file(&path).unwrap().is_some(), says_something, "{text:?}");
        }
        assert!(Machine::from_file(&folder.path().join("none")).is_err());
    }
}
