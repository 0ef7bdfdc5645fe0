//! New keys for a group, and who may no longer have them.

use std::collections::BTreeMap;

use fwcast_state::new_group::CreateError;
use fwcast_state::rekey::{self, Moves};
use fwcast_state::socket::interface_index;
use fwcast_state::{GroupLock, GroupState, MachineId, StateError};
use provisioning::Name;
use rollout_engine::Many;
use rollout_engine::plan::AgentKey;

use super::Fleet;
use crate::changes::Changed;
use fwcast_store::Store;

impl<S: Store> Fleet<S> {
    /// Gives a group new keys. The distributor uses them from now on; the Group Manager brings them to the
    /// agents.
    ///
    /// # Errors
    /// The group is being sent for, was moved away, or its files cannot be written; there is no such
    /// interface, or an address is of another family.
    pub async fn rekey(&self, name: &Name, moves: Moves) -> Result<Changed<GroupState>, CreateError> {
        // Opened first, so that a missing group is reported as missing.
        GroupState::open(&self.dir, name)?;
        if let Some(interface) = &moves.interface {
            interface_index(interface)?;
        }
        let machine = MachineId::of_this_machine()?;
        let sending = GroupLock::to_send(&self.dir, name)?;
        let editing = GroupLock::to_edit(&self.dir, name).await?;
        let group = rekey::rekey(&self.dir, (&sending, &editing), &machine, &moves)?;
        drop((sending, editing));
        let what = format!("security group '{name}' has new keys, generation {}", group.security.num);
        Ok(self.noted(group, [(None, "group-rekeyed", what)]).await)
    }

    /// Takes an evicted agent back into its group, with a new Sender ID.
    ///
    /// # Errors
    /// It was not evicted from this group, or the group's files cannot be written.
    pub async fn rejoin(&self, name: &Name, group: &Name) -> Result<Changed<()>, StateError> {
        GroupState::open(&self.dir, group)?;
        let editing = GroupLock::to_edit(&self.dir, group).await?;
        rekey::rejoin(&self.dir, &editing, name)?;
        let key = AgentKey { group: group.clone(), name: name.clone() };
        Ok(self.noted((), [(Some(key), "agent-rejoined", "a member of its group again".to_owned())]).await)
    }

    /// Evicts agents from their groups, and gives these groups new keys, each once.
    ///
    /// # Errors
    /// An agent is not known, a group is being sent for, or its files cannot be written. The same call again
    /// finishes what was done in part.
    pub async fn evict(
        &self,
        agents: &[AgentKey],
        reason: &str,
        destroy: bool,
    ) -> Result<Changed<Vec<GroupState>>, StateError> {
        let mut by_group: BTreeMap<&Name, Vec<Name>> = BTreeMap::new();
        for key in agents {
            by_group.entry(&key.group).or_default().push(key.name.clone());
        }
        let mut groups = Vec::new();
        let mut facts = Vec::new();
        for (name, agents) in by_group {
            let machine = MachineId::of_this_machine()?;
            let sending = GroupLock::to_send(&self.dir, name)?;
            let editing = GroupLock::to_edit(&self.dir, name).await?;
            rekey::evict(&self.dir, &editing, &agents, reason, destroy)?;
            let group = rekey::rekey(&self.dir, (&sending, &editing), &machine, &Moves::default())?;
            for agent in &agents {
                let key = AgentKey { group: name.clone(), name: agent.clone() };
                facts.push((Some(key), "agent-evicted", format!("evicted: {reason}")));
            }
            let what = format!(
                "security group '{name}' has new keys, generation {}, without {}",
                group.security.num,
                Many(agents.len(), "evicted agent")
            );
            facts.push((None, "group-rekeyed", what));
            groups.push(group);
        }
        Ok(self.noted(groups, facts).await)
    }
}
