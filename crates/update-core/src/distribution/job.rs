//! What a distribution does, and for whom.

use super::lacks::{Lacking, Lacks};
use super::needed::Needed;
use crate::block::Layout;
use crate::digest::{Digest, UpdateId};
use crate::parity::{Generations, Parity, lacks};
use crate::platform::Area;
use crate::suit::Offer;
use crate::time::Duration;
use crate::tree::TreeShape;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use group_oscore::MemberId;

/// How to reach a group, and what to do with it.
#[derive(Debug, Clone)]
pub struct DistributionConfig {
    /// The CoAP group: multicast address and port.
    pub coap_group: SocketAddr,
    /// The group's rate on the link, in bits per second.
    pub rate: u64,
    /// What one datagram costs on the link in addition to its UDP payload: 42 bytes with IPv4 on Ethernet, 62
    /// with IPv6.
    pub overhead_bytes: u32,
    /// Whether the agents of the context are the whole security group. If they are only a part, offers, asks
    /// and orders name them, so that no other agent takes up the update or answers (protocol.md \[target\]).
    pub everyone: bool,
    /// Which agents activate as soon as they have the image (protocol.md \[waves\]).
    pub activate: Activate,
    /// The attempt of the activation (protocol.md \[attempt\]), at least 1. Agents that rolled back at a
    /// lower one try again. If a reset cuts an attempt off, a higher one follows automatically.
    pub attempt: u32,
    /// How long agents wait before they activate, in milliseconds (protocol.md \[moment\]).
    pub delay_ms: u32,
    /// An agent that has not been heard from by then counts as lost. If no agent has been, the distribution
    /// ends.
    pub first_answer_within: Duration,
    /// An agent that has been heard from and is not ready by then counts as lost. From then on only orders
    /// and questions are sent.
    pub transfer_within: Duration,
    /// An agent that has not confirmed this long after it was told to activate counts as lost.
    pub confirm_within: Duration,
    /// An agent whose device has put the activation off is waited for so much longer (protocol.md
    /// \[deferred\]).
    pub deferred_within: Duration,
    /// If nobody activates: end as soon as every agent that answers has the image. Silent agents are not lost
    /// then, because the caller waits for them in another way.
    pub leaves_silent: bool,
    /// The parity that repairs what many agents miss; `None` to repair with blocks alone (protocol.md
    /// \[parity\]).
    pub parity: Option<Parity>,
}

/// Which agents activate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activate {
    /// None: agents stay ready.
    Nobody,
    /// Every agent of the context.
    Everyone,
    /// Only these, the agents of a wave. They activate as soon as each of them has the image, has ended or is
    /// lost, and the distribution ends with their trials. Until then the others are served, but nothing waits
    /// for them.
    Only(Vec<MemberId>),
}

impl Activate {
    /// Whether the distribution continues until this agent has what it should have. If nobody activates,
    /// everyone should have the image.
    pub(super) fn is_about(&self, id: MemberId) -> bool {
        match self {
            Self::Nobody | Self::Everyone => true,
            Self::Only(wave) => wave.contains(&id),
        }
    }
}

/// The job of a distribution.
#[derive(Debug)]
pub enum Job {
    /// Bring this update to the group.
    Update(Update),
    /// Only ask every agent for its state.
    Census {
        /// How many times.
        rounds: u32,
    },
    /// Take the update with this digest back, as [`Input::Cancel`](super::Input::Cancel) does. That needs
    /// neither its image nor its envelope.
    Cancel(Digest),
    /// The same as [`Input::Undo`](super::Input::Undo).
    Undo(Digest),
}

/// A signed update, ready to send.
#[derive(Debug)]
pub struct Update {
    /// The signed SUIT envelope.
    pub envelope: Vec<u8>,
    /// What the envelope says, verified.
    pub offer: Offer,
    /// All pages of the hash tree, in order; their root is the signed one.
    pub pages: Vec<u8>,
}

/// The update and everything derived from it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) update: Update,
    pub(super) shape: TreeShape,
    pub(super) needed_pages: Needed,
    pub(super) needed_blocks: Needed,
    /// The image blocks of the last round.
    pub(super) last_blocks: Needed,
    /// What agents name that the last round brought nothing: it waits for what is decided about them.
    doubtful_pages: Needed,
    doubtful_blocks: Needed,
    /// The state of its parity, if there is to be any.
    pub(super) mending: Option<Mending>,
}

/// The parity of the update.
#[derive(Debug)]
pub(super) struct Mending {
    pub(super) parity: Parity,
    image: MendingOf,
    pages: MendingOf,
}

impl Mending {
    fn new(parity: Parity, shape: &TreeShape) -> Self {
        let of = |area| MendingOf::new(Generations::new(parity, shape.count_of(area)));
        Self { parity, image: of(Area::Image), pages: of(Area::Pages) }
    }

    pub(super) const fn of(&self, area: Area) -> &MendingOf {
        match area {
            Area::Image => &self.image,
            Area::Pages => &self.pages,
        }
    }

    pub(super) const fn of_mut(&mut self, area: Area) -> &mut MendingOf {
        match area {
            Area::Image => &mut self.image,
            Area::Pages => &mut self.pages,
        }
    }

    /// Takes what an agent says that generations lack. Returns how many symbols it lacks, and whether it
    /// needs blocks.
    pub(super) fn take_lacks(&mut self, area: Area, first: u32, bytes: &[u8], agent: Lacking) -> (u32, bool) {
        let parity = self.parity;
        self.of_mut(area).lacks.add(first, lacks::read(parity, bytes), agent)
    }
}

/// The parity of the pages or of the image: what generations lack, and which symbols have been sent.
#[derive(Debug)]
pub(super) struct MendingOf {
    pub(super) generations: Generations,
    pub(super) lacks: Lacks,
    /// For each generation, the first symbol that has not been sent, or was sent longest ago.
    next: Vec<u32>,
}

impl MendingOf {
    fn new(generations: Generations) -> Self {
        let next = vec![0; generations.count() as usize];
        Self { generations, lacks: Lacks::none_of(generations), next }
    }

    /// Takes the next symbols of each generation: the generation, its first symbol, and how many.
    pub(super) fn take_symbols(&mut self, planned: &[u16]) -> Vec<(u32, u32, u32)> {
        let symbols = self.generations.symbols();
        let places = (0..).zip(self.next.iter_mut().zip(planned));
        let taken = places.map(|(generation, (next, count))| {
            let (first, count) = (*next, u32::from(*count).min(symbols));
            *next = (first + count) % symbols;
            (generation, first, count)
        });
        taken.collect()
    }
}

impl Subject {
    pub(super) fn new(update: Update, parity: Option<Parity>) -> Self {
        let shape = TreeShape::new(update.offer.layout);
        let needed_pages = Needed::none_of(shape.page_count());
        let needed_blocks = Needed::none_of(update.offer.layout.block_count());
        let last_blocks = needed_blocks.clone();
        let mending = parity.map(|parity| Mending::new(parity, &shape));
        let (doubtful_pages, doubtful_blocks) = (needed_pages.clone(), needed_blocks.clone());
        Self {
            update,
            shape,
            needed_pages,
            needed_blocks,
            last_blocks,
            doubtful_pages,
            doubtful_blocks,
            mending,
        }
    }

    /// An agent names what it misses of an area, and perhaps that is in doubt. Returns how much the area has.
    pub(super) fn name(&mut self, area: Area, first: u32, bitmap: &[u8], in_doubt: bool) -> u32 {
        let needed = match (area, in_doubt) {
            (Area::Image, false) => &mut self.needed_blocks,
            (Area::Pages, false) => &mut self.needed_pages,
            (Area::Image, true) => &mut self.doubtful_blocks,
            (Area::Pages, true) => &mut self.doubtful_pages,
        };
        needed.insert_bitmap(first, bitmap);
        needed.count()
    }

    /// Whether anybody names anything of this area, or says what its generations lack.
    pub(super) fn is_named(&self, area: Area) -> bool {
        let (needed, doubtful) = match area {
            Area::Image => (&self.needed_blocks, &self.doubtful_blocks),
            Area::Pages => (&self.needed_pages, &self.doubtful_pages),
        };
        let lacks = self.mending.as_ref().is_some_and(|mending| !mending.of(area).lacks.are_none());
        needed.len() + doubtful.len() > 0 || lacks
    }

    /// What is in doubt is needed if some agent that named it is still waited for.
    pub(super) fn decide_doubts(&mut self, counts: bool) {
        for (needed, doubtful) in [
            (&mut self.needed_pages, &mut self.doubtful_pages),
            (&mut self.needed_blocks, &mut self.doubtful_blocks),
        ] {
            if counts {
                needed.insert_all_of(doubtful);
            }
            doubtful.clear();
        }
    }

    /// An update of which only the name is known: it can be taken back, and nothing of it can be sent.
    pub(super) fn named(digest: Digest) -> Self {
        let none = Digest([0; 32]);
        let offer = Offer {
            digest,
            id: UpdateId::of(&digest),
            sequence_number: 0,
            vendor: [0; 16],
            class: [0; 16],
            layout: Layout::SMALLEST,
            image_digest: none,
            tree_root: none,
        };
        Self::new(Update { envelope: Vec::new(), offer, pages: Vec::new() }, None)
    }

    /// Whether there is anything to send.
    pub(super) fn is_at_hand(&self) -> bool {
        !self.update.envelope.is_empty()
    }

    pub(super) fn digest(&self) -> Digest {
        self.update.offer.digest
    }

    pub(super) fn page(&self, index: u32) -> Option<&[u8]> {
        let bytes = self.update.offer.layout.block_size.bytes() as usize;
        self.update.pages.get(index as usize * bytes..(index as usize + 1) * bytes)
    }

    /// Whether a block read from the image file is the one that was signed: the file may change while in use.
    pub(super) fn is_right(&self, number: u32, block: &[u8]) -> bool {
        let parent = self.shape.parent_of(Area::Image, number);
        let parent = parent.and_then(|(page, entry)| Some((self.page(page)?, entry)));
        crate::tree::check(Area::Image, parent, &self.update.offer.tree_root, block)
    }
}
