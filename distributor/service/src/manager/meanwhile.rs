//! Whoever sends for a group is also its Group Manager, where no other process is.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;

use futures_util::future::join_all;
use fwcast_state::rekey::Due;
use fwcast_state::{GroupState, StateDir};
use group_manager::manager::Manager;
use provisioning::Name;

use super::{ManagerObserver, ManagerWork};
use crate::control::Stop;

/// Nobody looks on.
struct Quiet;

impl ManagerObserver for Quiet {
    fn confirmed(&mut self, _: &str, _: &str, _: u32) {}
    fn another_id(&mut self, _: &str, _: &str) {}
    fn left(&mut self, _: &str, _: &str) {}
    fn rekeyed(&mut self, _: &str, _: &Due) {}
    fn trouble(&mut self, _: &str) {}

    fn tick(&mut self, _: &Manager) -> bool {
        false
    }
}

/// Does this work, and answers the agents of these groups as their Group Manager meanwhile. Where another
/// process does that, or an address cannot be used, the work is done all the same.
pub async fn meanwhile<T>(
    dir: &StateDir,
    groups: impl IntoIterator<Item = &Name>,
    work: impl Future<Output = T>,
) -> T {
    let of_group = |name| GroupState::open(dir, name).ok().and_then(|group| group.profile.manager);
    let addresses: BTreeSet<SocketAddr> = groups.into_iter().filter_map(of_group).collect();
    let mut managers = Vec::new();
    for address in addresses {
        managers.extend(ManagerWork::at(dir, address).await.ok());
    }
    let (stopper, stopped) = Stop::on_demand();
    let answering = managers.iter_mut().map(|manager| {
        let mut stop = stopped.clone();
        async move { manager.run(&mut Quiet, &mut stop).await }
    });
    let answering = join_all(answering);
    let working = async {
        let done = work.await;
        stopper.send_replace(true);
        done
    };
    tokio::join!(working, answering).0
}
