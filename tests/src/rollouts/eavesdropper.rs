//! Listens to a CoAP group, and checks whether the distributor ever uses a Partial IV for two different
//! datagrams.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use coap_wire::Message;
use group_oscore::OscoreOption;
use sha2::{Digest, Sha256};
use socket2::{Domain, Protocol, Socket, Type};

use crate::hear::hear;

/// What was heard.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// The number of different Partial IVs, with their Gid and kid.
    pub(super) numbers: usize,
    /// How many of these were on two different datagrams.
    pub(super) repeated: usize,
}

/// A thread that listens until it is stopped.
pub(super) struct Eavesdropper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Heard>>,
}

impl Eavesdropper {
    /// Joins the group on the loopback.
    pub(super) fn start(group: SocketAddr) -> Result<Self> {
        let IpAddr::V4(address) = group.ip() else { bail!("only IPv4 groups are supported") };
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&group.into()).context("cannot listen to the CoAP group")?;
        socket.join_multicast_v4(&address, &Ipv4Addr::LOCALHOST)?;
        socket.set_recv_buffer_size(8 * 1024 * 1024)?;
        let socket = UdpSocket::from(socket);
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || listen(&socket, &stopped));
        Ok(Self { stop, thread })
    }

    /// Stops, and returns what was heard.
    pub(super) fn stop(self) -> Result<Heard> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(heard) => heard,
            Err(_) => bail!("the thread that listens to the group has panicked"),
        }
    }
}

fn listen(socket: &UdpSocket, stop: &AtomicBool) -> Result<Heard> {
    let mut seen: HashMap<Vec<u8>, [u8; 32]> = HashMap::new();
    let mut heard = Heard::default();
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let Some(len) = hear(|| socket.recv(&mut buffer))? else { continue };
        let Some(number) = number(&buffer[..len]) else { continue };
        let content: [u8; 32] = Sha256::digest(&buffer[..len]).into();
        match seen.insert(number, content) {
            Some(before) if before != content => heard.repeated += 1,
            _ => {}
        }
    }
    heard.numbers = seen.len();
    Ok(heard)
}

/// Gid, kid and Partial IV of a group-mode request: the whole OSCORE option except irrelevant flags.
fn number(datagram: &[u8]) -> Option<Vec<u8>> {
    let message = Message::parse(datagram).ok()?;
    let option = OscoreOption::of(&message).ok()?;
    let piv = option.partial_iv?;
    let mut number = option.kid_context?.to_vec();
    number.push(0xff);
    number.extend_from_slice(option.kid?);
    number.push(0xff);
    number.extend_from_slice(&piv.value().to_be_bytes());
    Some(number)
}
