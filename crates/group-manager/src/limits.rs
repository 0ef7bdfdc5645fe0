//! Every limit of the Group Manager and of its members.

use update_core::time::Duration;

/// Group names and node names: those of [`provisioning`](https://docs.rs/provisioning) fit.
pub const NAME_BYTES_MAX: usize = 64;
/// The payload that brings key material.
pub const MATERIAL_BYTES_MAX: usize = 448;
/// What a member stores of it.
pub const MEMBERSHIP_BYTES_MAX: usize = MATERIAL_BYTES_MAX + 32;
/// Master Secrets and Master Salts.
pub const SECRET_BYTES_MAX: usize = 64;
/// Sender IDs in one message that are no longer in use.
pub const STALE_IDS_MAX: usize = 16;
/// Generations of key material whose stale Sender IDs the Group Manager remembers.
pub const STALE_SETS_MAX: usize = 8;

/// Sender IDs that went out of use under one generation, and are remembered.
pub const STALE_IDS_REMEMBERED_MAX: usize = 256;

/// An agent asks for keys within this time after a boot, or after it has heard an unknown Gid.
pub const ASK_SPREAD: Duration = Duration::from_secs(10);
/// A request without an answer is repeated after this time, doubled each time ...
pub const ASK_AGAIN: Duration = Duration::from_secs(3);
/// ... up to this (RFC 7252 section 4.7: less than a byte per second).
pub const ASK_AGAIN_MAX: Duration = Duration::from_secs(1024);
/// The Group Manager repeats new keys after this time at first: what all members get is paced anyway.
pub const PUSH_AGAIN: Duration = Duration::from_millis(500);
/// After this many requests without an answer a new context is asked for: the Group Manager may have
/// restarted ...
pub const UNANSWERED_MAX: u8 = 2;
/// ... or the member.
pub const PUSHES_UNANSWERED_MAX: u8 = 3;
/// What anybody can cause, a datagram with an unknown Gid, makes an agent ask at most once in this time.
pub const UNPROVEN_EVERY: Duration = Duration::from_secs(300);
/// A member that is not one any more gets one answer in this time.
pub const REFUSAL_EVERY: Duration = Duration::from_secs(10);
/// A member answers the Group Manager's wish for a new context at most once in this time: anybody can repeat
/// it.
pub const RENEWAL_EVERY: Duration = Duration::from_millis(500);
/// A member gets a new Sender ID at most once in this time.
pub const SENDER_ID_EVERY: Duration = Duration::from_secs(300);
/// The Group Manager sends at most at one in this many parts of a group's rate: the rest is for what members
/// ask, and for the distributor.
pub const PACE_SHARE: u32 = 2;
/// Answers that wait for their turn in the Group Manager's pace.
pub const ANSWERS_WAITING_MAX: usize = 256;

const _: () = assert!(MEMBERSHIP_BYTES_MAX <= update_core::limits::RECORD_BYTES_MAX);
