//! The format for a microcontroller's flash: deterministic CBOR (RFC 8949 section 4.2) after a short header.
//!
//! The device reads it without a heap ([`Provisioning::read`]). With the feature `alloc`,
//! `Provisioning::to_flash` of the document writes it.
//!
//! ```cddl
//! header = "fwc1" || length of the CBOR, 4 bytes, little-endian || first 16 bytes of SHA-256(CBOR)
//! provisioning = {
//!   0: uint,                    ; version, 2
//!   1: tstr,                    ; name
//!   2: bstr .size 16,           ; SUIT vendor identifier
//!   3: bstr .size 16,           ; SUIT class identifier
//!   4: address,                 ; CoAP group
//!   5: uint,                    ; block size
//!   6: bstr, 7: bstr, 8: bstr,  ; Gid, Master Secret, Master Salt
//!   9: int, 10: int,            ; AEAD Algorithm, Group Encryption Algorithm
//!   11: bstr, 12: bstr,         ; Sender ID, private key
//!   13: bstr, 14: bstr,         ; own credential, the Group Manager's
//!   15: [bstr, bstr, address],  ; distributor: Sender ID, credential, where
//!   16: bstr .size 32,          ; root key
//!   17: bstr,                   ; signed key set
//!   18: bstr .size 32,          ; random seed
//!   19: [bstr, uint, bstr],     ; own IP address, its prefix's length, router or nothing
//!   20: uint,                   ; num of the key material
//!   21: [address / null, bstr, bstr, int, bstr, bstr, tstr]
//!                               ; Group Manager: where, Master Secret, Master Salt, AEAD, own ID, its ID,
//!                               ; name of the group
//!   ? 22: [uint, bool],         ; health: seconds on trial, whether the distributor has to be heard;
//!                               ; absent: 60, true
//!   ? 23: 0 / 1,                ; recovery: what may run where the confirmed image is damaged: nothing (0)
//!                               ; or the image before (1); absent: 1
//!   ? 24: uint,                 ; the distributor's next Sender Sequence Number at the enrolment; absent: 0
//! }
//! address = [bstr, uint]        ; 4 or 16 bytes, port
//! ```

mod health;
mod read;
mod recovery;
#[cfg(feature = "alloc")]
mod write;

pub use health::{HEALTH_SECONDS_MAX, Health};
pub use read::{OwnAddress, Provisioning, ProvisioningError};
pub use recovery::{BootSettings, Recovery};
#[cfg(feature = "alloc")]
pub use write::McuSettings;

/// The first bytes of the area.
pub const MAGIC: [u8; 4] = *b"fwc1";
/// Bytes before the CBOR.
pub const HEADER_BYTES: usize = MAGIC.len() + LENGTH_BYTES + DIGEST_BYTES;
/// Longest provisioning, header included.
pub const PROVISIONING_BYTES_MAX: usize = 2048;
/// The version of the map.
pub const VERSION: u32 = 2;

/// The size of the length in the header, in bytes.
const LENGTH_BYTES: usize = 4;
/// The size of the SHA-256 in the header, in bytes.
const DIGEST_BYTES: usize = 16;
/// The keys of every map: 0 to 21.
const FIELDS: u64 = 22;
/// The optional keys.
const HEALTH: u64 = FIELDS;
const RECOVERY: u64 = FIELDS + 1;
const NEXT: u64 = FIELDS + 2;
