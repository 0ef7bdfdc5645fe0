//! Installs the first image, which a device runs before its first update.

use std::path::Path;

use update_core::device::Installed;
use update_core::digest::Digest;
use update_core::limits::{IMAGE_BYTES_MAX, RECORD_BYTES_MAX};
use update_core::platform::Record;
use update_core::record::encode_installed;

use crate::boot_record::{BootRecord, Slot};
use crate::config::shown;
use crate::disk::Disk;
use crate::failure::Failure;
use crate::file_store::record_name;
use crate::slots::{BOOT, CURRENT, Switch};

/// Files that show that an agent has already used the folder.
const LIVED: [&str; 4] = [BOOT, "update.cbor", "pages.bin", "slot-b.img"];

/// Copies the image into slot a, saves `installed` as the record of what is installed, and finally the boot
/// record, without which the rest does not count. The built-in switch gets its link too. After a power cut, a
/// second call starts over.
///
/// # Errors
/// [`Failure`]: the image cannot be read or is too large, the folder is in use, or an agent has already used
/// it.
pub fn install(folder: &Path, image: &Path, installed: &[u8], switch: Switch) -> Result<u64, Failure> {
    check_image(image)?;
    let doing =
        |error: std::io::Error| Failure::error(format!("cannot install into {}: {error}", shown(folder)));
    let disk = Disk::open(folder).map_err(doing)?;
    if let Some(sign) = LIVED.into_iter().find(|name| disk.has(name)) {
        return Err(Failure::not_allowed(format!(
            "{} has {sign}, so something is already installed there: update it, or choose another folder",
            shown(folder)
        )));
    }
    let boot = BootRecord { installed: true, ..BootRecord::confirmed(Slot::A) };
    let boot = boot.to_bytes().map_err(|error| doing(std::io::Error::other(error)))?;
    let length = disk.copy_in(image, Slot::A.file_name()).map_err(doing)?;
    disk.replace(record_name(Record::Installed), installed).map_err(doing)?;
    if switch == Switch::BuiltIn {
        disk.point(CURRENT, Slot::A.file_name()).map_err(doing)?;
    }
    disk.replace(BOOT, &boot).map_err(doing)?;
    Ok(length)
}

/// The record of an image that came with the device: its manifest sequence number, and an all-zero digest
/// because it has no manifest.
///
/// # Errors
/// Never in practice.
pub fn first_installed_record(sequence_number: u64) -> Result<Vec<u8>, Failure> {
    let installed = Installed { sequence_number, digest: Digest([0; 32]) };
    let mut bytes = vec![0; RECORD_BYTES_MAX];
    let length =
        encode_installed(&installed, &mut bytes).ok_or_else(|| Failure::error("no room for the record"))?;
    bytes.truncate(length);
    Ok(bytes)
}

fn check_image(image: &Path) -> Result<(), Failure> {
    let metadata = std::fs::metadata(image)
        .map_err(|error| Failure::error(format!("cannot read the image {}: {error}", shown(image))))?;
    if !metadata.is_file() {
        return Err(Failure::usage(format!("the image {} is not a file", shown(image))));
    }
    if metadata.len() == 0 || metadata.len() > u64::from(IMAGE_BYTES_MAX) {
        return Err(Failure::usage(format!(
            "the image {} has {} bytes: 1 to {IMAGE_BYTES_MAX} are possible",
            shown(image),
            metadata.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Cut;
    use crate::slots::Slots;
    use std::fs;

    #[test]
    fn an_installed_image_is_the_confirmed_one() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        fs::write(&image, b"first image").unwrap();
        let state = folder.path().join("state");
        let record = first_installed_record(7).unwrap();
        assert_eq!(install(&state, &image, &record, Switch::BuiltIn), Ok(11));
        assert_eq!(fs::read(state.join("current")).unwrap(), b"first image");
        assert_eq!(fs::read(state.join("installed.cbor")).unwrap(), record);
        let slots = Slots::open(Disk::open(&state).unwrap(), Switch::BuiltIn).unwrap();
        assert_eq!(*slots.record(), BootRecord { installed: true, ..BootRecord::confirmed(Slot::A) });
    }

    #[test]
    fn a_folder_that_has_been_lived_in_is_left_alone() {
        for sign in LIVED {
            let folder = tempfile::tempdir().unwrap();
            let image = folder.path().join("image");
            fs::write(&image, b"first image").unwrap();
            fs::write(folder.path().join(sign), b"precious").unwrap();
            let failure = install(folder.path(), &image, b"record", Switch::BuiltIn).unwrap_err();
            assert!(failure.sentence.contains(sign));
            assert_eq!(fs::read(folder.path().join(sign)).unwrap(), b"precious");
            assert!(!folder.path().join("slot-a.img").exists());
        }
    }

    #[test]
    fn an_interrupted_installation_can_be_repeated() {
        for nth in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let image = folder.path().join("image");
            fs::write(&image, b"first image").unwrap();
            let state = folder.path().join("state");
            let disk = Disk::open(&state).unwrap();
            let mut left = nth;
            disk.cut_by(Box::new(move |_| {
                let cut = if left == 0 { Cut::Before } else { Cut::No };
                left = u32::saturating_sub(left, 1);
                cut
            }));
            let _ = disk.copy_in(&image, "slot-a.img").and_then(|_| disk.point(CURRENT, "slot-a.img"));
            drop(disk);
            install(&state, &image, b"record", Switch::BuiltIn).unwrap();
        }
    }

    #[test]
    fn an_image_of_no_or_too_many_bytes_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        let file = fs::File::create(&image).unwrap();
        for length in [0, u64::from(IMAGE_BYTES_MAX) + 1] {
            file.set_len(length).unwrap();
            let failure =
                install(&folder.path().join("state"), &image, b"record", Switch::BuiltIn).unwrap_err();
            assert!(failure.sentence.contains("bytes"), "{failure}");
        }
        assert!(!folder.path().join("state").exists());
    }
}
