//! The path between hosts: one multicast fan-out, and everything that can happen to a datagram.

use super::{Dice, Faults};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use update_core::reception::Via;
use update_core::time::{Duration, Instant};

/// UDP, IPv4 and Ethernet headers of a datagram.
pub const OVERHEAD_BYTES: u32 = 42;
/// How many datagrams are kept for an attacker to replay.
const CAPTURED_MAX: usize = 512;

/// A host on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// The distributor.
    Distributor,
    /// The agent with this index.
    Agent(usize),
}

/// An arriving datagram.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When it arrives.
    pub at: Instant,
    order: u64,
    /// The receiver.
    pub to: Host,
    /// The claimed source.
    pub from: SocketAddr,
    /// Whether it came by the CoAP group.
    pub by_group: bool,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Arrival {
    /// The agent's socket that it came by.
    #[must_use]
    pub fn via(&self) -> Via {
        if self.by_group { Via::Group } else { Via::Own }
    }
}

/// The bytes over the distributor's link, including headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkBytes {
    /// To the CoAP group.
    pub multicast: u64,
    /// To single agents.
    pub unicast: u64,
    /// From agents.
    pub received: u64,
    /// Datagrams to the CoAP group.
    pub datagrams_multicast: u64,
    /// Datagrams to single agents.
    pub datagrams_unicast: u64,
}

/// Everything in transit.
pub struct Network {
    dice: Dice,
    queue: BinaryHeap<Reverse<Arrival>>,
    order: u64,
    agents: usize,
    /// What has been sent so far.
    pub link: LinkBytes,
    captured: Vec<(SocketAddr, Host, bool, Vec<u8>)>,
    seen: u64,
}

impl Network {
    /// An empty network.
    #[must_use]
    pub fn new(agents: usize, dice: Dice) -> Self {
        let queue = BinaryHeap::new();
        Self { dice, queue, order: 0, agents, link: LinkBytes::default(), captured: Vec::new(), seen: 0 }
    }

    /// The CoAP group.
    #[must_use]
    pub fn coap_group() -> SocketAddr {
        address([239, 192, 0, 1])
    }

    /// A host's own address.
    #[must_use]
    pub fn address_of(host: Host) -> SocketAddr {
        match host {
            Host::Distributor => address([10, 0, 0, 1]),
            Host::Agent(index) => address([10, 1, (index / 250) as u8, (index % 250 + 1) as u8]),
        }
    }

    /// Sends a host's datagram.
    pub fn send(&mut self, now: Instant, from: Host, to: SocketAddr, bytes: &[u8], faults: &Faults) {
        let cost = bytes.len() as u64 + u64::from(OVERHEAD_BYTES);
        match (from, to == Self::coap_group()) {
            (Host::Distributor, true) => {
                self.link.multicast += cost;
                self.link.datagrams_multicast += 1;
            }
            (Host::Distributor, false) => {
                self.link.unicast += cost;
                self.link.datagrams_unicast += 1;
            }
            (Host::Agent(_), _) => self.link.received += cost,
        }
        let source = Self::address_of(from);
        for (host, by_group) in self.receivers(to) {
            self.capture(source, host, by_group, bytes, faults);
            self.carry(now, source, host, by_group, bytes, faults);
        }
    }

    /// Injects an attacker's datagram, as if it came from `from`. It is not altered in transit.
    pub fn inject(&mut self, now: Instant, from: SocketAddr, to: Host, by_group: bool, bytes: Vec<u8>) {
        self.push(now, from, to, by_group, bytes);
    }

    /// A datagram that was sent earlier.
    pub fn captured(&mut self, dice: &mut Dice) -> Option<(SocketAddr, Host, bool, Vec<u8>)> {
        let index = dice.below(self.captured.len() as u64) as usize;
        self.captured.get(index).cloned()
    }

    /// When the next datagram arrives.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(arrival)| arrival.at)
    }

    /// The next datagram, if it has arrived by now.
    pub fn next(&mut self, now: Instant) -> Option<Arrival> {
        self.next_at().filter(|at| *at <= now)?;
        self.queue.pop().map(|Reverse(arrival)| arrival)
    }

    fn receivers(&self, to: SocketAddr) -> Vec<(Host, bool)> {
        if to == Self::coap_group() {
            return (0..self.agents).map(|index| (Host::Agent(index), true)).collect();
        }
        let hosts = std::iter::once(Host::Distributor).chain((0..self.agents).map(Host::Agent));
        hosts.filter(|host| Self::address_of(*host) == to).map(|host| (host, false)).collect()
    }

    fn carry(
        &mut self,
        now: Instant,
        from: SocketAddr,
        to: Host,
        by_group: bool,
        bytes: &[u8],
        faults: &Faults,
    ) {
        if self.dice.chance(faults.loss) {
            return;
        }
        let copies = if self.dice.chance(faults.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            let mut delay = self.dice.between(faults.delay.0, faults.delay.1);
            if self.dice.chance(faults.reordering) {
                delay += self.dice.between(Duration::ZERO, faults.delay_max);
            }
            let mut bytes = bytes.to_vec();
            if self.dice.chance(faults.bit_flips) {
                flip_bits(&mut bytes, &mut self.dice);
            }
            self.push(now + delay, from, to, by_group, bytes);
        }
    }

    fn push(&mut self, at: Instant, from: SocketAddr, to: Host, by_group: bool, bytes: Vec<u8>) {
        self.order += 1;
        self.queue.push(Reverse(Arrival { at, order: self.order, to, from, by_group, bytes }));
    }

    /// Keeps a sample of everything sent, old and new alike.
    fn capture(&mut self, from: SocketAddr, to: Host, by_group: bool, bytes: &[u8], faults: &Faults) {
        if faults.attack_every.is_none() {
            return;
        }
        self.seen += 1;
        let datagram = (from, to, by_group, bytes.to_vec());
        if self.captured.len() < CAPTURED_MAX {
            self.captured.push(datagram);
        } else if let Some(place) = self.captured.get_mut(self.dice.below(self.seen) as usize) {
            *place = datagram;
        }
    }
}

/// Flips 1 to 8 bits.
pub(super) fn flip_bits(bytes: &mut [u8], dice: &mut Dice) {
    for _ in 0..=dice.below(8) {
        let bit = dice.below(bytes.len() as u64 * 8) as usize;
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte ^= 1 << (bit % 8);
        }
    }
}

fn address(ip: [u8; 4]) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), 5683)
}
