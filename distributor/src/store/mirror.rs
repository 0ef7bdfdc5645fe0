//! The store's copy of who is enrolled.
//!
//! The groups' folders are the one home of enrolment, labels included. Whoever needs agents from the store
//! calls
//! [`refresh`] first, which costs one look at a file for each group that has not changed.

use provisioning::Name;

use super::{Member, Store, StoreError};
use crate::state::{Agents, Enrolled, StateDir, Waiting};

/// Takes over every group whose agents were written since, and forgets those that are gone.
///
/// # Errors
/// A group's folder cannot be read; the store's own.
pub async fn refresh<S: Store>(dir: &StateDir, store: &S) -> Result<(), StoreError> {
    let mut known = store.fingerprints().await?;
    for group in dir.groups()? {
        // Read first: what is written after it is found the next time.
        let Some(fingerprint) = Agents::fingerprint(dir, &group)? else { continue };
        if known.remove(&group).is_none_or(|known| known != fingerprint) {
            store.sync_agents(&group, &members(dir, &group)?, &fingerprint).await?;
        }
    }
    for gone in known.into_keys() {
        store.forget_group(&gone).await?;
    }
    Ok(())
}

fn members(dir: &StateDir, group: &Name) -> Result<Vec<Member>, StoreError> {
    let agents = Agents::load(dir, group)?;
    let enrolled = agents.enrolled.into_iter().map(Member::from);
    Ok(enrolled.chain(agents.waiting.into_iter().map(Member::from)).collect())
}

impl From<Enrolled> for Member {
    fn from(agent: Enrolled) -> Self {
        Self {
            name: agent.name,
            sender_id: Some(agent.sender_id),
            vendor: agent.vendor,
            class: agent.class,
            labels: agent.labels,
            enrolled_at: agent.enrolled_at,
        }
    }
}

impl From<Waiting> for Member {
    fn from(agent: Waiting) -> Self {
        Self {
            name: agent.name,
            sender_id: None,
            vendor: agent.vendor,
            class: agent.class,
            labels: agent.labels,
            enrolled_at: None,
        }
    }
}
