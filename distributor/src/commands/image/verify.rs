//! `fwcast image verify`.

use std::path::PathBuf;

use clap::Args;
use update_core::key_set::KeySet;
use update_core::suit::{self, SuitError};
use update_core::suit_inspect::{Inspection, inspect_unverified};

use super::inspect::{Described, unreadable};
use crate::commands::exit_codes::Failure;
use crate::commands::output::{self, Format};
use fwcast_state::files::shown;
use fwcast_state::image;
use fwcast_state::keys::{KeyKind, PublicKey};

/// Arguments of `image verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// The SUIT envelope
    file: PathBuf,
    /// The image that it should be for
    image: Option<PathBuf>,
    /// Public image key: Ed25519, or ECDSA P-256 for envelopes that other tools signed
    #[arg(long, value_name = "FILE.pub")]
    key: PathBuf,
}

impl Verify {
    /// Runs the command.
    pub fn run(&self, format: Format) -> Result<(), Failure> {
        let key = PublicKey::read(&self.key, KeyKind::Image)?;
        let envelope = image::read_envelope(&self.file)?;
        let inspection = authenticate(&envelope, key).map_err(|error| unreadable(&self.file, error))?;
        if let Some(path) = &self.image {
            let offer = inspection.offer.map_err(|_| {
                let file = shown(&self.file);
                Failure::error(format!(
                    "{file} is signed, but does not describe an image with its hash tree, so no image can \
                     be compared with it: sign the image with `fwcast image sign`"
                ))
            })?;
            image::check(path, &offer)?;
        }
        output::print(format, &Described::new(inspection, true))
    }
}

/// Verifies the signature, then reads what was signed. With an Ed25519 key, a device must accept it.
fn authenticate(envelope: &[u8], key: PublicKey) -> Result<Inspection, SuitError> {
    match key {
        PublicKey::Ed25519(key) => {
            let key_set = KeySet::new(1, &[key.to_bytes()]).map_err(|_| SuitError::BadSignature)?;
            suit::verify(envelope, &key_set)?;
        }
        PublicKey::Es256(key) => {
            key.authenticate(envelope)?;
        }
    }
    inspect_unverified(envelope)
}
