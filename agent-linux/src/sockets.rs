//! The two sockets of an agent (protocol.md \[sockets\]): one bound to the CoAP group, for receiving only,
//! and its own, from which everything is sent. Deliberate loss happens here too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use tokio::net::UdpSocket;
use update_core::reception::Via;

use crate::interface::Interface;
use crate::loss::Loss;

/// The requested receive buffer, in bytes. It holds what arrives during a disk sync.
pub const RECEIVE_BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// An error of a socket, with the operation.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed: {error}")]
pub struct SocketError {
    doing: String,
    error: io::Error,
}

/// A received datagram. Its bytes are in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// How many bytes.
    pub len: usize,
    /// Its sender.
    pub from: SocketAddr,
    /// The socket that received it.
    pub via: Via,
}

/// How many datagrams have passed the sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Received by the CoAP group's socket, without those dropped deliberately.
    pub group_received: u64,
    /// Received by the agent's own socket, without those dropped deliberately.
    pub own_received: u64,
    /// Sent, without those dropped deliberately.
    pub sent: u64,
    /// Incoming ones dropped deliberately.
    pub received_dropped: u64,
    /// Outgoing ones dropped deliberately.
    pub sent_dropped: u64,
}

impl Traffic {
    /// How many datagrams were dropped deliberately, in both directions.
    #[must_use]
    pub fn dropped(&self) -> u32 {
        u32::try_from(self.received_dropped.saturating_add(self.sent_dropped)).unwrap_or(u32::MAX)
    }
}

/// Both sockets of an agent.
#[derive(Debug)]
pub struct Sockets {
    coap_group: SocketAddr,
    group: UdpSocket,
    own: UdpSocket,
    interface: Interface,
    loss: Loss,
    traffic: Traffic,
    /// Which socket to read first, so that neither can starve the other.
    own_first: bool,
}

impl Sockets {
    /// Opens both: the group's socket joins on `interface` only; the agent's own uses `listen_port` or any
    /// free port.
    ///
    /// # Errors
    /// [`SocketError`], with the operation that failed.
    pub fn open(
        coap_group: SocketAddr,
        interface: Interface,
        listen_port: Option<u16>,
        loss: Loss,
    ) -> Result<Self, SocketError> {
        let group = joined(coap_group, &interface)?;
        warn_of_small_buffer(&group);
        let port = listen_port.unwrap_or(0);
        let own = own_socket(coap_group.ip(), port)
            .and_then(UdpSocket::from_std)
            .map_err(|error| failed(format!("opening UDP port {port}"), error))?;
        let traffic = Traffic::default();
        Ok(Self { coap_group, group, own, interface, loss, traffic, own_first: true })
    }

    /// Joins the CoAP group again, on an interface that has changed. What the old socket had received and
    /// nobody has read yet is lost, and repaired.
    ///
    /// # Errors
    /// [`SocketError`]; the old socket stays, which is no member any more.
    pub fn join_again(&mut self, interface: Interface) -> Result<(), SocketError> {
        // First of all: where the interface was made anew under the same number, the end of the old socket
        // would end the new membership.
        leave(&self.group, self.coap_group, &self.interface);
        self.group = joined(self.coap_group, &interface)?;
        self.interface = interface;
        Ok(())
    }

    /// Joins another CoAP group, in place of the one before.
    ///
    /// # Errors
    /// [`SocketError`]; the old socket stays, and [`join_again`](Self::join_again) tries the new group.
    pub fn listen_at(&mut self, coap_group: SocketAddr) -> Result<(), SocketError> {
        if coap_group == self.coap_group {
            return Ok(());
        }
        self.coap_group = coap_group;
        self.group = joined(coap_group, &self.interface)?;
        Ok(())
    }

    /// Waits for a datagram. Can be dropped and called again without losing one, as in `select!`. A datagram
    /// longer than the buffer is truncated, and will fail authentication.
    ///
    /// # Errors
    /// The system's error.
    pub async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        loop {
            self.own_first = !self.own_first;
            let order = if self.own_first { [Via::Own, Via::Group] } else { [Via::Group, Via::Own] };
            let mut found = None;
            for via in order {
                match self.socket(via).try_recv_from(buffer) {
                    Ok((len, from)) => {
                        found = Some(Received { len, from, via });
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            match found {
                Some(_) if self.loss.drops_received() => {}
                Some(received) => {
                    self.count(received.via);
                    return Ok(received);
                }
                None => tokio::select! {
                    ready = self.group.readable() => ready?,
                    ready = self.own.readable() => ready?,
                },
            }
        }
    }

    /// Sends from the agent's own socket.
    ///
    /// # Errors
    /// The system's error. The datagram is then lost, as it could have been anywhere.
    pub async fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        if self.loss.drops_sent() {
            return Ok(());
        }
        self.own.send_to(bytes, self.on_interface(to)).await?;
        self.traffic.sent += 1;
        Ok(())
    }

    /// How many datagrams have passed.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        let received_dropped = self.loss.received_dropped();
        Traffic { received_dropped, sent_dropped: self.loss.sent_dropped(), ..self.traffic }
    }

    /// The address of the agent's own socket: any address of the machine, and its port.
    ///
    /// # Errors
    /// The system's error.
    pub fn own_address(&self) -> io::Result<SocketAddr> {
        self.own.local_addr()
    }

    const fn socket(&self, via: Via) -> &UdpSocket {
        match via {
            Via::Group => &self.group,
            Via::Own => &self.own,
        }
    }

    const fn count(&mut self, via: Via) {
        match via {
            Via::Group => self.traffic.group_received += 1,
            Via::Own => self.traffic.own_received += 1,
        }
    }

    /// A link-local address is meaningless without its interface, and provisioning cannot know the index.
    fn on_interface(&self, to: SocketAddr) -> SocketAddr {
        match to {
            SocketAddr::V6(mut to) if to.scope_id() == 0 && to.ip().is_unicast_link_local() => {
                to.set_scope_id(self.interface.index);
                to.into()
            }
            to => to,
        }
    }
}

fn joined(coap_group: SocketAddr, interface: &Interface) -> Result<UdpSocket, SocketError> {
    group_socket(coap_group, interface)
        .and_then(UdpSocket::from_std)
        .map_err(|error| failed(format!("joining {coap_group} on {}", interface.name), error))
}

/// The interface may be gone, and the membership with it.
fn leave(socket: &UdpSocket, coap_group: SocketAddr, interface: &Interface) {
    let socket = socket2::SockRef::from(socket);
    let _ = match coap_group.ip() {
        IpAddr::V4(group) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(interface.index))
        }
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface.index),
    };
}

/// Several agents on one host each get every datagram of the group: the kernel gives a multicast datagram to
/// all sockets that are bound to its address and port. Bound to the group and with `IP_MULTICAST_ALL` off, a
/// socket receives nothing from another program's membership or another interface.
fn group_socket(coap_group: SocketAddr, interface: &Interface) -> io::Result<std::net::UdpSocket> {
    let socket = new_socket(coap_group.ip())?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    widen(&socket)?;
    match coap_group {
        SocketAddr::V4(group) => {
            socket.set_multicast_all_v4(false)?;
            socket.bind(&SockAddr::from(group))?;
            let index = InterfaceIndexOrAddress::Index(interface.index);
            socket.join_multicast_v4_n(group.ip(), &index)?;
        }
        SocketAddr::V6(mut group) => {
            group.set_scope_id(interface.index);
            socket.set_multicast_all_v6(false)?;
            socket.bind(&SockAddr::from(group))?;
            socket.join_multicast_v6(group.ip(), interface.index)?;
        }
    }
    Ok(socket.into())
}

/// The port is not shared: if it is taken, that is an error.
fn own_socket(family: IpAddr, port: u16) -> io::Result<std::net::UdpSocket> {
    let socket = new_socket(family)?;
    widen(&socket)?;
    let any = match family {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    socket.bind(&SockAddr::from(SocketAddr::new(any, port)))?;
    Ok(socket.into())
}

fn new_socket(family: IpAddr) -> io::Result<Socket> {
    let domain = if family.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if family.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Requests a large receive buffer: beyond the system's limit if the agent may, otherwise up to it. The
/// kernel grants less without an error; `warn_of_small_buffer` warns.
fn widen(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES) {
        Ok(()) => Ok(()),
        Err(_) => socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES),
    }
}

fn warn_of_small_buffer(socket: &UdpSocket) {
    // Linux reports twice what it grants, for its own bookkeeping.
    let granted = socket2::SockRef::from(socket).recv_buffer_size().map_or(0, |bytes| bytes / 2);
    if granted < RECEIVE_BUFFER_BYTES {
        tracing::warn!(
            granted_bytes = granted,
            wanted_bytes = RECEIVE_BUFFER_BYTES,
            "the receive buffer is small, so bursts will be lost: raise net.core.rmem_max"
        );
    }
}

const fn failed(doing: String, error: io::Error) -> SocketError {
    SocketError { doing, error }
}
