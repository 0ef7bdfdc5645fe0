//! What may go wrong when something is sent, and the end of a push or a census.

use std::collections::BTreeMap;

use group_oscore::MemberId;
use jiff::Timestamp;
use update_core::distribution::{Distribution, Ending, Status};

use super::Fleet;
use crate::drive::{DistributionEnd, DriveError};
use crate::session::{Session, SessionError};
use fwcast_state::random::NoRandomness;
use fwcast_state::socket::SocketError;
use fwcast_state::{GroupState, StateError};
use fwcast_store::{Heard, Loss, Store, StoreError};
use rollout_engine::plan::AgentKey;

/// Why communication with a group failed, whoever communicates.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Could not get the right to send.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The group's files, or its counters are in doubt.
    #[error(transparent)]
    State(#[from] StateError),
    /// The group cannot be opened.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The group's socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Sending.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
}

impl<S: Store> Fleet<S> {
    /// Closes the session as its end requires, and stores the reports and measurements. A failure to store
    /// them is returned as a value, because it does no harm.
    ///
    /// # Errors
    /// The counters are in doubt, or the group's files cannot be written.
    pub(super) async fn finish(
        &self,
        mut session: Session,
        distribution: &Distribution,
        ended: DistributionEnd,
    ) -> Result<Option<StoreError>, StateError> {
        if let DistributionEnd::By(Ending::CounterBehind { .. }) = ended {
            return Err(session.condemn(distribution));
        }
        session.settle(distribution)?;
        Ok(self.note(&session.group, distribution).await.err())
    }

    async fn note(&self, group: &GroupState, distribution: &Distribution) -> Result<(), StoreError> {
        let at = Timestamp::now();
        let there = distribution.agents().iter().filter(|agent| !agent.lost);
        let statuses: BTreeMap<MemberId, Status> =
            there.filter_map(|agent| Some((agent.id, agent.status?))).collect();
        let heard: Vec<Heard> = group
            .agents
            .iter()
            .filter_map(|agent| {
                let status = statuses.get(&agent.member_id())?;
                let key = AgentKey { group: group.name.clone(), name: agent.name.clone() };
                Some(Heard { key, installed: status.installed })
            })
            .collect();
        // Agents may have been enrolled meanwhile.
        self.refresh().await?;
        self.store.hear(&heard, at).await?;
        let tallies = distribution.tallies();
        if let Some(loss) = Loss::measured(tallies.blocks_awaited, tallies.blocks_missed, at) {
            self.store.note_loss(&group.name, loss).await?;
        }
        Ok(())
    }
}
