//! `fwcast image sign`.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use serde::Serialize;
use update_core::block::BlockSize;
use uuid::Uuid;

use super::super::arguments::{self, Class, Vendor};
use crate::commands::exit_codes::Failure;
use crate::commands::output::{self, Format, Printable, fields};
use fwcast_state::files::shown;
use fwcast_state::signing::{self, Product, Request, Written};

/// Arguments of `image sign`.
#[derive(Debug, Args)]
pub struct Sign {
    /// The image, 1 byte to 64 MiB
    image: PathBuf,
    /// Private image key; with --attach the public one
    #[arg(long, value_name = "FILE", required_unless_present = "prepare")]
    key: Option<PathBuf>,
    /// Who makes the devices it is for: a domain, or a UUID
    #[arg(long, value_name = "DOMAIN|UUID")]
    vendor: Vendor,
    /// What model they are: a name, or a UUID
    #[arg(long, value_name = "MODEL|UUID")]
    class: Class,
    /// Manifest sequence number, higher than that of any earlier image
    #[arg(long, value_name = "N")]
    sequence: u64,
    /// Manifest sequence number of the previous image
    #[arg(long, value_name = "N", default_value_t = 0)]
    previous: u64,
    /// Allow the manifest sequence number to rise by more than 1000000
    #[arg(long)]
    force_jump: bool,
    /// Bytes per image block, as in the group: 256, 512 or 1024
    #[arg(long, default_value = "1024", value_parser = arguments::block_size)]
    block_size: u16,
    /// File to write the SUIT envelope to; nothing is overwritten
    #[arg(long, value_name = "FILE.suit", required_unless_present = "prepare")]
    out: Option<PathBuf>,
    /// Only write the bytes to be signed with Ed25519 elsewhere
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
    /// The digest of the SUIT manifest, which identifies the update.
    digest: String,
    id: String,
    /// The fingerprint of the image key; none while only prepared.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    file: PathBuf,
}

impl Sign {
    /// Runs the command.
    pub fn run(&self, format: Format) -> Result<(), Failure> {
        let request = self.request()?;
        let written = signing::sign(&request)?;
        output::print(format, &Signed::new(request, written))
    }

    fn request(&self) -> Result<Request, Failure> {
        let block_size = BlockSize::new(self.block_size.into())
            .ok_or_else(|| Failure::usage("give --block-size 256, 512 or 1024"))?;
        Ok(Request {
            image: self.image.clone(),
            vendor: self.vendor.id(),
            class: self.class.of_vendor(&self.vendor.id()),
            sequence: self.sequence,
            previous: self.previous,
            force_jump: self.force_jump,
            block_size,
            product: self.product()?,
        })
    }

    fn product(&self) -> Result<Product, Failure> {
        if let Some(path) = &self.prepare {
            return Ok(Product::ToBeSigned(path.clone()));
        }
        let (Some(key), Some(out)) = (self.key.clone(), self.out.clone()) else {
            return Err(Failure::usage("give --key FILE and --out FILE.suit, or --prepare FILE.tbs"));
        };
        Ok(match self.attach.clone() {
            None => Product::Signed { key, out },
            Some(signature) => Product::Attached { key, signature, out },
        })
    }
}

impl Signed {
    fn new(request: Request, Written { draft, key }: Written) -> Self {
        let digest = draft.digest();
        Self {
            image: request.image,
            image_size: draft.image_size.bytes(),
            image_digest: hex::encode(draft.image_digest.0),
            block_size: draft.block_size.bytes(),
            blocks: draft.image_size.bytes().div_ceil(draft.block_size.bytes()),
            sequence_number: draft.sequence_number,
            vendor: request.vendor,
            class: request.class,
            digest: hex::encode(digest.0),
            id: update_core::digest::UpdateId::of(&digest).to_string(),
            key,
            file: request.product.file().into(),
        }
    }
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
