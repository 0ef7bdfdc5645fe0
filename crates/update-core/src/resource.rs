//! The resources of the update protocol and their paths (docs/protocol.md, Resources).

use crate::digest::UpdateId;
use crate::platform::Area;
use coap_wire::{Body, WriteError, Writer, option};

/// The first segment of every fwcast path.
pub const ROOT: &[u8] = b"fw";

/// A resource of an agent or of the distributor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `/fw/<id>/manifest`: the signed SUIT envelope.
    Manifest(UpdateId),
    /// `/fw/<id>/hashes`: the pages of the hash tree, root first.
    Hashes(UpdateId),
    /// `/fw/<id>/image`: the image.
    Image(UpdateId),
    /// `/fw/<id>/parity`: parity symbols of the image.
    Parity(UpdateId),
    /// `/fw/<id>/hparity`: parity symbols of the pages of the hash tree.
    PageParity(UpdateId),
    /// `/fw/status`: the census.
    Status,
    /// `/fw/activate`: boot the new image on trial.
    Activate,
    /// `/fw/cancel`: drop the update.
    Cancel,
    /// `/fw/keys`: a key set signed by the root key. Reserved: no distributor sends one yet, and agents
    /// ignore it.
    Keys,
    /// `/fw/rewind`: this agent uses numbers that were used before (protocol.md \[rewind\]).
    Rewind,
    /// `/fw/boot` on the distributor: an agent reports that it has booted (protocol.md \[bound\]).
    Boot,
}

impl Resource {
    /// The resource that a request's Uri-Path names; `None` for any other path.
    #[must_use]
    pub fn of(body: &Body<'_>) -> Option<Self> {
        let mut path = body.uri_path();
        if path.next()? != ROOT {
            return None;
        }
        let (second, third) = (path.next()?, path.next());
        if path.next().is_some() {
            return None;
        }
        match (second, third) {
            (b"status", None) => Some(Self::Status),
            (b"activate", None) => Some(Self::Activate),
            (b"cancel", None) => Some(Self::Cancel),
            (b"keys", None) => Some(Self::Keys),
            (b"rewind", None) => Some(Self::Rewind),
            (b"boot", None) => Some(Self::Boot),
            (id, Some(b"manifest")) => UpdateId::parse(id).map(Self::Manifest),
            (id, Some(b"hashes")) => UpdateId::parse(id).map(Self::Hashes),
            (id, Some(b"image")) => UpdateId::parse(id).map(Self::Image),
            (id, Some(b"parity")) => UpdateId::parse(id).map(Self::Parity),
            (id, Some(b"hparity")) => UpdateId::parse(id).map(Self::PageParity),
            _ => None,
        }
    }

    /// The resource that carries the blocks or pages of an area.
    #[must_use]
    pub const fn of_area(area: Area, id: UpdateId) -> Self {
        match area {
            Area::Image => Self::Image(id),
            Area::Pages => Self::Hashes(id),
        }
    }

    /// The resource that carries the parity symbols of an area.
    #[must_use]
    pub const fn parity_of(area: Area, id: UpdateId) -> Self {
        match area {
            Area::Image => Self::Parity(id),
            Area::Pages => Self::PageParity(id),
        }
    }

    /// Writes the Uri-Path options.
    ///
    /// # Errors
    /// The writer's own: too little room, or an option with a higher number was written before.
    pub fn write_path(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        writer.option(option::URI_PATH, ROOT)?;
        let (id, name): (Option<&UpdateId>, &[u8]) = match self {
            Self::Manifest(id) => (Some(id), b"manifest"),
            Self::Hashes(id) => (Some(id), b"hashes"),
            Self::Image(id) => (Some(id), b"image"),
            Self::Parity(id) => (Some(id), b"parity"),
            Self::PageParity(id) => (Some(id), b"hparity"),
            Self::Status => (None, b"status"),
            Self::Activate => (None, b"activate"),
            Self::Cancel => (None, b"cancel"),
            Self::Keys => (None, b"keys"),
            Self::Rewind => (None, b"rewind"),
            Self::Boot => (None, b"boot"),
        };
        if let Some(id) = id {
            writer.option(option::URI_PATH, &id.to_hex())?;
        }
        writer.option(option::URI_PATH, name)?;
        Ok(())
    }
}
