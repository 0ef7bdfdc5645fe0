//! What a run has to tell since it was last asked: at most one report for each agent.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use provisioning::Name;
use rollout_engine::Input;
use rollout_engine::plan::AgentKey;
use rollout_engine::record::Report;
use rollout_engine::state::Sending;

/// Shared by the current run and the engine, on one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Latest(Rc<RefCell<Told>>);

#[derive(Debug, Default)]
struct Told {
    reports: BTreeMap<AgentKey, Report>,
    outages: Vec<Input>,
    sending: BTreeMap<Name, Sending>,
    /// Rollout groups that were reached once: what is gone now was there before.
    opened: BTreeSet<Name>,
}

impl Latest {
    /// Adds a report, in place of an earlier one.
    pub(super) fn put(&self, key: AgentKey, report: Report) {
        self.0.borrow_mut().reports.insert(key, report);
    }

    /// Nothing can be sent to a security group, for this reason, or it can again.
    pub(super) fn put_outage(&self, group: &Name, why: Option<&str>) {
        let outage = Input::Outage { group: group.clone(), why: why.map(str::to_owned) };
        self.0.borrow_mut().outages.push(outage);
    }

    /// How far the blocks for a security group are.
    pub(super) fn put_sending(&self, group: &Name, sending: Sending) {
        self.0.borrow_mut().sending.insert(group.clone(), sending);
    }

    /// Takes everything that the engine has to hear.
    pub(super) fn take(&self) -> Vec<Input> {
        let mut told = self.0.borrow_mut();
        let mut inputs = std::mem::take(&mut told.outages);
        let reports = std::mem::take(&mut told.reports).into_iter();
        inputs.extend(reports.map(|(agent, report)| Input::Report { agent, report }));
        let sending = std::mem::take(&mut told.sending).into_iter();
        inputs.extend(sending.map(|(group, sending)| Input::Sending { group, sending }));
        inputs
    }

    /// Whether this process has reached a rollout group before. From now on it has.
    pub(super) fn reaches(&self, lane: &Name) -> bool {
        !self.0.borrow_mut().opened.insert(lane.clone())
    }
}
