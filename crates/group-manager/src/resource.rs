//! The resources of the Group Manager (RFC 9594 section 4.1 and section 5 of the profile), and the one that
//! an agent has for it.

use crate::limits::NAME_BYTES_MAX;
use coap_wire::{Body, WriteError, Writer, option};

/// The name of a group or of a node, as in a path.
pub type NameText = heapless::String<NAME_BYTES_MAX>;

/// What a path names. `G` and `N` are the names of a group and of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// `/ace-group/G`: joining, and the group's key material.
    Group(&'a str),
    /// `/ace-group/G/creds`: authentication credentials.
    Credentials(&'a str),
    /// `/ace-group/G/num`: the generation of the key material.
    Num(&'a str),
    /// `/ace-group/G/stale-sids`: Sender IDs that are no longer in use.
    StaleIds(&'a str),
    /// `/ace-group/G/nodes/N`: key material with the member's own Sender ID.
    Node(&'a str, &'a str),
    /// `/ace-group/G/nodes/N/cred`: the member's own authentication credential.
    NodeCredential(&'a str, &'a str),
    /// `/ace-group/G/node` on the agent: new key material, without being asked.
    Control(&'a str),
}

const ROOT: &str = "ace-group";

impl<'a> Resource<'a> {
    /// The resource that a request's Uri-Path names; `None` for any other path.
    #[must_use]
    pub fn of(body: &Body<'a>) -> Option<Self> {
        let mut path = body.uri_path().map(|segment| core::str::from_utf8(segment).ok());
        let mut next = || path.next().map_or(Some(""), |segment| segment.filter(|text| !text.is_empty()));
        let segments = [next()?, next()?, next()?, next()?, next()?, next()?];
        match segments {
            [ROOT, group, "", "", "", ""] if !group.is_empty() => Some(Self::Group(group)),
            [ROOT, group, "creds", "", "", ""] => Some(Self::Credentials(group)),
            [ROOT, group, "num", "", "", ""] => Some(Self::Num(group)),
            [ROOT, group, "stale-sids", "", "", ""] => Some(Self::StaleIds(group)),
            [ROOT, group, "node", "", "", ""] => Some(Self::Control(group)),
            [ROOT, group, "nodes", node, "", ""] if !node.is_empty() => Some(Self::Node(group, node)),
            [ROOT, group, "nodes", node, "cred", ""] => Some(Self::NodeCredential(group, node)),
            _ => None,
        }
    }

    /// The group in the path.
    #[must_use]
    pub const fn group(&self) -> &'a str {
        match self {
            Self::Group(group)
            | Self::Credentials(group)
            | Self::Num(group)
            | Self::StaleIds(group)
            | Self::Control(group)
            | Self::Node(group, _)
            | Self::NodeCredential(group, _) => group,
        }
    }

    /// Writes the path.
    pub(crate) fn write_path(&self, writer: &mut Writer<'_>) -> Result<(), WriteError> {
        let (group, rest): (&str, [&str; 3]) = match *self {
            Self::Group(group) => (group, ["", "", ""]),
            Self::Credentials(group) => (group, ["creds", "", ""]),
            Self::Num(group) => (group, ["num", "", ""]),
            Self::StaleIds(group) => (group, ["stale-sids", "", ""]),
            Self::Control(group) => (group, ["node", "", ""]),
            Self::Node(group, node) => (group, ["nodes", node, ""]),
            Self::NodeCredential(group, node) => (group, ["nodes", node, "cred"]),
        };
        for segment in [ROOT, group].into_iter().chain(rest).filter(|segment| !segment.is_empty()) {
            writer.option(option::URI_PATH, segment.as_bytes())?;
        }
        Ok(())
    }
}
