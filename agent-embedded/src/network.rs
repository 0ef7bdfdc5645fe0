//! The agent's two sockets on the application's `embassy_net::Stack`.
//!
//! IPv6 is always included; IPv4 with the feature `ipv4`.

use core::future::poll_fn;
use core::mem::MaybeUninit;
use core::net::{IpAddr, SocketAddr};
use core::task::Poll;

use embassy_futures::select::{Either, select};
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Config, IpAddress, IpEndpoint, IpListenEndpoint, Ipv6Cidr, Stack, StaticConfigV6};
#[cfg(feature = "ipv4")]
use embassy_net::{Ipv4Cidr, StaticConfigV4};
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::reception::Via;

use crate::drive::{Network, Received};
use crate::provisioning::OwnAddress;

/// How many sockets of the stack's `StackResources` the agent takes.
pub const SOCKETS: usize = 2;
/// How many blocks wait while flash is busy.
const GROUP_DATAGRAMS: usize = 3;
/// How many answers and polls wait.
const OWN_DATAGRAMS: usize = 2;
/// How many answers wait to be sent.
const SEND_DATAGRAMS: usize = 2;
/// The UDP port of the agent's own socket is at least this.
const PORT_FIRST: u16 = 49_152;

/// Memory for both sockets. It is all zero or uninitialised before use, so it takes no flash.
pub struct Buffers {
    group_meta: MaybeUninit<[PacketMetadata; GROUP_DATAGRAMS]>,
    group: [u8; GROUP_DATAGRAMS * DATAGRAM_BYTES_MAX],
    own_meta: MaybeUninit<[PacketMetadata; OWN_DATAGRAMS]>,
    own: [u8; OWN_DATAGRAMS * DATAGRAM_BYTES_MAX],
    send_meta: MaybeUninit<[PacketMetadata; SEND_DATAGRAMS]>,
    send: [u8; SEND_DATAGRAMS * DATAGRAM_BYTES_MAX],
}

impl Buffers {
    /// Empty buffers.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            group_meta: MaybeUninit::uninit(),
            group: [0; GROUP_DATAGRAMS * DATAGRAM_BYTES_MAX],
            own_meta: MaybeUninit::uninit(),
            own: [0; OWN_DATAGRAMS * DATAGRAM_BYTES_MAX],
            send_meta: MaybeUninit::uninit(),
            send: [0; SEND_DATAGRAMS * DATAGRAM_BYTES_MAX],
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the network did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// The group uses IPv4, which this build does not support.
    NotIpv6,
    /// The CoAP group could not be joined.
    Join,
    /// A socket could not be bound.
    Bind,
}

impl NetworkError {
    /// Whether a reset may help.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::NotIpv6 => false,
            Self::Join | Self::Bind => true,
        }
    }

    /// The error in plain words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotIpv6 => "this agent speaks IPv6 only: give the group and the device IPv6 addresses",
            Self::Join => "the CoAP group cannot be joined",
            Self::Bind => "a socket cannot be bound",
        }
    }
}

/// The stack's configuration with the address that the device was provisioned with.
///
/// # Errors
/// [`NetworkError::NotIpv6`] for an IPv4 address in a build without the feature `ipv4`.
pub fn config(own: &OwnAddress) -> Result<Config, NetworkError> {
    match own.address {
        IpAddr::V6(address) => {
            let gateway = match own.router {
                Some(IpAddr::V6(router)) => Some(router),
                _ => None,
            };
            let address = Ipv6Cidr::new(address, own.prefix_bits);
            Ok(Config::ipv6_static(StaticConfigV6 { address, gateway, dns_servers: Default::default() }))
        }
        #[cfg(feature = "ipv4")]
        IpAddr::V4(address) => {
            let gateway = match own.router {
                Some(IpAddr::V4(router)) => Some(router),
                _ => None,
            };
            let address = Ipv4Cidr::new(address, own.prefix_bits);
            Ok(Config::ipv4_static(StaticConfigV4 { address, gateway, dns_servers: Default::default() }))
        }
        #[cfg(not(feature = "ipv4"))]
        IpAddr::V4(_) => Err(NetworkError::NotIpv6),
    }
}

/// The two sockets.
pub struct Sockets {
    stack: Stack<'static>,
    joined: IpAddress,
    group: UdpSocket<'static>,
    own: UdpSocket<'static>,
}

impl Sockets {
    /// Joins the CoAP group and binds both sockets; the agent's own one to `own`, which must be an address of
    /// this stack. The caller runs the stack.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn open(
        stack: Stack<'static>,
        buffers: &'static mut Buffers,
        own: IpAddr,
        coap_group: SocketAddr,
        seed: u64,
    ) -> Result<Self, NetworkError> {
        let (joined, address) = (ip_address(coap_group.ip())?, ip_address(own)?);
        stack.join_multicast_group(joined).map_err(|_| NetworkError::Join)?;
        let group_meta = buffers.group_meta.write([PacketMetadata::EMPTY; GROUP_DATAGRAMS]);
        let mut group = UdpSocket::new(stack, group_meta, &mut buffers.group, &mut [], &mut []);
        let at_group = IpListenEndpoint { addr: Some(joined), port: coap_group.port() };
        group.bind(at_group).map_err(|_| NetworkError::Bind)?;
        let own_meta = buffers.own_meta.write([PacketMetadata::EMPTY; OWN_DATAGRAMS]);
        let send_meta = buffers.send_meta.write([PacketMetadata::EMPTY; SEND_DATAGRAMS]);
        let mut own = UdpSocket::new(stack, own_meta, &mut buffers.own, send_meta, &mut buffers.send);
        let port = PORT_FIRST | (seed & 0x3fff) as u16;
        own.bind(IpListenEndpoint { addr: Some(address), port }).map_err(|_| NetworkError::Bind)?;
        Ok(Self { stack, joined, group, own })
    }
}

impl Network for Sockets {
    async fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            let ready = select(self.group.wait_recv_ready(), self.own.wait_recv_ready()).await;
            let (socket, via) = match ready {
                Either::First(()) => (&self.group, Via::Group),
                Either::Second(()) => (&self.own, Via::Own),
            };
            // This drops a datagram that is longer than the buffer.
            if let Ok((len, meta)) = socket.recv_from(buffer).await {
                return Received { len, from: socket_address(meta.endpoint), via };
            }
        }
    }

    fn listen_at(&mut self, coap_group: SocketAddr) -> bool {
        let Ok(address) = ip_address(coap_group.ip()) else { return false };
        if address != self.joined {
            // If the stack has forgotten it, nothing is left to leave.
            let _ = self.stack.leave_multicast_group(self.joined);
            if self.stack.join_multicast_group(address).is_err() {
                return false;
            }
            self.joined = address;
        }
        self.group.close();
        self.group.bind(IpListenEndpoint { addr: Some(address), port: coap_group.port() }).is_ok()
    }

    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        let Ok(address) = ip_address(to.ip()) else { return false };
        let to = IpEndpoint::new(address, to.port());
        // This never waits. If there is no room, because the last datagram still waits for its neighbour,
        // this one is lost.
        poll_fn(|context| match self.own.poll_send_to(bytes, to, context) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => Poll::Ready(false),
        })
        .await
    }
}

fn ip_address(address: IpAddr) -> Result<IpAddress, NetworkError> {
    match address {
        IpAddr::V6(v6) => Ok(IpAddress::Ipv6(v6)),
        #[cfg(feature = "ipv4")]
        IpAddr::V4(v4) => Ok(IpAddress::Ipv4(v4)),
        #[cfg(not(feature = "ipv4"))]
        IpAddr::V4(_) => Err(NetworkError::NotIpv6),
    }
}

fn socket_address(endpoint: IpEndpoint) -> SocketAddr {
    let address = match endpoint.addr {
        IpAddress::Ipv6(v6) => IpAddr::V6(v6),
        #[cfg(feature = "ipv4")]
        IpAddress::Ipv4(v4) => IpAddr::V4(v4),
    };
    SocketAddr::new(address, endpoint.port)
}
