//! The fleet: the agents of the group, by the index of their Recipient Context.

use super::hearing::Heard;
use super::named::Named;
use super::{Agent, DistributionConfig, Event, Members};
use crate::limits::{EVERYONE_ANSWERS_MAX, ORDER_COPIES, TARGET_BYTES_MAX};
use crate::target::member_number;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use group_oscore::MemberId;

/// The agents, and the floors for their requests that are being stored.
pub(super) struct Fleet {
    agents: Vec<Agent>,
    floors_saving: Option<Vec<Option<u64>>>,
    /// What is remembered of some agent has changed and must be stored.
    conduct_changed: bool,
}

impl Fleet {
    pub(super) fn new(config: &DistributionConfig, members: &Members) -> Self {
        let agents = members.as_slice().iter().map(|recipient| {
            let waited_for = config.activate.is_about(recipient.id());
            Agent::new(recipient.id(), recipient.window().floor(), config.attempt, waited_for)
        });
        Self { agents: agents.collect(), floors_saving: None, conduct_changed: false }
    }

    pub(super) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    pub(super) const fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether the group is so large that not everyone answers every ask.
    pub(super) const fn is_large(&self) -> bool {
        self.agents.len() > EVERYONE_ANSWERS_MAX
    }

    pub(super) fn get(&self, index: usize) -> Option<&Agent> {
        self.agents.get(index)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Agent> {
        self.agents.get_mut(index)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Agent> {
        self.agents.iter_mut()
    }

    /// The indices of the agents that `counts` selects.
    pub(super) fn indices(&self, counts: impl Fn(&Agent) -> bool) -> Vec<usize> {
        let agents = self.agents.iter().enumerate();
        agents.filter(|(_, agent)| counts(agent)).map(|(index, _)| index).collect()
    }

    /// The agents that decide when a stage is over.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = &Agent> {
        self.agents.iter().filter(|agent| agent.waited_for())
    }

    /// The agents that should activate and have everything they need.
    pub(super) fn waiting(&self) -> Vec<usize> {
        self.indices(|agent| agent.waited_for() && agent.waits())
    }

    /// A question from this one on by which an order can be dated: the one that most agents answered. With
    /// each of the next turns it is the one that most of those answered who did not answer the ones before.
    pub(super) fn heard_question(&self, turn: usize, from: u64) -> Option<Heard> {
        let mut agents: Vec<&[Heard]> =
            self.agents.iter().map(|agent| agent.hearing.questions_from(from)).collect();
        let mut chosen = Vec::new();
        while chosen.len() < ORDER_COPIES as usize
            && let Some(heard) = most_common(&agents)
        {
            agents.retain(|questions| !questions.contains(&heard));
            chosen.push(heard);
        }
        chosen.get(turn.checked_rem(chosen.len())?).copied()
    }

    /// Whether anybody has been heard from at all.
    pub(super) fn anybody_heard(&self) -> bool {
        self.agents.iter().any(|agent| agent.status.is_some())
    }

    /// Counts the agents that `counts` selects as lost.
    pub(super) fn lose(&mut self, events: &mut VecDeque<Event>, counts: impl Fn(&Agent) -> bool) {
        for agent in self.agents.iter_mut().filter(|agent| counts(agent)) {
            agent.lose();
            events.push_back(Event::Lost(agent.id));
        }
    }

    /// The member numbers of the agents with these indices, in order.
    pub(super) fn numbers(&self, indices: &[usize]) -> Vec<u32> {
        let agents = indices.iter().filter_map(|index| self.agents.get(*index));
        let mut numbers: Vec<u32> = agents.filter_map(|agent| member_number(agent.id)).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Names the agents with these indices, in as many targets as needed.
    pub(super) fn named(&self, indices: &[usize]) -> Vec<Named> {
        let numbers = self.numbers(indices);
        let mut left = numbers.as_slice();
        let mut targets = Vec::new();
        while !left.is_empty() {
            let (named, count) = Named::first_of(left, TARGET_BYTES_MAX);
            targets.push(named);
            left = &left[count.max(1)..];
        }
        targets
    }
}

/// The question that most of these agents answered, and of several the newest.
fn most_common(agents: &[&[Heard]]) -> Option<Heard> {
    let mut all: Vec<Heard> = agents.iter().flat_map(|questions| questions.iter().copied()).collect();
    all.sort_unstable_by_key(|heard| heard.partial_iv);
    let groups = all.chunk_by(|a, b| a.partial_iv == b.partial_iv);
    groups.max_by_key(|group| group.len()).and_then(|group| group.first().copied())
}

/// The floors below which requests are refused after a restart (protocol.md \[bound\]).
impl Fleet {
    /// The floor to store for each agent; see [`Distribution::floors`](super::Distribution::floors).
    pub(super) fn floors(&self, members: &Members, finished: bool) -> Vec<(MemberId, Option<u64>)> {
        let floors = self.agents.iter().zip(members.as_slice()).map(|(agent, recipient)| {
            let window = recipient.window();
            let floor = match window.highest() {
                Some(highest) if finished => Some(highest + 1),
                // Where one has to be stored, all are raised: who is heard next need not be stored at once.
                _ => window.next_floor().map(|needed| agent.floor_above(needed)).max(agent.floor()),
            };
            (agent.id, floor)
        });
        floors.collect()
    }

    /// Whether floors must be stored before anything else is done. If so, they count as being saved from now
    /// on.
    pub(super) fn begin_saving_floors(&mut self, members: &Members) -> bool {
        let mut due = core::mem::take(&mut self.conduct_changed);
        for (agent, recipient) in self.agents.iter_mut().zip(members.as_slice()) {
            if recipient.window().floor_due(agent.floor().unwrap_or(0), 0).is_some() {
                agent.floor_was_due();
                due = true;
            }
        }
        if due {
            let floors = self.floors(members, false);
            self.floors_saving = Some(floors.into_iter().map(|(_, floor)| floor).collect());
        }
        due
    }

    /// Notes that what is remembered of an agent has changed.
    pub(super) const fn conduct_changed(&mut self) {
        self.conduct_changed = true;
    }

    pub(super) const fn is_saving_floors(&self) -> bool {
        self.floors_saving.is_some()
    }

    pub(super) fn floors_saved(&mut self) {
        for (agent, floor) in self.agents.iter_mut().zip(self.floors_saving.take().unwrap_or_default()) {
            agent.set_floor(floor);
        }
    }
}
