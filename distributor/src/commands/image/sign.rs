//! `fwcast image sign`.

use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::Table;
use ed25519_dalek::{Signer, VerifyingKey};
use serde::Serialize;
use update_core::block::BlockSize;
use update_core::device::Device;
use update_core::key_set::KeySet;
use update_core::refusal::Refusal;
use update_core::suit::{self, Offer};
use update_core::suit_build::Draft;
use uuid::Uuid;

use super::super::arguments::{self, Class};
use crate::commands::exit_codes::Failure;
use crate::commands::output::{self, Format, Printable, fields};
use crate::files::{self, Access, shown};
use crate::image;
use crate::keys::{self, KeyKind, PrivateKey, PublicKey};

/// By how much a manifest sequence number may rise at once: one slip would make every later number too low.
const SEQUENCE_STEP_MAX: u64 = 1_000_000;

/// Arguments of `image sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The image, 1 byte to 64 MiB
    image: PathBuf,
    /// Private image key; with --attach the public one
    #[arg(long, value_name = "FILE", required_unless_present = "prepare")]
    key: Option<PathBuf>,
    /// Who makes the devices it is for: a domain, or a UUID
    #[arg(long, value_name = "DOMAIN|UUID", value_parser = arguments::vendor)]
    vendor: Uuid,
    /// What model they are: a name, or a UUID
    #[arg(long, value_name = "MODEL|UUID")]
    class: Class,
    /// Manifest sequence number, higher than that of any image before
    #[arg(long, value_name = "N")]
    sequence: u64,
    /// Manifest sequence number of the image before
    #[arg(long, value_name = "N", default_value_t = 0)]
    previous: u64,
    /// Let the manifest sequence number rise by more than 1000000
    #[arg(long)]
    force_jump: bool,
    /// Bytes in an image block, as in the group: 256, 512 or 1024
    #[arg(long, default_value = "1024", value_parser = arguments::block_size)]
    block_size: u16,
    /// Where the SUIT envelope is written; nothing is overwritten
    #[arg(long, value_name = "FILE.suit", required_unless_present = "prepare")]
    out: Option<PathBuf>,
    /// Write the bytes to be signed with Ed25519 elsewhere, and stop
    #[arg(long, value_name = "FILE.tbs", conflicts_with_all = ["key", "out", "attach"])]
    prepare: Option<PathBuf>,
    /// Finish with this signature over the prepared bytes: 64 bytes, or 128 hexadecimal digits
    #[arg(long, value_name = "SIGNATURE")]
    attach: Option<PathBuf>,
}

#[derive(Serialize)]
struct Signed {
    image: PathBuf,
    image_size: u32,
    image_digest: String,
    block_size: u32,
    blocks: u32,
    sequence_number: u64,
    vendor: Uuid,
    class: Uuid,
    /// Digest of the SUIT manifest, which names the update.
    digest: String,
    id: String,
    /// Fingerprint of the image key; none while only prepared.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    file: PathBuf,
}

impl Sign {
    /// Runs the command.
    pub fn run(&self, format: Format) -> Result<(), Failure> {
        self.check_sequence()?;
        let (to_write, needed) = match (&self.prepare, &self.out) {
            (Some(path), _) | (None, Some(path)) => (path, self.key.as_deref()),
            (None, None) => {
                return Err(Failure::usage("there is nowhere to write to: give --out FILE.suit"));
            }
        };
        files::check_target(to_write)?;
        let block_size = BlockSize::new(self.block_size.into())
            .ok_or_else(|| Failure::usage("give --block-size 256, 512 or 1024"))?;
        let tree = image::hash(&self.image, block_size)?;
        let class = self.class.of_vendor(&self.vendor);
        let draft = image::draft(&tree, self.sequence, self.vendor.into_bytes(), class.into_bytes());
        let key = match needed {
            Some(key) => {
                let (envelope, public) = self.envelope(&draft, key)?;
                self.check_as_device(&draft, &envelope, &public)?;
                files::create(to_write, &envelope, Access::Public)?;
                Some(keys::fingerprint(public.as_bytes()))
            }
            None => {
                files::create(to_write, &draft.to_be_signed(), Access::Public)?;
                None
            }
        };
        output::print(format, &self.signed(&draft, key, to_write))
    }

    fn check_sequence(&self) -> Result<(), Failure> {
        let (new, previous) = (self.sequence, self.previous);
        if new <= previous {
            return Err(Failure::usage(format!(
                "manifest sequence number {new} is not higher than {previous}, that of the image \
                 before, so devices would refuse it: give a higher one with --sequence"
            )));
        }
        if new - previous > SEQUENCE_STEP_MAX && !self.force_jump {
            return Err(Failure::usage(format!(
                "manifest sequence number {new} is more than {SEQUENCE_STEP_MAX} above {previous}, \
                 and devices never go back: correct --sequence, say what came before with \
                 --previous, or insist with --force-jump"
            )));
        }
        Ok(())
    }

    /// The envelope, and the public key that verifies it.
    fn envelope(&self, draft: &Draft, key: &Path) -> Result<(Vec<u8>, VerifyingKey), Failure> {
        match &self.attach {
            None => {
                let key = PrivateKey::read(key, KeyKind::Image)?.key;
                let signature = key.sign(&draft.to_be_signed()).to_bytes();
                Ok((draft.attach(signature), key.verifying_key()))
            }
            Some(path) => {
                let public = PublicKey::read_ed25519(key, KeyKind::Image)?;
                Ok((draft.attach(read_signature(path)?), public))
            }
        }
    }

    /// Runs the device's own code over what is about to be written.
    fn check_as_device(&self, draft: &Draft, envelope: &[u8], key: &VerifyingKey) -> Result<(), Failure> {
        let refused = |refusal: Refusal| {
            let why = match (refusal, &self.attach) {
                (Refusal::BadSignature, Some(_)) => {
                    "the signature was not made by this key over these bytes; prepare them again \
                     with the same arguments"
                }
                _ => refusal.text(),
            };
            Failure::bad_signature(format!(
                "nothing was written, because a device would refuse {}: {why}",
                shown(&self.image)
            ))
        };
        let key_set = KeySet::new(1, &[key.to_bytes()]).map_err(|_| refused(Refusal::BadSignature))?;
        let offer = suit::verify(envelope, &key_set).map_err(|error| refused(error.into()))?;
        let device = Device {
            vendor: self.vendor.into_bytes(),
            class: self.class.of_vendor(&self.vendor).into_bytes(),
            slot_bytes: draft.image_size.bytes(),
            installed: None,
        };
        device.admit(&offer).map_err(refused)?;
        same(draft, &offer).then_some(()).ok_or_else(|| refused(Refusal::Malformed))?;
        image::check(&self.image, &offer)?;
        Ok(())
    }

    fn signed(&self, draft: &Draft, key: Option<String>, file: &Path) -> Signed {
        let digest = draft.digest();
        Signed {
            image: self.image.clone(),
            image_size: draft.image_size.bytes(),
            image_digest: hex::encode(draft.image_digest.0),
            block_size: draft.block_size.bytes(),
            blocks: draft.image_size.bytes().div_ceil(draft.block_size.bytes()),
            sequence_number: draft.sequence_number,
            vendor: Uuid::from_bytes(draft.vendor),
            class: Uuid::from_bytes(draft.class),
            digest: hex::encode(digest.0),
            id: update_core::digest::UpdateId::of(&digest).to_string(),
            key,
            file: file.into(),
        }
    }
}

/// Whether the device reads what was meant.
fn same(draft: &Draft, offer: &Offer) -> bool {
    offer.digest == draft.digest()
        && offer.sequence_number == draft.sequence_number
        && offer.layout.image_size == draft.image_size
        && offer.layout.block_size == draft.block_size
        && offer.image_digest == draft.image_digest
        && offer.tree_root == draft.tree_root
}

fn read_signature(path: &Path) -> Result<[u8; 64], Failure> {
    let bytes = files::read(path, 1024)?;
    if let Ok(signature) = <[u8; 64]>::try_from(bytes.as_slice()) {
        return Ok(signature);
    }
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    let digits: String = text.split_whitespace().collect();
    let mut signature = [0; 64];
    hex::decode_to_slice(&digits, &mut signature).map_err(|_| {
        let file = shown(path);
        Failure::error(format!(
            "{file} holds no Ed25519 signature: give a file of 64 bytes or 128 hexadecimal digits"
        ))
    })?;
    Ok(signature)
}

impl Printable for Signed {
    fn table(&self) -> Table {
        fields([
            ("image", shown(&self.image)),
            ("image size", self.image_size.to_string()),
            ("image SHA-256", self.image_digest.clone()),
            ("block size", self.block_size.to_string()),
            ("blocks", self.blocks.to_string()),
            ("sequence number", self.sequence_number.to_string()),
            ("vendor", self.vendor.to_string()),
            ("class", self.class.to_string()),
            ("digest", self.digest.clone()),
            ("id", self.id.clone()),
            ("signed by", self.key.clone().unwrap_or_else(|| "nobody yet".to_owned())),
            ("written", shown(&self.file)),
        ])
    }
}
