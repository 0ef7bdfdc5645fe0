//! The Group Manager (RFC 10021 section 12, RFC 9594 and its OSCORE profile).
//!
//! A machine like those of `update-core`: [`Manager::on_datagram`] takes datagrams, and [`Manager::poll`]
//! returns datagrams to send and [`Change`]s of its state. A Sender ID is told to its member only once it is
//! durable. Whatever is not authenticated is not answered, and nothing grows with what members send.

mod answering;
mod group;
mod peer;
mod pushing;

pub use group::{GroupKeys, GroupSetup, Membership};
pub use peer::{MemberSetup, Since};

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use core::net::SocketAddr;
use group::Group;
use group_oscore::{DeriveError, MemberId, OscoreOption};
use peer::Peer;
use update_core::random::Random;
use update_core::time::{Duration, Instant};

use crate::limits::ANSWERS_WAITING_MAX;
use coap_wire::Message;

/// What a Group Manager keeps of a member in memory, its two names apart, in bytes.
pub const PEER_BYTES: usize = size_of::<(MemberId, Peer)>();

const _: () = assert!(PEER_BYTES <= 900, "with its names, a member takes at most 1 KiB");

/// Something that must be made durable before anything relies on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A member uses the keys of this generation.
    Confirmed {
        /// Its group.
        group: String,
        /// Its name.
        node: String,
        /// The generation.
        num: u32,
    },
    /// A member was heard from this address.
    Heard {
        /// Its group.
        group: String,
        /// Its name.
        node: String,
        /// Where it was heard from.
        address: SocketAddr,
    },
    /// A member needs a Sender ID that nobody has had under these keys: call [`Manager::give_sender_id`] with
    /// one, once it is durable.
    SenderIdWanted {
        /// Its group.
        group: String,
        /// Its name.
        node: String,
    },
    /// A member leaves its group. Its Sender ID is not used again.
    Left {
        /// Its group.
        group: String,
        /// Its name.
        node: String,
    },
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send the first `len` bytes of the buffer.
    Transmit {
        /// Where to.
        to: SocketAddr,
        /// How many bytes.
        len: usize,
    },
    /// Make this durable, soon.
    Change(Change),
    /// There is nothing to do until then, or until the next datagram.
    Wait(Option<Instant>),
}

/// The machine; see the module documentation.
#[derive(Debug)]
pub struct Manager {
    groups: BTreeMap<String, Group>,
    /// All members, by their Sender ID in the individual context.
    peers: BTreeMap<MemberId, Peer>,
    random: Random,
    /// Who has an answer to send, in turn.
    answers: VecDeque<MemberId>,
    changes: VecDeque<Change>,
    /// Until when the last datagram takes, at the pace of its group.
    free_at: Instant,
    message_id: u16,
}

impl Manager {
    /// A Group Manager without groups. `seed` differs at each start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            groups: BTreeMap::new(),
            peers: BTreeMap::new(),
            random: Random::new(seed),
            answers: VecDeque::new(),
            changes: VecDeque::new(),
            free_at: Instant::default(),
            message_id: seed as u16,
        }
    }

    /// Adds a group, or replaces what is known of one but its members.
    pub fn add_group(&mut self, setup: GroupSetup) {
        self.groups.insert(setup.name.clone(), Group::new(setup));
    }

    /// Adds a member of a group, or takes back one that was evicted. Where it was heard meanwhile stays
    /// known.
    ///
    /// # Errors
    /// Its individual context cannot be derived.
    pub fn add_member(&mut self, mut setup: MemberSetup<'_>) -> Result<(), DeriveError> {
        let id = setup.individual;
        let heard = self.peers.get(&id).and_then(|peer| peer.address);
        setup.address = heard.or(setup.address);
        self.peers.insert(id, Peer::new(setup)?);
        Ok(())
    }

    /// Forgets a member altogether.
    pub fn remove_member(&mut self, individual: MemberId) {
        self.peers.remove(&individual);
    }

    /// Everybody has been added: keys go to those members that are not known to have them.
    pub fn begin(&mut self, now: Instant) {
        self.begin_pushing(now);
    }

    /// New keys for a group, which are durable already, and which the distributor uses already. They go to
    /// each member whose address is known, one after the other; the others ask.
    pub fn rekey(&mut self, now: Instant, group: &str, keys: GroupKeys) {
        let Some(group) = self.groups.get_mut(group) else { return };
        group.rekey(keys);
        let name = group.name();
        for peer in self.peers.values_mut().filter(|peer| peer.group() == name) {
            // What is on its way is out of date.
            peer.push = None;
        }
        self.begin_pushing(now);
    }

    /// Expels a member: it is refused everything from now on. Rekey its group afterwards.
    pub fn evict(&mut self, group: &str, node: &str) {
        let found = self.peers.values_mut().find(|peer| peer.is(group, node));
        if let Some(peer) = found {
            peer.evict();
            if let Some(group) = self.groups.get_mut(group) {
                group.is_stale(peer.sender_id());
            }
        }
    }

    /// A member has this Sender ID from now on, and is told so. It accepts nothing from before `next`, the
    /// distributor's next Sender Sequence Number.
    pub fn give_sender_id(&mut self, group: &str, node: &str, id: MemberId, next: u64) {
        let Some(num) = self.groups.get(group).map(Group::num) else { return };
        let Some((individual, peer)) = self.peers.iter_mut().find(|(_, peer)| peer.is(group, node)) else {
            return;
        };
        let individual = *individual;
        let old = peer.take_sender_id(id, Since { num, next });
        if let Some(group) = self.groups.get_mut(group) {
            group.is_stale(old);
        }
        self.queue(individual);
    }

    /// How many members a group has, and how many of them use its keys.
    #[must_use]
    pub fn progress(&self, group: &str) -> (usize, usize) {
        let num = self.groups.get(group).map(Group::num);
        let members = self.peers.values().filter(|peer| peer.group() == group && !peer.is_evicted());
        let (all, done): (usize, usize) =
            members.fold((0, 0), |(all, done), peer| (all + 1, done + usize::from(peer.confirmed() >= num)));
        (all, done)
    }

    /// Handles a datagram. It is decrypted in place.
    pub fn on_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        if message.code().is_response() {
            let token = message.token();
            return self.on_answered(now, token, bytes);
        }
        let Ok(option) = OscoreOption::of(&message) else { return };
        let Some(id) = option.kid.filter(|_| !option.group_flag).and_then(MemberId::new) else { return };
        self.on_request(id, now, from, bytes);
    }

    /// Returns what to do next. `buffer` holds the datagram to send: at least
    /// [`DATAGRAM_BYTES_MAX`](update_core::limits::DATAGRAM_BYTES_MAX) bytes.
    pub fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Output {
        if let Some(change) = self.changes.pop_front() {
            return Output::Change(change);
        }
        if now < self.free_at {
            return Output::Wait(Some(self.free_at));
        }
        while let Some(id) = self.answers.pop_front() {
            if self.peers.get(&id).is_some_and(Peer::awaits_sender_id) {
                continue;
            }
            if let Some((to, len)) = self.next_answer(id, buffer) {
                return self.sent(now, id, to, len);
            }
        }
        let (due, id) = match self.next_push() {
            Some((due, id)) if due <= now => (due, id),
            next => return Output::Wait(next.map(|(due, _)| due)),
        };
        match self.push(due.max(now), id, buffer) {
            Some((to, len)) => self.sent(now, id, to, len),
            None => Output::Wait(Some(now)),
        }
    }

    /// A datagram leaves: the next one waits, so that the Group Manager keeps to its share of the rate.
    fn sent(&mut self, now: Instant, id: MemberId, to: SocketAddr, len: usize) -> Output {
        let group = self.peers.get(&id).and_then(|peer| self.groups.get(peer.group()));
        let takes = group.map_or(Duration::ZERO, |group| group.pause(len, to));
        self.free_at = now + takes;
        Output::Transmit { to, len }
    }

    /// Puts a member in the queue of those that get an answer; each has one place.
    fn queue(&mut self, id: MemberId) {
        if !self.answers.contains(&id) && self.answers.len() < ANSWERS_WAITING_MAX {
            self.answers.push_back(id);
        }
    }

    fn next_message_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }
}
