//! The distributor's sockets: one at the address that its agents know, to which answers come back, and
//! further ones where datagrams to the group leave faster than one port allows (protocol.md \[sockets\],
//! \[message ids\]).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::Profile;

/// The requested receive buffer, in bytes.
const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// The requested send buffer, in bytes.
const SEND_BUFFER_BYTES: usize = 1024 * 1024;

/// Why the socket for a group cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// This machine has no such interface.
    #[error(
        "this machine has no network interface '{name}' (there are: {known}): bring it up, or name one of \
         them, as `interface` of the rollout group or as --interface when the group is created"
    )]
    NoInterface {
        /// Its name.
        name: String,
        /// Those that exist.
        known: String,
    },
    /// The group is IPv4, and the interface has no IPv4 address.
    #[error(
        "the network interface '{0}' has no IPv4 address, so nothing can be sent to an IPv4 group there: \
         give it one, or name another interface"
    )]
    NoIpv4Address(String),
    /// Another process, or another group of this one, has the address.
    #[error(
        "the distributor's address {0} is in use: another fwcast process sends for a group with the same \
         address (`fwcast group list` shows them), or another program has the port; wait for it, or give \
         each group a port of its own"
    )]
    InUse(SocketAddr),
    /// The system refused.
    #[error(
        "cannot {verb} for the distributor's address {address} on interface {interface}: {source}; `fwcast \
         doctor` checks each part"
    )]
    System {
        /// The operation that failed.
        verb: &'static str,
        /// The distributor's address.
        address: SocketAddr,
        /// The interface.
        interface: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SocketError {
    fn system(profile: &Profile, verb: &'static str, source: std::io::Error) -> Self {
        let (address, interface) = (profile.distributor, profile.interface.clone());
        Self::System { verb, address, interface, source }
    }
}

/// Opens the socket that a group's profile describes.
///
/// # Errors
/// The interface does not exist, the address is not this machine's, or the port is taken.
pub fn open(profile: &Profile) -> Result<UdpSocket, SocketError> {
    open_at(profile, profile.distributor)
}

/// Opens a socket at another, free port of the same address. Nothing is received there.
///
/// # Errors
/// The same as of [`open`].
pub fn open_further(profile: &Profile) -> Result<UdpSocket, SocketError> {
    open_at(profile, SocketAddr::new(profile.distributor.ip(), 0))
}

fn open_at(profile: &Profile, address: SocketAddr) -> Result<UdpSocket, SocketError> {
    let interface = interface_index(&profile.interface)?;
    let fail = |verb, source| SocketError::system(profile, verb, source);
    let socket = multicast(profile)?;
    let address = with_scope(address, interface);
    socket.bind(&address.into()).map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => SocketError::InUse(profile.distributor),
        _ => fail("bind a socket", e),
    })?;
    UdpSocket::from_std(socket.into()).map_err(|e| fail("use the socket", e))
}

/// A socket whose multicast leaves by the profile's interface, not yet bound to an address.
///
/// # Errors
/// The interface does not exist or has no address.
pub fn multicast(profile: &Profile) -> Result<Socket, SocketError> {
    let interface = interface_index(&profile.interface)?;
    let fail = |verb, source| SocketError::system(profile, verb, source);
    let domain = Domain::for_address(profile.distributor);
    let socket =
        Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(|e| fail("open a socket", e))?;
    socket.set_nonblocking(true).map_err(|e| fail("set up the socket", e))?;
    // The system's limit is usually enough; a smaller buffer only means more repair.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SEND_BUFFER_BYTES);
    let multicast = match profile.distributor.ip() {
        IpAddr::V4(address) => socket
            .set_multicast_if_v4(&address_on(&profile.interface, address)?)
            .and_then(|()| socket.set_multicast_ttl_v4(profile.hops.into()))
            .and_then(|()| socket.set_multicast_loop_v4(true)),
        IpAddr::V6(_) => socket
            .set_only_v6(true)
            .and_then(|()| socket.set_multicast_if_v6(interface))
            .and_then(|()| socket.set_multicast_hops_v6(profile.hops.into()))
            .and_then(|()| socket.set_multicast_loop_v6(true)),
    };
    multicast.map_err(|e| fail("choose the interface for multicast", e))?;
    Ok(socket)
}

/// An address that identifies the interface to the system: the distributor's own if the interface has it.
fn address_on(interface: &str, own: Ipv4Addr) -> Result<Ipv4Addr, SocketError> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let mut first = None;
    for entry in all.filter(|entry| entry.interface_name == interface) {
        let address = entry.address.and_then(|address| Some(address.as_sockaddr_in()?.ip()));
        if address == Some(own) {
            return Ok(own);
        }
        first = first.or(address);
    }
    first.ok_or_else(|| SocketError::NoIpv4Address(interface.to_owned()))
}

/// The index of an interface, or an error that names those that exist.
pub fn interface_index(name: &str) -> Result<u32, SocketError> {
    if_nametoindex(name).map_err(|_| {
        let known = nix::net::if_::if_nameindex()
            .map(|list| {
                let names: Vec<_> = list.iter().map(|i| i.name().to_string_lossy().into_owned()).collect();
                names.join(", ")
            })
            .unwrap_or_default();
        SocketError::NoInterface { name: name.to_owned(), known }
    })
}

/// A link-local IPv6 address is meaningless without its interface.
pub fn with_scope(address: SocketAddr, interface: u32) -> SocketAddr {
    match address {
        SocketAddr::V6(mut v6) if v6.ip().is_unicast_link_local() || v6.ip().is_multicast() => {
            v6.set_scope_id(interface);
            v6.into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_named_with_those_that_do() {
        interface_index("lo").unwrap();
        let sentence = interface_index("nosuch0").unwrap_err().to_string();
        assert!(sentence.contains("'nosuch0'") && sentence.contains("lo"));
    }

    #[test]
    fn the_interface_decides_by_which_address_multicast_leaves() {
        let [own, elsewhere] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(203, 0, 113, 9)];
        assert_eq!(address_on("lo", own).unwrap(), own);
        assert_eq!(address_on("lo", elsewhere).unwrap(), own);
        let none = address_on("nothing0", own).unwrap_err();
        assert!(none.to_string().contains("'nothing0' has no IPv4 address"), "{none}");
    }
}
