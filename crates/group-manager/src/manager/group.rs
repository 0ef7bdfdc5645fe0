//! A group as its Group Manager knows it.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use group_oscore::{AeadAlgorithm, Gid, MemberId};
use update_core::time::Duration;
use zeroize::Zeroizing;

use super::peer::Peer;
use crate::limits::{PACE_SHARE, STALE_IDS_MAX, STALE_IDS_REMEMBERED_MAX, STALE_SETS_MAX};
use crate::material::{Material, Place};

/// Bytes of headers around a datagram on the link.
const HEADERS_V4: u64 = 14 + 20 + 8;
const HEADERS_V6: u64 = 14 + 40 + 8;

/// One generation of a group's keys, and where the group is.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupKeys {
    /// The generation.
    pub num: u32,
    /// The Gid.
    pub gid: Gid,
    /// The OSCORE Master Secret.
    pub master_secret: Zeroizing<Vec<u8>>,
    /// The OSCORE Master Salt.
    pub master_salt: Zeroizing<Vec<u8>>,
    /// Both the AEAD and the Group Encryption Algorithm.
    pub aead: AeadAlgorithm,
    /// The distributor's Sender ID.
    pub distributor: MemberId,
    /// The distributor's authentication credential, a CCS.
    pub credential: Vec<u8>,
    /// Where the group is.
    pub place: Place,
}

/// What a Group Manager needs to know of a group.
#[derive(Debug, Clone)]
pub struct GroupSetup {
    /// Its name.
    pub name: String,
    /// Its keys in force.
    pub keys: GroupKeys,
    /// The rate of its link, in bits per second.
    pub rate_bits_per_second: u64,
}

/// Whether a member may use its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It may.
    Member,
    /// It was evicted, and is refused everything.
    Evicted,
}

/// The keys in force, and the Sender IDs that went out of use.
#[derive(Debug)]
pub(super) struct Group {
    setup: GroupSetup,
    /// For each of the last generations the Sender IDs that went out of use under it; the last is in force.
    stale: VecDeque<Vec<MemberId>>,
}

impl Group {
    pub(super) fn new(setup: GroupSetup) -> Self {
        Self { setup, stale: VecDeque::from([Vec::new()]) }
    }

    pub(super) fn name(&self) -> &str {
        &self.setup.name
    }

    pub(super) fn num(&self) -> u32 {
        self.setup.keys.num
    }

    pub(super) fn keys(&self) -> &GroupKeys {
        &self.setup.keys
    }

    pub(super) fn rekey(&mut self, keys: GroupKeys) {
        self.setup.keys = keys;
        if self.stale.len() >= STALE_SETS_MAX {
            self.stale.pop_front();
        }
        self.stale.push_back(Vec::new());
    }

    /// A Sender ID is no longer in use. If there are too many, the earlier ones of all generations are not
    /// known any more, and members are told nothing, which means all.
    pub(super) fn is_stale(&mut self, id: MemberId) {
        match self.stale.back_mut() {
            Some(current) if current.len() < STALE_IDS_REMEMBERED_MAX => current.push(id),
            _ => self.stale = VecDeque::new(),
        }
    }

    /// The Sender IDs that went out of use since this generation; `None` if that is not known any more
    /// (section 9.11 of the profile).
    pub(super) fn stale_since(&self, num: u32) -> Option<Vec<MemberId>> {
        let skew = self.num().checked_sub(num)? as usize + 1;
        let first = self.stale.len().checked_sub(skew)?;
        let mut ids: Vec<MemberId> = self.stale.iter().skip(first).flatten().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        Some(ids)
    }

    /// The key material for this member.
    pub(super) fn material(&self, peer: &Peer) -> Material<'_> {
        let keys = &self.setup.keys;
        let next = peer.accepts_from(keys.num).unwrap_or(keys.place.next);
        // Those of the generation before the one in force.
        let before = self.stale.len().checked_sub(2).and_then(|index| self.stale.get(index));
        let stale = before.into_iter().flatten().copied().take(STALE_IDS_MAX).collect();
        Material {
            num: keys.num,
            gid: keys.gid,
            master_secret: &keys.master_secret,
            master_salt: &keys.master_salt,
            aead: keys.aead,
            group_encryption: keys.aead,
            sender_id: peer.sender_id(),
            distributor: keys.distributor,
            credential: &keys.credential,
            place: Place { next, ..keys.place },
            stale,
        }
    }

    /// How long to wait after a datagram: at the group's rate it takes as long as [`PACE_SHARE`] of that.
    pub(super) fn pause(&self, len: usize, to: SocketAddr) -> Duration {
        let headers = if to.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let bits = (len as u64 + headers) * 8;
        Duration::from_micros(bits * 1_000_000 / self.setup.rate_bits_per_second.max(1)) * PACE_SHARE
    }
}

impl core::fmt::Debug for GroupKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut out = f.debug_struct("GroupKeys");
        out.field("num", &self.num)
            .field("gid", &self.gid)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
