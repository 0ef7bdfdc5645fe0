//! Sender Sequence Numbers, reserved ahead on disk (protocol.md \[reserve\],
//! RFC 10021 section 2.6.1.1).
//!
//! A number used twice with the same key reveals the key. So a range is durable on disk before the first of
//! its numbers is sent. It is written, with the identity of the machine, to two files that should not be in
//! the same backup. Each record names the digest of the record before it. That separates the one harmless
//! difference (after a crash between the two writes, the main file is exactly one step ahead of the witness)
//! from all others. On any other difference nothing is sent.
//!
//! One case cannot be noticed: the restart of a snapshot of the whole machine, with both files.

use std::path::{Path, PathBuf};

use group_oscore::limits::SEQUENCE_NUMBER_MAX;
use provisioning::{Hex, Name};
use serde::{Deserialize, Serialize};
use update_core::digest::Digest;

use super::sealed::{self, SealedError};
use crate::files;

use super::{GroupLock, GroupState, MachineId, SequenceDoubt, StateDir, StateError};

/// How many numbers to skip whenever the store is reopened. An agent that was reset meanwhile accepts nothing
/// up to 256 above the last number it accepted (protocol.md \[bound\]).
pub const SKIPPED: u64 = 256;

/// The Sender Sequence Numbers that may be used now: from `next` up to, but not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The next number to use.
    pub next: u64,
    /// The first number that is not reserved. If it equals `next`, reserve before sending.
    pub end: u64,
}

/// The record in both files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SequenceFile {
    group: Name,
    gid: Hex,
    machine: String,
    /// Rises by one with every write.
    generation: u64,
    /// Digest of the record before this one; empty in the first.
    previous: Hex,
    /// The first number that is not reserved. 0 while nothing has been sent.
    reserved_end: u64,
    /// The epoch of the database in which this was written: what is older was not used since.
    #[serde(default)]
    epoch: u64,
    /// An agent has seen a higher number: these keys never send again.
    seen_ahead: bool,
    /// The state around it was restored: these keys never send again.
    #[serde(default, skip_serializing_if = "is_false")]
    restored: bool,
    /// The machine that the group was moved to: only that one sends with these keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
}

/// The Sender Sequence Numbers of one group, reserved ahead.
#[derive(Debug)]
pub struct SequenceStore {
    main: PathBuf,
    witness: PathBuf,
    record: SequenceFile,
    start: u64,
    epoch: u64,
    write_failed: bool,
}

impl SequenceStore {
    /// Writes both files for a new group. `main` is in the folder in which the group is assembled.
    pub(super) fn create(
        main: PathBuf,
        witness: PathBuf,
        group: &Name,
        gid: &Hex,
        machine: &MachineId,
    ) -> Result<(), StateError> {
        let record = SequenceFile {
            group: group.clone(),
            gid: gid.clone(),
            machine: machine.as_str().to_owned(),
            generation: 0,
            previous: Hex::default(),
            reserved_end: 0,
            epoch: 0,
            seen_ahead: false,
            restored: false,
            moved_to: None,
        };
        sealed::write(&witness, &record)?;
        sealed::write(&main, &record)?;
        Ok(())
    }

    /// The name of the main file for keys that are about to come into force.
    pub(super) const NEXT: &str = "sequence.next";

    /// The keys with this Gid are in force: their counters take their place, if that was interrupted.
    pub(super) fn settle_rekey(folder: &Path, gid: &Hex) -> Result<(), StateError> {
        let next = folder.join(Self::NEXT);
        if matches!(read(&next)?, Found::Whole(record) if &record.gid == gid) {
            files::rename(&next, &folder.join("sequence"))?;
        }
        Ok(())
    }

    /// Marks the group as restored: it is unknown what was sent with its keys since, so no process sends with
    /// them again. Both files are overwritten, so that putting one back by hand does not undo this. `main` is
    /// in the group's folder, or in the one in which the group is assembled.
    pub(super) fn write_restored(
        main: &Path,
        witness: &Path,
        group: &Name,
        gid: &Hex,
    ) -> Result<(), StateError> {
        let record = SequenceFile {
            group: group.clone(),
            gid: gid.clone(),
            machine: String::new(),
            generation: 0,
            previous: Hex::default(),
            reserved_end: 0,
            epoch: 0,
            seen_ahead: false,
            restored: true,
            moved_to: None,
        };
        // The witness first: after a crash, the old main file contradicts it, so the numbers stay in doubt.
        sealed::write(witness, &record)?;
        sealed::write(main, &record)?;
        Ok(())
    }

    /// Whether numbers of the group were used in a later epoch of the database than this one. Where the files
    /// cannot tell, they were.
    pub(super) fn used_after(main: &Path, witness: &Path, epoch: u64) -> Result<bool, StateError> {
        let later = |found| !matches!(found, Found::Whole(record) if record.epoch <= epoch);
        Ok(later(read(main)?) || later(read(witness)?))
    }

    /// Gives the numbers to another machine: from now on nothing is sent from here. Returns the first number
    /// that was never reserved, for [`Self::take_over`] there. The same call again returns the same.
    ///
    /// # Errors
    /// [`StateError::SequenceInDoubt`]: there are none to give, or another machine has them.
    pub fn give_away(
        dir: &StateDir,
        group: &GroupState,
        machine: &MachineId,
        lock: &GroupLock,
        to: &MachineId,
    ) -> Result<u64, StateError> {
        let main = dir.group(&group.name).join("sequence");
        let witness = dir.witness_of(&group.name, &group.security.gid);
        if let Found::Whole(record) = read(&main)?
            && record.moved_to.as_deref() == Some(to.as_str())
        {
            // A crash may have been between the two files.
            sealed::write(&witness, &record)?;
            return Ok(record.reserved_end);
        }
        let mut store = Self::open(dir, group, machine, lock, 0)?;
        store.epoch = store.record.epoch;
        store.write(|record| record.moved_to = Some(to.as_str().to_owned()))?;
        Ok(store.record.reserved_end)
    }

    /// Takes over numbers that another machine has given away, for a group that is assembled in `dir`.
    /// Returns whether it did: not if these keys have sent from here meanwhile.
    ///
    /// # Errors
    /// The files cannot be read or written.
    pub fn take_over(
        dir: &StateDir,
        group: &GroupState,
        machine: &MachineId,
        reserved_end: u64,
    ) -> Result<bool, StateError> {
        let main = dir.group(&group.name).join("sequence");
        let witness = dir.witness_of(&group.name, &group.security.gid);
        let record = SequenceFile {
            group: group.name.clone(),
            gid: group.security.gid.clone(),
            machine: machine.as_str().to_owned(),
            generation: 0,
            previous: Hex::default(),
            reserved_end,
            epoch: 0,
            seen_ahead: false,
            restored: false,
            moved_to: None,
        };
        let is_free = match read(&witness)? {
            Found::Missing => true,
            Found::Torn => false,
            // It was here before and came back, or this is the same move again before anything was sent.
            Found::Whole(known) => {
                known == record || known.moved_to.is_some() && known.reserved_end <= reserved_end
            }
        };
        if is_free {
            sealed::write(&witness, &record)?;
            sealed::write(&main, &record)?;
        }
        Ok(is_free)
    }

    /// Whether the numbers of a group were given to another machine.
    pub(super) fn is_given_away(dir: &StateDir, group: &Name) -> Result<bool, StateError> {
        let found = read(&dir.group(group).join("sequence"))?;
        Ok(matches!(found, Found::Whole(record) if record.moved_to.is_some()))
    }

    /// The first number that was never reserved, as far as the files say: what a new agent should accept
    /// nothing below. If they are in doubt, nothing is sent with these keys anyway.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next_to_reserve(dir: &StateDir, group: &GroupState) -> Result<u64, StateError> {
        let end = |found| match found {
            Found::Whole(record) if record.gid == group.security.gid => record.reserved_end,
            _ => 0,
        };
        let main = end(read(&dir.group(&group.name).join("sequence"))?);
        Ok(main.max(end(read(&dir.witness_of(&group.name, &group.security.gid))?)))
    }

    /// Why nothing may be sent with this group's keys, as a look without a lock finds it; `None` if it may.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn doubt(
        dir: &StateDir,
        group: &GroupState,
        machine: &MachineId,
    ) -> Result<Option<SequenceDoubt>, StateError> {
        let (main, witness) =
            (dir.group(&group.name).join("sequence"), dir.witness_of(&group.name, &group.security.gid));
        Ok(examine((read(&main)?, read(&witness)?), group, machine).err())
    }

    /// Opens the numbers of a group that this process has the right to send for, in this epoch of the
    /// database.
    ///
    /// # Errors
    /// [`StateError::SequenceInDoubt`]: nothing may be sent with this group's keys.
    pub fn open(
        dir: &StateDir,
        group: &GroupState,
        machine: &MachineId,
        lock: &GroupLock,
        epoch: u64,
    ) -> Result<Self, StateError> {
        Self::settle_rekey(&dir.group(&group.name), &group.security.gid)?;
        let main = dir.group(&group.name).join("sequence");
        let witness = dir.witness_of(&group.name, &group.security.gid);
        let in_doubt = |doubt| StateError::SequenceInDoubt { group: group.name.clone(), doubt };
        if lock.group() != &group.name {
            return Err(in_doubt(SequenceDoubt::OtherGroup));
        }
        let (record, repair_witness) =
            examine((read(&main)?, read(&witness)?), group, machine).map_err(in_doubt)?;
        if repair_witness {
            sealed::write(&witness, &record)?;
        }
        let start = match record.reserved_end {
            0 => 0,
            end => end.saturating_add(SKIPPED),
        };
        Ok(Self { main, witness, record, start, epoch, write_failed: false })
    }

    /// The numbers to begin with: above all that were ever reserved, and not reserved yet.
    pub fn numbers(&self) -> Numbers {
        Numbers { next: self.start, end: self.start }
    }

    /// Whether anything may ever have been sent with this group's keys.
    pub fn has_sent(&self) -> bool {
        self.record.reserved_end > 0
    }

    /// Reserves all numbers below `end`, durably in both files when it returns.
    ///
    /// # Errors
    /// [`StateError::SequenceInDoubt`]: send nothing more, not even with numbers reserved before.
    pub fn reserve(&mut self, end: u64) -> Result<(), StateError> {
        if end > SEQUENCE_NUMBER_MAX + 1 {
            return Err(self.in_doubt(SequenceDoubt::UsedUp));
        }
        if end <= self.record.reserved_end {
            return Ok(());
        }
        self.write(|record| record.reserved_end = end)
    }

    /// A clean end: `next` is the first number that was not used. The numbers from there on are free, and
    /// must be reserved again before use.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub fn settle(&mut self, next: u64) -> Result<(), StateError> {
        let reserved_nothing = self.record.reserved_end <= self.start;
        if reserved_nothing || next >= self.record.reserved_end {
            return Ok(());
        }
        let end = next.max(self.start);
        self.write(|record| record.reserved_end = end)
    }

    /// An agent reports a higher number from this distributor than it has ever used, so another sender uses
    /// these keys. No process sends with them again.
    pub fn condemn(&mut self) -> StateError {
        match self.write(|record| record.seen_ahead = true) {
            Ok(()) => self.in_doubt(SequenceDoubt::SeenAhead),
            Err(error) => error,
        }
    }

    /// Writes the next record to the main file, then to the witness. Each is durable before the next step.
    fn write(&mut self, change: impl FnOnce(&mut SequenceFile)) -> Result<(), StateError> {
        if self.write_failed {
            return Err(self.in_doubt(SequenceDoubt::WriteFailed));
        }
        for path in [&self.main, &self.witness] {
            let unchanged = matches!(read(path)?, Found::Whole(record) if record == self.record);
            if !unchanged {
                return Err(self.in_doubt(SequenceDoubt::ChangedMeanwhile));
            }
        }
        let mut record = SequenceFile {
            generation: self.record.generation + 1,
            previous: digest(&self.record),
            epoch: self.epoch,
            ..self.record.clone()
        };
        change(&mut record);
        self.write_failed = true;
        sealed::write(&self.main, &record)?;
        sealed::write(&self.witness, &record)?;
        self.write_failed = false;
        self.record = record;
        Ok(())
    }

    /// The error with this reason.
    pub fn in_doubt(&self, doubt: SequenceDoubt) -> StateError {
        StateError::SequenceInDoubt { group: self.record.group.clone(), doubt }
    }
}

/// The result of reading a record.
enum Found {
    Missing,
    Torn,
    Whole(SequenceFile),
}

/// For serde, which passes a reference.
const fn is_false(value: &bool) -> bool {
    !*value
}

fn read(path: &Path) -> Result<Found, StateError> {
    match sealed::read(path) {
        Ok(record) => Ok(Found::Whole(record)),
        Err(SealedError::Missing) => Ok(Found::Missing),
        Err(SealedError::Torn(_)) => Ok(Found::Torn),
        Err(SealedError::File(error)) => Err(error.into()),
    }
}

/// Whether the two records agree, and if so, whether the witness must still follow the main file.
fn compare(main: &SequenceFile, witness: &SequenceFile) -> Result<bool, SequenceDoubt> {
    if main == witness {
        return Ok(false);
    }
    if (&main.group, &main.gid) != (&witness.group, &witness.gid) {
        return Err(SequenceDoubt::OtherGroup);
    }
    match main.generation.checked_sub(witness.generation) {
        None => Err(SequenceDoubt::MainOlder),
        Some(1) if main.previous == digest(witness) => Ok(true),
        Some(0 | 1) => Err(SequenceDoubt::Differ),
        Some(_) => Err(SequenceDoubt::WitnessOlder),
    }
}

fn digest(record: &SequenceFile) -> Hex {
    // A record holds only text and numbers, which JSON can always express.
    let line = sealed::line(record).unwrap_or_default();
    Hex::from(Digest::of(line.as_bytes()).0)
}

/// The record in both files, and whether the witness has to be brought up to it.
fn examine(
    found: (Found, Found),
    group: &GroupState,
    machine: &MachineId,
) -> Result<(SequenceFile, bool), SequenceDoubt> {
    let (record, repair_witness) = match found {
        (Found::Missing, Found::Missing) => return Err(SequenceDoubt::BothMissing),
        (Found::Missing, _) => return Err(SequenceDoubt::MainMissing),
        (Found::Torn, _) => return Err(SequenceDoubt::MainTorn),
        (_, Found::Missing) => return Err(SequenceDoubt::WitnessMissing),
        (_, Found::Torn) => return Err(SequenceDoubt::WitnessTorn),
        (Found::Whole(main), Found::Whole(witness)) => {
            let one_step = compare(&main, &witness)?;
            (main, one_step)
        }
    };
    if record.gid != group.security.gid || record.group != group.name {
        return Err(SequenceDoubt::OtherGroup);
    }
    if record.restored {
        return Err(SequenceDoubt::Restored);
    }
    if record.moved_to.is_some() {
        return Err(SequenceDoubt::Moved);
    }
    if record.machine != machine.as_str() {
        return Err(SequenceDoubt::OtherMachine);
    }
    if record.seen_ahead {
        return Err(SequenceDoubt::SeenAhead);
    }
    Ok((record, repair_witness))
}
