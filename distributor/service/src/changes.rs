//! What operators change about agents and groups. Each change is an event that says who made it.

use jiff::Timestamp;
use provisioning::Name;

use super::Fleet;
use super::enroll::{self, Request, RequestError};
use super::import::{self, Imported};
use super::members::{self, Edit, MemberError};
use fwcast_documents::selector::Selector;
use fwcast_documents::values::Rate;
use fwcast_state::new_group::{self, Changes, CreateError, Plan};
use fwcast_state::{Enrolled, GroupState, MachineId};
use fwcast_store::{Store, StoreError};
use rollout_engine::Many;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::Fact;

/// A change that was made.
#[derive(Debug)]
pub struct Changed<T> {
    /// Its result.
    pub result: T,
    /// Why there is no event of it.
    pub not_noted: Option<StoreError>,
}

/// Which agents to label.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// One, by its name or by `GROUP/NAME`.
    Named(&'a str),
    /// All with these labels.
    Selected(&'a Selector),
}

impl<S: Store> Fleet<S> {
    /// Enrolls an agent, and writes its file, which must not exist yet.
    ///
    /// # Errors
    /// It is already enrolled and was not to be enrolled again, or its file cannot be written.
    pub async fn enroll(&self, request: Request) -> Result<Changed<Enrolled>, RequestError> {
        let key = AgentKey { group: request.group.clone(), name: request.name.clone() };
        let (kind, what) = match request.again {
            true => ("agent-enrolled-again", "enrolled again, with new keys"),
            false => ("agent-enrolled", "enrolled"),
        };
        let enrolled = enroll::enroll(&self.dir, request).await?;
        Ok(self.noted(enrolled, [(Some(key), kind, what.to_owned())]).await)
    }

    /// Enrolls the agents that are not enrolled yet, those of one group after another, and tells how far it
    /// is.
    ///
    /// # Errors
    /// The first thing that fails. What was told is enrolled and has its file.
    pub async fn import(
        &self,
        requests: Vec<Request>,
        mut tell: impl FnMut(Imported),
    ) -> Result<Changed<Imported>, RequestError> {
        let mut enrolled = Vec::new();
        let ended = import::import(&self.dir, requests, |done, keys| {
            enrolled.extend(keys);
            tell(done);
        });
        let ended = ended.await;
        let facts = enrolled.into_iter().map(|key| (Some(key), "agent-enrolled", "enrolled".to_owned()));
        let noted = self.noted((), facts).await;
        Ok(Changed { result: ended?, not_noted: noted.not_noted })
    }

    /// Changes the labels of agents; returns which.
    ///
    /// # Errors
    /// There is no such agent or group, or the group's files cannot be written.
    pub async fn relabel(
        &self,
        which: Which<'_>,
        group: Option<&Name>,
        edits: &[Edit],
    ) -> Result<Changed<Vec<AgentKey>>, MemberError> {
        let keys = match which {
            Which::Named(name) => vec![members::find(&self.dir, name, group)?],
            Which::Selected(selector) => members::select(&self.dir, group, selector)?,
        };
        members::relabel(&self.dir, &keys, edits).await?;
        let words: Vec<String> = edits.iter().map(ToString::to_string).collect();
        let what = format!("labels changed: {}", words.join(", "));
        let facts: Vec<_> =
            keys.iter().map(|key| (Some(key.clone()), "agent-labelled", what.clone())).collect();
        Ok(self.noted(keys, facts).await)
    }

    /// Removes an agent from its group. It still has the group's keys.
    ///
    /// # Errors
    /// There is no such agent, or the group's files cannot be written.
    pub async fn remove(&self, key: &AgentKey) -> Result<Changed<()>, MemberError> {
        members::remove(&self.dir, key).await?;
        let what = "removed from its group; it still has the group's keys".to_owned();
        Ok(self.noted((), [(Some(key.clone()), "agent-removed", what)]).await)
    }

    /// Ends the quarantine of an agent.
    ///
    /// # Errors
    /// It is not quarantined; the group is being sent for; the group's files cannot be written.
    pub async fn release(&self, key: &AgentKey) -> Result<Changed<()>, MemberError> {
        members::release(&self.dir, key)?;
        let what = "released from quarantine: its reports count again".to_owned();
        Ok(self.noted((), [(Some(key.clone()), "agent-released", what)]).await)
    }

    /// Creates a security group, and returns the names of the agents that must be enrolled again.
    ///
    /// # Errors
    /// The addresses, the interface or a key cannot be used, or the state folder cannot be written.
    pub async fn create_group(
        &self,
        plan: Plan,
        machine: &MachineId,
    ) -> Result<Changed<(GroupState, Vec<Name>)>, CreateError> {
        let (kind, verb) = match plan.replace {
            true => ("group-replaced", "replaced: all its keys are new"),
            false => ("group-created", "created"),
        };
        let (group, waiting) = new_group::create(&self.dir, plan, machine).await?;
        let trusts = match group.key_set() {
            Ok(set) => {
                format!(
                    "; its agents trust {} (version {})",
                    Many(set.keys().len(), "image key"),
                    set.version()
                )
            }
            Err(_) => String::new(),
        };
        let what = format!("security group '{}' {verb}{trusts}", group.name);
        Ok(self.noted((group, waiting), [(None, kind, what)]).await)
    }

    /// Changes how this machine sends to a group.
    ///
    /// # Errors
    /// There is no such group or interface, or the state folder cannot be written.
    pub async fn change_group(
        &self,
        name: &Name,
        changes: Changes,
    ) -> Result<Changed<GroupState>, CreateError> {
        let mut words = Vec::new();
        words.extend(changes.interface.as_ref().map(|interface| format!("interface {interface}")));
        words.extend(changes.hops.map(|hops| format!("hops {hops}")));
        words.extend(changes.rate_bits_per_second.map(|rate| format!("rate {}", Rate(rate))));
        words.extend(changes.parity.map(|parity| format!("parity {parity}")));
        let group = new_group::change(&self.dir, name, changes).await?;
        let what = format!("security group '{name}' changed: {}", words.join(", "));
        Ok(self.noted(group, [(None, "group-changed", what)]).await)
    }

    /// Records a change that was made. It has been made even if that fails.
    pub(super) async fn noted<T>(
        &self,
        result: T,
        facts: impl IntoIterator<Item = (Option<AgentKey>, &'static str, String)>,
    ) -> Changed<T> {
        let at = Timestamp::now();
        let fact = |(agent, kind, what): (Option<AgentKey>, &str, String)| {
            let text = format!("{what}, by {}", self.actor);
            Fact { at, rollout: None, agent, kind: kind.to_owned(), text }
        };
        let facts: Vec<Fact> = facts.into_iter().map(fact).collect();
        Changed { result, not_noted: self.store.note(&facts).await.err() }
    }
}
