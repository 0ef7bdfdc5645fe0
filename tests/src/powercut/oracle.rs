//! What must hold whenever the power returns.

use std::collections::BTreeSet;
use std::fmt;

use update_core::platform::Area;

use super::device::Device;
use crate::nor_flash::SimulatedFlash;

/// A violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// What runs is neither the old image nor the new one, or does not always read the same.
    Mixed,
    /// Nothing runs, the store does not open, or the update never ends.
    Bricked(&'static str),
    /// A record is older than one that was relied upon, or an image runs that is older than the confirmed
    /// one.
    Regressed(&'static str),
    /// A stored block is gone, and it is not the one in progress.
    Lost,
    /// The flash was used in a forbidden way.
    Misused,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mixed => f.write_str("the image that runs is mixed"),
            Self::Bricked(what) => write!(f, "bricked: {what}"),
            Self::Regressed(what) => write!(f, "regressed: {what}"),
            Self::Lost => f.write_str("a stored block is gone"),
            Self::Misused => f.write_str("the flash was used in a forbidden way"),
        }
    }
}

/// Which image runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    /// The one from the factory.
    Old,
    /// The update.
    New,
}

/// What the device has relied upon so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Oracle {
    /// Manifest sequence number of the last confirmed image.
    pub(super) installed: u64,
    /// The end of the reserved Sender Sequence Numbers.
    pub(super) reserved_end: u64,
    /// The last attempt acted upon.
    pub(super) attempt: u32,
    /// Whether the confirmed image was damaged, so that an older one may run.
    pub(super) older_may_run: bool,
    /// Whether the agent has accepted the update.
    pub(super) accepted: bool,
    /// Blocks and pages that were written successfully.
    pub(super) stored: BTreeSet<(bool, u32)>,
}

impl Oracle {
    /// Which image is in the active slot, to the last bit and in every read.
    ///
    /// # Errors
    /// [`Wrong::Mixed`], [`Wrong::Regressed`].
    pub(super) fn ran<const WORD: usize, const PAGE: usize>(
        &self,
        device: &Device,
        flash: &SimulatedFlash<WORD, PAGE>,
        exchanged: bool,
    ) -> Result<Image, Wrong> {
        let active = device.active(exchanged);
        let runs = |image: &[u8]| flash.steady(active, image.len()) == Some(image);
        let image = match (runs(&device.old.image), runs(&device.new.image)) {
            (true, false) => Image::Old,
            (false, true) => Image::New,
            _ => return Err(Wrong::Mixed),
        };
        let sequence_number = match image {
            Image::Old => device.old.offer.sequence_number,
            Image::New => device.new.offer.sequence_number,
        };
        if sequence_number < self.installed && !self.older_may_run {
            return Err(Wrong::Regressed("an image older than the confirmed one runs"));
        }
        Ok(image)
    }

    /// Checks a number that must not decrease, when it is read or saved.
    ///
    /// # Errors
    /// [`Wrong::Regressed`].
    pub(super) fn rises<T: Copy + PartialOrd>(
        known: &mut T,
        found: T,
        what: &'static str,
    ) -> Result<(), Wrong> {
        if found < *known {
            return Err(Wrong::Regressed(what));
        }
        *known = found;
        Ok(())
    }

    /// Checks whether a block or page that was looked for may be missing.
    ///
    /// # Errors
    /// [`Wrong::Lost`].
    pub(super) fn found(&self, area: Area, number: u32, present: bool) -> Result<(), Wrong> {
        if !present && self.stored.contains(&(area == Area::Image, number)) {
            return Err(Wrong::Lost);
        }
        Ok(())
    }

    /// Notes a block or page that has been written.
    pub(super) fn store(&mut self, area: Area, number: u32) {
        self.stored.insert((area == Area::Image, number));
    }
}
