//! A multicast request that two members answer, over UDP on this machine.
//!
//! `cargo run -p group-oscore --example multicast`
//!
//! Three threads stand for three devices. Everything that the members must agree on comes from the Group
//! Manager: here from [`parameters`] and [`MEMBERS`].

use coap_wire::{Code, Message, Token, Type, WriteError, Writer, option};
use ed25519_dalek::SigningKey;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode, Received,
    RecipientContext, ReplayWindow, ResponseMode, ResponsePiv, SenderContext, SequenceNumbers, encode_ccs,
};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::Duration;

const COAP_GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 11, 4);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Sender IDs and private keys: a client and two servers. A real member has only its own private key.
const MEMBERS: [(u8, [u8; 32]); 3] = [(0xc0, [1; 32]), (0xa1, [2; 32]), (0xa2, [3; 32])];

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Fallible<()> {
    let servers = [1, 2].map(|member| -> Fallible<(u16, _)> {
        let socket = joined()?;
        let port = socket.local_addr()?.port();
        Ok((port, thread::spawn(move || serve(member, &socket))))
    });
    let [one, two] = servers;
    let (one, two) = (one?, two?);

    let mut client = context(0)?;
    let socket = UdpSocket::bind(SocketAddrV4::new(LOOPBACK, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut plain = [0; 256];
    let token = Token::new(&[0x77]).ok_or("a Token has at most 8 bytes")?;
    let length = temperature_wanted(&mut plain, token)?;
    let mut datagram = [0; 512];
    let request = Message::parse(&plain[..length])?;
    let (length, binding) = client.protect_request(&request, Mode::Group, &mut datagram)?;
    // Each thread has its own port, where devices would share one: the datagram is sent to each port.
    for port in [one.0, two.0] {
        socket.send_to(&datagram[..length], SocketAddrV4::new(COAP_GROUP, port))?;
    }

    // One request, several answers: the Token and the binding show whose request they answer.
    for _ in 0..2 {
        let (length, from) = socket.recv_from(&mut datagram)?;
        let answer = client.unprotect_response(&mut datagram[..length], &binding)?;
        let text = String::from_utf8_lossy(answer.body().payload()).into_owned();
        println!("member {} at {from}: {text}", answer.kid());
    }
    one.1.join().map_err(|_| "a server has failed")??;
    two.1.join().map_err(|_| "a server has failed")?
}

/// A server: answers one request that is new and from a member.
fn serve(member: usize, socket: &UdpSocket) -> Fallible<()> {
    let mut server = context(member)?;
    let mut datagram = [0; 512];
    loop {
        let (length, from) = socket.recv_from(&mut datagram)?;
        // Whatever is not for us costs little and gets no answer (RFC 10021 section 6.2).
        let Ok(Received::Fresh(mut request)) = server.unprotect_request(&mut datagram[..length]) else {
            continue;
        };
        if request.body().code() != Code::GET {
            continue;
        }
        let (token, mut binding) = (request.token(), request.take_binding());
        let mut plain = [0; 64];
        let ty = Type::NonConfirmable;
        let mut writer = Writer::message(&mut plain, ty, Code::CONTENT, member as u16, token)?;
        writer.payload(format!("{} degrees", 20 + member).as_bytes())?;
        let length = writer.finish();
        let answer = Message::parse(&plain[..length])?;
        // For the client alone, and under the request's Partial IV: this saves 6 bytes on the air.
        let (mode, piv) = (ResponseMode::Pairwise, ResponsePiv::OfRequest);
        let length = server.protect_response(&answer, &mut binding, mode, piv, &mut datagram)?;
        socket.send_to(&datagram[..length], from)?;
        return Ok(());
    }
}

fn temperature_wanted(plain: &mut [u8], token: Token) -> Result<usize, WriteError> {
    let mut writer = Writer::message(plain, Type::NonConfirmable, Code::GET, 1, token)?;
    writer.option(option::URI_PATH, b"temperature")?;
    Ok(writer.finish())
}

/// A socket that hears the CoAP group on the loopback interface.
fn joined() -> Fallible<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    socket.join_multicast_v4(&COAP_GROUP, &LOOPBACK)?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(socket)
}

/// What the Group Manager gives every member.
fn parameters() -> Fallible<GroupParameters<'static>> {
    Ok(GroupParameters {
        gid: Gid::new(&[0xdd, 0x11]).ok_or("a Gid has at most 8 bytes")?,
        master_secret: &[7; 16],
        master_salt: &[8; 8],
        aead: AeadAlgorithm::A128Gcm,
        group_encryption: AeadAlgorithm::A128Gcm,
        gm_credential: credential(&[9; 32])?,
    })
}

/// The context of one member. These numbers begin at 0 at every start, which is only allowed in an example:
/// see the example `counters`.
fn context(own: usize) -> Fallible<GroupContext<[RecipientContext; 2]>> {
    let common = CommonContext::derive(&parameters()?)?;
    let id = |member: usize| MemberId::new(&[MEMBERS[member].0]).ok_or("a short Sender ID");
    let seed = &MEMBERS[own].1;
    let numbers = SequenceNumbers::new(0, 100);
    let sender = SenderContext::derive(&common, id(own)?, credential(seed)?, seed, numbers)?;
    let other = |member: usize| -> Fallible<RecipientContext> {
        let (id, credential) = (id(member)?, credential(&MEMBERS[member].1)?);
        Ok(RecipientContext::derive(&common, id, credential, ReplayWindow::fresh())?)
    };
    let others = [other((own + 1) % 3)?, other((own + 2) % 3)?];
    Ok(GroupContext::new(common, sender, others)?)
}

/// A member's public credential. A real member knows the others' credentials, not their private keys.
fn credential(seed: &[u8; 32]) -> Fallible<Credential> {
    let mut ccs = [0; 46];
    encode_ccs(SigningKey::from_bytes(seed).verifying_key().as_bytes(), &mut ccs).ok_or("46 bytes")?;
    Ok(Credential::from_ccs(&ccs)?)
}
