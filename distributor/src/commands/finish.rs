//! The end of a push or a census.

use std::collections::BTreeMap;

use group_oscore::MemberId;
use jiff::Timestamp;
use update_core::distribution::{Distribution, Ending, Status};

use super::kind::on_store;
use crate::cli::Global;
use crate::commands::exit_codes::Failure;
use crate::commands::output::say;
use crate::drive::Ended;
use crate::rollout::plan::AgentKey;
use crate::session::Session;
use crate::state::GroupState;
use crate::store::{Heard, Loss, Store};

/// Closes the session as the end demands, and notes what was heard and measured where `fwcast get agents` and
/// `fwcast plan` find it.
///
/// # Errors
/// The counters are in doubt; the group's files cannot be written. That nothing could be noted is only said.
pub(super) fn finish(
    global: &Global,
    mut session: Session,
    distribution: &Distribution,
    ended: Ended,
) -> Result<(), Failure> {
    if let Ended::By(Ending::CounterBehind { .. }) = ended {
        return Err(session.condemn(distribution));
    }
    session.settle(distribution)?;
    if let Err(failure) = note(global, &session.group, distribution) {
        say!("note: not all that was heard and measured could be stored: {failure}");
    }
    Ok(())
}

fn note(global: &Global, group: &GroupState, distribution: &Distribution) -> Result<(), Failure> {
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
    let tallies = distribution.tallies();
    on_store(global, async |_, store| {
        store.hear(&heard, at).await?;
        if let Some(loss) = Loss::measured(tallies.blocks_awaited, tallies.blocks_missed, at) {
            store.note_loss(&group.name, loss).await?;
        }
        Ok(())
    })
}
