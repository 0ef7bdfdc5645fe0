//! Brings new keys to a group's agents, and waits for them.

use std::net::SocketAddr;
use std::time::Duration;

use fwcast_state::rekey::Due;
use fwcast_state::{GroupState, StateError};
use provisioning::Name;
use rollout_engine::Many;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{Fleet, SendError};
use crate::control::Stop;
use crate::manager::{self, ManagerError, ManagerObserver, ManagerWork};
use fwcast_store::Store;

/// How often another process that is the Group Manager is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Datagrams for one agent: a new individual context, the keys and the answer, each with its headers.
const BYTES_OF_AN_AGENT: u64 = 700;

/// Who has the new keys.
#[derive(Debug, Clone, Serialize)]
pub struct Delivered {
    /// The group.
    pub name: Name,
    /// The generation of the keys.
    pub generation: u32,
    /// How many agents it has.
    pub agents: usize,
    /// Those that are not known to use them.
    pub without: Vec<Name>,
    /// Where its Group Manager is.
    pub manager: Option<SocketAddr>,
}

/// Why keys could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The Group Manager cannot work.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The group cannot be sent for.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The group's files.
    #[error(transparent)]
    State(#[from] StateError),
}

/// What new keys for this many agents cost, in words.
pub fn cost(group: &GroupState, agents: usize) -> String {
    let bits = agents as u64 * BYTES_OF_AN_AGENT * 8;
    let seconds = bits as f64 / group.profile.rate_bits_per_second.max(1) as f64;
    format!(
        "{} get new keys, with about {} exchanges and {seconds:.1} s on the air",
        Many(agents, "agent"),
        agents * 2
    )
}

impl<S: Store> Fleet<S> {
    /// Brings the keys of a group to its agents: as the Group Manager, unless another process is that. Tells
    /// of each agent that has them. Ends when all have them, or after this time.
    ///
    /// # Errors
    /// The Group Manager's address cannot be used, or the group cannot be sent for.
    pub async fn deliver_keys(
        &self,
        group: &GroupState,
        within: Duration,
        mut tell: impl FnMut(&str),
        mut stop: Stop,
    ) -> Result<Delivered, DeliverError> {
        let name = &group.name;
        match group.profile.manager {
            _ if group.agents.is_empty() => {}
            None => {}
            Some(address) if manager::is_at_work(self.dir(), address)? => {
                let end = Instant::now() + within;
                while Instant::now() < end && !stop.is_asked() {
                    if manager::progress(self.dir(), name)?.1.is_empty() {
                        break;
                    }
                    tokio::select! {
                        () = sleep(LOOK_EVERY) => {}
                        () = stop.asked() => {}
                    }
                }
            }
            Some(address) => {
                let mut work = ManagerWork::at(self.dir(), address).await?;
                let mut waiting =
                    Waiting { group: name.as_str(), end: Instant::now() + within, tell: &mut tell };
                let (stopper, stopped) = Stop::on_demand();
                let working = async {
                    let done = work.run(&mut waiting, &mut stop).await;
                    stopper.send_replace(true);
                    done
                };
                // Whoever hears it notices that the keys are not its own, and asks.
                let (done, asked) = tokio::join!(working, self.census(name, 1, stopped));
                done?;
                asked?;
            }
        }
        let (agents, without) = manager::progress(self.dir(), name)?;
        let (generation, manager) = (group.security.num, group.profile.manager);
        Ok(Delivered { name: name.clone(), generation, agents, without, manager })
    }
}

/// Waits until all members of a group have its keys.
struct Waiting<'a, F> {
    group: &'a str,
    end: Instant,
    tell: &'a mut F,
}

impl<F: FnMut(&str)> ManagerObserver for Waiting<'_, F> {
    fn confirmed(&mut self, group: &str, node: &str, _: u32) {
        if group == self.group {
            (self.tell)(node);
        }
    }

    fn another_id(&mut self, _: &str, _: &str) {}

    fn left(&mut self, _: &str, _: &str) {}

    fn rekeyed(&mut self, _: &str, _: &Due) {}

    fn trouble(&mut self, _: &str) {}

    fn tick(&mut self, manager: &group_manager::manager::Manager) -> bool {
        let (all, done) = manager.progress(self.group);
        all == done || Instant::now() >= self.end
    }
}
