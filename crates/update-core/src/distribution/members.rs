//! The Recipient Contexts of a group's agents.

use alloc::vec::Vec;
use group_oscore::{MemberId, RecipientContext, Recipients};

/// The Recipient Contexts of a group's agents, found by Sender ID.
pub struct Members(Vec<RecipientContext>);

impl Members {
    /// Sorts the contexts. Two with the same Sender ID cannot be told apart, so the first one counts.
    #[must_use]
    pub fn new(mut contexts: Vec<RecipientContext>) -> Self {
        contexts.sort_by_key(RecipientContext::id);
        contexts.dedup_by_key(|context| context.id());
        Self(contexts)
    }

    pub(super) fn as_slice(&self) -> &[RecipientContext] {
        &self.0
    }

    pub(super) fn index(&self, id: MemberId) -> Option<usize> {
        self.0.binary_search_by_key(&id, RecipientContext::id).ok()
    }
}

impl Recipients for Members {
    fn get_mut(&mut self, id: MemberId) -> Option<&mut RecipientContext> {
        let index = self.index(id)?;
        self.0.get_mut(index)
    }

    fn iter(&self) -> impl Iterator<Item = &RecipientContext> {
        self.0.iter()
    }
}
