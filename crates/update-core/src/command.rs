//! The payload of a POST to `/fw/activate` and `/fw/cancel` (protocol.md \[attempt\], \[target\],
//! \[moment\]).

use crate::codec::{Malformed, read_map, write_into};
use crate::digest::Digest;
use crate::target::Target;

/// Activate an update, drop it, or go back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Command<'a> {
    /// SHA-256 of the signed manifest that is meant.
    pub digest: Digest,
    /// Rises with every try for this digest. An agent acts only on an attempt above the last one acted upon.
    pub attempt: u32,
    /// The agents that should act.
    pub target: Target<'a>,
    /// How long to wait after receiving it, in milliseconds. A reboot in between cancels it. Ignored by
    /// cancel.
    pub delay_ms: u32,
    /// Whether a cancellation also takes back an image on trial. Ignored by activate.
    pub from_trial: bool,
    /// When it was sent.
    pub dated: Option<Dated>,
}

/// When an order was sent, relative to an earlier question that its agents have answered (protocol.md
/// \[fresh\]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dated {
    /// The Partial IV of that question.
    pub question: u64,
    /// How long after the question the order was sent, in milliseconds.
    pub since_ms: u32,
    /// How long after that it may be acted upon, in milliseconds.
    pub holds_ms: u32,
}

impl<'a> Command<'a> {
    /// Writes the payload; `None` when the buffer is too small.
    #[must_use]
    pub fn encode(&self, buffer: &mut [u8]) -> Option<usize> {
        write_into(buffer, |out| {
            out.map(4 + u64::from(self.from_trial) + u64::from(self.dated.is_some()))?
                .u8(1)?
                .bytes(&self.digest.0)?;
            out.u8(2)?.u32(self.attempt)?.u8(3)?;
            self.target.encode(out)?;
            out.u8(4)?.u32(self.delay_ms)?;
            if self.from_trial {
                out.u8(5)?.bool(true)?;
            }
            if let Some(Dated { question, since_ms, holds_ms }) = self.dated {
                out.u8(6)?.array(3)?.u64(question)?.u32(since_ms)?.u32(holds_ms)?;
            }
            Ok(())
        })
    }

    /// Reads the payload. Keys that a later version may add are ignored.
    ///
    /// # Errors
    /// [`Malformed`], including a missing digest or attempt.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (mut digest, mut attempt, mut target, mut delay_ms) = (None, None, Target::All, 0);
        let (mut from_trial, mut dated) = (false, None);
        read_map(bytes, |key, decoder| {
            match key {
                1 => {
                    let bytes: [u8; 32] = decoder.bytes()?.try_into().map_err(|_| Malformed)?;
                    digest = Some(Digest(bytes));
                }
                2 => attempt = Some(decoder.u32()?),
                3 => target = Target::decode(decoder)?,
                4 => delay_ms = decoder.u32()?,
                5 => from_trial = decoder.bool()?,
                6 => {
                    if decoder.array()? != Some(3) {
                        return Err(Malformed);
                    }
                    let (question, since_ms) = (decoder.u64()?, decoder.u32()?);
                    dated = Some(Dated { question, since_ms, holds_ms: decoder.u32()? });
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let (digest, attempt) = (digest.ok_or(Malformed)?, attempt.ok_or(Malformed)?);
        Ok(Self { digest, attempt, target, delay_ms, from_trial, dated })
    }
}
