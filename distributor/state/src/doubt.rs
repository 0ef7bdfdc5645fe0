//! Why nothing may be sent with a group's keys.

use std::fmt;

/// Why a group's Sender Sequence Numbers are in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceDoubt {
    /// The main file is gone.
    MainMissing,
    /// The witness is gone.
    WitnessMissing,
    /// Both are gone.
    BothMissing,
    /// The main file is torn or damaged.
    MainTorn,
    /// The witness is torn or damaged.
    WitnessTorn,
    /// The main file is older than the witness: it was restored from a backup.
    MainOlder,
    /// The witness is older than a crash can explain: it was restored from a backup.
    WitnessOlder,
    /// The two have the same age, or are one step apart, but one does not follow from the other.
    Differ,
    /// They were written on another machine.
    OtherMachine,
    /// They belong to other keys.
    OtherGroup,
    /// Another process wrote to one of them while this one used them.
    ChangedMeanwhile,
    /// A write failed, so it is unknown what is on disk.
    WriteFailed,
    /// An agent has seen a higher number from this distributor than it has used.
    SeenAhead,
    /// The state around them was restored from a backup.
    Restored,
    /// The group has been moved to another machine, which may send.
    Moved,
    /// All 2^40 numbers are used.
    UsedUp,
    /// An abandoned run asks for more while another one uses the numbers.
    OtherRun,
}

impl fmt::Display for SequenceDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MainMissing => "the file of its counters in the state folder is gone",
            Self::WitnessMissing => "the second copy of its counters in the witness folder is gone",
            Self::BothMissing => "both copies of its counters are gone",
            Self::MainTorn => "the file of its counters in the state folder is damaged",
            Self::WitnessTorn => "the second copy of its counters in the witness folder is damaged",
            Self::MainOlder => {
                "its counters in the state folder are older than the copy in the \
            witness folder, as after restoring a backup"
            }
            Self::WitnessOlder => {
                "the copy of its counters in the witness folder is older than \
            those in the state folder, as after restoring a backup"
            }
            Self::Differ => {
                "its counters in the state folder and their copy in the witness folder \
            contradict each other"
            }
            Self::OtherMachine => "its counters were written on another machine, which may still send",
            Self::OtherGroup => "its counters belong to keys other than the group's",
            Self::ChangedMeanwhile => "its counters on disk were changed while this process used them",
            Self::WriteFailed => "an earlier write of its counters failed",
            Self::SeenAhead => {
                "an agent has seen a higher number from this distributor than it \
            has ever used, so another sender uses the same keys"
            }
            Self::Restored => "its state was restored from a backup, so it is unknown what was sent since",
            Self::Moved => "it has been moved to another machine, which may send",
            Self::OtherRun => "another run of this process uses its counters now",
            Self::UsedUp => "all of its 2^40 Sender Sequence Numbers are used",
        })
    }
}
