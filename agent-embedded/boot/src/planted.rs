//! Bugs that the tests plant, one at a time, to see that the harness of power cuts has eyes. Without the
//! feature `planted`, which only the tests enable, there are none.

/// What the code does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// A step of the exchange is recorded before its page is copied: a marker before its data.
    StepBeforeCopy = 1,
    /// The page that the next step writes is erased before this step is recorded.
    ErasedBeforeStep,
    /// What was read is not written again before it is relied upon.
    NotWrittenAgain,
    /// An entry is sealed before it is written.
    SealedBeforeWritten,
    /// The bank in use says that it is not any more before the other one is filled.
    MovedBeforeFilled,
    /// An exchange that was cut starts over.
    ExchangeBegunAnew,
    /// A page with a torn block is erased in place.
    ErasedInPlace,
    /// A page is erased before the log says that it is being mended.
    MendingNotRecorded,
    /// A word that reads as blank once is taken for blank.
    BlankAtOnce,
    /// The new image runs before its trial is recorded.
    TrialNotRecorded,
    /// Once the slots have changed places, the chip is believed how its banks stand.
    BanksBelieved,
    /// An entry whose seal the flash has forgotten is void.
    SealForgotten,
    /// An entry is written once only.
    OneCopy,
    /// A page that was copied is not read back.
    CopyBelieved,
    /// A start that has failed stays.
    NoReset,
    /// The older one of two key sets is in force.
    OlderKeySet,
    /// The number of the image that was confirmed last is not looked at.
    FloorIgnored,
    /// An image is taken to fill its slot: the page behind it is taken for the one of the trailer.
    SlotsFilled,
}

impl Bug {
    /// Those that only flash which forgets bits shows.
    pub const OF_ROT: [Self; 2] = [Self::SealForgotten, Self::OneCopy];

    /// Those that only flash which fails shows.
    pub const OF_WEAR: [Self; 2] = [Self::CopyBelieved, Self::NoReset];

    /// Those that one start shows.
    pub const OF_START: [Self; 3] = [Self::OlderKeySet, Self::FloorIgnored, Self::SlotsFilled];

    /// Those that a power cut shows.
    pub const ALL: [Self; 11] = [
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
