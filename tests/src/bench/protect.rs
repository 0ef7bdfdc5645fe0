//! The cost of protecting and unprotecting a block, compared with the one signature that it needs in any
//! case.

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use coap_wire::{Block, Code, Message, NoResponse, Token, Type, Writer, option};
use ed25519_dalek::{Signature, Signer, SigningKey};
use group_oscore::inspect::{Aad, GroupAad};
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode, PartialIv,
    Received, RecipientContext, ReplayWindow, SenderContext, SequenceNumbers, encode_ccs,
};
use update_core::block::{BlockNumber, BlockSize, ImageSize, Layout};
use update_core::digest::{Digest, UpdateId};
use update_core::resource::Resource;
use update_core::tree::check_block;
use update_core::tree_build::{Tree, TreeBuilder};

use super::{ROUNDS, speed_beside, timed};
use crate::outcome::Outcome;

/// Blocks in one measurement; a receiver's replay window has room for all of them.
const BATCH: usize = 64;
const BLOCK_BYTES: usize = 1024;
const GID: [u8; 4] = [0xdd, 0x11, 0x22, 0x33];
const DISTRIBUTOR: [u8; 1] = [0xd0];
const AGENT: [u8; 1] = [0xa1];
const DISTRIBUTOR_SEED: [u8; 32] = [1; 32];
const AGENT_SEED: [u8; 32] = [2; 32];
const MANAGER_SEED: [u8; 32] = [3; 32];

/// A group of two.
struct Pair {
    parameters: GroupParameters<'static>,
    distributor: Credential,
    agent: Credential,
}

type Member = GroupContext<[RecipientContext; 1]>;

/// One image block in transit.
struct Sample {
    plain: Vec<u8>,
    protected: Vec<u8>,
    /// The Countersign_structure, which the signature covers.
    signed: Vec<u8>,
    signature: Signature,
}

/// Measures.
///
/// # Errors
/// A message cannot be protected or unprotected.
pub fn run() -> Result<Outcome> {
    let pair = Pair::new()?;
    let image = Image::new()?;
    let samples = pair.samples(&image)?;
    let key = SigningKey::from_bytes(&DISTRIBUTOR_SEED);
    let mut sender = pair.at_distributor(SequenceNumbers::new(0, u64::from(u32::MAX)))?;
    let protect = speed_beside(
        || {
            timed(|| {
                for sample in &samples {
                    black_box(key.sign(black_box(&sample.signed)));
                }
            })
        },
        || timed(|| samples.iter().for_each(|sample| sample.protect(&mut sender))),
    );
    let public = key.verifying_key();
    let mut receiver = pair.at_agent()?;
    let unprotect = speed_beside(
        || {
            timed(|| {
                for sample in &samples {
                    assert!(public.verify_strict(black_box(&sample.signed), &sample.signature).is_ok());
                }
            })
        },
        || image.received(&mut receiver, &samples),
    );
    let largest = samples.iter().map(|sample| sample.protected.len()).max().unwrap_or(0);
    Ok(Outcome::new(true)
        .at_least("protect_beside_sign", protect, 0.90)
        .at_least("unprotect_beside_verify_strict", unprotect, 0.85)
        .at_most("datagram_bytes", largest as f64, 1160.0))
}

/// How long an agent takes to unprotect a block and compare it with the hash tree: the median.
///
/// # Errors
/// A message cannot be protected or unprotected.
pub fn unprotect_time() -> Result<Duration> {
    let pair = Pair::new()?;
    let image = Image::new()?;
    let samples = pair.samples(&image)?;
    let mut receiver = pair.at_agent()?;
    let mut times: Vec<_> = (0..ROUNDS).map(|_| image.received(&mut receiver, &samples)).collect();
    times.sort();
    Ok(times[ROUNDS / 2] / BATCH as u32)
}

/// An image with its hash tree of one page.
struct Image {
    bytes: Vec<u8>,
    tree: Tree,
}

impl Image {
    fn new() -> Result<Self> {
        let size = u32::try_from(BATCH * BLOCK_BYTES)?;
        let layout = Layout {
            image_size: ImageSize::new(size).context("no image size")?,
            block_size: BlockSize::new(BLOCK_BYTES as u32).context("no block size")?,
        };
        let bytes: Vec<u8> = (0..BATCH * BLOCK_BYTES).map(|index| (index % 251) as u8).collect();
        let mut builder = TreeBuilder::new(layout);
        for block in bytes.chunks(BLOCK_BYTES) {
            builder.push(block).map_err(|error| anyhow!("{error:?}"))?;
        }
        Ok(Self { bytes, tree: builder.finish().map_err(|error| anyhow!("{error:?}"))? })
    }

    /// How long an agent takes for all datagrams.
    fn received(&self, receiver: &mut Member, samples: &[Sample]) -> Duration {
        // The same datagrams are new again for a window that has not seen any.
        if let Some(recipient) = receiver.recipients_mut().first_mut() {
            *recipient.window_mut() = ReplayWindow::fresh();
        }
        let mut datagrams: Vec<_> = samples.iter().map(|sample| sample.protected.clone()).collect();
        timed(|| {
            for (number, datagram) in datagrams.iter_mut().enumerate() {
                assert!(self.accepts(receiver, number, datagram), "a block is refused");
            }
        })
    }

    /// What an agent does with a datagram before a byte reaches storage.
    fn accepts(&self, receiver: &mut Member, number: usize, datagram: &mut [u8]) -> bool {
        let Ok(Received::Fresh(verified)) = receiver.unprotect_request(datagram) else { return false };
        let entry = self.tree.shape.entry_of_leaf(BlockNumber(number as u32));
        entry.is_some_and(|(page, entry)| {
            check_block(self.tree.page(page), entry, black_box(verified.body().payload()))
        })
    }
}

impl Pair {
    fn new() -> Result<Self> {
        let gm_credential = credential(&MANAGER_SEED)?;
        let parameters = GroupParameters {
            gid: Gid::new(&GID).context("no Gid")?,
            master_secret: &[7; 16],
            master_salt: &[8; 8],
            aead: AeadAlgorithm::A128Gcm,
            group_encryption: AeadAlgorithm::A128Gcm,
            gm_credential,
        };
        Ok(Self { parameters, distributor: credential(&DISTRIBUTOR_SEED)?, agent: credential(&AGENT_SEED)? })
    }

    fn at_distributor(&self, numbers: SequenceNumbers) -> Result<Member> {
        let (own, other) = ((DISTRIBUTOR, &self.distributor), (AGENT, &self.agent));
        self.context(own, &DISTRIBUTOR_SEED, numbers, other)
    }

    fn at_agent(&self) -> Result<Member> {
        let (own, other) = ((AGENT, &self.agent), (DISTRIBUTOR, &self.distributor));
        self.context(own, &AGENT_SEED, SequenceNumbers::new(0, 1), other)
    }

    fn context(
        &self,
        (own_id, own): ([u8; 1], &Credential),
        seed: &[u8; 32],
        numbers: SequenceNumbers,
        (other_id, other): ([u8; 1], &Credential),
    ) -> Result<Member> {
        let derived = |error| anyhow!("{error:?}");
        let common = CommonContext::derive(&self.parameters).map_err(derived)?;
        let id = |id: [u8; 1]| MemberId::new(&id).context("no Sender ID");
        let own = SenderContext::derive(&common, id(own_id)?, own.clone(), seed, numbers).map_err(derived)?;
        let window = ReplayWindow::fresh();
        let other =
            RecipientContext::derive(&common, id(other_id)?, other.clone(), window).map_err(derived)?;
        Ok(GroupContext::new(common, own, [other])?)
    }

    fn samples(&self, image: &Image) -> Result<Vec<Sample>> {
        // Partial IVs of three bytes, as after a long time in use.
        let first = 1 << 16;
        let mut sender = self.at_distributor(SequenceNumbers::new(first, first + BATCH as u64))?;
        let blocks = image.bytes.chunks(BLOCK_BYTES).enumerate();
        blocks.map(|(number, block)| self.sample(&mut sender, number as u32, block)).collect()
    }

    fn sample(&self, sender: &mut Member, number: u32, block: &[u8]) -> Result<Sample> {
        let plain = put_block(number, block).context("the plain message does not fit")?;
        let request_piv = PartialIv::new(sender.next_sequence_number()).context("no Partial IV")?;
        let mut protected = vec![0; 2048];
        let message = Message::parse(&plain).map_err(|error| anyhow!("{error:?}"))?;
        let (length, _) = sender
            .protect_request(&message, Mode::Group, &mut protected)
            .map_err(|error| anyhow!("{error:?}"))?;
        protected.truncate(length);
        let message = Message::parse(&protected).map_err(|error| anyhow!("{error:?}"))?;
        let ciphertext = message.payload().split_last_chunk::<64>().context("no signature")?.0;
        let aad = Aad {
            aead: self.parameters.aead,
            request_kid: sender.sender_id(),
            request_piv,
            group: Some(GroupAad {
                group_encryption: self.parameters.group_encryption,
                request_gid: self.parameters.gid,
                option: message.option(option::OSCORE).context("no OSCORE option")?,
                sender_credential: self.distributor.as_bytes(),
                gm_credential: self.parameters.gm_credential.as_bytes(),
            }),
        };
        let mut signed = vec![0; 2048];
        let length = aad.to_be_signed(ciphertext, &mut signed).context("nothing to be signed")?;
        signed.truncate(length);
        let signature = SigningKey::from_bytes(&DISTRIBUTOR_SEED).sign(&signed);
        Ok(Sample { plain, protected, signed, signature })
    }
}

impl Sample {
    fn protect(&self, sender: &mut Member) {
        let mut out = [0; 2048];
        let message = Message::parse(&self.plain).ok();
        let protected =
            message.and_then(|message| sender.protect_request(&message, Mode::Group, &mut out).ok());
        assert!(protected.is_some(), "a block cannot be protected");
        black_box(out);
    }
}

/// PUT of an image block as the distributor sends it: `/fw/<id>/image`, Block1, No-Response.
fn put_block(number: u32, payload: &[u8]) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 2048];
    let token = Token::new(&number.to_be_bytes())?;
    let mut writer =
        Writer::message(&mut buffer, Type::NonConfirmable, Code::PUT, number as u16, token).ok()?;
    Resource::Image(UpdateId::of(&Digest([0x5a; 32]))).write_path(&mut writer).ok()?;
    let block = Block { number: 60_000 + number, more: true, size_exponent: 6 };
    writer.option(option::BLOCK1, block.encode().as_bytes()).ok()?;
    writer.option(option::NO_RESPONSE, &[NoResponse::ALL_SUPPRESSED.value()]).ok()?;
    writer.payload(payload).ok()?;
    let length = writer.finish();
    buffer.truncate(length);
    Some(buffer)
}

fn credential(seed: &[u8; 32]) -> Result<Credential> {
    let mut ccs = [0; 64];
    let public = SigningKey::from_bytes(seed).verifying_key().to_bytes();
    let length = encode_ccs(&public, &mut ccs).context("a CCS does not fit")?;
    Credential::from_ccs(&ccs[..length]).map_err(|error| anyhow!("{error:?}"))
}
