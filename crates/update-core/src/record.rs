//! The three small records that an agent keeps (protocol.md \[journal\]). Everything else is derived from
//! storage.
//!
//! Each record is a CBOR map whose key 0 is the record's version. A platform stores the bytes without reading
//! them.

use crate::codec::{Malformed, write_into};
use crate::device::Installed;
use crate::digest::Digest;
use crate::limits::{ALLOWANCE_MAX, ENVELOPE_BYTES_MAX};
use group_oscore::Gid;
use minicbor::Decoder;

const VERSION: u8 = 1;
/// The second version adds what is left of the allowances.
const UPDATE_VERSION: u8 = 2;

/// [`Record::Counters`](crate::platform::Record::Counters): the bounds of the two counters of one security
/// group (protocol.md \[reserve\], \[bound\]). They name their Gid, so that counters are never used with the
/// keys of another group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CounterBounds {
    /// The group that the bounds belong to.
    pub gid: Gid,
    /// This agent's Sender Sequence Numbers below this may have been used.
    pub reserved_end: u64,
    /// Partial IVs of the distributor below this may have been accepted.
    pub floor: u64,
}

/// [`Record::Update`](crate::platform::Record::Update): the update being received, tried or last tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateRecord<'a> {
    /// The signed SUIT envelope, as it was accepted.
    pub envelope: &'a [u8],
    /// The last attempt acted upon; 0 for none.
    pub attempt: u32,
    /// How it ended.
    pub outcome: Outcome,
    /// What the device may still be made to do.
    pub left: Allowance,
}

/// How many times a device may still erase its slot, activate and roll back without waiting (protocol.md
/// \[wear\]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Slots erased for a new offer.
    pub erases: u8,
    /// Activations.
    pub activations: u8,
    /// Images on trial taken back.
    pub undos: u8,
}

impl Allowance {
    /// Nothing has been used.
    pub const FULL: Self = Self { erases: ALLOWANCE_MAX, activations: ALLOWANCE_MAX, undos: ALLOWANCE_MAX };
}

/// How an update ended on this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Open,
    /// It runs and is confirmed.
    Confirmed,
    /// It replaced a damaged image, and has proved healthy.
    Recovered,
    /// It was tried and rolled back; the number is its [`RollBackCause`](crate::platform::RollBackCause).
    RolledBack(u8),
    /// It was given up; the number is its [`Failure`](crate::reception::Failure).
    Failed(u8),
}

impl CounterBounds {
    /// Writes the record; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            out.map(4)?.u8(0)?.u8(VERSION)?.u8(1)?.bytes(self.gid.as_bytes())?;
            out.u8(2)?.u64(self.reserved_end)?.u8(3)?.u64(self.floor)?;
            Ok(())
        })
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`Malformed`]: damaged, of another version, or another record.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut decoder = open(bytes, 4, VERSION)?;
        let gid = Gid::new(keyed(&mut decoder, 1)?.bytes()?).ok_or(Malformed)?;
        let reserved_end = keyed(&mut decoder, 2)?.u64()?;
        let floor = keyed(&mut decoder, 3)?.u64()?;
        Ok(Self { gid, reserved_end, floor })
    }
}

impl<'a> UpdateRecord<'a> {
    /// Writes the record; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            let (code, detail) = match self.outcome {
                Outcome::Open => (0, 0),
                Outcome::Confirmed => (1, 0),
                Outcome::RolledBack(cause) => (2, cause),
                Outcome::Failed(reason) => (3, reason),
                Outcome::Recovered => (4, 0),
            };
            out.map(6)?.u8(0)?.u8(UPDATE_VERSION)?.u8(1)?.bytes(self.envelope)?;
            out.u8(2)?.u32(self.attempt)?.u8(3)?.u8(code)?.u8(4)?.u8(detail)?;
            let Allowance { erases, activations, undos } = self.left;
            out.u8(5)?.array(3)?.u8(erases)?.u8(activations)?.u8(undos)?;
            Ok(())
        })
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`Malformed`]: damaged, of another version, or another record.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut decoder = open(bytes, 6, UPDATE_VERSION)?;
        let envelope = keyed(&mut decoder, 1)?.bytes()?;
        let attempt = keyed(&mut decoder, 2)?.u32()?;
        let code = keyed(&mut decoder, 3)?.u8()?;
        let detail = keyed(&mut decoder, 4)?.u8()?;
        let outcome = match code {
            0 => Outcome::Open,
            1 => Outcome::Confirmed,
            2 => Outcome::RolledBack(detail),
            3 => Outcome::Failed(detail),
            4 => Outcome::Recovered,
            _ => return Err(Malformed),
        };
        if keyed(&mut decoder, 5)?.array()? != Some(3) || envelope.len() > ENVELOPE_BYTES_MAX {
            return Err(Malformed);
        }
        let left = Allowance { erases: decoder.u8()?, activations: decoder.u8()?, undos: decoder.u8()? };
        Ok(Self { envelope, attempt, outcome, left })
    }
}

/// Writes [`Record::Installed`](crate::platform::Record::Installed); `None` when the buffer is too small.
#[must_use]
pub fn encode_installed(installed: &Installed, buffer: &mut [u8]) -> Option<usize> {
    write_into(buffer, |out| {
        out.map(3)?.u8(0)?.u8(VERSION)?.u8(1)?.u64(installed.sequence_number)?;
        out.u8(2)?.bytes(&installed.digest.0)?;
        Ok(())
    })
}

/// Reads [`Record::Installed`](crate::platform::Record::Installed).
///
/// # Errors
/// [`Malformed`]: damaged, of another version, or another record.
pub fn decode_installed(bytes: &[u8]) -> Result<Installed, Malformed> {
    let mut decoder = open(bytes, 3, VERSION)?;
    let sequence_number = keyed(&mut decoder, 1)?.u64()?;
    let digest: [u8; 32] = keyed(&mut decoder, 2)?.bytes()?.try_into().map_err(|_| Malformed)?;
    Ok(Installed { sequence_number, digest: Digest(digest) })
}

fn open(bytes: &[u8], fields: u64, version: u8) -> Result<Decoder<'_>, Malformed> {
    let mut decoder = Decoder::new(bytes);
    let right = decoder.map()? == Some(fields) && keyed(&mut decoder, 0)?.u8()? == version;
    right.then_some(decoder).ok_or(Malformed)
}

fn keyed<'d, 'b>(decoder: &'d mut Decoder<'b>, key: u8) -> Result<&'d mut Decoder<'b>, Malformed> {
    if decoder.u8()? == key { Ok(decoder) } else { Err(Malformed) }
}
