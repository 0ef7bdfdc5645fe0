//! Every limit of this crate, and how they relate.

/// Sender and Recipient IDs: the nonce of AES-CCM-16-64-128 minus 6 bytes (RFC 10021 section 2.2). With an
/// algorithm whose nonces have 12 bytes the limit is one less; deriving a context checks this.
pub const MEMBER_ID_BYTES_MAX: usize = NONCE_BYTES_MAX - 6;
/// Group identifiers.
pub const GID_BYTES_MAX: usize = 8;
/// Each of the nonces of RFC 8613 appendix B.2.
pub const RENEWAL_NONCE_BYTES: usize = 8;
/// ID Contexts of plain OSCORE; two nonces of appendix B.2 fit, also as a CBOR byte string.
pub const ID_CONTEXT_BYTES_MAX: usize = 24;
/// Authentication credentials.
pub const CREDENTIAL_BYTES_MAX: usize = 256;
/// Partial IVs (RFC 8613 section 5.2).
pub const PARTIAL_IV_BYTES_MAX: usize = 5;
/// The largest Sender Sequence Number (RFC 8613 section 7.2.1).
pub const SEQUENCE_NUMBER_MAX: u64 = (1 << 40) - 1;
/// How many Partial IVs a replay window remembers, counted down from the highest accepted one.
pub const REPLAY_WINDOW: u64 = 1024;
/// The longest datagram that is protected or unprotected: what an Ethernet frame carries. It bounds the stack
/// needed to check a countersignature, 2.2 KiB.
pub const DATAGRAM_BYTES_MAX: usize = 1500;
/// Ed25519 signatures.
pub const SIGNATURE_BYTES: usize = 64;
/// Keys; ChaCha20/Poly1305 has the longest.
pub const KEY_BYTES_MAX: usize = 32;
/// Nonces; AES-CCM-16-64-128 has the longest.
pub const NONCE_BYTES_MAX: usize = 13;
/// Authentication tags.
pub const TAG_BYTES_MAX: usize = 16;
/// The OSCORE option: flags, Partial IV, length and kid context, kid (RFC 8613 section 6.1).
pub const OPTION_BYTES_MAX: usize = 1 + PARTIAL_IV_BYTES_MAX + 1 + ID_CONTEXT_BYTES_MAX + MEMBER_ID_BYTES_MAX;
/// How much longer a protected message can be than the message: inner code, OSCORE option with its header,
/// payload marker, tag and countersignature. This much additional room always suffices.
pub const OVERHEAD_BYTES_MAX: usize = 1 + 3 + OPTION_BYTES_MAX + 1 + TAG_BYTES_MAX + SIGNATURE_BYTES;

/// Initial bytes of a CBOR byte string that is shorter than 64 KiB.
pub(crate) const BSTR_HEAD_BYTES_MAX: usize = 3;
/// The external_aad's array of Group OSCORE: everything in it at its longest (RFC 10021 section 3.4).
pub(crate) const AAD_ARRAY_BYTES_MAX: usize = AAD_HEAD_BYTES_MAX
    + (1 + MEMBER_ID_BYTES_MAX)
    + (1 + PARTIAL_IV_BYTES_MAX)
    + 1
    + (1 + GID_BYTES_MAX)
    + (2 + OPTION_BYTES_MAX)
    + 2 * (BSTR_HEAD_BYTES_MAX + CREDENTIAL_BYTES_MAX);
/// Array head, version and the four algorithms.
pub(crate) const AAD_HEAD_BYTES_MAX: usize = 2 + 1 + 4 * 3;
/// `info` of a key derivation: array head, id, id_context, algorithm, type, length.
pub(crate) const INFO_BYTES_MAX: usize =
    1 + (1 + MEMBER_ID_BYTES_MAX) + (2 + ID_CONTEXT_BYTES_MAX) + 3 + 6 + 2;

/// The external_aad's array of plain OSCORE fits where that of Group OSCORE does.
const _: () = assert!(2 + 4 + (1 + MEMBER_ID_BYTES_MAX) + (1 + PARTIAL_IV_BYTES_MAX) < AAD_ARRAY_BYTES_MAX);
const _: () =
    assert!(MEMBER_ID_BYTES_MAX < 24 && GID_BYTES_MAX < 24, "their CBOR heads are counted as one byte");
const _: () =
    assert!(CREDENTIAL_BYTES_MAX < 1 << 16 && DATAGRAM_BYTES_MAX < 1 << 16, "three bytes of CBOR head");
const _: () = assert!(2 * RENEWAL_NONCE_BYTES < ID_CONTEXT_BYTES_MAX && 2 * RENEWAL_NONCE_BYTES < 24);
const _: () = assert!(SEQUENCE_NUMBER_MAX < 1 << (8 * PARTIAL_IV_BYTES_MAX));
const _: () = assert!(
    REPLAY_WINDOW.is_power_of_two() && REPLAY_WINDOW.is_multiple_of(64),
    "the window is a ring of words"
);
