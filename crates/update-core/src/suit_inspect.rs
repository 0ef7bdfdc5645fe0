//! Inspecting an unverified SUIT envelope, to show it to people.

use alloc::string::String;
use alloc::vec::Vec;

use crate::digest::Digest;
use crate::suit::envelope::Envelope;
use crate::suit::manifest::Manifest;
use crate::suit::sequence::{Command, Commands, Parameters};
use crate::suit::{Offer, SuitError};

/// What a SUIT envelope claims. Nothing is authenticated, except that the digest is that of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The digest of the manifest.
    pub digest: Digest,
    /// The COSE algorithm of the signature; `None` if there is none.
    pub algorithm: Option<i64>,
    /// The manifest sequence number.
    pub sequence_number: u64,
    /// The components, by index.
    pub components: Vec<InspectedComponent>,
    /// The offer that it would be with a valid signature, or why it would not be one.
    pub offer: Result<Offer, SuitError>,
}

/// What a manifest says about one component.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InspectedComponent {
    /// The component identifier, part by part.
    pub identifier: Vec<Vec<u8>>,
    /// Vendor identifier (UUID).
    pub vendor: Option<[u8; 16]>,
    /// Class identifier (UUID).
    pub class: Option<[u8; 16]>,
    /// The digest of the component.
    pub image_digest: Option<Digest>,
    /// The size of the component in bytes.
    pub image_size: Option<u64>,
    /// Where it is fetched from.
    pub uri: Option<String>,
}

/// Reads any SUIT envelope within the subset of commands, signed or not, an offer or not. Only for showing it
/// to people: **nothing is verified** but the digest.
///
/// # Errors
/// Why it cannot be read.
pub fn inspect_unverified(envelope: &[u8]) -> Result<Inspection, SuitError> {
    let envelope = Envelope::parse(envelope)?;
    let digest = envelope.checked_digest()?;
    let manifest = Manifest::parse(envelope.unverified_manifest())?;
    let mut components = read_components(&manifest)?;
    walk(manifest.shared(), &mut components)?;
    for sequence in [manifest.install(), manifest.validate(), manifest.invoke()].into_iter().flatten() {
        walk(sequence, &mut components)?;
    }
    Ok(Inspection {
        digest,
        algorithm: envelope.algorithm(),
        sequence_number: manifest.sequence_number,
        components,
        offer: Offer::from_manifest(&manifest, digest),
    })
}

fn read_components(manifest: &Manifest<'_>) -> Result<Vec<InspectedComponent>, SuitError> {
    let mut reader = manifest.components();
    let mut components = Vec::new();
    for _ in 0..reader.array()? {
        let mut component = InspectedComponent::default();
        for _ in 0..reader.array()? {
            component.identifier.push(reader.bytes()?.to_vec());
        }
        components.push(component);
    }
    Ok(components)
}

/// Keeps the last value that the sequence sets. A single component is selected from the start.
fn walk(commands: Commands<'_>, components: &mut [InspectedComponent]) -> Result<(), SuitError> {
    let mut selected = (components.len() == 1).then_some(0);
    for command in commands {
        match command? {
            Command::SetComponentIndex(index) => selected = usize::try_from(index).ok(),
            Command::OverrideParameters(new) => {
                let component = selected.and_then(|index| components.get_mut(index));
                component.ok_or(SuitError::NoComponentSelected)?.set(&new);
            }
            _ => {}
        }
    }
    Ok(())
}

impl InspectedComponent {
    fn set(&mut self, new: &Parameters<'_>) {
        self.vendor = new.vendor.or(self.vendor);
        self.class = new.class.or(self.class);
        self.image_digest = new.image_digest.or(self.image_digest);
        self.image_size = new.image_size.or(self.image_size);
        if let Some(uri) = new.uri {
            self.uri = Some(uri.into());
        }
    }
}
