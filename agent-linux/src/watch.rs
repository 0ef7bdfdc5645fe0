//! The interface over time: it may be deleted and made anew (a USB adapter, a driver that is loaded again),
//! go down and up, or change its addresses. A membership does not survive all of that, and the kernel says
//! nothing to the socket that held it.
//!
//! Changes are noticed by netlink at once (rtnetlink(7)), and by a look every few seconds in any case.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::net::if_::{InterfaceFlags, if_indextoname};
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, socket};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

use crate::interface::Interface;

/// How often the interface is looked at where netlink says nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a change more of them follow: they are waited for so long.
const SETTLE: Duration = Duration::from_millis(200);

/// What there is to see of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sight {
    index: u32,
    is_up: bool,
    addresses: BTreeSet<String>,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is not there any more.
    Gone,
    /// It is there, and the CoAP group has to be joined on it again.
    Changed(Interface),
}

/// Watches one interface.
#[derive(Debug)]
pub struct Watch {
    name: String,
    sight: Option<Sight>,
    netlink: Option<UdpSocket>,
    /// A link was deleted since the last look: the one that is there now may be another, even under the same
    /// number.
    deleted: bool,
    renamed: bool,
    next: Instant,
}

impl Watch {
    /// Begins to watch an interface. Must be called inside a tokio runtime.
    #[must_use]
    pub fn of(interface: &Interface) -> Self {
        let netlink = netlink();
        if let Err(error) = &netlink {
            tracing::warn!(%error, "no news of interfaces from the kernel: looking at them now and then");
        }
        Self {
            sight: look(&interface.name),
            name: interface.name.clone(),
            netlink: netlink.ok(),
            deleted: false,
            renamed: false,
            next: Instant::now() + LOOK_EVERY,
        }
    }

    /// Waits for a change. Can be dropped and called again without losing one.
    pub async fn change(&mut self) -> Change {
        loop {
            tokio::select! {
                deleted = news(self.netlink.as_ref(), self.sight.as_ref().map(|sight| sight.index)) => {
                    self.deleted |= deleted;
                    self.next = self.next.min(Instant::now() + SETTLE);
                    continue;
                }
                () = sleep_until(self.next) => {}
            }
            self.next = Instant::now() + LOOK_EVERY;
            if let Some(change) = self.compare() {
                return change;
            }
        }
    }

    fn compare(&mut self) -> Option<Change> {
        let now = look(&self.name);
        let deleted = std::mem::take(&mut self.deleted);
        match (&self.sight, now) {
            (None, None) => None,
            (Some(before), None) => {
                if let Some(name) = if_indextoname(before.index).ok().filter(|_| !deleted) {
                    if !std::mem::replace(&mut self.renamed, true) {
                        let (old, new) = (&self.name, name.to_string_lossy().into_owned());
                        tracing::warn!(
                            old,
                            new,
                            "the interface has another name now: correct the configuration"
                        );
                    }
                    return None;
                }
                self.sight = None;
                Some(Change::Gone)
            }
            (Some(before), Some(now)) if *before == now && !deleted => None,
            (before, Some(now)) => {
                let was = before.as_ref();
                tracing::info!(
                    interface = self.name,
                    index = now.index,
                    up = now.is_up,
                    addresses = ?now.addresses,
                    made_anew = was.is_none_or(|was| was.index != now.index) || deleted,
                    "the interface has changed: joining the CoAP group again"
                );
                let interface = Interface { name: self.name.clone(), index: now.index };
                self.sight = Some(now);
                self.renamed = false;
                Some(Change::Changed(interface))
            }
        }
    }

    /// What was seen last does not count: it could not be acted upon.
    pub fn forget(&mut self) {
        self.sight = None;
    }
}

/// Waits until the kernel tells something of links or addresses; whether the link with this number was
/// deleted.
async fn news(netlink: Option<&UdpSocket>, index: Option<u32>) -> bool {
    let Some(netlink) = netlink else { return std::future::pending().await };
    if netlink.readable().await.is_err() {
        return std::future::pending().await;
    }
    let mut deleted = false;
    let mut buffer = [0; 8192];
    loop {
        match netlink.try_recv(&mut buffer) {
            Ok(len) => deleted |= has_deleted(buffer.get(..len).unwrap_or_default(), index),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return deleted,
            // The kernel had more to tell than it could keep (ENOBUFS).
            Err(_) => return true,
        }
    }
}

/// Whether one of these messages says that the link with this number was deleted. Length and type are in
/// front (netlink(7)), and the link's number is the second word behind the header (rtnetlink(7)).
fn has_deleted(mut messages: &[u8], index: Option<u32>) -> bool {
    const HEADER_BYTES: usize = 16;
    const INDEX_AT: usize = HEADER_BYTES + 4;
    while let Some((length, rest)) = messages.split_first_chunk::<4>() {
        let length = (u32::from_ne_bytes(*length) as usize).next_multiple_of(4);
        let kind = rest.first_chunk::<2>().map(|kind| u16::from_ne_bytes(*kind));
        let link = messages.get(INDEX_AT..).and_then(|link| link.first_chunk::<4>());
        if kind == Some(libc::RTM_DELLINK) && link.map(|link| u32::from_ne_bytes(*link)) == index {
            return true;
        }
        if length < HEADER_BYTES {
            return false;
        }
        messages = messages.get(length..).unwrap_or_default();
    }
    false
}

/// What tokio offers for datagrams of any family is its socket for UDP: only `recv` is called on it.
fn netlink() -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.cast_unsigned()))?;
    UdpSocket::from_std(std::net::UdpSocket::from(socket))
}

/// Its number, whether it is up with a carrier, and its addresses; `None` when it is not there.
fn look(name: &str) -> Option<Sight> {
    let index = Interface::by_name(name).ok()?.index;
    let (mut is_up, mut addresses) = (false, BTreeSet::new());
    for one in getifaddrs().ok()?.filter(|one| one.interface_name == name) {
        is_up |= one.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let address = one
            .address
            .filter(|address| address.as_sockaddr_in().is_some() || address.as_sockaddr_in6().is_some());
        addresses.extend(address.map(|address| address.to_string()));
    }
    Some(Sight { index, is_up, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, link: u32, more: usize) -> Vec<u8> {
        let length = u32::try_from(24 + more).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(20, 0);
        bytes.extend(link.to_ne_bytes());
        bytes.resize(usize::try_from(length).unwrap().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn the_deleted_link_is_found_among_other_news() {
        let other = message(libc::RTM_NEWLINK, 7, 30);
        let another = message(libc::RTM_DELLINK, 8, 0);
        let gone = message(libc::RTM_DELLINK, 7, 7);
        let deleted = |bytes: &[u8]| has_deleted(bytes, Some(7));
        assert!(deleted(&[other.clone(), another.clone(), gone.clone(), other.clone()].concat()));
        assert!(deleted(&gone) && !deleted(&other) && !deleted(&another) && !deleted(&[]));
        // Nothing of this is a message, and nothing of it is read for ever.
        for junk in [&[0; 3][..], &[0; 40], &[255; 40], &other[..9]] {
            assert!(!deleted(junk));
        }
    }

    #[test]
    fn the_loopback_interface_is_seen() {
        let sight = look("lo").unwrap();
        assert!(sight.index > 0);
        assert_eq!(look("nothing0"), None);
    }
}
