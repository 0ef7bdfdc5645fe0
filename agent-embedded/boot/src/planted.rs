//! Bugs that the tests plant, one at a time, to verify that the power-cut harness finds them. Without the
//! feature `planted`, which only the tests enable, there are none.

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A step of the exchange is recorded before its page is copied: a marker before its data.
    StepBeforeCopy = 1,
    /// The page that the next step writes is erased before this step is recorded.
    ErasedBeforeStep,
    /// What was read is not rewritten before it is relied upon.
    NotWrittenAgain,
    /// An entry is sealed before it is written.
    SealedBeforeWritten,
    /// The bank in use is marked as no longer in use before the other one is filled.
    MovedBeforeFilled,
    /// An exchange that was cut starts over.
    ExchangeBegunAnew,
    /// A page with a torn block is erased in place.
    ErasedInPlace,
    /// A page is erased before the log says that it is being repaired.
    MendingNotRecorded,
    /// A word that reads as blank once is treated as blank.
    BlankAtOnce,
    /// The new image runs before its trial is recorded.
    TrialNotRecorded,
    /// Once the slots have changed places, the chip's own bank state is trusted.
    BanksBelieved,
    /// An entry whose seal the flash has lost is void.
    SealForgotten,
    /// An entry is written only once.
    OneCopy,
    /// A page that was copied is not read back.
    CopyBelieved,
    /// A failed start does not reset.
    NoReset,
    /// The envelope is assumed to be on the page after the image, even if the image is shorter than its slot.
    EnvelopeBehindImage,
    /// A stored key set is used if it is older, and not if it is newer.
    OlderKeySet,
    /// The manifest sequence number is not compared with that of the last confirmed image.
    Downgrade,
}

impl Bug {
    /// Bugs that show only on flash that loses bits.
    pub const OF_ROT: [Self; 2] = [Self::SealForgotten, Self::OneCopy];

    /// Bugs that show only on failing flash.
    pub const OF_WEAR: [Self; 2] = [Self::CopyBelieved, Self::NoReset];

    /// Bugs that show with an image that must not run.
    pub const OF_TRUST: [Self; 2] = [Self::OlderKeySet, Self::Downgrade];

    /// Bugs that show at a power cut.
    pub const ALL: [Self; 12] = [
        Self::StepBeforeCopy,
        Self::ErasedBeforeStep,
        Self::NotWrittenAgain,
        Self::SealedBeforeWritten,
        Self::MovedBeforeFilled,
        Self::ExchangeBegunAnew,
        Self::ErasedInPlace,
        Self::MendingNotRecorded,
        Self::BlankAtOnce,
        Self::TrialNotRecorded,
        Self::BanksBelieved,
        Self::EnvelopeBehindImage,
    ];
}

/// Whether this bug is planted.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(bug: Bug) -> bool {
    PLANTED.load(core::sync::atomic::Ordering::Relaxed) == bug as u8
}

/// Whether this bug is planted: none is.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_bug: Bug) -> bool {
    false
}

/// Plants a bug in the whole process, or removes it.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.store(bug.map_or(0, |bug| bug as u8), core::sync::atomic::Ordering::Relaxed);
}

#[cfg(feature = "planted")]
static PLANTED: core::sync::atomic::AtomicU8 = core::sync::atomic::AtomicU8::new(0);
