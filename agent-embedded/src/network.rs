//! The two sockets of an agent on embassy-net: the one file that names it.

use core::future::poll_fn;
use core::mem::MaybeUninit;
use core::net::{IpAddr, SocketAddr};
use core::task::Poll;

use embassy_futures::select::{Either, select};
pub use embassy_net::Runner;
use embassy_net::driver::Driver;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Config, IpAddress, IpEndpoint, IpListenEndpoint, Ipv6Cidr};
use embassy_net::{StackResources, StaticConfigV6};
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::reception::Via;

use crate::drive::{Network, Received};
use crate::provisioning::OwnAddress;

/// Blocks that wait while flash is busy.
const GROUP_DATAGRAMS: usize = 3;
/// Answers and polls that wait.
const OWN_DATAGRAMS: usize = 2;
/// Answers to be sent.
const SEND_DATAGRAMS: usize = 2;
/// UDP port of the own socket, where none collides with another.
const PORT_FIRST: u16 = 49_152;

/// Memory of the network stack and of both sockets. All zero or uninitialised before it is used, so that it
/// takes no flash.
pub struct Memory {
    resources: StackResources<2>,
    group_meta: MaybeUninit<[PacketMetadata; GROUP_DATAGRAMS]>,
    group: [u8; GROUP_DATAGRAMS * DATAGRAM_BYTES_MAX],
    own_meta: MaybeUninit<[PacketMetadata; OWN_DATAGRAMS]>,
    own: [u8; OWN_DATAGRAMS * DATAGRAM_BYTES_MAX],
    send_meta: MaybeUninit<[PacketMetadata; SEND_DATAGRAMS]>,
    send: [u8; SEND_DATAGRAMS * DATAGRAM_BYTES_MAX],
}

impl Memory {
    /// Nothing in it yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            resources: StackResources::new(),
            group_meta: MaybeUninit::uninit(),
            group: [0; GROUP_DATAGRAMS * DATAGRAM_BYTES_MAX],
            own_meta: MaybeUninit::uninit(),
            own: [0; OWN_DATAGRAMS * DATAGRAM_BYTES_MAX],
            send_meta: MaybeUninit::uninit(),
            send: [0; SEND_DATAGRAMS * DATAGRAM_BYTES_MAX],
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why the network did not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkError {
    /// The group is IPv4, which this build does not speak.
    NotIpv6,
    /// The CoAP group could not be joined.
    Join,
    /// A socket could not be bound.
    Bind,
}

impl NetworkError {
    /// In plain words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NotIpv6 => "this agent speaks IPv6 only: give the group and the device IPv6 addresses",
            Self::Join => "the CoAP group cannot be joined",
            Self::Bind => "a socket cannot be bound",
        }
    }
}

/// The two sockets.
pub struct Sockets {
    group: UdpSocket<'static>,
    own: UdpSocket<'static>,
}

/// Joins the CoAP group and binds both sockets. The runner has to be run beside the agent.
///
/// # Errors
/// [`NetworkError`].
pub fn start<D: Driver>(
    memory: &'static mut Memory,
    driver: D,
    own: OwnAddress,
    coap_group: SocketAddr,
    seed: u64,
) -> Result<(Runner<'static, D>, Sockets), NetworkError> {
    let (SocketAddr::V6(coap_group), IpAddr::V6(address)) = (coap_group, own.address) else {
        return Err(NetworkError::NotIpv6);
    };
    let gateway = match own.router {
        Some(IpAddr::V6(router)) => Some(router),
        _ => None,
    };
    let config = Config::ipv6_static(StaticConfigV6 {
        address: Ipv6Cidr::new(address, own.prefix_bits),
        gateway,
        dns_servers: heapless::Vec::new(),
    });
    let (stack, runner) = embassy_net::new(driver, config, &mut memory.resources, seed);
    stack.join_multicast_group(*coap_group.ip()).map_err(|_| NetworkError::Join)?;
    let group_meta = memory.group_meta.write([PacketMetadata::EMPTY; GROUP_DATAGRAMS]);
    let mut group = UdpSocket::new(stack, group_meta, &mut memory.group, &mut [], &mut []);
    let group = IpAddress::Ipv6(*coap_group.ip());
    let at_group = IpListenEndpoint { addr: Some(group), port: coap_group.port() };
    group.bind(at_group).map_err(|_| NetworkError::Bind)?;
    let own_meta = memory.own_meta.write([PacketMetadata::EMPTY; OWN_DATAGRAMS]);
    let send_meta = memory.send_meta.write([PacketMetadata::EMPTY; SEND_DATAGRAMS]);
    let mut own = UdpSocket::new(stack, own_meta, &mut memory.own, send_meta, &mut memory.send);
    let port = PORT_FIRST | (seed & 0x3fff) as u16;
    let at_own = IpListenEndpoint { addr: Some(IpAddress::Ipv6(address)), port };
    own.bind(at_own).map_err(|_| NetworkError::Bind)?;
    Ok((runner, Sockets { group, own }))
}

impl Network for Sockets {
    async fn receive(&mut self, buffer: &mut [u8]) -> Received {
        loop {
            let ready = select(self.group.wait_recv_ready(), self.own.wait_recv_ready()).await;
            let (socket, via) = match ready {
                Either::First(()) => (&self.group, Via::Group),
                Either::Second(()) => (&self.own, Via::Own),
            };
            // A longer datagram than the buffer is dropped by this.
            if let Ok((len, meta)) = socket.recv_from(buffer).await {
                return Received { len, from: socket_address(meta.endpoint), via };
            }
        }
    }

    async fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> bool {
        let SocketAddr::V6(to) = to else { return false };
        let to = IpEndpoint::new(IpAddress::Ipv6(*to.ip()), to.port());
        // Without room, because the last datagram still waits for its neighbour, this one is lost: nothing
        // is ever waited for here.
        poll_fn(|context| match self.own.poll_send_to(bytes, to, context) {
            Poll::Ready(result) => Poll::Ready(result.is_ok()),
            Poll::Pending => Poll::Ready(false),
        })
        .await
    }
}

fn socket_address(endpoint: IpEndpoint) -> SocketAddr {
    let IpAddress::Ipv6(address) = endpoint.addr;
    SocketAddr::new(address.into(), endpoint.port)
}
