//! `fwcast image inspect`, and what it shares with `verify`.

use std::path::Path;

use comfy_table::Table;
use serde::Serialize;
use update_core::limits::ENVELOPE_BYTES_MAX;
use update_core::refusal::Refusal;
use update_core::suit::SuitError;
use update_core::suit_inspect::{InspectedComponent, Inspection, inspect_unverified};
use uuid::Uuid;

use crate::commands::exit_codes::Failure;
use crate::commands::output::{self, Format, Printable, fields};
use fwcast_state::files::shown;
use fwcast_state::image;

/// The content of a SUIT envelope.
#[derive(Serialize)]
pub(super) struct Described {
    /// Whether its signature was verified with a key.
    pub(super) verified: bool,
    digest: String,
    id: String,
    /// COSE algorithm of the signature.
    algorithm: Option<i64>,
    sequence_number: u64,
    components: Vec<Component>,
    /// Present if fwcast can distribute it.
    offer: Option<Offer>,
    /// Present if not: why.
    no_offer: Option<String>,
}

#[derive(Serialize)]
struct Component {
    identifier: Vec<String>,
    vendor: Option<Uuid>,
    class: Option<Uuid>,
    image_digest: Option<String>,
    image_size: Option<u64>,
    uri: Option<String>,
}

#[derive(Serialize)]
struct Offer {
    vendor: Uuid,
    class: Uuid,
    image_size: u32,
    image_digest: String,
    block_size: u32,
    blocks: u32,
    tree_root: String,
}

/// Shows an unverified envelope.
pub(super) fn run(file: &Path, format: Format) -> Result<(), Failure> {
    let envelope = image::read_envelope(file)?;
    let inspection = inspect_unverified(&envelope).map_err(|error| unreadable(file, error))?;
    output::print(format, &Described::new(inspection, false))
}

/// An envelope that cannot be read or verified.
pub(super) fn unreadable(file: &Path, error: SuitError) -> Failure {
    let file = shown(file);
    let why = Refusal::from(error).text();
    match error {
        SuitError::NoSignature
        | SuitError::UnknownAlgorithm { .. }
        | SuitError::DigestMismatch
        | SuitError::BadSignature => Failure::bad_signature(format!(
            "{file} is refused: {why}; give the key that signed it, or get the right file"
        )),
        SuitError::TooLong => Failure::error(format!(
            "{file} is refused: it has more than {ENVELOPE_BYTES_MAX} bytes, the most that devices accept; \
             get the right file"
        )),
        _ => Failure::error(format!(
            "{file} is refused: {why} ({error:?}); sign the image with `fwcast image sign`"
        )),
    }
}

impl Described {
    pub(super) fn new(inspection: Inspection, verified: bool) -> Self {
        let (offer, no_offer) = match inspection.offer {
            Ok(offer) => (Some(Offer::new(&offer)), None),
            Err(error) => (None, Some(Refusal::from(error).text().to_owned())),
        };
        Self {
            verified,
            digest: hex::encode(inspection.digest.0),
            id: update_core::digest::UpdateId::of(&inspection.digest).to_string(),
            algorithm: inspection.algorithm,
            sequence_number: inspection.sequence_number,
            components: inspection.components.into_iter().map(Component::new).collect(),
            offer,
            no_offer,
        }
    }
}

impl Component {
    fn new(component: InspectedComponent) -> Self {
        Self {
            identifier: component.identifier.iter().map(hex::encode).collect(),
            vendor: component.vendor.map(Uuid::from_bytes),
            class: component.class.map(Uuid::from_bytes),
            image_digest: component.image_digest.map(|digest| hex::encode(digest.0)),
            image_size: component.image_size,
            uri: component.uri.map(|uri| uri.escape_debug().to_string()),
        }
    }
}

impl Offer {
    fn new(offer: &update_core::suit::Offer) -> Self {
        Self {
            vendor: Uuid::from_bytes(offer.vendor),
            class: Uuid::from_bytes(offer.class),
            image_size: offer.layout.image_size.bytes(),
            image_digest: hex::encode(offer.image_digest.0),
            block_size: offer.layout.block_size.bytes(),
            blocks: offer.layout.block_count(),
            tree_root: hex::encode(offer.tree_root.0),
        }
    }
}

impl Printable for Described {
    fn table(&self) -> Table {
        let verified = if self.verified { "yes" } else { "no: this is only what the file claims" };
        let mut table = fields([
            ("verified", verified.to_owned()),
            ("digest", self.digest.clone()),
            ("id", self.id.clone()),
            ("COSE algorithm", self.algorithm.map_or_else(|| "none".to_owned(), |number| number.to_string())),
            ("sequence number", self.sequence_number.to_string()),
        ]);
        if let Some(why) = &self.no_offer {
            table.add_row(["fwcast can distribute it", &format!("no: {why}")]);
        }
        for component in &self.components {
            component.add_to(&mut table);
        }
        if let Some(offer) = &self.offer {
            table.add_row(["block size".to_owned(), offer.block_size.to_string()]);
            table.add_row(["blocks".to_owned(), offer.blocks.to_string()]);
        }
        table
    }
}

impl Component {
    fn add_to(&self, table: &mut Table) {
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                table.add_row([name.to_owned(), value]);
            }
        };
        add("component", Some(self.identifier.join("/")));
        add("  vendor", self.vendor.map(|id| id.to_string()));
        add("  class", self.class.map(|id| id.to_string()));
        add("  size", self.image_size.map(|size| size.to_string()));
        add("  SHA-256", self.image_digest.clone());
        add("  URI", self.uri.clone());
    }
}
