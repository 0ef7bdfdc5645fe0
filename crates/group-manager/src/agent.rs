//! An agent that follows its group from one key to the next: the update protocol, and membership beside it.

use crate::material::{Material, Place};
use crate::member::{Member, Next};
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

    /// The context of this device with these counters.
    ///
    /// # Errors
    /// A key or a credential cannot be used.
    pub fn context_from(
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

/// The machine that a program drives, with the inputs and outputs of [`Reception`].
pub struct Agent<'m> {
    reception: Reception<'m>,
    /// `None` for an agent without a Group Manager to reach.
    member: Option<Member>,
    identity: Identity,
    place: Place,
    /// Whose task the platform carries out.
    task: Option<Whose>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Receptions,
    Members,
}

impl<'m> Agent<'m> {
    /// An agent. `place` is where its group is now.
    #[must_use]
    pub const fn new(
        reception: Reception<'m>,
        member: Option<Member>,
        identity: Identity,
        place: Place,
    ) -> Self {
        Self { reception, member, identity, place, task: None }
    }

    /// The update protocol.
    #[must_use]
    pub const fn reception(&self) -> &Reception<'m> {
        &self.reception
    }

    /// The update protocol, for what the device has to tell it.
    pub const fn reception_mut(&mut self) -> &mut Reception<'m> {
        &mut self.reception
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
                reception.handle(now, Input::Datagram { from, via, bytes });
            }
            Input::Done { done, bytes } => match (self.task.take(), &mut self.member) {
                (Some(Whose::Members), Some(member)) => member.saved(done == Done::Carried),
                _ => self.reception.handle(now, Input::Done { done, bytes }),
            },
            Input::Trial(trial) => self.reception.handle(now, Input::Trial(trial)),
            Input::Timeout => self.reception.handle(now, Input::Timeout),
        }
    }

    /// Returns what to do next; see [`Reception::poll`].
    pub fn poll<'a>(&'a mut self, now: Instant, buffer: &mut [u8]) -> Output<'a> {
        if self.task.is_some() {
            return Output::Wait(None);
        }
        if self.reception.is_probing_in_vain()
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
        match self.reception.poll(now, buffer) {
            Output::Wait(until) => Output::Wait(earliest(until, wait)),
            Output::Task(task) => {
                self.task = Some(Whose::Receptions);
                Output::Task(task)
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
            self.reception.rekey(NewKeys { context, distributor, address, floor });
            self.place = place;
        }
        member.adopted(gid, num, now);
        Output::Event(Event::Rekeyed { num })
    }

    /// Prepares a planned end; see [`Reception::close`].
    pub fn close(&mut self) {
        self.member = None;
        self.reception.close();
    }
}
