//! The reports of agents since they were last taken: at most one for each agent.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rollout_engine::plan::AgentKey;
use rollout_engine::record::Report;

/// Shared by the current run and the engine, on one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Latest(Rc<RefCell<BTreeMap<AgentKey, Report>>>);

impl Latest {
    /// Adds a report, in place of an earlier one.
    pub(super) fn put(&self, key: AgentKey, report: Report) {
        self.0.borrow_mut().insert(key, report);
    }

    /// Takes all reports.
    pub(super) fn take(&self) -> BTreeMap<AgentKey, Report> {
        self.0.take()
    }
}
