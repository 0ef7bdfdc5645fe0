//! A security group with its members' keys, and signed images for it.

use super::signing_key;
use coap_wire::{Block, Code, Message, NoResponse, Token, Type, Writer, option};
use ed25519_dalek::Signer;
use group_oscore::{
    AeadAlgorithm, CommonContext, Credential, Gid, GroupContext, GroupParameters, MemberId, Mode,
    RecipientContext, ReplayWindow, SenderContext, SentRequest, SequenceNumbers, encode_ccs,
};
use update_core::block::{BlockSize, ImageSize, Layout};
use update_core::census::{Query, Report, State};
use update_core::command::{Command, Dated};
use update_core::digest::Digest;
use update_core::distribution::{Members, Update};
use update_core::key_set::KeySet;
use update_core::platform::Area;
use update_core::reception::AgentContext;
use update_core::resource::Resource;
use update_core::suit::{self, Offer};
use update_core::suit_build::Draft;
use update_core::target::{Ranges, Target};
use update_core::tree_build::TreeBuilder;

pub const VENDOR: [u8; 16] = *b"vendor-vendor-00";
pub const CLASS: [u8; 16] = *b"class-class-0000";

/// Seeds of the members' keys; 1 is the image key of [`super::keys`].
const DISTRIBUTOR: u8 = 100;
const INSIDER: u8 = 101;
const MANAGER: u8 = 102;

pub fn distributor_id() -> MemberId {
    MemberId::new(&[0]).unwrap()
}

pub fn agent_id(index: usize) -> MemberId {
    MemberId::new(&[index as u8 + 1]).unwrap()
}

pub fn name(index: usize) -> Digest {
    Digest::of(&[b'n', index as u8])
}

fn credential(seed: u8) -> Credential {
    let mut ccs = [0; 64];
    let len = encode_ccs(&super::public_key(seed), &mut ccs).unwrap();
    Credential::from_ccs(&ccs[..len]).unwrap()
}

thread_local! {
    /// How often the group has got new keys.
    static GENERATION: std::cell::Cell<u8> = const { std::cell::Cell::new(0) };
}

/// The group has this generation of keys from now on, as far as this thread goes.
pub fn set_generation(generation: u8) {
    GENERATION.set(generation);
}

fn common() -> CommonContext {
    let generation = GENERATION.get();
    CommonContext::derive(&GroupParameters {
        gid: Gid::new(&[0xaa, 0xbb, 0xcc, 0xdd_u8.wrapping_add(generation)]).unwrap(),
        master_secret: &[7_u8.wrapping_add(generation); 16],
        master_salt: &[],
        aead: AeadAlgorithm::A128Gcm,
        group_encryption: AeadAlgorithm::A128Gcm,
        gm_credential: credential(MANAGER),
    })
    .unwrap()
}

fn sender(id: MemberId, credential: Credential, seed: u8, numbers: SequenceNumbers) -> SenderContext {
    SenderContext::derive(&common(), id, credential, &signing_key(seed).to_bytes(), numbers).unwrap()
}

fn recipient(id: MemberId, seed: u8, window: ReplayWindow) -> RecipientContext {
    RecipientContext::derive(&common(), id, credential(seed), window).unwrap()
}

pub fn agent_context(index: usize, numbers: SequenceNumbers, window: ReplayWindow) -> AgentContext {
    let sender = sender(agent_id(index), credential(index as u8), index as u8, numbers);
    GroupContext::new(common(), sender, [recipient(distributor_id(), DISTRIBUTOR, window)]).unwrap()
}

pub fn distributor_context(
    numbers: SequenceNumbers,
    windows: impl IntoIterator<Item = ReplayWindow>,
) -> GroupContext<Members> {
    let sender = sender(distributor_id(), credential(DISTRIBUTOR), DISTRIBUTOR, numbers);
    let recipients = windows
        .into_iter()
        .enumerate()
        .map(|(index, window)| recipient(agent_id(index), index as u8, window))
        .collect();
    GroupContext::new(common(), sender, Members::new(recipients)).unwrap()
}

/// The distributor's context with agents with these Sender IDs, which all have the same key.
pub fn distributor_context_of(numbers: SequenceNumbers, ids: &[MemberId]) -> GroupContext<Members> {
    let sender = sender(distributor_id(), credential(DISTRIBUTOR), DISTRIBUTOR, numbers);
    let recipients = ids.iter().map(|id| recipient(*id, 1, ReplayWindow::fresh())).collect();
    GroupContext::new(common(), sender, Members::new(recipients)).unwrap()
}

/// The group's parameters and the keys of the distributor and agent 0, as a table.
pub fn parameters() -> String {
    let rows = [
        ("Gid", "aabbccdd".to_owned()),
        ("Master Secret", "07".repeat(16)),
        ("Master Salt", "(empty)".to_owned()),
        ("algorithms", "A128GCM (1) for both, EdDSA, ECDH-SS + HKDF-256".to_owned()),
        ("credential of the Group Manager", hex::encode(credential(MANAGER).as_bytes())),
        ("distributor: Sender ID", "00".to_owned()),
        ("distributor: credential", hex::encode(credential(DISTRIBUTOR).as_bytes())),
        ("distributor: secret key", hex::encode(signing_key(DISTRIBUTOR).to_bytes())),
        ("agent: Sender ID", "01".to_owned()),
        ("agent: credential", hex::encode(credential(0).as_bytes())),
        ("agent: secret key", hex::encode(signing_key(0).to_bytes())),
    ];
    let lines = rows.map(|(name, value)| format!("| {name} | `{value}` |\n"));
    format!("| Security group | |\n|---|---|\n{}\n", lines.concat())
}

/// An image with everything that is signed for it.
pub struct Image {
    pub envelope: Vec<u8>,
    pub offer: Offer,
    pub bytes: Vec<u8>,
    pub pages: Vec<u8>,
}

impl Image {
    /// An image of this many blocks and a half, whose bytes depend on the sequence number.
    pub fn new(sequence_number: u64, blocks: u32, block_bytes: u32) -> Self {
        Self::with_digest(sequence_number, blocks, block_bytes, |digest| digest)
    }

    /// The same image, with a wrong digest of the whole image.
    pub fn with_digest(
        sequence_number: u64,
        blocks: u32,
        block_bytes: u32,
        change: impl FnOnce(Digest) -> Digest,
    ) -> Self {
        let len = blocks * block_bytes - block_bytes / 2;
        let byte = |i: u32| (i.wrapping_mul(2_654_435_761) >> 24) as u8 ^ sequence_number as u8;
        let bytes: Vec<u8> = (0..len).map(byte).collect();
        let layout = Layout {
            image_size: ImageSize::new(len).unwrap(),
            block_size: BlockSize::new(block_bytes).unwrap(),
        };
        let mut builder = TreeBuilder::new(layout);
        bytes.chunks(block_bytes as usize).for_each(|block| builder.push(block).unwrap());
        let tree = builder.finish().unwrap();
        let draft = Draft {
            sequence_number,
            vendor: VENDOR,
            class: CLASS,
            image_size: layout.image_size,
            image_digest: change(tree.image_digest),
            block_size: layout.block_size,
            tree_root: tree.root_digest,
        };
        let envelope = draft.attach(signing_key(1).sign(&draft.to_be_signed()).to_bytes());
        let offer = suit::verify(&envelope, &super::keys()).unwrap();
        Self { envelope, offer, bytes, pages: tree.pages }
    }

    pub fn update(&self) -> Update {
        Update { envelope: self.envelope.clone(), offer: self.offer, pages: self.pages.clone() }
    }

    pub fn block_bytes(&self) -> usize {
        self.offer.layout.block_size.bytes() as usize
    }

    pub fn count(&self, area: Area) -> u32 {
        self.area(area).len().div_ceil(self.block_bytes()) as u32
    }

    pub fn area(&self, area: Area) -> &[u8] {
        if area == Area::Image { &self.bytes } else { &self.pages }
    }

    pub fn block(&self, area: Area, number: u32) -> &[u8] {
        self.area(area).chunks(self.block_bytes()).nth(number as usize).unwrap()
    }

    fn resource(&self, area: Area) -> Resource {
        let id = self.offer.id;
        if area == Area::Image { Resource::Image(id) } else { Resource::Hashes(id) }
    }
}

/// A sender to agents: the distributor, or an impostor.
pub struct Speaker {
    pub context: GroupContext<Members>,
    next: u16,
    /// The Partial IV of the last question, which dates orders.
    questioned: Option<u64>,
}

impl Speaker {
    /// The distributor of a group with this many agents.
    pub fn distributor(agents: usize) -> Self {
        let windows = (0..agents).map(|_| ReplayWindow::fresh());
        Self {
            context: distributor_context(SequenceNumbers::new(0, u64::MAX), windows),
            next: 0,
            questioned: None,
        }
    }

    /// A member that signs with its own key, under the distributor's kid or its own.
    pub fn insider(as_distributor: bool) -> Self {
        let numbers = SequenceNumbers::new(0, u64::MAX);
        let sender = if as_distributor {
            let claimed =
                Credential::with_key(credential(DISTRIBUTOR).as_bytes(), super::public_key(INSIDER));
            sender(distributor_id(), claimed.unwrap(), INSIDER, numbers)
        } else {
            sender(MemberId::new(&[0xfe]).unwrap(), credential(INSIDER), INSIDER, numbers)
        };
        let agents = (0..4).map(|index| recipient(agent_id(index), index as u8, ReplayWindow::fresh()));
        Self {
            context: GroupContext::new(common(), sender, Members::new(agents.collect())).unwrap(),
            next: 0,
            questioned: None,
        }
    }

    /// Builds and protects any request.
    pub fn request(
        &mut self,
        mode: Mode,
        ty: Type,
        code: Code,
        write: impl FnOnce(&mut Writer<'_>),
    ) -> (Vec<u8>, SentRequest) {
        self.next += 1;
        let token = Token::new(&self.next.to_be_bytes()).unwrap();
        let mut plain = [0; 1400];
        let mut writer = Writer::message(&mut plain, ty, code, self.next, token).unwrap();
        write(&mut writer);
        let len = writer.finish();
        let message = Message::parse(&plain[..len]).unwrap();
        let mut out = vec![0; 1500];
        let (len, binding) = self.context.protect_request(&message, mode, &mut out).unwrap();
        out.truncate(len);
        (out, binding)
    }

    /// A multicast PUT of one block of a resource.
    pub fn put(&mut self, resource: Resource, block: Block, payload: &[u8]) -> Vec<u8> {
        let write = |writer: &mut Writer<'_>| {
            resource.write_path(writer).unwrap();
            writer.option(option::BLOCK1, block.encode().as_bytes()).unwrap();
            writer.option(option::NO_RESPONSE, &[NoResponse::ALL_SUPPRESSED.value()]).unwrap();
            writer.payload(payload).unwrap();
        };
        self.request(Mode::Group, Type::NonConfirmable, Code::PUT, write).0
    }

    /// The offer, in as many datagrams as the envelope has blocks.
    pub fn offer(&mut self, image: &Image) -> Vec<Vec<u8>> {
        let size_exponent = image.offer.layout.block_size.exponent();
        let count = image.envelope.len().div_ceil(image.block_bytes());
        let blocks = image.envelope.chunks(image.block_bytes()).enumerate();
        blocks
            .map(|(number, payload)| {
                let block = Block { number: number as u32, more: number + 1 < count, size_exponent };
                self.put(Resource::Manifest(image.offer.id), block, payload)
            })
            .collect()
    }

    /// One block or page.
    pub fn block(&mut self, image: &Image, area: Area, number: u32) -> Vec<u8> {
        self.block_of(image, area, number, image.block(area, number))
    }

    /// One block or page with arbitrary bytes.
    pub fn block_of(&mut self, image: &Image, area: Area, number: u32, payload: &[u8]) -> Vec<u8> {
        let size_exponent = image.offer.layout.block_size.exponent();
        let block = Block { number, more: number + 1 < image.count(area), size_exponent };
        self.put(image.resource(area), block, payload)
    }

    /// All blocks and pages of an image, in order.
    pub fn everything(&mut self, image: &Image) -> Vec<Vec<u8>> {
        let mut datagrams = self.offer(image);
        for area in [Area::Pages, Area::Image] {
            for number in 0..image.count(area) {
                datagrams.push(self.block(image, area, number));
            }
        }
        datagrams
    }

    /// A query, to the group or to one agent.
    pub fn query(&mut self, mode: Mode, query: &Query<'_>) -> (Vec<u8>, SentRequest) {
        let mut payload = [0; 512];
        let len = query.encode(&mut payload).unwrap();
        let (datagram, binding) = self.request(mode, Type::NonConfirmable, Code::FETCH, |writer| {
            Resource::Status.write_path(writer).unwrap();
            writer.payload(&payload[..len]).unwrap();
        });
        self.questioned = Some(binding.partial_iv().value());
        (datagram, binding)
    }

    /// A question that nobody answers. Agents that hear it can tell by it that later orders are recent.
    pub fn dates(&mut self) -> Vec<u8> {
        let nobody = Query { target: Target::Ranges(Ranges::Given(&[(0, 0)])), ..anything() };
        self.query(Mode::Group, &nobody).0
    }

    /// An order to activate or drop an update, dated by the last question. It holds for ever.
    pub fn command(&mut self, mode: Mode, resource: Resource, command: &Command<'_>) -> Vec<u8> {
        let for_ever = |question| Dated { question, since_ms: 0, holds_ms: u32::MAX };
        let dated = command.dated.or(self.questioned.map(for_ever));
        self.as_it_is(mode, resource, &Command { dated, ..*command }, &[]).0
    }

    /// An order as it is, with an Echo value if there is one.
    pub fn as_it_is(
        &mut self,
        mode: Mode,
        resource: Resource,
        command: &Command<'_>,
        echo: &[u8],
    ) -> (Vec<u8>, SentRequest) {
        let mut payload = [0; 512];
        let len = command.encode(&mut payload).unwrap();
        self.request(mode, Type::NonConfirmable, Code::POST, |writer| {
            resource.write_path(writer).unwrap();
            if !echo.is_empty() {
                writer.option(option::ECHO, echo).unwrap();
            }
            writer.payload(&payload[..len]).unwrap();
        })
    }

    /// The order to everyone to activate an image at once.
    pub fn activate(&mut self, image: &Image, attempt: u32) -> Vec<u8> {
        self.command(Mode::Group, Resource::Activate, &order(image, attempt))
    }

    /// Reads an answer to a query; `read` sees the report.
    pub fn answer<T>(
        &mut self,
        datagram: &[u8],
        binding: &SentRequest,
        read: impl FnOnce(&Report<'_>) -> T,
    ) -> T {
        let mut bytes = datagram.to_vec();
        let answer = self.context.unprotect_response(&mut bytes, binding).unwrap();
        let body = answer.body();
        read(&Report::decode(body.payload()).unwrap())
    }
}

/// A command to everyone.
pub fn order(image: &Image, attempt: u32) -> Command<'static> {
    Command {
        digest: image.offer.digest,
        attempt,
        target: Target::All,
        delay_ms: 0,
        from_trial: false,
        dated: None,
    }
}

/// A query to everyone about an image, to be answered at once.
pub fn question(image: &Image) -> Query<'static> {
    Query { update: Some(image.offer.id), ..anything() }
}

/// A query to everyone about whatever it holds.
fn anything() -> Query<'static> {
    Query {
        target: Target::All,
        update: None,
        leisure_ms: 0,
        window: None,
        only_missing: false,
        unicast_max: 0,
        detail: false,
        run: 0,
        generations: None,
    }
}

pub fn key_set() -> KeySet {
    super::keys()
}

/// The state and reason in a report.
pub fn stand(report: &Report<'_>) -> (State, u8) {
    (report.state, report.reason)
}
