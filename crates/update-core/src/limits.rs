//! Every bound of the crate, in one place.

use crate::time::Duration;

/// Largest image in bytes: 64 MiB.
pub const IMAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Smallest block size in bytes that fwcast accepts. A hash page of this size still has four entries.
pub const BLOCK_BYTES_MIN: u32 = 64;

/// Smallest block size in bytes of a group. Agents size the memory of their sets for it.
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

/// What an answer to a census takes in UDP in addition to its bitmap, with the digest of the update.
pub const ANSWER_BYTES: u64 = 100;

/// Most ranges of member numbers in a target.
pub const TARGET_RANGES_MAX: usize = 64;

/// Longest target in a Uri-Query option, in bytes of CBOR: a Uri-Query has at most 255 bytes.
pub const TARGET_QUERY_BYTES_MAX: usize = 126;

/// Longest target in the payload of a question or an order that the distributor sends, in bytes of CBOR.
pub const TARGET_BYTES_MAX: usize = 906;

/// The most that a PUT takes in addition to its payload and a Uri-Query.
pub const PUT_OVERHEAD_MAX: usize = 150;

/// Longest record that an agent stores.
pub const RECORD_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 32;

/// How far ahead of the highest accepted Partial IV a bound is stored, and how many numbers the distributor
/// skips for agents that have booted (protocol.md \[bound\]).
pub const FLOOR_AHEAD: u64 = 256;

/// How often the distributor doubles that for an agent whose numbers reach their floor again and again.
pub const FLOOR_DOUBLINGS_MAX: u8 = 30;

/// An agent reserves Sender Sequence Numbers when fewer than this are left ...
pub const AGENT_RESERVE_LOW: u64 = 8;
/// ... this many at a time.
pub const AGENT_RESERVE_STEP: u64 = 128;
/// The distributor reserves Sender Sequence Numbers when fewer than this are left ...
pub const DISTRIBUTOR_RESERVE_LOW: u64 = 2 * FLOOR_AHEAD;
/// ... this many at a time.
pub const DISTRIBUTOR_RESERVE_STEP: u64 = 4096;

/// Written bytes are durable within this time (protocol.md \[synced\]).
pub const SYNC_WITHIN: Duration = Duration::from_millis(100);
/// An unfinished update is replaced by another at most once in this time (protocol.md \[one update\]).
pub const REPLACE_AFTER: Duration = Duration::from_secs(600);
/// How many times a device erases its slot, activates or rolls back before it must wait (protocol.md
/// \[wear\]) ...
pub const ALLOWANCE_MAX: u8 = 8;
/// ... and once more after this time.
pub const ALLOWANCE_AGAIN: Duration = Duration::from_secs(600);
/// A refused offer is looked at again after this time.
pub const RECONSIDER_AFTER: Duration = Duration::from_secs(60);
/// Reads of the walk or the check between two looks at the network.
pub const READS_IN_A_ROW_MAX: u8 = 64;
/// Consecutive storage failures after which an update is given up.
pub const STORAGE_FAILURES_MAX: u8 = 3;
/// How long a medium rests after a failure; doubled with each consecutive one.
pub const STORAGE_PAUSE: Duration = Duration::from_millis(100);
/// Answers of an agent that wait until they are due.
pub const ANSWERS_MAX: usize = 4;
/// Events of an agent that wait to be handed out.
pub const EVENTS_MAX: usize = 8;
/// A Message ID comes again to the same peer after this time at the earliest: NON_LIFETIME (RFC 7252 section
/// 4.8.2: 145 s), and a little more because datagrams take their time.
pub const MESSAGE_ID_AGAIN_AFTER: Duration = Duration::from_secs(150);
/// An agent uses at most so many of its numbers in that time, so that each reply to it has a Message ID of
/// its own (protocol.md \[message ids\]).
pub const REPLY_MESSAGE_IDS: u32 = 31_744;
/// Ports of the distributor from which it sends nothing but PUTs to the group.
pub const PUT_PORTS_MAX: u8 = 64;
/// An agent's claim up to this far above our own numbers is met by skipping numbers (protocol.md
/// \[evidence\]).
pub const CLAIM_AHEAD_MAX: u64 = 1 << 24;
/// Longest request that an agent keeps as evidence, in bytes.
pub const EVIDENCE_BYTES_MAX: usize = 256;
/// Replayed requests of one agent are challenged at most once in this time.
pub const ECHO_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// An agent that hears nothing asks whether the distributor is there. The pause doubles up to this: about a
/// byte in two seconds (RFC 7252 section 4.7, PROBING_RATE).
pub const PROBE_AGAIN_MAX: Duration = Duration::from_secs(256);
/// Consecutive unanswered requests after which an agent considers the distributor gone.
pub const FETCHES_UNANSWERED_MAX: u8 = 6;
/// How long an Echo value is valid (RFC 10021 section 9: sent to this member not long ago).
pub const ECHO_WITHIN: Duration = Duration::from_secs(30);
/// Longest Echo value that an agent returns (RFC 9175 section 2.2.1: up to 40 bytes).
pub const ECHO_BYTES_MAX: usize = 40;

/// An agent that hears nothing about an unfinished update for this time starts to fetch on its own.
pub const QUIET: Duration = Duration::from_secs(5);
/// The announcement of a boot is sent within this time, so that agents do not all send at once after a power
/// failure.
pub const ANNOUNCE_SPREAD: Duration = Duration::from_secs(5);
/// A first fetch by unicast is sent within this time, evenly spread.
pub const FETCH_FIRST_WITHIN: Duration = Duration::from_millis(100);
/// How long the first fetch waits for its answer. Later ones wait four times as long as the last answer took
/// ...
pub const FETCH_RETRY_FIRST: Duration = Duration::from_millis(250);
/// ... but at least this; doubled with each missing answer ...
pub const FETCH_RETRY_MIN: Duration = Duration::from_millis(50);
/// ... up to this ...
pub const FETCH_RETRY_MAX: Duration = Duration::from_secs(16);
/// ... or up to this while the distributor is heard, unless its answers take longer.
pub const FETCH_RETRY_HEARD_MAX: Duration = Duration::from_millis(500);
/// Consecutive fetched blocks with a wrong hash after which an agent reads back what it has.
pub const FETCHES_IN_VAIN_MAX: u8 = 8;
/// Consecutive useless answers after which an agent reports why.
pub const OBSTACLE_AFTER: u8 = 3;
/// Missing pages of the hash tree that an agent fetches at once on its own.
pub const PAGES_FETCHED_MAX: u32 = 128;
/// An announcement is repeated after this time, doubled each time ...
pub const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// ... and this many times.
pub const ANNOUNCE_TRIES_MAX: u8 = 5;

/// Shortest and longest time over which answers are spread (RFC 10020 section 3.6.1).
pub const LEISURE_MIN: Duration = Duration::from_millis(10);
/// See [`LEISURE_MIN`].
pub const LEISURE_MAX: Duration = Duration::from_secs(1200);
/// How long to wait for stragglers at first, at least and at most.
pub const STRAGGLE_FIRST: Duration = Duration::from_millis(100);
/// See [`STRAGGLE_FIRST`].
pub const STRAGGLE_MIN: Duration = Duration::from_millis(10);
/// See [`STRAGGLE_FIRST`].
pub const STRAGGLE_MAX: Duration = Duration::from_secs(2);
/// In a group of up to this many agents everyone answers every ask; in a larger one only those that miss
/// something.
pub const EVERYONE_ANSWERS_MAX: usize = 256;
/// How often an ask is repeated to silent agents.
pub const ASK_REPEATS_MAX: u8 = 4;
/// The same before any agent has been heard.
pub const ASK_REPEATS_UNHEARD: u8 = 2;
/// Queries whose answers still count.
pub const QUERIES_OPEN_MAX: usize = 32;
/// Consecutive unanswered asks after which an agent is no longer waited for.
pub const SILENT_ASKS_MAX: u8 = 3;
/// An agent that has become silent is asked on as often as before for this time, once nobody else is waited
/// for: on a bad link it may be a while until an answer gets through.
pub const FAINT_WITHIN: Duration = Duration::from_secs(15);
/// Copies of the offer at a time for agents that are hardly heard.
pub const FAINT_OFFER_COPIES: u8 = 4;
/// Laggards that nobody else waits for get their time again each time that they have got so large a part of
/// what they missed.
pub const PROGRESS_PARTS: u64 = 8;
/// Asks of the closing census.
pub const CLOSE_ASKS_MAX: u8 = 4;
/// Silent agents polled by unicast at a time.
pub const POLLS_MAX: usize = 16;
/// How long to wait for the answers to polls.
pub const POLL_WAIT: Duration = Duration::from_secs(1);
/// A waiting loop asks again after this time, or after this part of the time so far. The pause grows by half
/// each time ...
pub const ASK_AGAIN_FIRST: Duration = Duration::from_millis(50);
/// See [`ASK_AGAIN_FIRST`].
pub const ASK_AGAIN_FIRST_PART: u32 = 128;
/// ... up to this part of the time so far ...
pub const ASK_AGAIN_PART: u32 = 16;
/// ... at least to this ...
pub const ASK_AGAIN_SOON: Duration = Duration::from_millis(100);
/// ... and at most to this.
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(2);
/// ... or up to this where only silent agents are asked.
pub const ASK_SILENT_MAX: Duration = Duration::from_secs(8);
/// While nobody has answered, the last asks come this often, or twice in the time that is left.
pub const ASK_UNHEARD_MIN: Duration = Duration::from_secs(1);
/// Asks without progress after which the last few blocks are sent by multicast after all.
pub const REPAIR_ASKS_MAX: u8 = 3;
/// If more than this many of a thousand blocks are lost on the way to an agent, multicast repairs even its
/// last few: a fetched block has to survive both ways.
pub const REPAIR_LOSS_MAX: u32 = 250;
/// Copies of each block in a short round, so that it is likely the last one ...
pub const BLOCK_COPIES_MAX: u8 = 4;
/// ... which is a round of at most this many datagrams, or of one in so many of the image's blocks.
pub const SHORT_ROUND_MIN: u32 = 64;
/// See [`SHORT_ROUND_MIN`].
pub const SHORT_ROUND_PARTS: u32 = 32;
/// Copies of the offer at a time.
pub const OFFER_COPIES: u8 = 2;
/// During a long round the offer is repeated at the earliest after this time, so that a late joiner misses
/// little ...
pub const OFFER_AGAIN_FIRST: Duration = Duration::from_secs(1);
/// ... or after so many times what it costs, with the answers to a question ...
pub const OFFER_COST_PARTS: u32 = 64;
/// ... and at the latest after this time.
pub const OFFER_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// In a long round everyone is asked at least this often (RFC 10020 section 3.6, PROBING_RATE).
pub const PROBE_AFTER: Duration = OFFER_AGAIN_AFTER;
/// Copies of the pages of the bottom level once it is known that some were lost.
pub const BOTTOM_PAGES_COPIES: u8 = 2;
/// Copies of pages of the hash tree above the bottom level.
pub const ROOT_PAGES_COPIES: u8 = 3;
/// Rounds of orders and questions for silent agents while an update is being withdrawn.
pub const WITHDRAWAL_ROUNDS_MAX: u8 = 8;
/// An order to withdraw an update that was heard but has changed nothing is given again after this time.
pub const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Questions that an agent remembers, to tell from them whether an order is recent (protocol.md \[fresh\]).
pub const QUESTIONS_HEARD_MAX: usize = 8;
/// Of the questions that an agent has answered, the distributor remembers so many, to date orders by.
pub const HEARD_QUESTIONS_MAX: usize = 4;
/// An answer at most this long after its leisure shows that its question was not held back.
pub const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// An agent acts upon an order at most this long after it was sent.
pub const ORDER_HOLDS: Duration = Duration::from_secs(30);
/// An agent that has not acted upon an order to the group gets it individually, at most once in this time.
pub const ORDER_ALONE_AGAIN: Duration = Duration::from_secs(1);
/// Consecutive unanswered asks to the group after which an agent that was heard is asked individually.
pub const DEAF_AFTER: u8 = 3;
/// Copies of an activation, or of an order to withdraw an update.
pub const ORDER_COPIES: u32 = 3;
/// How far resets can have taken an agent above the attempts used. Claims beyond that are not believed.
pub const ATTEMPTS_AHEAD_MAX: u32 = 64;
/// Answers to one agent that wait for their turn. A newer one replaces the last.
pub const REPLIES_PER_AGENT_MAX: usize = 2;
/// While the group waits, single agents get one in this many parts of the airtime (protocol.md \[cost\]).
pub const SINGLE_SHARE_PARTS: u32 = 8;
/// Consecutive rounds without progress after which nobody waits for an agent (protocol.md \[patience\]) ...
pub const LAG_ROUNDS_IN_VAIN: u8 = 2;
/// ... if it missed this many pages or blocks in them: fewer may be lost by chance.
pub const LAG_BLOCKS_IN_VAIN: u32 = 16;
/// The same for pages of the hash tree: a lost page makes all below it useless, and there are few.
pub const LAG_PAGE_ROUNDS_IN_VAIN: u8 = 3;
/// In a round with so many agents ...
pub const EVIDENCE_AGENTS_MIN: usize = 32;
/// ... of whom at most one in so many got nowhere, these are no longer waited for.
pub const EVIDENCE_PARTS: usize = 16;
/// Rounds in which an agent may miss something until nobody waits for it.
pub const LAG_ROUNDS: u8 = 16;
/// Rounds of offers that an agent may ignore until nobody waits for it.
pub const LAG_OFFERS: u8 = 8;
/// Questions to which an agent may answer that it is not done without naming what it misses.
pub const LAG_VAGUE: u8 = 4;
/// An agent may ask in all for this many times the blocks of the image ...
pub const LAG_BLOCKS_ASKED: u32 = 4;
/// ... and for this many times the pages of the hash tree, which are few.
pub const LAG_PAGES_ASKED: u32 = 12;
/// An agent's announcement counts at most once in this time.
pub const ANNOUNCED_AGAIN_AFTER: Duration = Duration::from_millis(900);
/// While agents wait to activate, they wait this fraction of the time so far for those that are recovering or
/// checking, and the same for laggards ...
pub const WAIT_PART: u32 = 8;
/// ... but at least this long. An agent that gets the image later activates later.
pub const WAIT_MIN: Duration = Duration::from_millis(100);
/// The few for whom the others do not wait longer than that: one in this many agents, or one.
pub const FEW_PARTS: usize = 4;
/// If no agent waits to activate, this long ...
pub const WAIT_ALONE: Duration = Duration::from_secs(30);
/// ... and longer for a large image: the slowest device reads and hashes this many bytes per second.
pub const CHECK_BYTES_PER_SECOND: u64 = 256 * 1024;
/// A laggard is asked individually, and allowed to fetch what it misses, once in this time.
pub const LAGGARD_POLL: Duration = Duration::from_secs(2);
/// A round in which the best agent missed fewer blocks than this says nothing about the pace.
pub const ADAPT_BLOCKS_MIN: u32 = 100;
/// Time within which a late wake-up may be made up for.
pub const PACE_BURST: Duration = Duration::from_millis(10);
/// Most blocks in a generation of the Cauchy code. Blocks and symbols share the 256 elements of the field.
pub const CAUCHY_SOURCES_MAX: usize = 128;
/// Most parity symbols of a generation of the Cauchy code.
pub const CAUCHY_SYMBOLS_MAX: usize = 128;
/// Most blocks in a generation of the code rs16, and most parity symbols. Decoding one takes twice as many
/// blocks of memory.
pub const RS16_SOURCES_MAX: usize = 4096;
/// Fewest parity symbols of a generation of the code rs16, however few blocks it has.
pub const RS16_SYMBOLS_MIN: usize = 128;
/// Most blocks in a generation of any code: what an agent takes note of while it decodes one.
pub const SOURCES_MAX: usize = if cfg!(feature = "rs16") { RS16_SOURCES_MAX } else { CAUCHY_SOURCES_MAX };
/// The lowest allowed maximum of blocks in a generation.
pub const GENERATION_BLOCKS_MIN: u16 = 8;
/// Bytes in which one census may be told what generations lack: one or two for each.
pub const LACKS_BYTES_MAX: usize = 512;
/// Generations whose parity made wrong blocks, and for which an agent takes no more symbols. After one more
/// it takes no symbols at all.
pub const SPOILED_MAX: usize = 4;
/// Generations that wait to be looked at for whether their symbols are enough.
pub const GENERATIONS_WAITING_MAX: usize = 8;
/// Parity symbols that the distributor makes at a time, while it sends the ones made before.
pub const SYMBOLS_AT_A_TIME: u32 = 128;
/// A parity symbol goes to the group if several agents need it: two, or one in this many of those that take
/// part, whichever is more.
pub const SEVERAL_PARTS: usize = 32;
/// Beyond that, a round carries symbols that single agents need: for one in this many of the image's blocks,
/// or one in this many of the other symbols, whichever is more ...
pub const ALONE_PARTS: u32 = 8;
/// ... and at least this many.
pub const ALONE_SYMBOLS_MIN: u32 = 16;
/// An agent without room for all symbols that it lacks is sent more of each generation than are lost on
/// average, by so many standard deviations. Simulated with 14 symbols at 5 and 20 % loss, 2 is best.
pub const SHORT_OF_ROOM_SIGMAS: u32 = 2;
/// How often in a row agents are asked which blocks they need in spite of parity, before symbols are sent.
pub const BLOCK_ROUNDS_IN_A_ROW: u8 = 2;
/// The highest loss for which an agent's parity is sized, in thousandths.
pub const PARITY_LOSS_MAX: u32 = 500;
/// Numbers of parity symbols: a Block option has 20 bits for them (RFC 7959 section 2.2).
pub const PARITY_NUMBERS_MAX: u32 = 1 << 20;
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
    assert!(
        REPORT_BYTES_MAX >= EVIDENCE_BYTES_MAX + crate::remark::REMARK_BYTES_MAX + 150,
        "a report with evidence or a remark has no bitmap"
    );
    assert!(REPORT_BYTES_MAX >= WINDOW_BLOCKS_MAX as usize / 8 + 150);
    assert!(DISTRIBUTOR_RESERVE_LOW > FLOOR_AHEAD, "a skip never leaves the reservation");
    assert!(FLOOR_AHEAD < group_oscore::limits::REPLAY_WINDOW, "a skip never leaves the replay window");
    assert!(
        DATAGRAM_BYTES_MAX - PUT_OVERHEAD_MAX - BLOCK_BYTES_MAX as usize >= 32,
        "an offer has room for names"
    );
    assert!(TARGET_BYTES_MAX + 200 <= DATAGRAM_BYTES_MAX);
    assert!(ENVELOPE_BYTES_MAX <= 32 * BLOCK_BYTES_MIN as usize, "an offer's blocks fit one word of bits");
    assert!(LACKS_BYTES_MAX <= WINDOW_BLOCKS_MAX as usize / 8, "both answers have the same room");
    assert!(SOURCES_MAX < crate::parity::LACKS_BLOCKS as usize, "the number says what a generation lacks");
    assert!(RS16_SOURCES_MAX.is_power_of_two() && RS16_SYMBOLS_MIN.is_power_of_two(), "as the code needs it");
    assert!(CAUCHY_SOURCES_MAX + CAUCHY_SYMBOLS_MAX <= 256, "blocks and symbols have different elements");
    assert!(CAUCHY_SOURCES_MAX <= 128 && CAUCHY_SYMBOLS_MAX <= 128, "each fits a word of 128 bits");
    assert!(
        IMAGE_BYTES_MAX / BLOCK_BYTES_MIN / GENERATION_BLOCKS_MIN as u32 * 8 <= PARITY_NUMBERS_MAX,
        "every generation has a few symbols"
    );
};
