//! Every bound of the crate, in one place.

/// Largest image in bytes: 64 MiB.
pub const IMAGE_BYTES_MAX: u32 = 64 * 1024 * 1024;

/// Smallest block size in bytes that fwcast accepts. A hash page of it still has four entries.
pub const BLOCK_BYTES_MIN: u32 = 64;

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
