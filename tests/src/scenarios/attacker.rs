//! An attacker on the network, perhaps a member of the group, who wants agents to do what the distributor did
//! not order.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use coap_wire::{Block, Code, Message, NoResponse, Token, Type, Writer, option};
use group_oscore::{
    CommonContext, GroupContext, MemberId, Mode, RecipientContext, SenderContext, SequenceNumbers,
};
use nix::net::if_::if_nametoindex;
use provisioning::{AgentFile, yaml};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type as SocketType};
use update_core::resource::Resource;

use crate::hear::hear;
use crate::netns::{INTERFACE, Net};

/// The pause between two datagrams, so that no queue can be full.
const PAUSE: Duration = Duration::from_micros(300);
/// Numbers far above those of the distributor: if agents believed them, they would shut it out.
const FIRST_NUMBER: u64 = 1 << 30;
const DATAGRAM_BYTES_MAX: usize = 2048;

/// A member of the group that protects messages that it may not send, with the keys from its enrolment.
pub(super) struct Forger {
    context: GroupContext<[RecipientContext; 0]>,
    message_id: u16,
}

impl Forger {
    /// It sends in its own name.
    pub(super) fn member(file: &Path) -> Result<Self> {
        Self::new(file, |own, _| own)
    }

    /// It sends in the distributor's name, but signs with its own key because it does not have the
    /// distributor's.
    pub(super) fn impostor(file: &Path) -> Result<Self> {
        Self::new(file, |_, distributor| distributor)
    }

    fn new(file: &Path, name: impl Fn(MemberId, MemberId) -> MemberId) -> Result<Self> {
        let text = std::fs::read_to_string(file)?;
        let file: AgentFile = yaml::from_str(&text).map_err(|error| anyhow!("{error}"))?;
        let checked = file.provisioning.check().map_err(|error| anyhow!("{error}"))?;
        let failed = |error| anyhow!("{error:?}");
        let common = CommonContext::derive(&checked.group_parameters()).map_err(failed)?;
        let numbers = SequenceNumbers::new(FIRST_NUMBER, 2 * FIRST_NUMBER);
        let id = name(checked.sender_id, checked.distributor.sender_id);
        let sender = SenderContext::derive(&common, id, checked.credential.clone(), checked.seed(), numbers);
        let context = GroupContext::new(common, sender.map_err(failed)?, [])?;
        Ok(Self { context, message_id: 0 })
    }

    /// A PUT in one block, as the distributor would send it.
    pub(super) fn put(&mut self, resource: Resource, number: u32, payload: &[u8]) -> Result<Vec<u8>> {
        self.message_id += 1;
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let length = self.write(&mut plain, resource, number, payload).context("it does not fit")?;
        let message = Message::parse(&plain[..length]).map_err(|error| anyhow!("{error:?}"))?;
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        let protected = self.context.protect_request(&message, Mode::Group, &mut datagram);
        let (length, _) = protected.map_err(|error| anyhow!("{error:?}"))?;
        datagram.truncate(length);
        Ok(datagram)
    }

    fn write(&self, plain: &mut [u8], resource: Resource, number: u32, payload: &[u8]) -> Option<usize> {
        let token = Token::new(&[0xba, 0xd0])?;
        let mut writer =
            Writer::message(plain, Type::NonConfirmable, Code::PUT, self.message_id, token).ok()?;
        resource.write_path(&mut writer).ok()?;
        let block = Block { number, more: false, size_exponent: Block::SIZE_EXPONENT_MAX };
        writer.option(option::BLOCK1, block.encode().as_bytes()).ok()?;
        // An attacker that wants an answer does not suppress it.
        writer.option(option::NO_RESPONSE, &[NoResponse::ALL_WANTED.value()]).ok()?;
        writer.payload(payload).ok()?;
        Some(writer.finish())
    }
}

/// Sends datagrams to the CoAP group from a host, one after another, and fails if an agent answers.
pub(super) fn send(net: &Net, host: usize, port: u16, to: SocketAddr, datagrams: &[Vec<u8>]) -> Result<()> {
    let socket = net.inside(host, || UdpSocket::bind((net.address(host), port)))??;
    for datagram in datagrams {
        socket.send_to(datagram, to)?;
        std::thread::sleep(PAUSE);
    }
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let answered = hear(|| socket.recv_from(&mut [0; DATAGRAM_BYTES_MAX]))?;
    ensure!(answered.is_none(), "an agent answers: {answered:?}");
    Ok(())
}

/// Records the datagrams to the CoAP group.
pub(super) struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<Vec<u8>>>>,
}

impl Recorder {
    /// Begins to record, on a host.
    pub(super) fn start(net: &Net, host: usize, coap_group: SocketAddr) -> Result<Self> {
        let socket = net.inside(host, || join(coap_group))??;
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        Ok(Self { stop, thread: std::thread::spawn(move || record(&socket, &seen)) })
    }

    /// Stops, and returns every datagram.
    pub(super) fn stop(self) -> Result<Vec<Vec<u8>>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// A socket in the CoAP group, in the network of the calling thread.
pub(crate) fn join(coap_group: SocketAddr) -> Result<UdpSocket> {
    let interface = if_nametoindex(INTERFACE)?;
    let socket = Socket::new(Domain::for_address(coap_group), SocketType::DGRAM, Some(Protocol::UDP))?;
    socket.bind(&coap_group.into())?;
    match coap_group {
        SocketAddr::V4(group) => {
            socket.join_multicast_v4_n(group.ip(), &InterfaceIndexOrAddress::Index(interface))?;
        }
        SocketAddr::V6(group) => socket.join_multicast_v6(group.ip(), interface)?,
    }
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket.into())
}

fn record(socket: &UdpSocket, stop: &AtomicBool) -> Result<Vec<Vec<u8>>> {
    let mut datagrams = Vec::new();
    let mut buffer = [0; DATAGRAM_BYTES_MAX];
    loop {
        match hear(|| socket.recv(&mut buffer))? {
            Some(length) => datagrams.push(buffer[..length].to_vec()),
            None if stop.load(Ordering::Relaxed) => return Ok(datagrams),
            None => {}
        }
    }
}
