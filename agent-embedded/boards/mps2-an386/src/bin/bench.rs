//! The cost of a block: instructions from the datagram to the compared hash, for each AEAD.
//!
//! QEMU must run with `-icount shift=0`: one instruction then takes one nanosecond of the timer's time, and
//! nothing else takes any. The console gets one line for each AEAD, and the last line is `bench: done`.
#![no_std]
#![no_main]

use board_common::{halt, line};
use coap_wire::{Code, Message, Token, Type, Writer};
use cortex_m_rt::entry;
use embassy_time::Instant;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode, Received,
    RecipientContext, ReplayWindow, SenderContext, SequenceNumbers, encode_ccs, limits::OVERHEAD_BYTES_MAX,
};
use mps2_an386::console::{self, Console};
use mps2_an386::time;
use update_core::tree::leaf_hash;

const BLOCK_BYTES: usize = 1024;
/// Blocks per figure, which is their mean.
const BLOCKS: u64 = 8;
const ALGORITHMS: [(&str, AeadAlgorithm); 3] = [
    ("A128GCM", AeadAlgorithm::A128Gcm),
    ("AES-CCM-16-64-128", AeadAlgorithm::AesCcm16_64_128),
    ("ChaCha20/Poly1305", AeadAlgorithm::ChaCha20Poly1305),
];

type Member = GroupContext<[RecipientContext; 1]>;

#[entry]
fn main() -> ! {
    console::start();
    time::start();
    // SAFETY: main is entered once, and interrupts have their own critical sections.
    unsafe { cortex_m::interrupt::enable() };
    for (name, algorithm) in ALGORITHMS {
        match block(algorithm) {
            Some((unprotect, hash)) => {
                line!(Console, "bench: {name} unprotect={unprotect} hash={hash} instructions");
            }
            None => line!(Console, "bench: {name} failed"),
        }
    }
    line!(Console, "bench: done");
    halt()
}

/// Instructions for unprotecting a block's datagram in group mode, and for its leaf hash.
fn block(algorithm: AeadAlgorithm) -> Option<(u64, u64)> {
    let (mut sender, mut receiver) = (member(algorithm, 1, 2)?, member(algorithm, 2, 1)?);
    let (mut unprotecting, mut hashing) = (0, 0);
    for number in 0..BLOCKS {
        let mut plain = [0; BLOCK_BYTES + 64];
        let token = Token::new(&[number as u8])?;
        let mut writer =
            Writer::message(&mut plain, Type::NonConfirmable, Code::PUT, number as u16, token).ok()?;
        writer.payload(&[number as u8; BLOCK_BYTES]).ok()?;
        let length = writer.finish();
        let mut datagram = [0; BLOCK_BYTES + 64 + OVERHEAD_BYTES_MAX];
        let message = Message::parse(plain.get(..length)?).ok()?;
        let (length, _) = sender.protect_request(&message, Mode::Group, &mut datagram).ok()?;
        let start = Instant::now();
        let Ok(Received::Fresh(verified)) = receiver.unprotect_request(datagram.get_mut(..length)?) else {
            return None;
        };
        let opened = Instant::now();
        let hash = leaf_hash(core::hint::black_box(verified.body().payload()));
        core::hint::black_box(hash);
        unprotecting += (opened - start).as_micros();
        hashing += opened.elapsed().as_micros();
    }
    // A microsecond of the timer is a thousand instructions.
    Some((unprotecting * 1000 / BLOCKS, hashing * 1000 / BLOCKS))
}

fn member(algorithm: AeadAlgorithm, own: u8, other: u8) -> Option<Member> {
    let credential = |number| -> Option<Credential> {
        let mut ccs = [0; 64];
        let key = ed25519_dalek::SigningKey::from_bytes(&[number; 32]).verifying_key();
        let length = encode_ccs(key.as_bytes(), &mut ccs)?;
        Credential::from_ccs(ccs.get(..length)?).ok()
    };
    let common = CommonContext::derive(&GroupParameters {
        gid: Gid::new(&[1, 2])?,
        master_secret: &[7; 16],
        master_salt: &[8; 8],
        aead: algorithm,
        group_encryption: algorithm,
        gm_credential: credential(9)?,
    })
    .ok()?;
    let numbers = SequenceNumbers::new(1 << 16, (1 << 16) + BLOCKS);
    let id = |number| MemberId::new(&[number]);
    let sender = SenderContext::derive(&common, id(own)?, credential(own)?, &[own; 32], numbers).ok()?;
    let window = ReplayWindow::fresh();
    let recipient = RecipientContext::derive(&common, id(other)?, credential(other)?, window).ok()?;
    GroupContext::new(common, sender, [recipient]).ok()
}
