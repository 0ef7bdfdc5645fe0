//! What every document has.

use std::collections::BTreeMap;

use provisioning::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::group::RolloutGroup;
use super::image::Image;
use super::rollout::Rollout;
use super::schema::NameForm;
use super::selector::LabelValue;
use crate::kind::Kind;

/// A document of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "fwcast/v1", description = "A rollout manifest of fwcast.")]
pub enum Manifest {
    /// Who is reached, and how.
    RolloutGroup(RolloutGroup),
    /// What is brought.
    Image(Image),
    /// How it is brought.
    Rollout(Box<Rollout>),
}

/// The frame of a document. `K` says its kind, `S` is what it specifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "apiVersion, kind, metadata and spec")]
#[schemars(rename = "{K}Document", description = "A document.")]
pub struct Framed<K, S> {
    /// The form of the document: `fwcast/v1`.
    pub api_version: ApiVersion,
    /// What it describes.
    pub kind: K,
    /// What it is called.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
}

/// The forms that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first.
    #[serde(rename = "fwcast/v1")]
    V1,
}

/// What a document is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "name and labels")]
pub struct Metadata {
    /// Its name, by which others of its kind are told apart and other documents refer to it.
    #[schemars(with = "NameForm")]
    pub name: Name,
    /// What operators find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, LabelValue>")]
    pub labels: BTreeMap<Name, LabelValue>,
}

impl Manifest {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::RolloutGroup(_) => Kind::RolloutGroup,
            Self::Image(_) => Kind::Image,
            Self::Rollout(_) => Kind::Rollout,
        }
    }

    /// What it is called.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::RolloutGroup(group) => &group.metadata,
            Self::Image(image) => &image.metadata,
            Self::Rollout(rollout) => &rollout.metadata,
        }
    }
}
