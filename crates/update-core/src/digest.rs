//! SHA-256 digests and the short name of an update.

use core::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// SHA-256 over data that arrives in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// A hasher without any data.
    #[must_use]
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// Adds the next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all pieces.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hasher")
    }
}

/// The short name of an update: the first 4 bytes of the digest of its signed SUIT manifest.
///
/// In hexadecimal it is the `<id>` segment of `/fw/<id>/image`. It names an update but proves nothing: what
/// is stored under it is checked against hashes signed under the full digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId(pub [u8; 4]);

impl UpdateId {
    /// The name of the update whose signed SUIT manifest has this digest.
    #[must_use]
    pub const fn of(digest: &Digest) -> Self {
        let [a, b, c, d, ..] = digest.0;
        Self([a, b, c, d])
    }

    /// The 8 lower-case hexadecimal characters of the path segment.
    #[must_use]
    pub fn to_hex(self) -> [u8; 8] {
        let mut text = [b'0'; 8];
        // This cannot fail: the buffer has exactly twice the length.
        let _ = hex::encode_to_slice(self.0, &mut text);
        text
    }

    /// Parses a path segment; `None` unless it is 8 lower-case hexadecimal characters.
    ///
    /// Upper case is refused, so that one update has one path.
    #[must_use]
    pub fn parse(segment: &[u8]) -> Option<Self> {
        if segment.iter().any(u8::is_ascii_uppercase) {
            return None;
        }
        let mut id = [0; 4];
        hex::decode_to_slice(segment, &mut id).ok()?;
        Some(Self(id))
    }

    /// Reads its 4 bytes, as reports and queries carry it.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::format;

    use super::*;

    #[test]
    fn pieces_hash_like_the_whole() {
        let mut hasher = Hasher::new();
        hasher.update(b"a");
        hasher.update(b"");
        hasher.update(b"bc");
        let digest = hasher.finish();
        assert_eq!(digest, Digest::of(b"abc"));
        // FIPS 180-2 appendix B.1
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(format!("{digest:?}"), expected);
    }

    #[test]
    fn id_is_the_beginning_of_the_digest_in_lower_case() {
        let id = UpdateId::of(&Digest::of(b"abc"));
        assert_eq!(&id.to_hex(), b"ba7816bf");
        assert_eq!(UpdateId::parse(&id.to_hex()), Some(id));
        assert_eq!(format!("{id}"), "ba7816bf");
    }

    #[test]
    fn other_segments_are_no_id() {
        for segment in [&b""[..], b"ba7816b", b"ba7816bf0", b"BA7816BF", b"ba7816bg", b"ba7816 b", b"status"]
        {
            assert_eq!(UpdateId::parse(segment), None);
        }
    }
}
