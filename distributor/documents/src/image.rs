//! `kind: Image`: what is delivered.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Framed;
use super::text::{Digest, Version};

/// An Image.
pub type Image = Framed<ImageKind, ImageSpec>;

/// The word in `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ImageKind {
    /// An image.
    Image,
}

/// A signed image: its file, its digest, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "version, file, envelope and digest")]
#[schemars(extend("anyOf" = [{ "required": ["file"] }, { "required": ["digest"] }]))]
pub struct ImageSpec {
    /// Its version, for people.
    pub version: Version,
    /// The image file, relative to the folder of this YAML file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Its signed SUIT envelope, relative to the folder of this YAML file [default: `file` with .suit
    /// appended].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envelope: Option<PathBuf>,
    /// The digest of its signed SUIT manifest, as `fwcast image inspect` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}
