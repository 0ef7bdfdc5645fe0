//! Watches the store for changes.

use std::time::Duration;

use provisioning::Name;

use super::Fleet;
use crate::runner::{RunError, load};
use fwcast_state::{RolloutLock, StateError};
use fwcast_store::{Event, EventQuery, Revision, Store, StoreError};
use rollout_engine::Engine;

/// How often the store is checked.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How many events are read at once.
const EVENTS_AT_ONCE: u32 = 1000;

/// Events as they happen, oldest first.
#[derive(Debug)]
pub struct Events<'a, S> {
    fleet: &'a Fleet<S>,
    query: EventQuery,
    seen: Revision,
    begun: bool,
}

impl<S: Store> Fleet<S> {
    /// Waits until anything in the store has changed since `seen`, then updates `seen`.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn changed(&self, seen: &mut Revision) -> Result<(), StoreError> {
        loop {
            let now = self.store.revision().await?;
            if std::mem::replace(seen, now) != now {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The known state of a rollout.
    ///
    /// # Errors
    /// No rollout with this name has begun, or it cannot be read.
    pub async fn rollout(&self, name: &Name) -> Result<Engine, RunError> {
        load(&self.store, name).await
    }

    /// Whether some process runs a rollout.
    ///
    /// # Errors
    /// Its lock file cannot be opened.
    pub fn is_run(&self, name: &Name) -> Result<bool, StateError> {
        RolloutLock::is_held(&self.dir, name)
    }

    /// Events as they happen. Past events come first, up to the query's limit.
    pub fn events(&self, query: EventQuery) -> Events<'_, S> {
        Events { fleet: self, query, seen: Revision::UNKNOWN, begun: false }
    }
}

impl<S: Store> Events<'_, S> {
    /// The next events; waits until there are any.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn next(&mut self) -> Result<Vec<Event>, StoreError> {
        if !self.begun {
            self.begun = true;
            let events = self.first().await?;
            if !events.is_empty() {
                return Ok(events);
            }
        }
        loop {
            self.fleet.changed(&mut self.seen).await?;
            let events = self.fleet.store.events(&self.query).await?;
            if events.len() >= EVENTS_AT_ONCE as usize {
                // There are more: read them immediately.
                self.seen = Revision::UNKNOWN;
            }
            if let Some(last) = events.last() {
                self.query.after = Some(last.id);
                return Ok(events);
            }
        }
    }

    /// The past events.
    async fn first(&mut self) -> Result<Vec<Event>, StoreError> {
        // Asked before the events, so that none is missed in between.
        self.seen = self.fleet.store.revision().await?;
        let wanted = self.query.limit;
        self.query.limit = wanted.max(1);
        let mut events = self.fleet.store.events(&self.query).await?;
        let last = events.last().map(|event| event.id);
        if wanted == 0 {
            self.query.after = Some(self.query.after.or(last).unwrap_or(0));
            events.clear();
        } else {
            self.query.after = Some(last.or(self.query.after).unwrap_or(0));
        }
        self.query.limit = EVENTS_AT_ONCE;
        Ok(events)
    }
}
