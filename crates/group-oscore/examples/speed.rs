//! How fast 1024-byte blocks are protected and unprotected in group mode, compared with bare Ed25519 over the
//! same number of bytes.
//!
//! `cargo run --release -p group-oscore --example speed`

use coap_wire::{Block, Code, Message, NoResponse, Token, Type, WriteError, Writer, option};
use ed25519_dalek::{Signer as _, SigningKey};
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode, Received,
    RecipientContext, ReplayWindow, SenderContext, SequenceNumbers, encode_ccs,
};
use std::{error::Error, hint::black_box, time::Instant};

const BLOCKS: usize = 500;
const ROUNDS: usize = 20;
const SEEDS: [[u8; 32]; 2] = [[1; 32], [2; 32]];
/// Bytes of a block's ToBeSigned.
const SIGNED_BYTES: usize = 1250;

type Context = GroupContext<[RecipientContext; 1]>;

fn credential(seed: &[u8; 32]) -> Credential {
    let key = SigningKey::from_bytes(seed).verifying_key().to_bytes();
    let mut ccs = [0; 46];
    encode_ccs(&key, &mut ccs).expect("46 bytes");
    Credential::from_ccs(&ccs).expect("a CCS")
}

fn context(algorithm: AeadAlgorithm, own: usize) -> Context {
    let parameters = GroupParameters {
        gid: Gid::new(&[0xdd, 0x11]).expect("short"),
        master_secret: &[7; 16],
        master_salt: &[],
        aead: algorithm,
        group_encryption: algorithm,
        gm_credential: credential(&[9; 32]),
    };
    let common = CommonContext::derive(&parameters).expect("good parameters");
    let id = |member: usize| MemberId::new(&[member as u8]).expect("short");
    let (seed, other) = (&SEEDS[own], 1 - own);
    let numbers = SequenceNumbers::new(0, 1 << 40);
    let sender = SenderContext::derive(&common, id(own), credential(seed), seed, numbers);
    let peer = credential(&SEEDS[other]);
    let recipient = RecipientContext::derive(&common, id(other), peer, ReplayWindow::fresh());
    GroupContext::new(common, sender.expect("good"), [recipient.expect("good")]).expect("one group")
}

fn block_put(out: &mut [u8]) -> Result<usize, WriteError> {
    let token = Token::new(&[1, 2, 3, 4]).expect("short");
    let mut writer = Writer::message(out, Type::NonConfirmable, Code::PUT, 7, token)?;
    for segment in [&b"fw"[..], b"\x01\x02\x03\x04\x05\x06\x07\x08", b"image"] {
        writer.option(option::URI_PATH, segment)?;
    }
    let block = Block { number: 700, more: true, size_exponent: 6 };
    writer.option(option::BLOCK1, block.encode().as_bytes())?;
    writer.option_uint(option::NO_RESPONSE, NoResponse::ALL_SUPPRESSED.value().into())?;
    writer.payload(&[0x55; 1024])?;
    Ok(writer.finish())
}

fn main() -> Result<(), Box<dyn Error>> {
    let key = SigningKey::from_bytes(&SEEDS[0]);
    let signed = [0x55; SIGNED_BYTES];
    let signature = key.sign(&signed);
    for algorithm in AeadAlgorithm::ALL {
        let (mut sender, mut receiver) = (context(algorithm, 0), context(algorithm, 1));
        let mut plain = [0; 1500];
        let length = block_put(&mut plain).expect("room enough");
        let request = Message::parse(&plain[..length]).expect("a message");
        let mut datagrams = vec![([0; 1500], 0); BLOCKS];
        let mut protect = f64::INFINITY;
        let mut unprotect = f64::INFINITY;
        let mut sign = f64::INFINITY;
        let mut verify = f64::INFINITY;
        // In turns, so that a change of clock speed affects all of them.
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for (datagram, length) in &mut datagrams {
                *length = sender.protect_request(&request, Mode::Group, datagram).expect("protected").0;
            }
            protect = protect.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            for (datagram, length) in &mut datagrams {
                let received = receiver.unprotect_request(&mut datagram[..*length]).expect("genuine");
                assert!(matches!(received, Received::Fresh(_)));
            }
            unprotect = unprotect.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            for _ in 0..BLOCKS {
                black_box(key.sign(black_box(&signed)));
            }
            sign = sign.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            for _ in 0..BLOCKS {
                key.verifying_key().verify_strict(black_box(&signed), &signature)?;
            }
            verify = verify.min(start.elapsed().as_secs_f64());
        }
        let rate = |seconds: f64| BLOCKS as f64 / seconds;
        println!(
            "{algorithm:?}: protect {:.0}/s ({:.3} of sign), unprotect {:.0}/s ({:.3} of verify_strict)",
            rate(protect),
            sign / protect,
            rate(unprotect),
            verify / unprotect,
        );
    }
    Ok(())
}
