//! What every document contains.

use std::collections::BTreeMap;

use provisioning::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::group::RolloutGroup;
use super::image::Image;
use super::rollout::Rollout;
use super::schema::NameForm;
use super::selector::LabelValue;
use fwcast_store::kind::Kind;

/// A document of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "fwcast/v1", description = "A rollout manifest of fwcast.")]
pub enum Manifest {
    /// Which agents are reached, and how.
    RolloutGroup(RolloutGroup),
    /// What is delivered.
    Image(Image),
    /// How it is delivered.
    Rollout(Box<Rollout>),
}

/// The frame of a document. `K` is its kind and `S` its spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "apiVersion, kind, metadata and spec")]
#[schemars(rename = "{K}Document", description = "A document.")]
pub struct Framed<K, S> {
    /// The version of the document's format: `fwcast/v1`.
    pub api_version: ApiVersion,
    /// What it describes.
    pub kind: K,
    /// Its name and labels.
    pub metadata: Metadata,
    /// Its content, which depends on the kind.
    pub spec: S,
}

/// The known format versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApiVersion {
    /// The first version.
    #[serde(rename = "fwcast/v1")]
    V1,
}

/// A document's name and labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "name and labels")]
pub struct Metadata {
    /// Its name, unique within its kind. Other documents refer to it by this name.
    #[serde(deserialize_with = "super::text::plain_name")]
    #[schemars(with = "NameForm")]
    pub name: Name,
    /// Labels by which operators find it.
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

    /// Its name and labels.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::RolloutGroup(group) => &group.metadata,
            Self::Image(image) => &image.metadata,
            Self::Rollout(rollout) => &rollout.metadata,
        }
    }
}
