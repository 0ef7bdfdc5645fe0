//! Shared helpers of the integration tests: hexadecimal values, messages and a group of members.
#![allow(dead_code)]

use coap_wire::{Body, Code, Message, Token, Type, Writer, option};
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode,
    RecipientContext, ReplayWindow, SenderContext, SentRequest, SequenceNumbers, encode_ccs, limits,
};

pub(crate) fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hexadecimal")
}

pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the right length")
}

/// Calls one of the functions that write into a buffer.
pub(crate) fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let length = write(&mut out).expect("it fits");
    out.truncate(length);
    out
}

/// A datagram around a plaintext: code, options and payload.
pub(crate) fn around(plaintext: &[u8], message_id: u16) -> Vec<u8> {
    let body = Body::parse_plaintext(plaintext).expect("a plaintext");
    let mut out = vec![0; 4096];
    let token = Token::new(&[0xca, 0xfe]).expect("short");
    let mut writer =
        Writer::message(&mut out, Type::NonConfirmable, body.code(), message_id, token).expect("room");
    writer.options(body.options()).expect("in order").payload(body.payload()).expect("room");
    let length = writer.finish();
    out.truncate(length);
    out
}

/// The plaintext of a message: code, options and payload.
pub(crate) fn plaintext(body: &Body<'_>) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let mut writer = Writer::body(&mut out, body.code()).expect("room");
    writer.options(body.options()).expect("in order").payload(body.payload()).expect("room");
    let length = writer.finish();
    out.truncate(length);
    out
}

pub(crate) fn put(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let token = Token::new(&[1, 2, 3, 4]).expect("short");
    let mut writer = Writer::message(&mut out, Type::NonConfirmable, Code::PUT, 7, token).expect("room");
    writer.option(option::URI_PATH, b"fw").expect("room").payload(payload).expect("room");
    let length = writer.finish();
    out.truncate(length);
    out
}

pub(crate) fn changed(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let token = Token::new(&[1, 2, 3, 4]).expect("short");
    let mut writer = Writer::message(&mut out, Type::NonConfirmable, Code::CHANGED, 8, token).expect("room");
    writer.payload(payload).expect("room");
    let length = writer.finish();
    out.truncate(length);
    out
}

pub(crate) fn message(datagram: &[u8]) -> Message<'_> {
    Message::parse(datagram).expect("a message")
}

pub(crate) fn protected_payload(datagram: &[u8]) -> Vec<u8> {
    message(datagram).payload().to_vec()
}

/// A future member.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) id: MemberId,
    pub(crate) seed: [u8; 32],
    pub(crate) credential: Credential,
}

impl Member {
    /// A member whose key pair is derived from one byte, with the shortest CCS.
    pub(crate) fn new(id: &[u8], seed: u8) -> Self {
        let seed = [seed; 32];
        let public_key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
        let ccs = written(|out| encode_ccs(&public_key, out));
        Self {
            id: MemberId::new(id).expect("short"),
            seed,
            credential: Credential::from_ccs(&ccs).expect("a CCS"),
        }
    }
}

/// A group before anyone has a context.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) gid: Gid,
    pub(crate) secret: Vec<u8>,
    pub(crate) salt: Vec<u8>,
    pub(crate) aead: AeadAlgorithm,
    pub(crate) group_encryption: AeadAlgorithm,
    pub(crate) gm_credential: Credential,
}

impl Group {
    pub(crate) fn new(gid: &[u8], aead: AeadAlgorithm, group_encryption: AeadAlgorithm) -> Self {
        Self {
            gid: Gid::new(gid).expect("short"),
            secret: vec![1; 16],
            salt: vec![2; 8],
            aead,
            group_encryption,
            gm_credential: Member::new(&[], 99).credential,
        }
    }

    pub(crate) fn common(&self) -> CommonContext {
        let parameters = GroupParameters {
            gid: self.gid,
            master_secret: &self.secret,
            master_salt: &self.salt,
            aead: self.aead,
            group_encryption: self.group_encryption,
            gm_credential: self.gm_credential.clone(),
        };
        CommonContext::derive(&parameters).expect("good parameters")
    }

    pub(crate) fn recipient(&self, member: &Member, window: ReplayWindow) -> RecipientContext {
        RecipientContext::derive(&self.common(), member.id, member.credential.clone(), window).expect("good")
    }

    /// The context of `own`, which has used `next` numbers, with these other members.
    pub(crate) fn context<const N: usize>(
        &self,
        own: &Member,
        next: u64,
        others: [&Member; N],
    ) -> GroupContext<[RecipientContext; N]> {
        let common = self.common();
        let numbers = SequenceNumbers::new(next, limits::SEQUENCE_NUMBER_MAX);
        let sender =
            SenderContext::derive(&common, own.id, own.credential.clone(), &own.seed, numbers).expect("good");
        GroupContext::new(common, sender, others.map(|other| self.recipient(other, ReplayWindow::fresh())))
            .unwrap()
    }
}

/// A client about to use number 5, and a server, in a group with a third member.
pub(crate) struct World {
    pub(crate) client: GroupContext<[RecipientContext; 1]>,
    pub(crate) server: GroupContext<[RecipientContext; 2]>,
}

pub(crate) fn world(algorithm: AeadAlgorithm) -> World {
    let group = Group::new(&[0xdd, 0x11], algorithm, algorithm);
    let (client, server) = (Member::new(&[0xd0], 1), Member::new(&[0xa1], 2));
    let other = Member::new(&[0xa2], 3);
    World {
        client: group.context(&client, 5, [&server]),
        server: group.context(&server, 0, [&client, &other]),
    }
}

impl World {
    pub(crate) fn request(&mut self, mode: Mode) -> (Vec<u8>, SentRequest) {
        let request = put(b"block");
        let mut datagram = [0; 1500];
        let (length, own) = self.client.protect_request(&message(&request), mode, &mut datagram).unwrap();
        (datagram[..length].to_vec(), own)
    }

    pub(crate) fn windows(&mut self) -> Vec<ReplayWindow> {
        self.server.recipients().iter().map(|recipient| recipient.window().clone()).collect()
    }
}
