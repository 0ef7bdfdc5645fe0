//! Every bound of the crate, in one place.

use crate::time::Duration;

/// Largest image in bytes: 64 MiB.
pub const IMAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Smallest block size in bytes that fwcast accepts. A hash page of it still has four entries.
pub const BLOCK_BYTES_MIN: u32 = 64;

/// Smallest block size in bytes of a group: agents size the memory of their sets for it.
pub const GROUP_BLOCK_BYTES_MIN: u32 = 256;

/// Largest block size in bytes (RFC 7959 section 2.2: SZX 6).
pub const BLOCK_BYTES_MAX: u32 = 1024;

/// Most levels a hash tree can have: 64 MiB in blocks of 64 bytes, four entries to a page.
pub const LEVELS_MAX: usize = 10;

/// Longest SUIT envelope in bytes: one RAM buffer on a microcontroller.
pub const ENVELOPE_BYTES_MAX: usize = 1024;

/// Most image keys in a key set.
pub const IMAGE_KEYS_MAX: usize = 4;

/// Longest signed key set in bytes.
pub const KEY_SET_BYTES_MAX: usize = 256;

/// Longest datagram: the payload of UDP in IPv6 at its minimum MTU of 1280 bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1232;

/// Blocks or pages that one census may ask about: a bitmap of 512 bytes.
pub const WINDOW_BLOCKS_MAX: u32 = 4096;

/// Longest report, bitmap included.
pub const REPORT_BYTES_MAX: usize = 672;

/// Most ranges of member numbers in a target.
pub const TARGET_RANGES_MAX: usize = 64;

/// Longest target in a Uri-Query option, in bytes of CBOR: a Uri-Query has at most 255 bytes.
pub const TARGET_QUERY_BYTES_MAX: usize = 126;

/// Longest target in the payload of a question or an order that the distributor sends, in bytes of CBOR.
pub const TARGET_BYTES_MAX: usize = 906;

/// What a PUT takes besides its payload and a Uri-Query, at most.
pub const PUT_OVERHEAD_MAX: usize = 150;

/// Longest record that an agent stores.
pub const RECORD_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 32;

/// How far ahead of the highest Partial IV accepted a bound is stored, and how many numbers the distributor
/// skips for agents that have booted (protocol.md \[bound\]).
pub const FLOOR_AHEAD: u64 = 256;

/// An agent reserves Sender Sequence Numbers when fewer than this are left ...
pub const AGENT_RESERVE_LOW: u64 = 8;
/// ... so many at a time.
pub const AGENT_RESERVE_STEP: u64 = 128;
/// The distributor reserves Sender Sequence Numbers when fewer than this are left ...
pub const DISTRIBUTOR_RESERVE_LOW: u64 = 2 * FLOOR_AHEAD;
/// ... so many at a time.
pub const DISTRIBUTOR_RESERVE_STEP: u64 = 4096;

/// Written bytes are durable within this time (protocol.md \[synced\]).
pub const SYNC_WITHIN: Duration = Duration::from_millis(100);
/// An unfinished update is replaced by another at most once in this time (protocol.md \[one update\]).
pub const REPLACE_AFTER: Duration = Duration::from_secs(600);
/// An offer that was refused is looked at again after this time.
pub const RECONSIDER_AFTER: Duration = Duration::from_secs(60);
/// Reads of the walk or the check between two looks at the network.
pub const READS_IN_A_ROW_MAX: u8 = 64;
/// Storage failures in a row after which an update is given up.
pub const STORAGE_FAILURES_MAX: u8 = 3;
/// How long a medium is left alone after a failure; doubled with each that follows at once.
pub const STORAGE_PAUSE: Duration = Duration::from_millis(100);
/// Answers that an agent has waiting for their moment.
pub const ANSWERS_MAX: usize = 4;
/// Events that an agent has waiting to be told.
pub const EVENTS_MAX: usize = 8;
/// So far above our own numbers an agent's claim is met by passing numbers over (protocol.md \[evidence\]).
pub const CLAIM_AHEAD_MAX: u64 = 1 << 24;
/// Longest request that an agent keeps as evidence, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 256;
/// Recorded requests of one agent are challenged at most once in this time.
pub const ECHO_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// An agent that hears nothing asks whether the distributor is there, with a pause that doubles up to this:
/// about a byte in two seconds (RFC 7252 section 4.7, PROBING_RATE).
pub const PROBE_AGAIN_MAX: Duration = Duration::from_secs(256);
/// Requests in a row without an answer after which an agent takes the distributor for gone.
pub const FETCHES_UNANSWERED_MAX: u8 = 6;
/// How long an Echo value counts (RFC 10021 section 9: sent to this member not long ago).
pub const ECHO_WITHIN: Duration = Duration::from_secs(30);
/// Longest Echo value that an agent returns (RFC 9175 section 2.2.1: up to 40 bytes).
pub const ECHO_BYTES_MAX: usize = 40;

/// An agent that hears nothing of an unfinished update for this time fetches by itself.
pub const QUIET: Duration = Duration::from_secs(5);
/// The announcement of a boot comes within this time, so that a power failure does not make all agents send
/// at once.
pub const ANNOUNCE_SPREAD: Duration = Duration::from_secs(5);
/// A first fetch by unicast comes within this time, evenly spread.
pub const FETCH_FIRST_WITHIN: Duration = Duration::from_millis(100);
/// How long the first fetch waits for its answer; later ones four times as long as the last answer took, at
/// most this ...
pub const FETCH_RETRY_FIRST: Duration = Duration::from_millis(250);
/// ... and at least this; doubled with each answer that stays away ...
pub const FETCH_RETRY_MIN: Duration = Duration::from_millis(50);
/// ... up to this.
pub const FETCH_RETRY_MAX: Duration = Duration::from_secs(16);
/// Fetched blocks in a row with a wrong hash after which an agent reads back what it has.
pub const FETCHES_IN_VAIN_MAX: u8 = 8;
/// Answers in a row that were of no use after which an agent reports why.
pub const OBSTACLE_AFTER: u8 = 3;
/// Missing pages of the hash tree that an agent fetches at once by itself.
pub const PAGES_FETCHED_MAX: u32 = 16;
/// An announcement is repeated after this time, doubled each time ...
pub const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// ... and so often.
pub const ANNOUNCE_TRIES_MAX: u8 = 5;

/// Shortest and longest time over which answers are spread (RFC 10020 section 3.6.1).
pub const LEISURE_MIN: Duration = Duration::from_millis(10);
/// See [`LEISURE_MIN`].
pub const LEISURE_MAX: Duration = Duration::from_secs(1200);
/// How long stragglers are waited for at first, at least and at most.
pub const STRAGGLE_FIRST: Duration = Duration::from_millis(100);
/// See [`STRAGGLE_FIRST`].
pub const STRAGGLE_MIN: Duration = Duration::from_millis(25);
/// See [`STRAGGLE_FIRST`].
pub const STRAGGLE_MAX: Duration = Duration::from_secs(2);
/// In a group of up to so many agents everyone answers every ask; in a larger one only who misses something.
pub const EVERYONE_ANSWERS_MAX: usize = 256;
/// How often an ask is repeated to those who stay silent.
pub const ASK_REPEATS_MAX: u8 = 2;
/// Queries whose answers still count.
pub const QUERIES_OPEN_MAX: usize = 32;
/// Asks in a row without an answer after which an agent is no longer waited for.
pub const SILENT_ASKS_MAX: u8 = 3;
/// Asks of the closing census.
pub const CLOSE_ASKS_MAX: u8 = 4;
/// Silent agents polled by unicast at a time.
pub const POLLS_MAX: usize = 16;
/// How long the answers to polls are waited for.
pub const POLL_WAIT: Duration = Duration::from_secs(1);
/// Asks that nobody answers before the distribution gives up: in the pauses between them agents that hear
/// nothing have time to say so.
pub const NOBODY_ASKS_MAX: u8 = 16;
/// A waiting loop asks again after this time, half as long again each time ...
pub const ASK_AGAIN_FIRST: Duration = Duration::from_millis(100);
/// ... up to this.
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(2);
/// Asks without progress after which the last few blocks go by multicast after all.
pub const REPAIR_ASKS_MAX: u8 = 12;
/// Copies of the offer at a time.
pub const OFFER_COPIES: u8 = 2;
/// During a long round the offer is repeated after this time.
pub const OFFER_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Copies of pages of the hash tree above the bottom level.
pub const ROOT_PAGES_COPIES: u8 = 3;
/// Rounds of orders and questions, while an update is taken back, for agents that stay silent.
pub const WITHDRAWAL_ROUNDS_MAX: u8 = 8;
/// An order to take an update back that was heard, and yet has changed nothing, is given anew after this
/// time.
pub const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Copies of an activation, or of an order to take an update back.
pub const ORDER_COPIES: u32 = 3;
/// How far above the attempts used an agent can have come by resets; what it claims beyond is not believed.
pub const ATTEMPTS_AHEAD_MAX: u32 = 64;
/// Answers to one agent that wait for their turn at the pace: a newer one takes the place of the last.
pub const REPLIES_PER_AGENT_MAX: usize = 2;
/// Of so many parts of the air, single agents get one while the group waits (protocol.md \[cost\]).
pub const SINGLE_SHARE_PARTS: u32 = 8;
/// Rounds in a row without progress after which nobody waits for an agent (protocol.md \[patience\]) ...
pub const LAG_ROUNDS_IN_VAIN: u8 = 2;
/// ... if it missed so many pages or blocks in them: fewer may be lost by chance.
pub const LAG_BLOCKS_IN_VAIN: u32 = 16;
/// The same for pages of the hash tree: one that is lost makes all below it useless, and they are few.
pub const LAG_PAGE_ROUNDS_IN_VAIN: u8 = 3;
/// Rounds in which an agent may miss something before nobody waits for it.
pub const LAG_ROUNDS: u8 = 16;
/// Rounds of offers that an agent may leave alone before nobody waits for it.
pub const LAG_OFFERS: u8 = 8;
/// Questions to which an agent may say that it is not through, and not name what it misses.
pub const LAG_VAGUE: u8 = 4;
/// So many times the blocks of the image an agent may ask for in all ...
pub const LAG_BLOCKS_ASKED: u32 = 4;
/// ... and so many times the pages of the hash tree, which are few.
pub const LAG_PAGES_ASKED: u32 = 12;
/// What an agent announces of itself counts at most once in this time.
pub const ANNOUNCED_AGAIN_AFTER: Duration = Duration::from_millis(900);
/// While others wait to activate, they wait this part of the time so far for who reads back or checks its
/// image, and the same for laggards ...
pub const WAIT_PART: u32 = 8;
/// ... and at least so long. Who gets it later activates later.
pub const WAIT_MIN: Duration = Duration::from_millis(100);
/// Where nobody waits to activate, so long ...
pub const WAIT_ALONE: Duration = Duration::from_secs(30);
/// ... and longer for a large image: the slowest device reads and hashes so many bytes in a second.
pub const CHECK_BYTES_PER_SECOND: u64 = 256 * 1024;
/// A laggard is asked alone, and told to fetch what it misses, once in this time.
pub const LAGGARD_POLL: Duration = Duration::from_secs(2);
/// Time within which a late wake-up may be caught up with.
pub const PACE_BURST: Duration = Duration::from_millis(10);
/// Numbers are skipped for booted agents at most once in this time.
pub const SKIP_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Numbers that the distributor skips for agents that have booted: as far as their stored bound can be ahead.
pub const BOOT_SKIP: u64 = FLOOR_AHEAD;

const _: () = {
    assert!(
        ANNOUNCED_AGAIN_AFTER.as_millis() < ANNOUNCE_AGAIN.as_millis(),
        "an honest agent is not too fast"
    );
    assert!(DISTRIBUTOR_RESERVE_LOW > BOOT_SKIP, "a skip leaves numbers to send with");
    assert!(BOOT_SKIP < group_oscore::limits::REPLAY_WINDOW, "a skip stays in the replay window");
    assert!(DISTRIBUTOR_RESERVE_STEP > BOOT_SKIP, "a reservation is worth more than a skip");
    assert!(ASK_REPEATS_MAX < SILENT_ASKS_MAX, "one ask does not exhaust the patience with an agent");
    assert!(POLLS_MAX <= QUERIES_OPEN_MAX, "the answers to all polls still count");
};

const _: () = {
    assert!(BLOCK_BYTES_MAX as usize + 136 <= 1160, "a protected block is at most 1160 bytes");
    assert!(DATAGRAM_BYTES_MAX >= 1160);
    assert!(BLOCK_BYTES_MIN <= GROUP_BLOCK_BYTES_MIN && GROUP_BLOCK_BYTES_MIN <= BLOCK_BYTES_MAX);
    assert!(AGENT_RESERVE_LOW < AGENT_RESERVE_STEP);
    assert!(DISTRIBUTOR_RESERVE_LOW < DISTRIBUTOR_RESERVE_STEP, "a reservation is not due again at once");
    assert!(
        (ANSWERS_MAX as u64) < AGENT_RESERVE_LOW,
        "what waits to be sent fits what is left of a reservation"
    );
    assert!(FETCH_RETRY_MIN.as_millis() <= FETCH_RETRY_FIRST.as_millis());
    assert!(FETCH_RETRY_FIRST.as_millis() <= FETCH_RETRY_MAX.as_millis());
    assert!(
        FETCH_RETRY_FIRST.as_millis() <= QUIET.as_millis(),
        "an agent that fetches does not look quiet to itself"
    );
    assert!(REPORT_BYTES_MAX >= EVIDENCE_BYTES_MAX + 150, "a report with evidence has no bitmap");
    assert!(REPORT_BYTES_MAX >= WINDOW_BLOCKS_MAX as usize / 8 + 150);
    assert!(DISTRIBUTOR_RESERVE_LOW > FLOOR_AHEAD, "a skip never leaves the reservation");
    assert!(FLOOR_AHEAD < group_oscore::limits::REPLAY_WINDOW, "a skip never leaves the replay window");
    assert!(
        DATAGRAM_BYTES_MAX - PUT_OVERHEAD_MAX - BLOCK_BYTES_MAX as usize >= 32,
        "an offer has room for names"
    );
    assert!(TARGET_BYTES_MAX + 200 <= DATAGRAM_BYTES_MAX);
    assert!(ENVELOPE_BYTES_MAX <= 32 * BLOCK_BYTES_MIN as usize, "an offer's blocks fit one word of bits");
};
