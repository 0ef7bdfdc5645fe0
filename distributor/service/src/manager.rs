//! The Group Manager at work: a socket on one side, the groups' folders on the other.
//!
//! It serves all groups that name one of its addresses. What other commands change in the folders (a rekey,
//! an eviction, a new agent) it notices within a second, so no second process has to talk to it.

mod books;
mod meanwhile;

use std::io;
use std::net::SocketAddr;
use std::time::Duration as StdDuration;

use fwcast_state::random::{NoRandomness, seed};
use fwcast_state::rekey::Due;
use fwcast_state::{StateDir, StateError, StateLock};
use group_manager::manager::{Change, Manager, Output};
use provisioning::Name;
use tokio::net::UdpSocket;
use tokio::time::{Instant as Moment, sleep_until};
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::time::{Duration, Instant};

use crate::control::Stop;
use crate::drive;
use books::Books;
pub use books::BooksError;
pub use meanwhile::meanwhile;

/// How often the groups' folders are looked at, and what changed is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Room for any incoming datagram, so that none is truncated and mistaken for another.
const RECEIVE_BYTES: usize = 2048;

/// Why the Group Manager cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    /// Another process is the Group Manager of this state folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// What a group's files say cannot be used.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// The system gives no random bytes.
    #[error(transparent)]
    Random(#[from] NoRandomness),
    /// No group has an address for it.
    #[error(
        "no group says where its Group Manager is, so no agent can reach it: create the group with --manager \
         ADDR:PORT"
    )]
    NoAddress,
    /// The address cannot be used.
    #[error("cannot listen at the Group Manager's address {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

/// Is told what the Group Manager does.
pub trait ManagerObserver {
    /// A member uses the keys of this generation.
    fn confirmed(&mut self, group: &str, node: &str, num: u32);
    /// A member has lost count of its numbers, and got another Sender ID.
    fn another_id(&mut self, group: &str, node: &str);
    /// A member has left its group.
    fn left(&mut self, group: &str, node: &str);
    /// A group has new keys, without being asked for.
    fn rekeyed(&mut self, group: &str, due: &Due);
    /// Something could not be written; it is tried again.
    fn trouble(&mut self, why: &str);
    /// Some time has passed. `true` ends the work.
    fn tick(&mut self, manager: &Manager) -> bool;
}

/// The Group Manager of all groups with this address.
#[derive(Debug)]
pub struct ManagerWork {
    socket: UdpSocket,
    manager: Manager,
    books: Books,
    // Held only for its Drop.
    _lock: StateLock,
}

/// The addresses of the Group Manager, with the groups of each.
///
/// # Errors
/// A group cannot be read; or none has an address.
pub fn addresses(dir: &StateDir) -> Result<Vec<SocketAddr>, ManagerError> {
    let mut all = Vec::new();
    for name in dir.groups()? {
        all.extend(fwcast_state::GroupState::open(dir, &name)?.profile.manager);
    }
    all.sort();
    all.dedup();
    if all.is_empty() { Err(ManagerError::NoAddress) } else { Ok(all) }
}

impl ManagerWork {
    /// Takes up the work at this address.
    ///
    /// # Errors
    /// Another process does it, or the address or a group cannot be used.
    pub async fn at(dir: &StateDir, address: SocketAddr) -> Result<Self, ManagerError> {
        let lock = StateLock::to_manage(dir, address)?;
        let listen = |source| ManagerError::Listen { address, source };
        let socket = UdpSocket::bind(address).await.map_err(listen)?;
        let mut manager = Manager::new(seed()?);
        let mut books = Books::new(dir.clone(), address);
        books.look(&mut manager, drive::clock()())?;
        Ok(Self { socket, manager, books, _lock: lock })
    }

    /// The machine.
    pub fn manager(&self) -> &Manager {
        &self.manager
    }

    /// Works until it is asked to stop, or the observer has enough.
    ///
    /// # Errors
    /// A group's files cannot be used any more.
    pub async fn run(
        &mut self,
        observer: &mut impl ManagerObserver,
        stop: &mut Stop,
    ) -> Result<(), ManagerError> {
        let clock = drive::clock();
        let (start, origin) = (Moment::now(), clock());
        let moment = |at: Instant| start + StdDuration::from_micros(at.since(origin).as_micros() as u64);
        let mut looked = clock();
        let (mut buffer, mut incoming) = ([0; DATAGRAM_BYTES_MAX], [0; RECEIVE_BYTES]);
        loop {
            if clock().since(looked) >= LOOK_EVERY {
                looked = clock();
                self.settle(observer).await?;
                if observer.tick(&self.manager) {
                    return self.settle(observer).await;
                }
            }
            let until = match self.manager.poll(clock(), &mut buffer) {
                Output::Transmit { to, len } => {
                    // What is lost here could have been lost anywhere.
                    let _ = self.socket.send_to(&buffer[..len], to).await;
                    continue;
                }
                Output::Change(change) => {
                    self.carry(change, observer).await;
                    continue;
                }
                Output::Wait(until) => until,
            };
            let next = until.map_or(looked + LOOK_EVERY, |until| until.min(looked + LOOK_EVERY));
            tokio::select! {
                biased;
                () = stop.asked() => return self.settle(observer).await,
                received = self.socket.recv_from(&mut incoming) => {
                    if let Ok((len, from)) = received {
                        self.manager.on_datagram(clock(), from, &mut incoming[..len]);
                    }
                }
                () = sleep_until(moment(next)) => {}
            }
        }
    }

    /// Writes what has changed, and takes in what others have.
    async fn settle(&mut self, observer: &mut impl ManagerObserver) -> Result<(), ManagerError> {
        if let Err(error) = self.books.write().await {
            observer.trouble(&error.to_string());
        }
        match self.books.rekey_due().await {
            Ok(groups) => groups.iter().for_each(|(group, due)| observer.rekeyed(group.as_str(), due)),
            Err(error) => observer.trouble(&error.to_string()),
        }
        self.books.look(&mut self.manager, drive::clock()())?;
        Ok(())
    }

    async fn carry(&mut self, change: Change, observer: &mut impl ManagerObserver) {
        match change {
            Change::Confirmed { group, node, num } => {
                observer.confirmed(&group, &node, num);
                self.books.confirmed(&group, &node, num);
            }
            Change::Heard { group, node, address } => self.books.heard(&group, &node, address),
            Change::SenderIdWanted { group, node } => match self.books.new_sender_id(&group, &node).await {
                Ok(Some((id, next))) => {
                    self.manager.give_sender_id(&group, &node, id, next);
                    observer.another_id(&group, &node);
                }
                Ok(None) => {}
                Err(error) => observer.trouble(&error.to_string()),
            },
            Change::Left { group, node } => match self.books.left(&group, &node).await {
                Ok(()) => observer.left(&group, &node),
                Err(error) => observer.trouble(&error.to_string()),
            },
        }
    }
}

/// Whether some process is the Group Manager at this address.
///
/// # Errors
/// The lock cannot be looked at.
pub fn is_at_work(dir: &StateDir, address: SocketAddr) -> Result<bool, StateError> {
    match StateLock::to_manage(dir, address) {
        Ok(_) => Ok(false),
        Err(StateError::StateLocked { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

/// How many members a group has, how many of them are known to use its keys, and who is not.
///
/// # Errors
/// The group's files cannot be read.
pub fn progress(dir: &StateDir, group: &Name) -> Result<(usize, Vec<Name>), StateError> {
    let state = fwcast_state::GroupState::open(dir, group)?;
    let known = fwcast_state::ManagerState::load(dir, group)?.members;
    let has = |name: &Name| known.get(name).and_then(|member| member.confirmed) >= Some(state.security.num);
    let names = state.agents.iter().map(|agent| agent.name.clone());
    Ok((state.agents.len(), names.filter(|name| !has(name)).collect()))
}
