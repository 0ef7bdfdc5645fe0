//! An agent's side of the Group Manager: asks for the keys in force, and takes new ones.
//!
//! Polled like the machines of `update-core`. It asks at each boot, when it hears a Gid that it does not
//! know, and when the distributor stays silent; the Group Manager also brings new keys without being asked.
//! New keys are saved before they are used (protocol.md \[rekey\]).

mod asking;
mod serving;

use crate::agent::Identity;
use crate::limits::{ASK_AGAIN, ASK_SPREAD, MEMBERSHIP_BYTES_MAX, UNPROVEN_EVERY};
use crate::material::Material;
use crate::record::MembershipRecord;
use crate::resource::NameText;
use asking::Ask;
use coap_wire::Message;
use core::net::SocketAddr;
use group_oscore::oscore::Association;
use group_oscore::{Gid, MemberId, OscoreOption};
use serving::Waiting;
use update_core::random::Random;
use update_core::reception::Via;
use update_core::time::Instant;

/// Who a member is, and where its Group Manager.
#[derive(Debug, Clone)]
pub struct MemberConfig {
    /// The Group Manager's address.
    pub manager: SocketAddr,
    /// The group's name.
    pub group: NameText,
    /// The member's own name.
    pub node: NameText,
    /// Its Sender ID in the individual context.
    pub individual: MemberId,
    /// The Gid and the generation of the keys in force.
    pub in_force: (Gid, u32),
}

/// The machine; see the module documentation.
#[derive(Debug)]
pub struct Member {
    config: MemberConfig,
    association: Association,
    random: Random,
    ask: Option<Ask>,
    /// What anybody can cause makes it ask from then on.
    unproven_from: Instant,
    /// The record with new keys, and what is being done with it.
    record: heapless::Vec<u8, MEMBERSHIP_BYTES_MAX>,
    stage: Stage,
    /// What waits to be sent to the Group Manager.
    waiting: Option<Waiting>,
    renewed_at: Option<Instant>,
    expelled: bool,
    counters: Counters,
    message_id: u16,
}

/// Whether this device knows which numbers it has used (protocol.md \[lost\]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counters {
    Known,
    /// It must have another Sender ID.
    Lost,
    /// The Group Manager has given it this one, which was never used under the keys in force.
    Given(MemberId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// There are no new keys.
    Idle,
    Found,
    Saving,
    Saved,
}

/// What to do next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send the first bytes of the buffer to the Group Manager.
    Transmit(SocketAddr, usize),
    /// Make [`Member::record`] durable, then call `saved`.
    Save,
    /// Use the keys of [`Member::saved_material`] from now on, then call `adopted`.
    Adopt,
    /// This device is not a member any more.
    Expelled,
    Wait(Option<Instant>),
}

impl Member {
    /// A member that asks for the keys in force within [`ASK_SPREAD`]. `association` is the one with the
    /// Group Manager; `seed` differs at each start.
    #[must_use]
    pub fn new(config: MemberConfig, association: Association, seed: u64, now: Instant) -> Self {
        let mut random = Random::new(seed);
        let ask = Ask::keys(now + random.up_to(ASK_SPREAD));
        Self {
            config,
            association,
            message_id: random.next_u64() as u16,
            random,
            ask: Some(ask),
            unproven_from: now,
            record: heapless::Vec::new(),
            stage: Stage::Idle,
            waiting: None,
            renewed_at: None,
            expelled: false,
            counters: Counters::Known,
        }
    }

    /// The counters are lost: asks for another Sender ID within [`ASK_SPREAD`].
    pub(crate) fn lose_counters(&mut self, now: Instant) {
        self.counters = Counters::Lost;
        self.ask = Some(Ask::sender_id(now + self.random.up_to(ASK_SPREAD)));
    }

    /// The generation of the keys in force.
    #[must_use]
    pub const fn num(&self) -> u32 {
        self.config.in_force.1
    }

    /// Whether everything that it asked for was answered.
    pub(crate) const fn has_answer(&self) -> bool {
        self.ask.is_none()
    }

    /// Handles a datagram if it is the Group Manager's; `false` if it is not.
    pub(crate) fn on_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        bytes: &mut [u8],
        identity: &Identity,
    ) -> bool {
        let Ok(message) = Message::parse(bytes) else { return false };
        let token = message.token();
        if message.code().is_response() {
            return via == Via::Own && self.on_answered(now, token, bytes, identity);
        }
        let Ok(option) = OscoreOption::of(&message) else { return false };
        let own = option.kid_context == Some(self.config.in_force.0.as_bytes());
        if own || option.kid_context.is_none() {
            return false;
        }
        if option.group_flag {
            // It may be anybody's. It stays with whoever counts what is not for this agent.
            self.ask_unproven(now);
            return false;
        }
        via == Via::Own && self.on_request(now, from, bytes, identity)
    }

    /// The distributor has been silent for long: there may be new keys.
    pub(crate) fn distributor_silent(&mut self, now: Instant) {
        self.ask_unproven(now);
    }

    /// Anybody can cause this, so it counts at most once in [`UNPROVEN_EVERY`] (protocol.md \[rekey\]).
    fn ask_unproven(&mut self, now: Instant) {
        if now < self.unproven_from || self.is_asking() || self.counters != Counters::Known {
            return;
        }
        self.unproven_from = now + UNPROVEN_EVERY;
        self.ask = Some(Ask::keys(now + self.random.up_to(ASK_SPREAD)));
    }

    /// New keys, if they are newer than those in force and this device can use them. Without counters it can
    /// use those of any generation, under a Sender ID that was given to it since.
    fn take(&mut self, payload: &[u8], material: &Material<'_>, identity: &Identity) -> bool {
        let is_unused = match self.counters {
            Counters::Known => material.num > self.num() && material.gid != self.config.in_force.0,
            Counters::Lost => false,
            Counters::Given(id) => material.num >= self.num() && material.sender_id == id,
        };
        if !is_unused || self.stage != Stage::Idle || identity.context(material).is_none() {
            return false;
        }
        let Self { config, record, .. } = self;
        let before = config.in_force.0;
        let new = MembershipRecord { individual: config.individual, before, payload };
        // The payload was read from a datagram, so it may be too long for a record.
        let _ = record.resize_default(MEMBERSHIP_BYTES_MAX);
        let Some(length) = new.encode(record) else { return false };
        record.truncate(length);
        self.stage = Stage::Found;
        true
    }

    pub(crate) fn next(&mut self, now: Instant, buffer: &mut [u8]) -> Next {
        if core::mem::take(&mut self.expelled) {
            return Next::Expelled;
        }
        match self.stage {
            Stage::Saving => return Next::Wait(None),
            Stage::Found => {
                self.stage = Stage::Saving;
                return Next::Save;
            }
            Stage::Saved => return Next::Adopt,
            Stage::Idle => {}
        }
        self.next_datagram(now, buffer)
    }

    fn next_datagram(&mut self, now: Instant, buffer: &mut [u8]) -> Next {
        if let Some(sent) = self.next_waiting(buffer) {
            return sent;
        }
        match self.next_ask(now, buffer) {
            Some(len) => Next::Transmit(self.config.manager, len),
            None => Next::Wait(self.deadline()),
        }
    }

    /// The record to make durable.
    pub(crate) fn record(&self) -> &[u8] {
        &self.record
    }

    /// The keys in the record. They were read before they were saved.
    pub(crate) fn saved_material(&self) -> Option<Material<'_>> {
        MembershipRecord::decode(&self.record).and_then(|record| record.material()).ok()
    }

    /// The record is durable, or it could not be made so.
    pub(crate) fn saved(&mut self, now: Instant, is_durable: bool) {
        self.stage = if is_durable { Stage::Saved } else { Stage::Idle };
        if !is_durable && self.counters != Counters::Known {
            // Nobody would bring them.
            self.ask = Some(Ask::keys(now + ASK_AGAIN));
        }
    }

    /// The new keys are in force.
    pub(crate) fn adopted(&mut self, gid: Gid, num: u32, now: Instant) {
        self.config.in_force = (gid, num);
        self.counters = Counters::Known;
        self.stage = Stage::Idle;
        // The Group Manager learns that they are in use, unless it brought them and gets an answer.
        self.ask = self.waiting.is_none().then(|| Ask::confirming(now));
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ask.as_ref().map(Ask::due)
    }
}
