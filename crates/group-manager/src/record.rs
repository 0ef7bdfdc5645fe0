//! What an agent keeps of its membership: the last key material that it got.

use crate::material::Material;
use crate::message::read_map;
use group_oscore::{Gid, MemberId};
use update_core::codec::{Malformed, write_into};

const VERSION: u8 = 1;

/// [`Record::Membership`](update_core::platform::Record::Membership): the key material in force, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipRecord<'a> {
    /// The agent's Sender ID in its individual context. So the record of an earlier enrolment is noticed.
    pub individual: MemberId,
    /// The Gid whose counters were in use before. If the stored counters still name it, no number of the new
    /// keys has been used.
    pub before: Gid,
    /// The payload that brought the keys: a [`Material`].
    pub payload: &'a [u8],
}

impl<'a> MembershipRecord<'a> {
    /// Writes the record; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            out.map(4)?.u8(0)?.u8(VERSION)?.u8(1)?.bytes(self.individual.as_bytes())?;
            out.u8(2)?.bytes(self.before.as_bytes())?.u8(3)?.bytes(self.payload).map(drop)
        })
    }

    /// Reads the record.
    ///
    /// # Errors
    /// [`Malformed`]: damaged, or of another version.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut version, mut individual, mut before, mut payload) = (None, None, None, None);
        read_map(bytes, |label, decoder| {
            match label {
                0 => version = Some(decoder.u8()?),
                1 => individual = MemberId::new(decoder.bytes()?),
                2 => before = Gid::new(decoder.bytes()?),
                3 => payload = Some(decoder.bytes()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if version != Some(VERSION) {
            return Err(Malformed);
        }
        Ok(Self {
            individual: individual.ok_or(Malformed)?,
            before: before.ok_or(Malformed)?,
            payload: payload.ok_or(Malformed)?,
        })
    }

    /// The key material.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn material(&self) -> Result<Material<'a>, Malformed> {
        Material::decode(self.payload)
    }
}
