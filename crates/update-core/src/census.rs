//! The census: what the distributor asks and what an agent answers (docs/protocol.md, Census).

use crate::codec::{EncodeError, Malformed, read_map, write_into};
use crate::digest::{Digest, UpdateId};
use crate::limits::{LACKS_BYTES_MAX, WINDOW_BLOCKS_MAX};
use crate::parity::{ErasureCode, Parity, lacks};
use crate::platform::Area;
use crate::remark::Remark;
use crate::target::Target;
use minicbor::Decoder;

/// The blocks `first..first + count` of one area that a census asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Image blocks or pages of the hash tree.
    pub area: Area,
    /// Number of the first one.
    pub first: u32,
    /// How many, 1 to [`WINDOW_BLOCKS_MAX`].
    pub count: u32,
}

/// Generations `first..first + count` of one area of an update, about which a census asks. If it asks about a
/// window as well, an agent that needs more than parity names the blocks of the window that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationWindow {
    /// The parity of the update, which defines its generations.
    pub parity: Parity,
    /// Image blocks or pages of the hash tree.
    pub area: Area,
    /// The first generation.
    pub first: u32,
    /// How many, 1 to [`asked_max`](lacks::asked_max).
    pub count: u32,
}

/// The payload of a FETCH of `/fw/status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Which agents are asked.
    pub target: Target<'a>,
    /// The update in question; `None` for whatever the agent holds.
    pub update: Option<UpdateId>,
    /// Answers are spread evenly over this time (RFC 10020 section 3.6.1), in milliseconds.
    pub leisure_ms: u32,
    /// The window in which agents report missing blocks.
    pub window: Option<Window>,
    /// Whether only agents that miss something in the window, or do not hold the update, answer.
    pub only_missing: bool,
    /// An agent that misses at most this many blocks and pages may now fetch them by unicast.
    pub unicast_max: u32,
    /// Whether to answer with the counters as well.
    pub detail: bool,
    /// The run that asks, a random number; 0 for none. In each new run an agent starts an update over that
    /// failed because of its storage (protocol.md \[again\]).
    pub run: u32,
    /// The generations in which agents report what they lack.
    pub generations: Option<GenerationWindow>,
}

/// What an agent is doing with an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// It holds no update.
    Idle = 0,
    /// After a restart it reads back what it has. Nothing is known yet.
    Recovering = 1,
    /// It has accepted the offer and misses pages of the hash tree.
    Pages = 2,
    /// It misses blocks.
    Blocks = 3,
    /// It hashes the whole image from storage.
    Checking = 4,
    /// The whole image is stored and verified.
    Ready = 5,
    /// It will activate after a delay.
    Scheduled = 6,
    /// The new image runs on trial.
    Trial = 7,
    /// The new image is confirmed.
    Confirmed = 8,
    /// The old image runs again; see the cause of the roll back.
    RolledBack = 9,
    /// The update failed here; see the reason.
    Failed = 10,
    /// The offer was refused; see the reason.
    Refused = 11,
    /// This agent does not know the update asked about.
    Unknown = 12,
    /// It was ordered to activate, and the device cannot do so now.
    Deferred = 13,
}

impl State {
    const ALL: [Self; 14] = [
        Self::Idle,
        Self::Recovering,
        Self::Pages,
        Self::Blocks,
        Self::Checking,
        Self::Ready,
        Self::Scheduled,
        Self::Trial,
        Self::Confirmed,
        Self::RolledBack,
        Self::Failed,
        Self::Refused,
        Self::Unknown,
        Self::Deferred,
    ];

    /// The state with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether the state has consequences for the update: a report then names the update by its whole digest.
    #[must_use]
    pub const fn decides(self) -> bool {
        matches!(
            self,
            Self::Ready
                | Self::Scheduled
                | Self::Deferred
                | Self::Trial
                | Self::Confirmed
                | Self::RolledBack
                | Self::Failed
        )
    }

    /// Its name, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Recovering => "recovering",
            Self::Pages => "pages",
            Self::Blocks => "blocks",
            Self::Checking => "checking",
            Self::Ready => "ready",
            Self::Scheduled => "scheduled",
            Self::Trial => "trial",
            Self::Confirmed => "confirmed",
            Self::RolledBack => "rolled back",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Deferred => "deferred",
        }
    }
}

/// What an agent has counted since it started. An answer to a census that asks for detail carries the
/// counters in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Image blocks and pages stored that came by multicast.
    pub stored_multicast: u32,
    /// Image blocks and pages stored that came by unicast.
    pub stored_unicast: u32,
    /// Blocks and pages that were already stored.
    pub duplicates: u32,
    /// Blocks and pages whose hash was wrong.
    pub hash_mismatches: u32,
    /// Image blocks that came before the page of the hash tree that they need.
    pub without_page: u32,
    /// Datagrams that are not well-formed CoAP with an OSCORE option, or whose content is unknown.
    pub malformed: u32,
    /// Datagrams of another security group, from an unknown sender, or in a mode that their socket rules out.
    pub not_for_us: u32,
    /// Datagrams seen before, or at or below the stored bound.
    pub replayed: u32,
    /// Datagrams whose tag was wrong.
    pub bad_tag: u32,
    /// Datagrams whose countersignature was wrong: another party signed them.
    pub bad_countersignature: u32,
    /// Writes, reads or syncs that failed.
    pub storage_failures: u32,
    /// Datagrams that the program dropped on purpose (for testing), in both directions.
    pub injected_losses: u32,
    /// Image blocks stored that were made from parity symbols.
    pub stored_parity: u32,
}

impl Counters {
    /// The number of counters.
    pub const COUNT: usize = 13;

    /// The names of the counters, in the order of the wire.
    pub const NAMES: [&'static str; Self::COUNT] = [
        "stored_multicast",
        "stored_unicast",
        "duplicates",
        "hash_mismatches",
        "without_page",
        "malformed",
        "not_for_us",
        "replayed",
        "bad_tag",
        "bad_countersignature",
        "storage_failures",
        "injected_losses",
        "stored_parity",
    ];

    /// The counters in the order of the wire.
    #[must_use]
    pub const fn to_array(&self) -> [u32; Self::COUNT] {
        [
            self.stored_multicast,
            self.stored_unicast,
            self.duplicates,
            self.hash_mismatches,
            self.without_page,
            self.malformed,
            self.not_for_us,
            self.replayed,
            self.bad_tag,
            self.bad_countersignature,
            self.storage_failures,
            self.injected_losses,
            self.stored_parity,
        ]
    }

    fn from_array(c: [u32; Self::COUNT]) -> Self {
        Self {
            stored_multicast: c[0],
            stored_unicast: c[1],
            duplicates: c[2],
            hash_mismatches: c[3],
            without_page: c[4],
            malformed: c[5],
            not_for_us: c[6],
            replayed: c[7],
            bad_tag: c[8],
            bad_countersignature: c[9],
            storage_failures: c[10],
            injected_losses: c[11],
            stored_parity: c[12],
        }
    }
}

/// An agent's answer to a census. It also announces a boot with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report<'a> {
    /// The update that the report is about: the one asked about, or the one held.
    pub update: Option<UpdateId>,
    /// The whole digest, if the state [decides](State::decides).
    pub digest: Option<Digest>,
    /// What the agent is doing with the update.
    pub state: State,
    /// The [`Refusal`](crate::refusal::Refusal) code or [`Failure`](crate::reception::Failure) code; 0 for
    /// none.
    pub reason: u8,
    /// Pages of the hash tree not yet stored durably.
    pub missing_pages: u32,
    /// Image blocks not yet stored durably.
    pub missing_blocks: u32,
    /// Which blocks of the window asked about are missing: a bitmap, most significant bit first.
    pub window: Option<(Window, &'a [u8])>,
    /// The highest Partial IV accepted from the distributor, plus one; 0 for none (protocol.md \[reserve\]).
    pub distributor_next: u64,
    /// Manifest sequence number of the confirmed image; 0 for none.
    pub installed: u64,
    /// The last attempt acted upon (protocol.md \[attempt\]).
    pub attempt: u32,
    /// The counters, only if detail was asked for.
    pub counters: Option<Counters>,
    /// With the reason busy: seconds until it would be accepted; 0 if unknown.
    pub busy_seconds: u32,
    /// The last short request that raised `distributor_next`, as received (protocol.md \[evidence\]).
    pub evidence: Option<&'a [u8]>,
    /// The device's own words about the reason; empty for none.
    pub remark: Remark,
    /// What generations of an area lack: the first one asked about, and each one's number (see [`lacks`]).
    pub lacks: Option<(Area, u32, &'a [u8])>,
    /// How many more blocks or parity symbols the agent needs for all blocks. `None` if it uses no parity.
    pub lacking: Option<u32>,
    /// How many parity symbols there is room for at a time, beside `lacks`. `None` if that is enough for all
    /// that is missing.
    pub room: Option<u32>,
}

const QUERY_TARGET: u8 = 1;
const QUERY_UPDATE: u8 = 2;
const QUERY_LEISURE: u8 = 3;
const QUERY_WINDOW: u8 = 4;
const QUERY_ONLY_MISSING: u8 = 5;
const QUERY_UNICAST_MAX: u8 = 6;
const QUERY_DETAIL: u8 = 7;
const QUERY_RUN: u8 = 8;
const QUERY_GENERATIONS: u8 = 9;

impl<'a> Query<'a> {
    /// Writes the payload; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            let fields = 2
                + u64::from(self.update.is_some())
                + u64::from(self.window.is_some())
                + u64::from(self.only_missing)
                + u64::from(self.unicast_max > 0)
                + u64::from(self.detail)
                + u64::from(self.run > 0)
                + u64::from(self.generations.is_some());
            out.map(fields)?.u8(QUERY_TARGET)?;
            self.target.encode(out)?;
            if let Some(update) = &self.update {
                out.u8(QUERY_UPDATE)?.bytes(&update.0)?;
            }
            out.u8(QUERY_LEISURE)?.u32(self.leisure_ms)?;
            if let Some(window) = &self.window {
                out.u8(QUERY_WINDOW)?.array(3)?.u8(area_code(window.area))?;
                out.u32(window.first)?.u32(window.count)?;
            }
            if self.only_missing {
                out.u8(QUERY_ONLY_MISSING)?.bool(true)?;
            }
            if self.unicast_max > 0 {
                out.u8(QUERY_UNICAST_MAX)?.u32(self.unicast_max)?;
            }
            if self.detail {
                out.u8(QUERY_DETAIL)?.bool(true)?;
            }
            if self.run > 0 {
                out.u8(QUERY_RUN)?.u32(self.run)?;
            }
            if let Some(window) = &self.generations {
                out.u8(QUERY_GENERATIONS)?.array(5)?.u8(window.parity.code().number())?;
                out.u16(window.parity.generation())?.u8(area_code(window.area))?;
                out.u32(window.first)?.u32(window.count)?;
            }
            Ok(())
        })
    }

    /// Reads the payload. Keys that a later version may add are ignored.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, including a window that is empty or too large.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut query = Query {
            target: Target::All,
            update: None,
            leisure_ms: 0,
            window: None,
            only_missing: false,
            unicast_max: 0,
            detail: false,
            run: 0,
            generations: None,
        };
        read_map(bytes, |key, decoder| {
            match key {
                QUERY_TARGET => query.target = Target::decode(decoder)?,
                QUERY_UPDATE => query.update = Some(decode_id(decoder)?),
                QUERY_LEISURE => query.leisure_ms = decoder.u32()?,
                QUERY_WINDOW => query.window = Some(decode_window(decoder, 3)?),
                QUERY_ONLY_MISSING => query.only_missing = decoder.bool()?,
                QUERY_UNICAST_MAX => query.unicast_max = decoder.u32()?,
                QUERY_DETAIL => query.detail = decoder.bool()?,
                QUERY_RUN => query.run = decoder.u32()?,
                QUERY_GENERATIONS => query.generations = decode_generations(decoder)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(query)
    }
}

const REPORT_UPDATE: u8 = 1;
const REPORT_STATE: u8 = 2;
const REPORT_REASON: u8 = 3;
const REPORT_MISSING_PAGES: u8 = 4;
const REPORT_MISSING_BLOCKS: u8 = 5;
const REPORT_WINDOW: u8 = 6;
const REPORT_DISTRIBUTOR_NEXT: u8 = 7;
const REPORT_INSTALLED: u8 = 8;
const REPORT_ATTEMPT: u8 = 9;
const REPORT_COUNTERS: u8 = 10;
const REPORT_EVIDENCE: u8 = 11;
const REPORT_BUSY_SECONDS: u8 = 12;
const REPORT_REMARK: u8 = 13;
const REPORT_LACKS: u8 = 14;
const REPORT_LACKING: u8 = 15;
const REPORT_ROOM: u8 = 16;

impl<'a> Report<'a> {
    /// A report that carries only a state.
    #[must_use]
    pub const fn new(state: State) -> Self {
        Self {
            update: None,
            digest: None,
            state,
            reason: 0,
            missing_pages: 0,
            missing_blocks: 0,
            window: None,
            distributor_next: 0,
            installed: 0,
            attempt: 0,
            counters: None,
            busy_seconds: 0,
            evidence: None,
            remark: Remark::NONE,
            lacks: None,
            lacking: None,
            room: None,
        }
    }

    /// Whether the report counts for the update with this digest.
    #[must_use]
    pub fn counts_for(&self, digest: &Digest) -> bool {
        match self.digest {
            Some(named) => named == *digest,
            None => self.update == Some(UpdateId::of(digest)) && !self.state.decides(),
        }
    }

    /// Writes the payload without the zeros; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            let numbers = [
                (REPORT_REASON, u64::from(self.reason)),
                (REPORT_MISSING_PAGES, u64::from(self.missing_pages)),
                (REPORT_MISSING_BLOCKS, u64::from(self.missing_blocks)),
                (REPORT_DISTRIBUTOR_NEXT, self.distributor_next),
                (REPORT_INSTALLED, self.installed),
                (REPORT_ATTEMPT, u64::from(self.attempt)),
                (REPORT_BUSY_SECONDS, u64::from(self.busy_seconds)),
            ];
            let fields = 1
                + u64::from(self.update.is_some() || self.digest.is_some())
                + numbers.iter().filter(|(_, value)| *value > 0).count() as u64
                + u64::from(self.window.is_some())
                + u64::from(self.counters.is_some())
                + u64::from(self.evidence.is_some())
                + u64::from(!self.remark.is_empty())
                + u64::from(self.lacks.is_some())
                + u64::from(self.lacking.is_some())
                + u64::from(self.room.is_some());
            out.map(fields)?;
            match (&self.digest, &self.update) {
                (Some(digest), _) => _ = out.u8(REPORT_UPDATE)?.bytes(&digest.0)?,
                (None, Some(update)) => _ = out.u8(REPORT_UPDATE)?.bytes(&update.0)?,
                (None, None) => {}
            }
            out.u8(REPORT_STATE)?.u8(self.state as u8)?;
            for (key, value) in numbers.into_iter().filter(|(_, value)| *value > 0) {
                out.u8(key)?.u64(value)?;
            }
            if let Some((window, bitmap)) = &self.window {
                out.u8(REPORT_WINDOW)?.array(4)?.u8(area_code(window.area))?;
                out.u32(window.first)?.u32(window.count)?.bytes(bitmap)?;
            }
            if let Some(counters) = &self.counters {
                out.u8(REPORT_COUNTERS)?.array(Counters::COUNT as u64)?;
                for value in counters.to_array() {
                    out.u32(value)?;
                }
            }
            if let Some(evidence) = self.evidence {
                out.u8(REPORT_EVIDENCE)?.bytes(evidence)?;
            }
            if !self.remark.is_empty() {
                out.u8(REPORT_REMARK)?.str(self.remark.as_str())?;
            }
            if let Some((area, first, lacks)) = self.lacks {
                out.u8(REPORT_LACKS)?.array(3)?.u8(area_code(area))?.u32(first)?.bytes(lacks)?;
            }
            if let Some(lacking) = self.lacking {
                out.u8(REPORT_LACKING)?.u32(lacking)?;
            }
            if let Some(room) = self.room {
                out.u8(REPORT_ROOM)?.u32(room)?;
            }
            Ok::<(), EncodeError>(())
        })
    }

    /// Reads the payload. Keys that a later version may add are ignored.
    ///
    /// # Errors
    /// [`Malformed`] for anything else, including a bitmap of the wrong length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut report = Report::new(State::Unknown);
        let mut state = None;
        read_map(bytes, |key, decoder| {
            match key {
                REPORT_UPDATE => (report.update, report.digest) = decode_subject(decoder)?,
                REPORT_STATE => state = Some(State::from_code(decoder.u8()?).ok_or(Malformed)?),
                REPORT_REASON => report.reason = decoder.u8()?,
                REPORT_MISSING_PAGES => report.missing_pages = decoder.u32()?,
                REPORT_MISSING_BLOCKS => report.missing_blocks = decoder.u32()?,
                REPORT_WINDOW => {
                    let window = decode_window(decoder, 4)?;
                    let bitmap = decoder.bytes()?;
                    if bitmap.len() != (window.count as usize).div_ceil(8) {
                        return Err(Malformed);
                    }
                    report.window = Some((window, bitmap));
                }
                REPORT_DISTRIBUTOR_NEXT => report.distributor_next = decoder.u64()?,
                REPORT_INSTALLED => report.installed = decoder.u64()?,
                REPORT_ATTEMPT => report.attempt = decoder.u32()?,
                REPORT_BUSY_SECONDS => report.busy_seconds = decoder.u32()?,
                REPORT_EVIDENCE => report.evidence = Some(decoder.bytes()?),
                REPORT_REMARK => report.remark = decoder.decode()?,
                REPORT_COUNTERS => report.counters = Some(decode_counters(decoder)?),
                REPORT_LACKS => {
                    if decoder.array()? != Some(3) {
                        return Err(Malformed);
                    }
                    report.lacks = Some((decode_area(decoder)?, decoder.u32()?, decoder.bytes()?));
                }
                REPORT_LACKING => report.lacking = Some(decoder.u32()?),
                REPORT_ROOM => report.room = Some(decoder.u32()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        report.state = state.ok_or(Malformed)?;
        Ok(report)
    }
}

/// Counters that a later version may add are ignored; those that an earlier one lacks are zero.
fn decode_counters(decoder: &mut Decoder<'_>) -> Result<Counters, Malformed> {
    let mut counters = [0; Counters::COUNT];
    for index in 0..decoder.array()?.ok_or(Malformed)? {
        let value = decoder.u32()?;
        if let Some(slot) = usize::try_from(index).ok().and_then(|index| counters.get_mut(index)) {
            *slot = value;
        }
    }
    Ok(Counters::from_array(counters))
}

/// What a report is about: an identifier, or a whole digest and the identifier in it.
fn decode_subject(decoder: &mut Decoder<'_>) -> Result<(Option<UpdateId>, Option<Digest>), Malformed> {
    let bytes = decoder.bytes()?;
    let digest = <[u8; 32]>::try_from(bytes).ok().map(Digest);
    let id = digest.as_ref().map(UpdateId::of).or_else(|| UpdateId::from_bytes(bytes));
    id.map(|id| (Some(id), digest)).ok_or(Malformed)
}

pub(crate) fn decode_id(decoder: &mut Decoder<'_>) -> Result<UpdateId, Malformed> {
    UpdateId::from_bytes(decoder.bytes()?).ok_or(Malformed)
}

const fn area_code(area: Area) -> u8 {
    match area {
        Area::Image => 0,
        Area::Pages => 1,
    }
}

fn decode_area(decoder: &mut Decoder<'_>) -> Result<Area, Malformed> {
    match decoder.u8()? {
        0 => Ok(Area::Image),
        1 => Ok(Area::Pages),
        _ => Err(Malformed),
    }
}

fn decode_window(decoder: &mut Decoder<'_>, length: u64) -> Result<Window, Malformed> {
    if decoder.array()? != Some(length) {
        return Err(Malformed);
    }
    let area = decode_area(decoder)?;
    let window = Window { area, first: decoder.u32()?, count: decoder.u32()? };
    let fits =
        (1..=WINDOW_BLOCKS_MAX).contains(&window.count) && window.first.checked_add(window.count).is_some();
    fits.then_some(window).ok_or(Malformed)
}

/// `None` for a parity that is unknown here, because a later version may have others.
fn decode_generations(decoder: &mut Decoder<'_>) -> Result<Option<GenerationWindow>, Malformed> {
    if decoder.array()? != Some(5) {
        return Err(Malformed);
    }
    let (code, generation, area) = (decoder.u8()?, decoder.u16()?, decode_area(decoder)?);
    let (first, count) = (decoder.u32()?, decoder.u32()?);
    let parity = ErasureCode::from_number(code).and_then(|code| Parity::new(code, generation));
    let most = parity.map_or(LACKS_BYTES_MAX as u32, lacks::asked_max);
    if !(1..=most).contains(&count) || first.checked_add(count).is_none() {
        return Err(Malformed);
    }
    Ok(parity.map(|parity| GenerationWindow { parity, area, first, count }))
}
