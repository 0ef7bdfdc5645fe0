//! The boot record: which slot is confirmed, what is on trial, and how the last trial ended.
//!
//! The file is a CBOR array of version, content and the first 16 bytes of the content's SHA-256. A record
//! that does not match its check is refused, because a guess could boot an unverified image. A record of
//! another version is refused too.

use std::convert::Infallible;
use std::fmt;

use minicbor::bytes::{ByteArray, ByteSlice};
use minicbor::encode::Error;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};
use update_core::platform::RollBackCause;
use update_core::remark::Remark;

const VERSION: u8 = 3;
const CHECK_BYTES: usize = 16;

/// One of the two places for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Slot {
    /// `slot-a.img`.
    #[n(0)]
    A,
    /// `slot-b.img`.
    #[n(1)]
    B,
}

impl Slot {
    /// The other slot.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The name of its image file in the state folder.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::A => "slot-a.img",
            Self::B => "slot-b.img",
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// What the two areas were last prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Prepared {
    /// The length of the image area in bytes.
    #[n(0)]
    pub image_bytes: u32,
    /// The length of the pages area in bytes.
    #[n(1)]
    pub page_bytes: u32,
}

/// The phase of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Phase {
    /// Decided; the switch to the new image may or may not have been carried out.
    #[n(0)]
    Switching,
    /// The new image runs and is being judged.
    #[n(1)]
    Running,
    /// It has proved healthy. From here it is never rolled back.
    #[n(2)]
    Healthy,
    /// Abandoned; the switch back may or may not have been carried out.
    #[n(3)]
    RollingBack(#[n(0)] Cause),
    /// Ordered; the device has not said yet that it may switch now.
    #[n(4)]
    Asking,
}

/// An image on trial. It is in the slot that is not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TrialRecord {
    /// SHA-256 of the signed manifest of the update on trial.
    #[n(0)]
    pub digest: ByteArray<32>,
    /// The length of its image in bytes.
    #[n(1)]
    pub image_bytes: u32,
    /// How often the agent has started since the activation.
    #[n(2)]
    pub restarts: u8,
    /// Its phase.
    #[n(3)]
    pub phase: Phase,
    /// A switch has begun, so that there may be something to switch back.
    #[n(4)]
    pub touched: bool,
    /// How often the switch back has been tried.
    #[n(5)]
    pub tries_back: u8,
    /// For how many seconds the device has been asked in vain, about.
    #[n(6)]
    pub asked_s: u32,
}

/// The last trial, if it ended with the old image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RolledBack {
    /// SHA-256 of the signed manifest of the update that was tried.
    #[n(0)]
    pub digest: ByteArray<32>,
    /// Why it was rolled back.
    #[n(1)]
    pub cause: Cause,
}

/// [`RollBackCause`] with the number under which it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cause(pub RollBackCause);

impl<C> Encode<C> for Cause {
    fn encode<W: minicbor::encode::Write>(
        &self,
        encoder: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), Error<W::Error>> {
        encoder.u8(self.0 as u8)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Cause {
    fn decode(decoder: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let cause = RollBackCause::from_code(decoder.u8()?).map(Self);
        cause.ok_or_else(|| minicbor::decode::Error::message("not a cause of a rollback"))
    }
}

/// Everything needed to boot the right image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct BootRecord {
    /// The slot whose image is confirmed. It is the running one, except during a trial.
    #[n(0)]
    pub confirmed: Slot,
    /// What the other slot and the pages are prepared for; `None` if they must not be written.
    #[n(1)]
    pub prepared: Option<Prepared>,
    /// What is on trial.
    #[n(2)]
    pub trial: Option<TrialRecord>,
    /// How the last trial failed, until the next one.
    #[n(3)]
    pub rolled_back: Option<RolledBack>,
    /// Whether counters have been saved. If their file is missing then, they are lost (protocol.md
    /// \[bound\]).
    #[n(4)]
    pub counted: bool,
    /// Whether the record of what is installed has been saved. If its file is missing then, it is lost, and a
    /// downgrade would go unnoticed.
    #[n(5)]
    pub installed: bool,
    /// Why the trial stands as it does, or why the last one failed, in the agent's words.
    #[n(6)]
    pub remark: Option<Remark>,
}

/// Why bytes are not a readable boot record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// They are incomplete or damaged.
    Torn,
    /// They have this version, which this agent does not read.
    Version(u8),
}

impl BootRecord {
    /// The record of a device with a confirmed image in this slot that never tried another.
    #[must_use]
    pub const fn confirmed(slot: Slot) -> Self {
        Self {
            confirmed: slot,
            prepared: None,
            trial: None,
            rolled_back: None,
            counted: false,
            installed: false,
            remark: None,
        }
    }

    /// The file's content.
    ///
    /// # Errors
    /// The encoder's, which never occur for these types.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error<Infallible>> {
        let content = minicbor::to_vec(self)?;
        let check = ByteArray::from(check(VERSION, &content));
        minicbor::to_vec((VERSION, <&ByteSlice>::from(content.as_slice()), check))
    }

    /// Reads the file's content.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let (version, content, stored): (u8, &ByteSlice, ByteArray<CHECK_BYTES>) =
            decoder.decode().map_err(|_| Unreadable::Torn)?;
        let whole = decoder.position() == bytes.len();
        if !whole || *stored != check(version, content) {
            return Err(Unreadable::Torn);
        }
        if version != VERSION {
            return Err(Unreadable::Version(version));
        }
        minicbor::decode(content).map_err(|_| Unreadable::Torn)
    }
}

/// It covers the version too, so that a flipped bit there counts as damage, not as another version. Version 1
/// left it out.
fn check(version: u8, content: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = Sha256::new();
    if version > 1 {
        hasher.update([version]);
    }
    hasher.update(content);
    let digest: [u8; 32] = hasher.finalize().into();
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> [BootRecord; 3] {
        let plain = BootRecord::confirmed(Slot::A);
        let prepared = Some(Prepared { image_bytes: 1 << 26, page_bytes: 70_000 });
        let digest = ByteArray::from([7; 32]);
        let phase = Phase::RollingBack(Cause(RollBackCause::Unhealthy));
        let trial = Some(TrialRecord {
            digest,
            image_bytes: 1 << 26,
            restarts: 3,
            phase,
            touched: true,
            tries_back: 7,
            asked_s: 86_400,
        });
        let rolled_back = Some(RolledBack { digest, cause: Cause(RollBackCause::Reset) });
        let remark = Some(Remark::new("the activate command ended with exit status: 3"));
        let confirmed = Slot::B;
        let full =
            BootRecord { confirmed, prepared, trial, rolled_back, counted: true, installed: true, remark };
        [plain, BootRecord { prepared, ..plain }, full]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for record in records() {
            assert_eq!(BootRecord::from_bytes(&record.to_bytes().unwrap()), Ok(record));
        }
    }

    #[test]
    fn any_cut_and_any_flipped_bit_is_noticed() {
        for record in records() {
            let bytes = record.to_bytes().unwrap();
            for length in 0..bytes.len() {
                assert_eq!(BootRecord::from_bytes(&bytes[..length]), Err(Unreadable::Torn));
            }
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(BootRecord::from_bytes(&damaged), Err(Unreadable::Torn), "bit {bit}");
            }
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(BootRecord::from_bytes(&longer), Err(Unreadable::Torn));
        }
    }

    #[test]
    fn another_version_is_named() {
        let content = minicbor::to_vec((1_u8, 2_u8)).unwrap();
        for version in [1, 2, 4, 255] {
            let check = ByteArray::from(check(version, &content));
            let bytes = minicbor::to_vec((version, <&ByteSlice>::from(content.as_slice()), check)).unwrap();
            assert_eq!(BootRecord::from_bytes(&bytes), Err(Unreadable::Version(version)));
        }
    }
}
