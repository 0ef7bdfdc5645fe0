//! A group in virtual time: the Group Manager, members with the real machines, and a network that loses.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;

use coap_wire::{Code, Message, Token, Type, Writer, option};
use group_manager::manager::{
    Change, GroupKeys, GroupSetup, Manager, MemberSetup, Membership, Output as ManagerOutput, Since,
};
use group_manager::{Agent, Counted, Enrollment, Identity, Material, MembershipRecord, Place};
use group_oscore::oscore::{Association, Parameters};
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, MemberId, Mode, OscoreOption,
    RecipientContext, ReplayWindow, SenderContext, SequenceNumbers, encode_ccs,
};
use update_core::device::Device;
use update_core::digest::Digest;
use update_core::key_set::KeySet;
use update_core::platform::{Done, Record, Task};
use update_core::random::Random;
use update_core::reception::{Event, Input, Memory, Output, Reception, ReceptionConfig, Via};
use update_core::record::CounterBounds;
use update_core::time::{Duration, Instant};
use zeroize::Zeroizing;

pub const GROUP: &str = "hall";
/// The time that a datagram takes.
const LATENCY: Duration = Duration::from_millis(5);

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn credential(seed: &[u8; 32]) -> Credential {
    let key = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes();
    let mut ccs = [0; 64];
    let length = encode_ccs(&key, &mut ccs).unwrap();
    Credential::from_ccs(&ccs[..length]).unwrap()
}

/// A seed for a key, from a number.
pub fn seed(number: usize) -> [u8; 32] {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

fn manager_address() -> SocketAddr {
    address("10.0.0.1:5689")
}

fn node_address(index: usize) -> SocketAddr {
    let [high, low] = (index as u16 + 1).to_be_bytes();
    address(&format!("10.1.{high}.{low}:5683"))
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

pub fn individual(index: usize) -> MemberId {
    MemberId::new(&[0xa0, 0, (index >> 16) as u8, (index >> 8) as u8, index as u8, 1]).unwrap()
}

fn sender_id(index: usize) -> MemberId {
    MemberId::new(&(index as u16 + 1).to_be_bytes()).unwrap()
}

pub fn individual_secret(index: usize) -> [u8; 16] {
    let mut secret = [3; 16];
    secret[..8].copy_from_slice(&(index as u64).to_be_bytes());
    secret
}

/// The keys of a generation.
pub fn keys(num: u32) -> GroupKeys {
    GroupKeys {
        num,
        gid: Gid::new(&(0xa000_0000 + num).to_be_bytes()).unwrap(),
        master_secret: Zeroizing::new(Digest::of(&num.to_be_bytes()).0[..16].to_vec()),
        master_salt: Zeroizing::new(vec![1; 8]),
        aead: AeadAlgorithm::A128Gcm,
        distributor: MemberId::new(&[0]).unwrap(),
        credential: credential(&seed(0)).as_bytes().to_vec(),
        place: Place {
            coap_group: address("239.0.0.1:5683"),
            distributor: address("10.0.0.1:5683"),
            next: 0,
        },
    }
}

pub fn material(keys: &GroupKeys, index: usize) -> Material<'_> {
    Material {
        num: keys.num,
        gid: keys.gid,
        master_secret: &keys.master_secret,
        master_salt: &keys.master_salt,
        aead: keys.aead,
        group_encryption: keys.aead,
        sender_id: sender_id(index),
        distributor: keys.distributor,
        credential: &keys.credential,
        place: keys.place,
        stale: Default::default(),
    }
}

/// A node's side of its individual context.
pub fn association_of(index: usize) -> Association {
    Association::new(&Parameters {
        master_secret: &individual_secret(index),
        master_salt: &[],
        id_context: None,
        sender_id: individual(index),
        recipient_id: MemberId::EMPTY,
        aead: AeadAlgorithm::A128Gcm,
    })
    .unwrap()
}

/// What a node knows that has the first keys of the group.
pub fn context_of(index: usize) -> update_core::reception::AgentContext {
    identity(index).context_of(&material(&keys(0), index), Counted::Unused).unwrap()
}

fn identity(index: usize) -> Identity {
    let own = seed(index + 1000);
    Identity { private_key: Zeroizing::new(own), credential: credential(&own), manager: credential(&seed(1)) }
}

/// A device with its storage.
pub struct Node {
    pub index: usize,
    pub agent: Agent<'static>,
    pub records: BTreeMap<Record4, Vec<u8>>,
    pub events: Vec<Event>,
    pub is_on: bool,
    pub boots: u64,
    /// How often its port has changed.
    pub moves: u16,
}

/// A record, in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record4(pub u8);

fn record(of: Record) -> Record4 {
    Record4(of as u8)
}

impl Node {
    fn new(index: usize) -> Self {
        let agent = start(index, &BTreeMap::new(), 1, Instant::default());
        Self { index, agent, records: BTreeMap::new(), events: Vec::new(), is_on: true, boots: 1, moves: 0 }
    }

    /// Starts again from what is stored, at another port.
    pub fn restart_elsewhere(&mut self, now: Instant) {
        self.moves += 1;
        self.restart(now);
    }

    /// Starts again from what is stored.
    pub fn restart(&mut self, now: Instant) {
        self.boots += 1;
        self.agent = start(self.index, &self.records, self.boots, now);
    }

    pub fn num(&self) -> u32 {
        self.in_force().0
    }

    /// What is stored of the update, of counters and of membership, to be lost or put back.
    pub fn lose(&mut self, which: Record) {
        self.records.remove(&record(which));
    }

    /// The key material in force.
    pub fn stored_keys(&self) -> Option<(MemberId, u64)> {
        let bytes = self.records.get(&record(Record::Membership))?;
        let material = MembershipRecord::decode(bytes).unwrap().material().unwrap();
        Some((material.sender_id, material.place.next))
    }

    /// The generation and the Gid that a restart would use.
    pub fn in_force(&self) -> (u32, Gid) {
        match self.records.get(&record(Record::Membership)) {
            Some(bytes) => {
                let material = MembershipRecord::decode(bytes).unwrap().material().unwrap();
                (material.num, material.gid)
            }
            None => (0, keys(0).gid),
        }
    }

    /// Everything that this device sends now.
    fn run(&mut self, now: Instant) -> (Vec<(SocketAddr, Vec<u8>)>, Option<Instant>) {
        let (mut sent, mut buffer) = (Vec::new(), [0; 1500]);
        loop {
            match self.agent.poll(now, &mut buffer) {
                Output::Transmit { to, len } => sent.push((to, buffer[..len].to_vec())),
                Output::Task(task) => {
                    if let Task::Save { record: which, bytes } = task {
                        self.records.insert(record(which), bytes.to_vec());
                    }
                    self.agent.handle(now, Input::Done { done: Done::Carried, bytes: &[] });
                }
                Output::Event(event) => self.events.push(event),
                Output::Wait(until) => return (sent, until),
            }
        }
    }
}

fn start(index: usize, records: &BTreeMap<Record4, Vec<u8>>, boot: u64, now: Instant) -> Agent<'static> {
    let (first, secret, node) = (keys(0), individual_secret(index), name(index));
    let enrollment = Enrollment {
        keys: material(&first, index),
        individual: Parameters {
            master_secret: &secret,
            master_salt: &[],
            id_context: None,
            sender_id: individual(index),
            recipient_id: MemberId::EMPTY,
            aead: AeadAlgorithm::A128Gcm,
        },
        manager: Some(manager_address()),
        group: GROUP,
        node: &node,
    };
    let saved = records.get(&record(Record::Membership));
    let in_force = enrollment.in_force(saved.map(|bytes| &bytes[..])).unwrap();
    let counters = records.get(&record(Record::Counters)).map(|it| CounterBounds::decode(it).unwrap());
    let counted = in_force.counted(counters, boot > 1);
    let identity = identity(index);
    let context = identity.context_of(&in_force.keys, counted).unwrap();
    let config = ReceptionConfig {
        device: Device { vendor: [1; 16], class: [2; 16], slot_bytes: 1 << 20, installed: None },
        keys: KeySet::new(1, &[ed25519_dalek::SigningKey::from_bytes(&seed(5)).verifying_key().to_bytes()])
            .unwrap(),
        name: Digest::of(name(index).as_bytes()),
        distributor: in_force.keys.distributor,
        distributor_address: in_force.keys.place.distributor,
        quiet: Duration::from_secs(5),
        announce_spread: Duration::from_secs(5),
        floor: counted.floor(&in_force.keys),
    };
    let memory = Memory {
        blocks: Box::leak(vec![0; 64].into_boxed_slice()),
        pages: Box::leak(vec![0; 8].into_boxed_slice()),
        parity: &mut [],
    };
    let random = boot.wrapping_mul(1_000_003) + index as u64;
    let reception = Reception::without_update(config, context, memory, boot > 1, random, now).unwrap();
    let member = enrollment.member(&in_force, random ^ 0x5555, now).unwrap();
    let mut agent = Agent::new(reception, member, identity, in_force.keys.place);
    if counted == Counted::Lost {
        agent.lose_counters(now);
    }
    agent
}

/// A datagram on its way.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: std::cmp::Reverse<(Instant, u64)>,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

pub struct World {
    pub now: Instant,
    pub manager: Option<Manager>,
    pub keys: GroupKeys,
    pub nodes: Vec<Node>,
    pub evicted: BTreeSet<usize>,
    /// What the Group Manager's host has made durable of each member.
    pub confirmed: BTreeMap<usize, u32>,
    pub heard: BTreeMap<usize, SocketAddr>,
    /// The Sender IDs that members got since they were enrolled, and the last one that was given.
    pub given: BTreeMap<usize, (MemberId, Since)>,
    pub last_given: u16,
    /// The distributor's next number, as its files say.
    pub next: u64,
    pub distributor: GroupContext<[RecipientContext; 1]>,
    flying: BinaryHeap<Flying>,
    random: Random,
    pub loss_percent: u64,
    pub rate: u64,
    /// Datagrams and bytes to and from the Group Manager.
    pub datagrams: usize,
    pub bytes: usize,
    /// The same bytes, by the second.
    pub by_second: BTreeMap<u64, usize>,
    pub starts: u64,
    /// Everything that went by.
    pub log: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    count: u64,
}

impl World {
    pub fn new(nodes: usize) -> Self {
        let mut world = Self {
            now: Instant::default(),
            manager: None,
            keys: keys(0),
            nodes: (0..nodes).map(Node::new).collect(),
            evicted: BTreeSet::new(),
            confirmed: BTreeMap::new(),
            heard: BTreeMap::new(),
            given: BTreeMap::new(),
            last_given: 0xc000,
            next: 1 << 20,
            distributor: distributor(&keys(0)),
            flying: BinaryHeap::new(),
            random: Random::new(42),
            loss_percent: 0,
            rate: 1_000_000,
            datagrams: 0,
            bytes: 0,
            by_second: BTreeMap::new(),
            starts: 0,
            log: Vec::new(),
            count: 0,
        };
        world.start_manager();
        world
    }

    /// The Group Manager starts from what its host has made durable.
    pub fn start_manager(&mut self) {
        self.starts += 1;
        let mut manager = Manager::new(self.starts * 77_777);
        let (keys, rate) = (self.keys.clone(), self.rate);
        manager.add_group(GroupSetup { name: GROUP.into(), keys, rate_bits_per_second: rate });
        for index in 0..self.nodes.len() {
            let gone = self.evicted.contains(&index);
            let membership = if gone { Membership::Evicted } else { Membership::Member };
            let (confirmed, heard) = (self.confirmed.get(&index), self.heard.get(&index));
            let (secret, given) = (individual_secret(index), self.given.get(&index).copied());
            let setup = member(index, membership, (confirmed.copied(), heard.copied(), given), &secret);
            manager.add_member(setup).unwrap();
        }
        manager.begin(self.now);
        self.manager = Some(manager);
    }

    pub fn stop_manager(&mut self) {
        self.manager = None;
    }

    /// New keys: the distributor switches first.
    pub fn rekey(&mut self) {
        self.keys = keys(self.keys.num + 1);
        self.distributor = distributor(&self.keys);
        if let Some(manager) = &mut self.manager {
            manager.rekey(self.now, GROUP, self.keys.clone());
        }
    }

    /// An evicted node is a member again.
    pub fn rejoin(&mut self, index: usize) {
        self.evicted.remove(&index);
        let (manager, now) = (self.manager.as_mut().unwrap(), self.now);
        let (secret, heard) = (individual_secret(index), self.heard.get(&index).copied());
        let given = self.given.get(&index).copied();
        manager.add_member(member(index, Membership::Member, (None, heard, given), &secret)).unwrap();
        manager.begin(now);
    }

    pub fn evict(&mut self, index: usize) {
        self.evicted.insert(index);
        self.manager.as_mut().unwrap().evict(GROUP, &name(index));
    }

    /// The distributor says something to the group, under its keys.
    pub fn announce(&mut self) -> Vec<u8> {
        let mut plain = [0; 200];
        let token = Token::new(&self.count.to_be_bytes()[4..]).unwrap();
        self.count += 1;
        let mut writer =
            Writer::message(&mut plain, Type::NonConfirmable, Code::FETCH, self.count as u16, token).unwrap();
        writer.option(option::URI_PATH, b"fw").unwrap().option(option::URI_PATH, b"status").unwrap();
        writer.payload(&[0xa0]).unwrap();
        let length = writer.finish();
        let (message, mut out) = (Message::parse(&plain[..length]).unwrap(), [0; 600]);
        let (length, _) = self.distributor.protect_request(&message, Mode::Group, &mut out).unwrap();
        let datagram = out[..length].to_vec();
        for index in 0..self.nodes.len() {
            if !self.is_lost() && self.nodes[index].is_on {
                let (from, via) = (self.keys.place.distributor, Via::Group);
                let mut bytes = datagram.clone();
                self.nodes[index].agent.handle(self.now, Input::Datagram { from, via, bytes: &mut bytes });
            }
        }
        datagram
    }

    fn is_lost(&mut self) -> bool {
        self.random.next_u64() % 100 < self.loss_percent
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        if from == manager_address() || to == manager_address() {
            self.datagrams += 1;
            self.bytes += bytes.len() + 42;
            *self.by_second.entry(self.now.as_micros() / 1_000_000).or_default() += bytes.len() + 42;
        }
        self.log.push((from, to, bytes.clone()));
        if self.is_lost() {
            return;
        }
        self.count += 1;
        let at = std::cmp::Reverse((self.now + LATENCY, self.count));
        self.flying.push(Flying { at, from, to, bytes });
    }

    /// Anybody sends this to the group.
    pub fn inject_to_group(&mut self, from: SocketAddr, bytes: &[u8]) {
        for node in &mut self.nodes {
            let mut bytes = bytes.to_vec();
            node.agent.handle(self.now, Input::Datagram { from, via: Via::Group, bytes: &mut bytes });
        }
    }

    /// Anybody sends this.
    pub fn inject(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.count += 1;
        let at = std::cmp::Reverse((self.now + LATENCY, self.count));
        self.flying.push(Flying { at, from, to, bytes });
    }

    pub fn manager_address(&self) -> SocketAddr {
        manager_address()
    }

    pub fn node_address(&self, index: usize) -> SocketAddr {
        let mut address = node_address(index);
        address.set_port(address.port() + self.nodes[index].moves);
        address
    }

    /// Runs for this long.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let mut next = end;
            for index in 0..self.nodes.len() {
                if !self.nodes[index].is_on {
                    continue;
                }
                let (sent, until) = self.nodes[index].run(self.now);
                for (to, bytes) in sent {
                    let from = self.node_address(index);
                    self.send(from, to, bytes);
                }
                next = next.min(until.unwrap_or(end));
            }
            next = next.min(self.run_manager().unwrap_or(end));
            if let Some(flying) = self.flying.peek() {
                next = next.min(flying.at.0.0);
            }
            self.now = next.max(self.now + Duration::from_micros(1));
            while self.flying.peek().is_some_and(|flying| flying.at.0.0 <= self.now) {
                let flying = self.flying.pop().unwrap();
                self.deliver(flying);
            }
        }
    }

    fn deliver(&mut self, mut flying: Flying) {
        if flying.to == manager_address() {
            if let Some(manager) = &mut self.manager {
                manager.on_datagram(self.now, flying.from, &mut flying.bytes);
                if let Some(until) = self.run_manager() {
                    let _ = until;
                }
            }
            return;
        }
        let found = (0..self.nodes.len()).find(|index| self.node_address(*index) == flying.to);
        if let Some(index) = found.filter(|index| self.nodes[*index].is_on) {
            let input = Input::Datagram { from: flying.from, via: Via::Own, bytes: &mut flying.bytes };
            self.nodes[index].agent.handle(self.now, input);
            let (sent, _) = self.nodes[index].run(self.now);
            for (to, bytes) in sent {
                let from = self.node_address(index);
                self.send(from, to, bytes);
            }
        }
    }

    fn run_manager(&mut self) -> Option<Instant> {
        let mut buffer = [0; 1500];
        loop {
            match self.manager.as_mut()?.poll(self.now, &mut buffer) {
                ManagerOutput::Transmit { to, len } => {
                    self.send(manager_address(), to, buffer[..len].to_vec());
                }
                ManagerOutput::Change(change) => self.carry(&change),
                ManagerOutput::Wait(until) => return until,
            }
        }
    }

    fn carry(&mut self, change: &Change) {
        let index = |node: &str| node.strip_prefix("node-").unwrap().parse::<usize>().unwrap();
        match change {
            Change::Confirmed { node, num, .. } => drop(self.confirmed.insert(index(node), *num)),
            Change::Heard { node, address, .. } => drop(self.heard.insert(index(node), *address)),
            Change::SenderIdWanted { group, node } => {
                self.last_given += 1;
                let id = MemberId::new(&self.last_given.to_be_bytes()).unwrap();
                let since = Since { num: self.keys.num, next: self.next };
                self.given.insert(index(node), (id, since));
                self.manager.as_mut().unwrap().give_sender_id(group, node, id, since.next);
            }
            Change::Left { node, .. } => drop(self.evicted.insert(index(node))),
        }
    }

    /// How many of the nodes use the keys in force.
    pub fn done(&self) -> usize {
        self.nodes.iter().filter(|node| node.num() == self.keys.num).count()
    }

    /// Every (Gid, kid, Partial IV) that members have sent, under any group's keys: none twice.
    pub fn check_nonces(&self) {
        let mut seen = BTreeMap::new();
        for (from, _, bytes) in &self.log {
            let Ok(message) = Message::parse(bytes) else { continue };
            let Ok(option) = OscoreOption::of(&message) else { continue };
            let (Some(context), Some(kid), Some(piv)) = (option.kid_context, option.kid, option.partial_iv)
            else {
                continue;
            };
            let nonce = (context.to_vec(), kid.to_vec(), piv.value());
            if let Some(before) = seen.insert(nonce, bytes) {
                assert_eq!(before, bytes, "a nonce is used twice by {from}");
            }
        }
    }
}

fn distributor(keys: &GroupKeys) -> GroupContext<[RecipientContext; 1]> {
    let of = material(keys, 0);
    let common = CommonContext::derive(&of.parameters(credential(&seed(1)))).unwrap();
    let numbers = SequenceNumbers::new(0, 1 << 20);
    let own = SenderContext::derive(&common, keys.distributor, credential(&seed(0)), &seed(0), numbers);
    let member = credential(&seed(1000));
    let other = RecipientContext::derive(&common, sender_id(0), member, ReplayWindow::fresh());
    GroupContext::new(common, own.unwrap(), [other.unwrap()]).unwrap()
}

fn member(
    index: usize,
    membership: Membership,
    (confirmed, address, given): (Option<u32>, Option<SocketAddr>, Option<(MemberId, Since)>),
    master_secret: &[u8],
) -> MemberSetup<'_> {
    MemberSetup {
        group: GROUP.into(),
        node: name(index),
        sender_id: given.map_or(sender_id(index), |(id, _)| id),
        individual: individual(index),
        manager: MemberId::EMPTY,
        master_secret,
        master_salt: &[],
        aead: AeadAlgorithm::A128Gcm,
        membership,
        confirmed,
        address,
        since: given.map(|(_, since)| since),
    }
}
