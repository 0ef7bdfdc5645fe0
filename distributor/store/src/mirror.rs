//! The store's copy of who is enrolled.
//!
//! The groups' folders are the only source of enrollment, labels included. Call [`refresh`] before reading
//! agents from the store; for each unchanged group it only looks at one file.

use provisioning::Name;

use super::{Member, Store, StoreError};
use fwcast_state::{Agents, Enrolled, StateDir, StateError, Waiting};

/// A group whose agents in the store may be out of date.
#[derive(Debug, thiserror::Error)]
#[error("the agents of group '{group}' may be out of date here: {error}")]
pub struct Unread {
    /// Which group.
    pub group: Name,
    /// Why it could not be read.
    pub error: StateError,
}

/// Copies every group whose agents were written since, and forgets groups that are gone. A group that cannot
/// be read is returned and stays as the store knows it, so commands for other groups still work.
///
/// # Errors
/// The groups cannot be listed, or the store's errors.
pub async fn refresh<S: Store>(dir: &StateDir, store: &S) -> Result<Vec<Unread>, StoreError> {
    let mut unread = Vec::new();
    let mut known = store.fingerprints().await?;
    for group in dir.groups()? {
        let before = known.remove(&group);
        match written_since(dir, &group, before.as_deref()) {
            Ok(None) => {}
            Ok(Some((members, fingerprint))) => store.sync_agents(&group, &members, &fingerprint).await?,
            Err(error) => unread.push(Unread { group, error }),
        }
    }
    for gone in known.into_keys() {
        store.forget_group(&gone).await?;
    }
    Ok(unread)
}

/// The members of a group with the fingerprint of their source, if it has changed.
fn written_since(
    dir: &StateDir,
    group: &Name,
    before: Option<&str>,
) -> Result<Option<(Vec<Member>, String)>, StateError> {
    // Taken first, so that anything written after it is found next time.
    let fingerprint = Agents::fingerprint(dir, group)?;
    let Some(fingerprint) = fingerprint.filter(|now| before != Some(now.as_str())) else { return Ok(None) };
    let agents = Agents::load(dir, group)?;
    let enrolled = agents.enrolled.into_iter().map(Member::from);
    let members = enrolled.chain(agents.waiting.into_iter().map(Member::from)).collect();
    Ok(Some((members, fingerprint)))
}

impl From<Enrolled> for Member {
    fn from(agent: Enrolled) -> Self {
        Self {
            name: agent.name,
            sender_id: Some(agent.sender_id),
            vendor: agent.vendor,
            class: agent.class,
            words: agent.words,
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
            words: agent.words,
            labels: agent.labels,
            enrolled_at: None,
        }
    }
}
