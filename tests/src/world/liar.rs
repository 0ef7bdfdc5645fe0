//! A member of the group with its own keys that lies, or asks for more than its share. It has no real
//! machine: it invents what it sends.

use super::{Dice, Keys, Release};
use coap_wire::{Block, Code, Message, Token, Type, Writer, option};
use group_oscore::{
    MemberId, Mode, Received, ReceivedRequest, ReplayWindow, ResponseMode, ResponsePiv, SequenceNumbers,
};
use update_core::census::{Query, Report, State};
use update_core::digest::Digest;
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::parity::lacks;
use update_core::reception::AgentContext;
use update_core::resource::Resource;
use update_core::time::{Duration, Instant};

/// What a liar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// It reports that it misses every page of the hash tree, whatever it gets.
    MissesPages,
    /// It reports that it misses every block of the image, whatever it gets.
    MissesBlocks,
    /// It reports that every generation lacks every symbol, whatever it gets.
    LacksSymbols,
    /// It reports that it has enough symbols, and never makes blocks of them.
    Decodes,
    /// It reports that it is checking the image, and never finishes.
    Checks,
    /// It reports a far higher Partial IV of the distributor.
    HighNext,
    /// It requests one block after the other, without waiting for answers.
    Asks,
    /// It repeatedly reports that it has booted.
    Boots,
    /// It sends each of its answers many times.
    Repeats,
}

impl Lie {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::MissesPages,
        Self::MissesBlocks,
        Self::LacksSymbols,
        Self::Decodes,
        Self::Checks,
        Self::HighNext,
        Self::Asks,
        Self::Boots,
        Self::Repeats,
    ];

    /// How often it sends something without being asked.
    const fn every(self) -> Option<Duration> {
        match self {
            Self::Asks => Some(Duration::from_millis(4)),
            Self::Boots => Some(Duration::from_millis(20)),
            _ => None,
        }
    }
}

/// How far ahead a liar claims the distributor to be.
const AHEAD: u64 = 1 << 40;
/// How often one that repeats its answers does so.
const REPETITIONS: usize = 20;
/// How many answers wait for their leisure to pass.
const WAITING_MAX: usize = 64;

/// A liar and its pending messages.
pub(super) struct Liar {
    lie: Lie,
    id: MemberId,
    name: Digest,
    context: AgentContext,
    dice: Dice,
    answers: Vec<(Instant, Vec<u8>)>,
    asks_at: Option<Instant>,
    asked: u32,
}

impl Liar {
    /// The agent with this index, as a liar.
    pub(super) fn new(lie: Lie, index: usize, keys: &Keys, dice: Dice) -> Self {
        let context = keys.agent_context(index, SequenceNumbers::new(0, u64::MAX), ReplayWindow::fresh());
        Self {
            lie,
            id: keys.agents[index].id,
            name: keys.agents[index].name,
            context,
            dice,
            answers: Vec::new(),
            asks_at: lie.every().map(|every| Instant::default() + every),
            asked: 0,
        }
    }

    /// When it next sends something.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.answers.iter().map(|(at, _)| *at).chain(self.asks_at).min()
    }

    /// What it now sends to the distributor.
    pub(super) fn say(&mut self, now: Instant, release: &Release) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        self.answers.retain(|(at, bytes)| {
            let due = *at <= now;
            if due {
                said.push(bytes.clone());
            }
            !due
        });
        if self.asks_at.is_some_and(|at| at <= now) {
            self.asks_at = self.lie.every().map(|every| now + every);
            said.extend(self.request(release));
        }
        said
    }

    /// Hears a datagram; an answer follows after a while.
    pub(super) fn hear(&mut self, now: Instant, mut bytes: Vec<u8>, release: &Release) {
        if self.answers.len() >= WAITING_MAX {
            return;
        }
        let Ok(Received::Fresh(mut request)) = self.context.unprotect_request(&mut bytes) else { return };
        let (token, mut binding) = (request.token(), request.take_binding());
        let body = request.body();
        if (body.code(), Resource::of(&body)) != (Code::FETCH, Some(Resource::Status)) {
            return;
        }
        let Ok(query) = Query::decode(body.payload()) else { return };
        if !query.target.matches(self.id, &self.name) {
            return;
        }
        let leisure = Duration::from_millis(u64::from(query.leisure_ms));
        let at = now + self.dice.between(Duration::ZERO, leisure);
        let Some(answer) = self.answer(&query, token, &mut binding, release) else { return };
        let times = if self.lie == Lie::Repeats { REPETITIONS } else { 1 };
        for number in 0..times {
            let after = Duration::from_millis(50 * number as u64);
            self.answers.push((at + after, answer.clone()));
        }
    }

    fn answer(
        &mut self,
        query: &Query<'_>,
        token: Token,
        binding: &mut ReceivedRequest,
        release: &Release,
    ) -> Option<Vec<u8>> {
        let bitmap = vec![0xff; query.window.map_or(0, |window| (window.count as usize).div_ceil(8))];
        let state = match self.lie {
            Lie::MissesPages => State::Pages,
            Lie::Checks => State::Checking,
            _ => State::Blocks,
        };
        let mut report = Report::new(state);
        report.update = Some(release.offer.id);
        report.window = query.window.map(|window| (window, bitmap.as_slice()));
        match self.lie {
            Lie::MissesPages => {
                report.missing_pages = release.count(update_core::platform::Area::Pages);
                report.missing_blocks = release.count(update_core::platform::Area::Image);
            }
            Lie::Checks => {}
            _ => report.missing_blocks = release.count(update_core::platform::Area::Image),
        }
        let asked = query.generations.filter(|_| matches!(self.lie, Lie::LacksSymbols | Lie::Decodes));
        let lack =
            if self.lie == Lie::Decodes { 0 } else { asked.map_or(0, |asked| asked.parity.generation()) };
        let bytes = asked.map_or(0, |asked| asked.count as usize * lacks::bytes_each(asked.parity));
        let mut lacks = vec![0; bytes];
        if let Some(asked) = asked {
            lacks::write(asked.parity, std::iter::repeat(lack), &mut lacks);
            report.lacks = Some((asked.area, asked.first, &lacks));
            report.window = None;
            report.lacking = Some(if lack == 0 { 0 } else { report.missing_blocks });
        }
        if self.lie == Lie::HighNext {
            report.distributor_next = AHEAD;
        }
        let mut payload = [0; DATAGRAM_BYTES_MAX];
        let length = report.encode(&mut payload)?;
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let message_id = self.dice.number() as u16;
        let mut writer =
            Writer::message(&mut plain, Type::NonConfirmable, Code::CONTENT, message_id, token).ok()?;
        writer.payload(&payload[..length]).ok()?;
        let length = writer.finish();
        let message = Message::parse(&plain[..length]).ok()?;
        let mut out = vec![0; DATAGRAM_BYTES_MAX];
        let (mode, piv) = (ResponseMode::Pairwise, ResponsePiv::Own);
        let length = self.context.protect_response(&message, binding, mode, piv, &mut out).ok()?;
        out.truncate(length);
        Some(out)
    }

    /// A needless request: a block, or the announcement of a boot.
    fn request(&mut self, release: &Release) -> Option<Vec<u8>> {
        self.asked += 1;
        let (code, resource) = match self.lie {
            Lie::Boots => (Code::POST, Resource::Boot),
            _ => (Code::GET, Resource::Image(release.offer.id)),
        };
        let mut plain = [0; DATAGRAM_BYTES_MAX];
        let token = Token::new(&self.asked.to_be_bytes())?;
        let message_id = self.dice.number() as u16;
        let mut writer = Writer::message(&mut plain, Type::NonConfirmable, code, message_id, token).ok()?;
        resource.write_path(&mut writer).ok()?;
        if code == Code::GET {
            let layout = release.offer.layout;
            let number = self.asked % layout.block_count();
            let block = Block { number, more: false, size_exponent: layout.block_size.exponent() };
            writer.option(option::BLOCK2, block.encode().as_bytes()).ok()?;
        } else {
            let mut payload = [0; 64];
            let length = Report::new(State::Idle).encode(&mut payload)?;
            writer.payload(&payload[..length]).ok()?;
        }
        let length = writer.finish();
        let message = Message::parse(&plain[..length]).ok()?;
        let mut out = vec![0; DATAGRAM_BYTES_MAX];
        let mode = Mode::Pairwise(self.context.recipients()[0].id());
        let (length, _) = self.context.protect_request(&message, mode, &mut out).ok()?;
        out.truncate(length);
        Some(out)
    }
}
