//! Image files and their signed SUIT envelopes. Images are streamed and never completely in memory.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use provisioning::Name;
use update_core::block::{BlockNumber, BlockSize, ImageSize, Layout};
use update_core::limits::IMAGE_BYTES_MAX;
use update_core::suit::{self, Offer};
use update_core::suit_build::Draft;
use update_core::suit_inspect::inspect_unverified;
use update_core::tree_build::{Tree, TreeBuilder};

use crate::files::{self, FileError, shown};
use crate::{GroupState, StateError};

/// The longest envelope that is read, in bytes. Other tools write longer ones than devices accept.
const ENVELOPE_FILE_BYTES_MAX: u64 = 64 * 1024;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What is wrong with an image file.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is empty.
    #[error("the image {} has 0 bytes: check that it was built", shown(.0))]
    Empty(PathBuf),
    /// More than 64 MiB.
    #[error("the image {} has {bytes} bytes, more than the {IMAGE_BYTES_MAX} that can be \
    distributed: make it smaller",
            shown(.path))]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Another process writes to it.
    #[error("the image {} changed while it was read: wait until it is built, then try again", shown(.0))]
    Changed(PathBuf),
    /// It is not the signed image.
    #[error("the image {} is not the signed one: {what} differs; get the right file, or sign this one",
            shown(.path))]
    NotSigned {
        /// Which file.
        path: PathBuf,
        /// How they differ.
        what: &'static str,
    },
}

/// Why an envelope cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// The group's files.
    #[error(transparent)]
    State(#[from] StateError),
    /// No agent of the group would accept it.
    #[error(
        "image '{image}' is not an update that group '{group}' would accept: {why}; sign it with a key of \
         the group's key set"
    )]
    Refused {
        /// Which image.
        image: Name,
        /// Which group.
        group: Name,
        /// An agent's reason.
        why: &'static str,
    },
    /// It offers no image.
    #[error(
        "the envelope of {} is not a SUIT envelope that offers an image: sign the image again", shown(.0)
    )]
    NoOffer(PathBuf),
}

/// Reads an image once and builds its hash tree.
pub fn hash(path: &Path, block_size: BlockSize) -> Result<Tree, ImageError> {
    let file = files::open(path)?;
    let layout = Layout { image_size: size_of(&file, path)?, block_size };
    hash_open(file, path, layout)
}

/// Checks that a file is the image that was offered, byte for byte.
pub fn check(path: &Path, offer: &Offer) -> Result<Tree, ImageError> {
    let differs = |what| ImageError::NotSigned { path: path.into(), what };
    let file = files::open(path)?;
    if size_of(&file, path)? != offer.layout.image_size {
        return Err(differs("its length"));
    }
    let tree = hash_open(file, path, offer.layout)?;
    if tree.image_digest != offer.image_digest {
        return Err(differs("its SHA-256"));
    }
    if tree.root_digest != offer.tree_root {
        return Err(differs("its hash tree"));
    }
    Ok(tree)
}

/// The default path of an image's envelope: beside it, with `.suit` appended to the name.
pub fn default_envelope(image: &Path) -> PathBuf {
    let mut path = image.as_os_str().to_owned();
    path.push(".suit");
    path.into()
}

/// The offer of an envelope to a group, verified as its agents will verify it.
///
/// # Errors
/// No agent of the group would accept it.
pub fn offer_to(group: &GroupState, image: &Name, envelope: &[u8]) -> Result<Offer, OfferError> {
    suit::verify(envelope, &group.key_set()?).map_err(|error| OfferError::Refused {
        image: image.clone(),
        group: group.name.clone(),
        why: update_core::refusal::Refusal::from(error).text(),
    })
}

/// The unverified offer of an envelope. `image` is the path of its image.
///
/// # Errors
/// It is not a SUIT envelope, or offers no image.
pub fn offer_unverified(image: &Path, envelope: &[u8]) -> Result<Offer, OfferError> {
    let offer = inspect_unverified(envelope).and_then(|inspection| inspection.offer);
    offer.map_err(|_| OfferError::NoOffer(image.into()))
}

/// Reads a SUIT envelope.
pub fn read_envelope(path: &Path) -> Result<Vec<u8>, FileError> {
    files::read(path, ENVELOPE_FILE_BYTES_MAX)
}

/// The content of an image's manifest.
pub fn draft(tree: &Tree, sequence_number: u64, vendor: [u8; 16], class: [u8; 16]) -> Draft {
    let layout = tree.shape.layout();
    Draft {
        sequence_number,
        vendor,
        class,
        image_size: layout.image_size,
        image_digest: tree.image_digest,
        block_size: layout.block_size,
        tree_root: tree.root_digest,
    }
}

fn size_of(file: &File, path: &Path) -> Result<ImageSize, ImageError> {
    let metadata =
        file.metadata().map_err(|source| FileError::System { verb: "access", path: path.into(), source })?;
    let bytes = metadata.len();
    if bytes == 0 {
        return Err(ImageError::Empty(path.into()));
    }
    let size = u32::try_from(bytes).ok().and_then(ImageSize::new);
    size.ok_or_else(|| ImageError::TooLarge { path: path.into(), bytes })
}

fn hash_open(file: File, path: &Path, layout: Layout) -> Result<Tree, ImageError> {
    let changed = || ImageError::Changed(path.into());
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, file);
    let mut block = vec![0; layout.block_size.bytes() as usize];
    let mut builder = TreeBuilder::new(layout);
    for number in 0..layout.block_count() {
        let (_, length) = layout.block_range(BlockNumber(number)).ok_or_else(changed)?;
        let block = block.get_mut(..length).ok_or_else(changed)?;
        reader.read_exact(block).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => changed(),
            _ => FileError::System { verb: "read", path: path.into(), source }.into(),
        })?;
        builder.push(block).map_err(|_| changed())?;
    }
    if reader.read(&mut [0]).unwrap_or(1) != 0 {
        return Err(changed());
    }
    builder.finish().map_err(|_| changed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use update_core::digest::Digest;

    fn block_size() -> BlockSize {
        BlockSize::new(1024).unwrap()
    }

    #[test]
    fn a_stream_hashes_like_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        for length in [1, 1023, 1024, 1025, 200_000] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(hash(&path, block_size()).unwrap().image_digest, Digest::of(&bytes));
        }
    }

    #[test]
    fn empty_and_oversized_images_are_refused_without_reading_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        let file = File::create(&path).unwrap();
        assert!(matches!(hash(&path, block_size()), Err(ImageError::Empty(_))));
        for bytes in [u64::from(IMAGE_BYTES_MAX) + 1, 1 << 33] {
            file.set_len(bytes).unwrap();
            assert!(matches!(hash(&path, block_size()), Err(ImageError::TooLarge { .. })));
        }
    }
}
