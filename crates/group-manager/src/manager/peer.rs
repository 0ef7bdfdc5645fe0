//! A member as its Group Manager knows it.

use alloc::string::String;
use coap_wire::Token;
use core::net::SocketAddr;
use group_oscore::oscore::{Association, Parameters, Renewal};
use group_oscore::{AeadAlgorithm, DeriveError, MemberId, ReceivedRequest, SentRequest};
use update_core::time::Instant;

use super::group::Membership;
use coap_wire::Code;

/// What a Group Manager needs to know of a member.
#[derive(Clone)]
pub struct MemberSetup<'a> {
    /// Its group.
    pub group: String,
    /// Its name.
    pub node: String,
    /// Its Sender ID in the group.
    pub sender_id: MemberId,
    /// Its Sender ID in the individual context.
    pub individual: MemberId,
    /// The Group Manager's Sender ID in it.
    pub manager: MemberId,
    /// The Master Secret of the individual context.
    pub master_secret: &'a [u8],
    /// Its Master Salt.
    pub master_salt: &'a [u8],
    /// Its AEAD Algorithm.
    pub aead: AeadAlgorithm,
    /// Whether it may use its group.
    pub membership: Membership,
    /// The generation of keys that it is known to use.
    pub confirmed: Option<u32>,
    /// Where it was last heard.
    pub address: Option<SocketAddr>,
    /// If it got another Sender ID: under which generation, and the distributor's next number then.
    pub since: Option<Since>,
}

/// From when on a member may accept something under its Sender ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// The generation of keys.
    pub num: u32,
    /// The distributor's next Sender Sequence Number.
    pub next: u64,
}

/// A member.
#[derive(Debug)]
pub(super) struct Peer {
    group: String,
    node: String,
    sender_id: MemberId,
    membership: Membership,
    pub(super) association: Association,
    pub(super) address: Option<SocketAddr>,
    /// The generation that it uses, and the last one that it was given.
    pub(super) confirmed: Option<u32>,
    pub(super) given: Option<u32>,
    /// What it gets next.
    pub(super) answer: Option<Answer>,
    /// Keys are on the way to it.
    pub(super) push: Option<Push>,
    /// When it was last refused.
    pub(super) refused_at: Option<Instant>,
    /// When it last asked for a new Sender ID.
    pub(super) wanted_id_at: Option<Instant>,
    /// It has been sent the keys since, so it may have used that one.
    pub(super) has_used_id: bool,
    since: Option<Since>,
}

/// An answer that waits for its turn.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) to: SocketAddr,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    /// It asks for a new individual context.
    Renewal(Renewal),
    Response {
        token: Token,
        /// The Message ID of a Confirmable request, to acknowledge.
        acknowledge: Option<u16>,
        binding: ReceivedRequest,
        reply: Reply,
    },
}

/// The content of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The key material, with its own Sender ID if it asked for that.
    Keys,
    Num,
    Credentials,
    /// Sender IDs that went out of use since a generation.
    StaleSince(u32),
    Deleted,
    /// Its new Sender ID, once there is one.
    SenderId(Option<MemberId>),
    /// An error, with the identifier of RFC 9594 section 9 if there is one.
    Error(Code, Option<u8>),
}

/// New keys on their way to a member.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) due: Instant,
    pub(super) tries: u8,
    /// Tries since the member was last heard.
    pub(super) unanswered: u8,
    pub(super) sent: Option<(Token, SentRequest)>,
}

impl Peer {
    pub(super) fn new(setup: MemberSetup<'_>) -> Result<Self, DeriveError> {
        let association = Association::new(&Parameters {
            master_secret: setup.master_secret,
            master_salt: setup.master_salt,
            id_context: None,
            sender_id: setup.manager,
            recipient_id: setup.individual,
            aead: setup.aead,
        })?;
        Ok(Self {
            group: setup.group,
            node: setup.node,
            sender_id: setup.sender_id,
            membership: setup.membership,
            association,
            address: setup.address,
            confirmed: setup.confirmed,
            given: None,
            answer: None,
            push: None,
            refused_at: None,
            wanted_id_at: None,
            has_used_id: true,
            since: setup.since,
        })
    }

    pub(super) fn group(&self) -> &str {
        &self.group
    }

    pub(super) fn name(&self) -> &str {
        &self.node
    }

    pub(super) fn is(&self, group: &str, node: &str) -> bool {
        self.group == group && self.node == node
    }

    pub(super) const fn sender_id(&self) -> MemberId {
        self.sender_id
    }

    /// From when on it may accept something under the keys of this generation; `None`: from the first number
    /// on.
    pub(super) fn accepts_from(&self, num: u32) -> Option<u64> {
        self.since.filter(|since| since.num == num).map(|since| since.next)
    }

    /// Its new Sender ID goes into the answer that waits for it. Returns the old one.
    pub(super) fn take_sender_id(&mut self, id: MemberId, since: Since) -> MemberId {
        self.since = Some(since);
        self.has_used_id = false;
        if let Some(Answer { content: Content::Response { reply: Reply::SenderId(wanted), .. }, .. }) =
            &mut self.answer
        {
            *wanted = Some(id);
        }
        core::mem::replace(&mut self.sender_id, id)
    }

    /// Whether its answer has to wait for a new Sender ID.
    pub(super) fn awaits_sender_id(&self) -> bool {
        let content = self.answer.as_ref().map(|answer| &answer.content);
        matches!(content, Some(Content::Response { reply: Reply::SenderId(None), .. }))
    }

    pub(super) const fn confirmed(&self) -> Option<u32> {
        self.confirmed
    }

    pub(super) fn is_evicted(&self) -> bool {
        self.membership == Membership::Evicted
    }

    pub(super) fn evict(&mut self) {
        self.membership = Membership::Evicted;
        self.push = None;
        if !self.association.is_established() {
            self.association.forget();
        }
    }
}
