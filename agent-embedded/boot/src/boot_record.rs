//! The boot state: one record of 16 bytes that says how far an update has come.

use embedded_storage::nor_flash::NorFlash;
use update_core::platform::RollBackCause;

use crate::record_log::{Kind, LogError, RecordLog};

const VERSION: u8 = 1;
const BYTES: usize = 16;
/// How many bytes of an update's digest the record uses as its name. They name it but prove nothing.
pub const NAME_BYTES: usize = 8;

/// How far an update has come. See the table in [`start`](mod@crate::start).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The image in the active slot is confirmed.
    Settled,
    /// The agent has activated the image in the update slot.
    Activated,
    /// The slots are changing places; then the new image begins its trial.
    Exchanging,
    /// The new image runs on trial.
    Trial,
    /// It has proved healthy, and will no longer be rolled back.
    Healthy,
    /// The image on trial has given itself up.
    GivenUp(RollBackCause),
    /// The slots are changing places back.
    ExchangingBack(RollBackCause),
    /// The old image runs again, and the agent has not acknowledged it yet.
    RolledBack(RollBackCause),
    /// The active slot was damaged: the slots are changing places, and there will be no way back.
    Recovering,
    /// The update replaces the damaged image, and has not proved healthy yet.
    Recovered,
    /// The confirmed image was damaged: the slots are changing places back to the previous one.
    RecoveringPrevious,
    /// An image older than the last confirmed one runs in its place, until an update comes.
    Previous,
}

impl Phase {
    /// Whether the slots change places in this phase.
    #[must_use]
    pub const fn is_exchange(self) -> bool {
        matches!(
            self,
            Self::Exchanging | Self::ExchangingBack(_) | Self::Recovering | Self::RecoveringPrevious
        )
    }
}

/// The boot state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootRecord {
    /// How far the update has come.
    pub phase: Phase,
    /// Its name: the beginning of the digest of its signed SUIT manifest.
    pub name: [u8; NAME_BYTES],
    /// Pages of the image that change places, not counting those of the trailer.
    pub pages: u16,
    /// Completed steps of the exchange. If hardware exchanges the slots: resets that were tried.
    pub step: u16,
    /// Whether the slots are swapped compared with the factory state, or will be when the exchange is done.
    /// This only matters if hardware exchanges them.
    pub exchanged: bool,
}

impl BootRecord {
    /// Bytes of the record.
    pub(crate) const BYTES: usize = BYTES;

    /// The state of a device that has never tried an update.
    pub const SETTLED: Self =
        Self { phase: Phase::Settled, name: [0; NAME_BYTES], pages: 0, step: 0, exchanged: false };

    /// The state in the log.
    ///
    /// # Errors
    /// [`LogError::Lost`] also for a state of another version, whatever its length.
    pub fn load<F: NorFlash>(flash: &mut F, log: &RecordLog) -> Result<Self, LogError<F::Error>> {
        let mut bytes = [0; BYTES];
        match log.read(flash, Kind::Boot, &mut bytes) {
            Ok(Some(BYTES)) => Self::from_bytes(&bytes).ok_or(LogError::Lost),
            Ok(Some(_)) | Err(LogError::Full) => Err(LogError::Lost),
            Ok(None) => Ok(Self::SETTLED),
            Err(error) => Err(error),
        }
    }

    /// Makes this the state, durably.
    ///
    /// # Errors
    /// The same as for [`RecordLog::append`].
    pub fn save<F: NorFlash>(&self, flash: &mut F, log: &mut RecordLog) -> Result<(), LogError<F::Error>> {
        log.append(flash, Kind::Boot, &self.to_bytes())
    }

    /// The beginning of a digest.
    #[must_use]
    pub fn name_of(digest: &[u8; 32]) -> [u8; NAME_BYTES] {
        let (name, _) = digest.as_chunks();
        name[0]
    }

    fn to_bytes(self) -> [u8; BYTES] {
        let (phase, cause) = match self.phase {
            Phase::Settled => (0, 0),
            Phase::Activated => (1, 0),
            Phase::Exchanging => (2, 0),
            Phase::Trial => (3, 0),
            Phase::Healthy => (4, 0),
            Phase::GivenUp(cause) => (5, cause as u8),
            Phase::ExchangingBack(cause) => (6, cause as u8),
            Phase::RolledBack(cause) => (7, cause as u8),
            Phase::Recovering => (8, 0),
            Phase::Recovered => (9, 0),
            Phase::RecoveringPrevious => (10, 0),
            Phase::Previous => (11, 0),
        };
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&[VERSION, phase, cause, self.exchanged.into()]);
        bytes[4..6].copy_from_slice(&self.pages.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.step.to_le_bytes());
        bytes[8..].copy_from_slice(&self.name);
        bytes
    }

    fn from_bytes(bytes: &[u8; BYTES]) -> Option<Self> {
        let [version, phase, cause, exchanged, p0, p1, s0, s1, ..] = *bytes;
        let cause = || RollBackCause::from_code(cause);
        let phase = match phase {
            0 => Phase::Settled,
            1 => Phase::Activated,
            2 => Phase::Exchanging,
            3 => Phase::Trial,
            4 => Phase::Healthy,
            5 => Phase::GivenUp(cause()?),
            6 => Phase::ExchangingBack(cause()?),
            7 => Phase::RolledBack(cause()?),
            8 => Phase::Recovering,
            9 => Phase::Recovered,
            10 => Phase::RecoveringPrevious,
            11 => Phase::Previous,
            _ => return None,
        };
        let mut name = [0; NAME_BYTES];
        name.copy_from_slice(&bytes[8..]);
        (version == VERSION && exchanged <= 1).then_some(Self {
            phase,
            name,
            pages: u16::from_le_bytes([p0, p1]),
            step: u16::from_le_bytes([s0, s1]),
            exchanged: exchanged == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let causes = (1..=4).filter_map(RollBackCause::from_code);
        let plain = [
            Phase::Settled,
            Phase::Activated,
            Phase::Exchanging,
            Phase::Trial,
            Phase::Healthy,
            Phase::Recovering,
            Phase::Recovered,
            Phase::RecoveringPrevious,
            Phase::Previous,
        ];
        let with_cause = causes.flat_map(|cause| {
            [Phase::GivenUp(cause), Phase::ExchangingBack(cause), Phase::RolledBack(cause)]
        });
        for phase in plain.into_iter().chain(with_cause) {
            let record = BootRecord { phase, name: *b"12345678", pages: 300, step: 601, exchanged: true };
            assert_eq!(BootRecord::from_bytes(&record.to_bytes()), Some(record));
        }
    }

    #[test]
    fn other_versions_and_numbers_are_refused() {
        let bytes = BootRecord::SETTLED.to_bytes();
        for (at, value) in [(0, 2), (0, 0), (1, 12), (1, 7), (3, 2)] {
            let mut other = bytes;
            other[at] = value;
            assert_eq!(BootRecord::from_bytes(&other), None, "{at}");
        }
    }
}
