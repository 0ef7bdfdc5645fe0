//! What a distribution is to do, and for whom.

use super::needed::Needed;
use crate::digest::Digest;
use crate::platform::Area;
use crate::suit::Offer;
use crate::time::Duration;
use crate::tree::TreeShape;
use alloc::vec::Vec;
use core::net::SocketAddr;
use group_oscore::MemberId;

/// How a group is reached and what is done with it.
#[derive(Debug, Clone)]
pub struct DistributionConfig {
    /// The CoAP group: multicast address and port.
    pub coap_group: SocketAddr,
    /// The group's rate, in bits a second on the link.
    pub rate: u64,
    /// What one datagram costs on the link besides its UDP payload: 42 bytes with IPv4 on Ethernet, 62 with
    /// IPv6.
    pub overhead_bytes: u32,
    /// The agents of the context are the whole security group. Where they are a part of it, offers, asks and
    /// orders name them, so that nobody else takes the update up or answers (protocol.md \[target\]).
    pub everyone: bool,
    /// Who activates as soon as the image is there (protocol.md \[waves\]).
    pub activate: Activate,
    /// The attempt to activate as (protocol.md \[attempt\]), at least 1. Agents that rolled back at a lower
    /// one try again. Where a reset has cut an attempt off, a higher one follows by itself.
    pub attempt: u32,
    /// How long agents wait before they activate, in milliseconds (protocol.md \[moment\]).
    pub delay_ms: u32,
    /// A transfer that is not complete by then ends with who is not ready counted as lost, and from then on
    /// nobody is sent anything but orders and questions.
    pub transfer_within: Duration,
    /// Who has not confirmed so long after the activation counts as lost.
    pub confirm_within: Duration,
}

/// Who activates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activate {
    /// Nobody: agents are left ready.
    Nobody,
    /// Every agent of the context.
    Everyone,
    /// These alone, the agents of a wave. They activate as soon as each of them has the image, has ended or
    /// is lost, and the distribution ends with their trials. The others are served as long as that takes, and
    /// nothing waits for them.
    Only(Vec<MemberId>),
}

impl Activate {
    /// Whether the distribution goes on until this agent has what it is to have: with nobody to activate,
    /// everyone is to have the image.
    pub(super) fn is_about(&self, id: MemberId) -> bool {
        match self {
            Self::Nobody | Self::Everyone => true,
            Self::Only(wave) => wave.contains(&id),
        }
    }
}

/// What a distribution is about.
#[derive(Debug)]
pub enum Job {
    /// Bring this update to the group.
    Update(Update),
    /// Only ask everyone what it is doing.
    Census {
        /// So many times.
        rounds: u32,
    },
}

/// A signed update, ready to be sent.
#[derive(Debug)]
pub struct Update {
    /// The signed SUIT envelope.
    pub envelope: Vec<u8>,
    /// What it says, verified.
    pub offer: Offer,
    /// All pages of the hash tree, in order; their root is the signed one.
    pub pages: Vec<u8>,
}

/// The update with everything derived from it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) update: Update,
    pub(super) shape: TreeShape,
    pub(super) needed_pages: Needed,
    pub(super) needed_blocks: Needed,
}

impl Subject {
    pub(super) fn new(update: Update) -> Self {
        let shape = TreeShape::new(update.offer.layout);
        let needed_pages = Needed::none_of(shape.page_count());
        let needed_blocks = Needed::none_of(update.offer.layout.block_count());
        Self { update, shape, needed_pages, needed_blocks }
    }

    pub(super) fn digest(&self) -> Digest {
        self.update.offer.digest
    }

    pub(super) fn page(&self, index: u32) -> Option<&[u8]> {
        let bytes = self.update.offer.layout.block_size.bytes() as usize;
        self.update.pages.get(index as usize * bytes..(index as usize + 1) * bytes)
    }

    /// Whether a block read from the image file is the one that was signed: the file may change under us.
    pub(super) fn is_right(&self, number: u32, block: &[u8]) -> bool {
        let parent = self.shape.parent_of(Area::Image, number);
        let parent = parent.and_then(|(page, entry)| Some((self.page(page)?, entry)));
        crate::tree::check(Area::Image, parent, &self.update.offer.tree_root, block)
    }
}
