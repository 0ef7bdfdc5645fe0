//! What agents have reported since it was last taken in: at most one report for each.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use rollout_engine::plan::AgentKey;
use rollout_engine::record::Report;

/// Shared by the runs under way and the engine, on one thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Latest(Rc<RefCell<BTreeMap<AgentKey, Report>>>);

impl Latest {
    /// A report that takes the place of an earlier one.
    pub(super) fn put(&self, key: AgentKey, report: Report) {
        self.0.borrow_mut().insert(key, report);
    }

    /// All that have come.
    pub(super) fn take(&self) -> BTreeMap<AgentKey, Report> {
        self.0.take()
    }
}
