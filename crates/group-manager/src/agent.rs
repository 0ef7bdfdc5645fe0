//! An agent that follows its group from one key to the next: the update protocol, and membership beside it.

use crate::enrollment::Counted;
use crate::material::{Material, Place};
use crate::member::{Member, Next};
use core::borrow::BorrowMut;
use core::marker::PhantomData;
use group_oscore::{
    CommonContext, Credential, DeriveError, GroupContext, RecipientContext, ReplayWindow, SenderContext,
    SequenceNumbers,
};
use update_core::platform::{Done, Record, Task};
use update_core::reception::{AgentContext, Event, Input, NewKeys, Output, Reception};
use update_core::time::{Instant, earliest};
use zeroize::Zeroizing;

/// Who a device is in any group.
#[derive(Clone)]
pub struct Identity {
    /// Its Ed25519 private key.
    pub private_key: Zeroizing<[u8; 32]>,
    /// Its authentication credential.
    pub credential: Credential,
    /// The Group Manager's authentication credential.
    pub manager: Credential,
}

impl Identity {
    /// The context of this device under keys that it has never used: all its numbers are still to be
    /// reserved. `None` if they cannot be used.
    #[must_use]
    pub fn context(&self, material: &Material<'_>) -> Option<AgentContext> {
        let window = ReplayWindow::from_floor(material.place.next);
        self.context_from(material, SequenceNumbers::new(0, 0), window).ok()
    }

    /// The context of this device under the keys that it starts with. Without counters it must not be used.
    ///
    /// # Errors
    /// A key or a credential cannot be used.
    pub fn context_of(&self, keys: &Material<'_>, counted: Counted) -> Result<AgentContext, DeriveError> {
        let next = match counted {
            Counted::Known(bounds) => bounds.reserved_end,
            Counted::Unused | Counted::Lost => 0,
        };
        let window = ReplayWindow::from_floor(counted.floor(keys));
        self.context_from(keys, SequenceNumbers::new(next, next), window)
    }

    /// The context of this device with these counters.
    fn context_from(
        &self,
        material: &Material<'_>,
        numbers: SequenceNumbers,
        window: ReplayWindow,
    ) -> Result<AgentContext, DeriveError> {
        let common = CommonContext::derive(&material.parameters(self.manager.clone()))?;
        let own = self.credential.clone();
        let sender = SenderContext::derive(&common, material.sender_id, own, &self.private_key, numbers)?;
        let distributor =
            Credential::from_ccs(material.credential).map_err(|_| DeriveError::InvalidPublicKey)?;
        let recipient = RecipientContext::derive(&common, material.distributor, distributor, window)?;
        // Both were derived from this Common Context.
        GroupContext::new(common, sender, [recipient]).map_err(|_| DeriveError::EqualIds)
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity").field("credential", &self.credential).finish_non_exhaustive()
    }
}

/// The machine that a program drives, with the inputs and outputs of [`Reception`]. `R` is where that one is
/// kept: in here, or elsewhere by reference.
pub struct Agent<'m, R: BorrowMut<Reception<'m>> = Reception<'m>> {
    reception: R,
    /// `None` for an agent without a Group Manager to reach.
    member: Option<Member>,
    identity: Identity,
    place: Place,
    /// Whose task the platform carries out.
    task: Option<Whose>,
    voice: Voice,
    memory: PhantomData<&'m mut [u8]>,
}

/// Whether the agent takes part in its group (protocol.md \[lost\]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Voice {
    Speaks,
    /// Its counters are lost, which is to be told.
    Lost,
    /// It neither sends to the group nor accepts anything from it, until it has another Sender ID.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Receptions,
    Members,
}

impl<'m, R: BorrowMut<Reception<'m>>> Agent<'m, R> {
    /// An agent. `place` is where its group is now.
    #[must_use]
    pub const fn new(reception: R, member: Option<Member>, identity: Identity, place: Place) -> Self {
        let (task, voice, memory) = (None, Voice::Speaks, PhantomData);
        Self { reception, member, identity, place, task, voice, memory }
    }

    /// The counters are lost: the agent asks its Group Manager for another Sender ID, and takes no part in
    /// the group before it has one. Without a Group Manager to reach it stays silent.
    pub fn lose_counters(&mut self, now: Instant) {
        self.voice = Voice::Lost;
        if let Some(member) = &mut self.member {
            member.lose_counters(now);
        }
    }

    /// Whether the Group Manager has answered everything that it was asked.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.member.as_ref().is_none_or(Member::has_answer)
    }

    /// The update protocol.
    #[must_use]
    pub fn reception(&self) -> &Reception<'m> {
        self.reception.borrow()
    }

    /// The update protocol, for what the device has to tell it.
    pub fn reception_mut(&mut self) -> &mut Reception<'m> {
        self.reception.borrow_mut()
    }

    /// Where the group is. It changes with [`Event::Rekeyed`]: then listen there.
    #[must_use]
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Handles an input; see [`Reception::handle`].
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, via, bytes } => {
                let Self { reception, member, identity, task, .. } = self;
                let for_member = |member: &mut Member| member.on_datagram(now, from, via, bytes, identity);
                // Like any datagram that comes while a task is in progress, it is lost then.
                if task.is_none() && member.as_mut().is_some_and(for_member) {
                    return;
                }
                if self.voice == Voice::Speaks {
                    reception.borrow_mut().handle(now, Input::Datagram { from, via, bytes });
                }
            }
            Input::Done { done, bytes } => match (self.task.take(), &mut self.member) {
                (Some(Whose::Members), Some(member)) => member.saved(now, done == Done::Carried),
                _ => self.reception.borrow_mut().handle(now, Input::Done { done, bytes }),
            },
            Input::Trial(trial) => self.reception.borrow_mut().handle(now, Input::Trial(trial)),
            Input::Timeout => self.reception.borrow_mut().handle(now, Input::Timeout),
        }
    }

    /// Returns what to do next; see [`Reception::poll`].
    pub fn poll<'a>(&'a mut self, now: Instant, buffer: &mut [u8]) -> Output<'a> {
        if self.task.is_some() {
            return Output::Wait(None);
        }
        if self.voice == Voice::Lost {
            self.voice = Voice::Silent;
            return Output::Event(Event::CountersLost);
        }
        if self.reception.borrow().is_probing_in_vain()
            && let Some(member) = &mut self.member
        {
            member.distributor_silent(now);
        }
        let wait = match self.member.as_mut().map(|member| member.next(now, buffer)) {
            None => None,
            Some(Next::Wait(until)) => until,
            Some(Next::Transmit(to, len)) => return Output::Transmit { to, len },
            Some(Next::Expelled) => return Output::Event(Event::Expelled),
            Some(Next::Adopt) => return self.adopt(now),
            Some(Next::Save) => {
                self.task = Some(Whose::Members);
                let bytes = self.member.as_ref().map(Member::record).unwrap_or_default();
                return Output::Task(Task::Save { record: Record::Membership, bytes });
            }
        };
        if self.voice != Voice::Speaks {
            return Output::Wait(wait);
        }
        match self.reception.borrow_mut().poll(now, buffer) {
            Output::Wait(until) => Output::Wait(earliest(until, wait)),
            Output::Task(task) => {
                self.task = Some(Whose::Receptions);
                Output::Task(task)
            }
            Output::Event(Event::Rewound) => {
                if let Some(member) = &mut self.member {
                    self.voice = Voice::Lost;
                    member.lose_counters(now);
                }
                Output::Event(Event::Rewound)
            }
            other => other,
        }
    }

    /// The new keys are durable: they are used from now on.
    fn adopt(&mut self, now: Instant) -> Output<'static> {
        let Some(member) = &mut self.member else { return Output::Wait(Some(now)) };
        let Some(material) = member.saved_material() else { return Output::Wait(Some(now)) };
        let (gid, num, place) = (material.gid, material.num, material.place);
        // It was derived before it was saved, so it can be again.
        if let Some(context) = self.identity.context(&material) {
            let (distributor, address, floor) = (material.distributor, place.distributor, place.next);
            self.reception.borrow_mut().rekey(NewKeys { context, distributor, address, floor });
            self.place = place;
            self.voice = Voice::Speaks;
        }
        member.adopted(gid, num, now);
        Output::Event(Event::Rekeyed { num })
    }

    /// Prepares a planned end; see [`Reception::close`].
    pub fn close(&mut self) {
        self.member = None;
        self.reception.borrow_mut().close();
    }
}
