//! Which slot runs: the boot record on disk, and the order in which it and the switch change.
//!
//! Each line below is durable before the next one begins. So a kill at any moment leaves one of these states:
//!
//! | | `boot.cbor` says | `current` points to | a restart |
//! |---|---|---|---|
//! | 1 | confirmed old, no trial | old | continues receiving |
//! | 2 | trial, [`Phase::Switching`] | old or new | carries out the switch (again) |
//! | 3 | trial, [`Phase::Running`] | new | judges the new image again; too many restarts roll it back |
//! | 4 | trial, [`Phase::Healthy`] | new | reports it healthy; it is never rolled back |
//! | 5 | confirmed new, no trial | new | is done |
//!
//! For a rollback, from 2 or 3:
//!
//! | | `boot.cbor` says | `current` points to | a restart |
//! |---|---|---|---|
//! | 6 | trial, [`Phase::RollingBack`] | new or old | carries out the switch back (again) |
//! | 7 | confirmed old, no trial, rolled back | old | reports the rollback |
//!
//! With a ready command, [`Phase::Asking`] comes before line 2: confirmed old, `current` old, and a restart
//! asks again. A trial that ends before any switch has begun goes straight to line 7.
//!
//! Until line 5 or 7 neither slot can be written. With a switch command, the command takes the place of
//! `current`. It may be called twice for one switch, and the second call must be harmless.

use std::io;

use minicbor::bytes::ByteArray;
use update_core::platform::RollBackCause;
use update_core::remark::Remark;

use crate::boot_record::{BootRecord, Cause, Phase, Prepared, RolledBack, Slot, TrialRecord, Unreadable};
use crate::disk::Disk;

/// The link to the running image.
pub const CURRENT: &str = "current";
/// The file of the boot record.
pub const BOOT: &str = "boot.cbor";
/// The agent's other files beside the boot record.
const OTHERS: [&str; 5] = ["slot-a.img", "slot-b.img", "pages.bin", "installed.cbor", "update.cbor"];

/// How many restarts of the agent an image on trial survives; the next one rolls it back.
pub const RESTARTS_MAX: u8 = 3;

/// How the device switches to another image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// With the link `current` in the state folder.
    BuiltIn,
    /// With the operator's command.
    Command,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The boot record is damaged.
    #[error(
        "{BOOT} is damaged, so it is unknown which image is confirmed: move everything but counters.cbor \
         out of the folder and run fwcast-agent --install"
    )]
    Torn,
    /// The boot record was written by another version of the agent.
    #[error(
        "{BOOT} has format version {0}, which this fwcast-agent does not read: run the version that wrote \
         it, or move everything but counters.cbor out of the folder and run fwcast-agent --install"
    )]
    OtherVersion(u8),
    /// There are files of an agent, but no boot record.
    #[error(
        "{BOOT} is missing, but {0} exists, so it is unknown which image is confirmed: move everything but \
         counters.cbor out of the folder and run fwcast-agent --install"
    )]
    Missing(&'static str),
    /// The built-in switch needs an image to return to.
    #[error(
        "no image is installed that a failed update could roll back to: run fwcast-agent --install IMAGE \
         --sequence N first, or configure an activate_command"
    )]
    NotInstalled,
}

/// The boot record in memory and on disk. Every change is durable when its function returns `Ok`. After an
/// error the record in memory is the old one; on disk it is the old or the new one.
#[derive(Debug)]
pub struct Slots {
    disk: Disk,
    switch: Switch,
    record: BootRecord,
}

impl Slots {
    /// Reads the boot record; creates the first one in an empty folder if a command does the switch.
    ///
    /// # Errors
    /// [`OpenError`], all of them.
    pub fn open(disk: Disk, switch: Switch) -> Result<Self, OpenError> {
        let record = match disk.read(BOOT)? {
            Some(bytes) => BootRecord::from_bytes(&bytes).map_err(|error| match error {
                Unreadable::Torn => OpenError::Torn,
                Unreadable::Version(version) => OpenError::OtherVersion(version),
            })?,
            None => {
                if let Some(other) = OTHERS.into_iter().find(|other| disk.has(other)) {
                    return Err(OpenError::Missing(other));
                }
                if switch == Switch::BuiltIn {
                    return Err(OpenError::NotInstalled);
                }
                let first = BootRecord::confirmed(Slot::A);
                disk.replace(BOOT, &first.to_bytes().map_err(io::Error::other)?)?;
                first
            }
        };
        let slots = Self { disk, switch, record };
        slots.repair_link()?;
        Ok(slots)
    }

    /// The current boot record.
    #[must_use]
    pub const fn record(&self) -> &BootRecord {
        &self.record
    }

    /// How the device switches to another image.
    #[must_use]
    pub const fn switch(&self) -> Switch {
        self.switch
    }

    /// The slot for the image of an update: the one that is not confirmed.
    #[must_use]
    pub const fn image_slot(&self) -> Slot {
        self.record.confirmed.other()
    }

    /// The phase of the trial; `None` without one.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.record.trial.map(|trial| trial.phase)
    }

    /// Records what the areas are prepared for.
    ///
    /// # Errors
    /// The system's error.
    pub fn set_prepared(&mut self, sizes: Prepared) -> io::Result<()> {
        self.save(BootRecord { prepared: Some(sizes), ..self.record })
    }

    /// Another update begins: forgets what the areas were prepared for and how the last trial failed.
    ///
    /// # Errors
    /// The system's error.
    pub fn forget_update(&mut self) -> io::Result<()> {
        self.save(BootRecord { prepared: None, rolled_back: None, remark: None, ..self.record })
    }

    /// Lines 1 to 2: decides to try the image in [`image_slot`](Self::image_slot).
    ///
    /// # Errors
    /// The system's error.
    pub fn begin_trial(&mut self, digest: &[u8; 32], image_bytes: u32, phase: Phase) -> io::Result<()> {
        let trial = Some(TrialRecord {
            digest: ByteArray::from(*digest),
            image_bytes,
            restarts: 0,
            phase,
            touched: false,
            tries_back: 0,
            asked_s: 0,
        });
        self.save(BootRecord { trial, rolled_back: None, remark: None, ..self.record })
    }

    /// The trial that this record is about, if there is one.
    fn changed(&self, change: impl FnOnce(&mut TrialRecord)) -> BootRecord {
        let mut record = self.record;
        if let Some(trial) = &mut record.trial {
            change(trial);
        }
        record
    }

    /// A switch begins: from now on there may be something to switch back.
    ///
    /// # Errors
    /// The system's error.
    pub fn touch(&mut self) -> io::Result<()> {
        self.save(self.changed(|trial| trial.touched = true))
    }

    /// No switch has begun after all.
    ///
    /// # Errors
    /// The system's error.
    pub fn untouch(&mut self) -> io::Result<()> {
        self.save(self.changed(|trial| trial.touched = false))
    }

    /// Whether a switch has begun.
    #[must_use]
    pub fn is_touched(&self) -> bool {
        self.record.trial.is_some_and(|trial| trial.touched)
    }

    /// How often the switch back has been tried.
    #[must_use]
    pub fn tries_back(&self) -> u8 {
        self.record.trial.map_or(0, |trial| trial.tries_back)
    }

    /// The switch back is tried once more. Stored before it is, as the try may reboot the machine.
    ///
    /// # Errors
    /// The system's error.
    pub fn count_try_back(&mut self) -> io::Result<()> {
        self.save(self.changed(|trial| trial.tries_back = trial.tries_back.saturating_add(1)))
    }

    /// The tries so far count no more.
    ///
    /// # Errors
    /// The system's error.
    pub fn forget_tries_back(&mut self) -> io::Result<()> {
        self.save(self.changed(|trial| trial.tries_back = 0))
    }

    /// Stores for how long the device has been asked in vain.
    ///
    /// # Errors
    /// The system's error.
    pub fn set_asked_s(&mut self, seconds: u32) -> io::Result<()> {
        self.save(self.changed(|trial| trial.asked_s = seconds))
    }

    /// Stores why the trial stands as it does.
    ///
    /// # Errors
    /// The system's error.
    pub fn set_remark(&mut self, remark: Remark) -> io::Result<()> {
        self.save(BootRecord { remark: Some(remark), ..self.record })
    }

    /// Why the trial stands as it does, or why the last one failed.
    #[must_use]
    pub fn remark(&self) -> Remark {
        self.record.remark.unwrap_or(Remark::NONE)
    }

    /// Counts a start of the agent during a trial; returns the number of starts.
    ///
    /// # Errors
    /// The system's error.
    pub fn count_restart(&mut self) -> io::Result<u8> {
        self.save(self.changed(|trial| trial.restarts = trial.restarts.saturating_add(1)))?;
        Ok(self.record.trial.map_or(0, |trial| trial.restarts))
    }

    /// Lines 2 to 3, 3 to 4, and 2 or 3 to 6. Without a trial nothing happens.
    ///
    /// # Errors
    /// The system's error.
    pub fn enter(&mut self, phase: Phase) -> io::Result<()> {
        self.save(self.changed(|trial| trial.phase = phase))
    }

    /// Lines 6 to 7: the old image runs again. The tried one stays in its slot, for another attempt.
    ///
    /// # Errors
    /// The system's error.
    pub fn end_roll_back(&mut self, cause: RollBackCause) -> io::Result<()> {
        let cause = Cause(cause);
        let rolled_back = self.record.trial.map(|trial| RolledBack { digest: trial.digest, cause });
        self.save(BootRecord { trial: None, rolled_back, ..self.record })
    }

    /// Lines 4 to 5: the tried image is the confirmed one. The old one's slot is then free.
    ///
    /// # Errors
    /// The system's error.
    pub fn settle(&mut self) -> io::Result<()> {
        let confirmed = self.image_slot();
        let record = BootRecord { confirmed, prepared: None, trial: None, ..self.record };
        self.save(BootRecord { rolled_back: None, remark: None, ..record })
    }

    /// Lines 7 to 1: the rollback has been acknowledged.
    ///
    /// # Errors
    /// The system's error.
    pub fn forget_roll_back(&mut self) -> io::Result<()> {
        self.save(BootRecord { rolled_back: None, ..self.record })
    }

    /// Counters have been saved.
    ///
    /// # Errors
    /// The system's error.
    pub fn set_counted(&mut self) -> io::Result<()> {
        self.save(BootRecord { counted: true, ..self.record })
    }

    /// The record of what is installed has been saved.
    ///
    /// # Errors
    /// The system's error.
    pub fn set_installed(&mut self) -> io::Result<()> {
        self.save(BootRecord { installed: true, ..self.record })
    }

    /// The built-in switch: points the link to a slot's image.
    ///
    /// # Errors
    /// The system's error.
    pub fn point_to(&self, slot: Slot) -> io::Result<()> {
        self.disk.point(CURRENT, slot.file_name())
    }

    /// The path of a slot's image.
    #[must_use]
    pub fn image_path(&self, slot: Slot) -> std::path::PathBuf {
        self.disk.path(slot.file_name())
    }

    /// What is wrong with the slots and their link, so that an update could not be received or undone.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        let confirmed = self.record.confirmed;
        let (back, next, link) =
            (self.image_path(confirmed), self.image_path(confirmed.other()), self.disk.path(CURRENT));
        let built_in = self.switch == Switch::BuiltIn;
        let no_way_back = (built_in && !back.is_file()).then(|| {
            let name = confirmed.file_name();
            format!("{name}, the confirmed image, is not there, so 'current' leads nowhere: put it back")
        });
        let no_place = (next.exists() && !next.is_file())
            .then(|| format!("{} is not a file: move it away", confirmed.other().file_name()));
        let no_link = (built_in && link.exists() && !link.is_symlink())
            .then(|| format!("{CURRENT} is not a link: move it away"));
        [no_way_back, no_place, no_link].into_iter().flatten()
    }

    /// The gate for a switch by command.
    ///
    /// # Errors
    /// The cut by a test.
    pub fn pass_command(&self) -> io::Result<()> {
        self.disk.pass(crate::disk::Step::Command)
    }

    /// The boot record decides. A link that something else moved is moved back.
    fn repair_link(&self) -> io::Result<()> {
        let slot = match self.phase() {
            None | Some(Phase::Asking) => self.record.confirmed,
            Some(Phase::Running | Phase::Healthy) => self.image_slot(),
            Some(Phase::Switching | Phase::RollingBack(_)) => return Ok(()),
        };
        let target = self.disk.target(CURRENT);
        let right = target.as_deref().is_some_and(|target| target.as_os_str() == slot.file_name());
        if self.switch == Switch::Command || right {
            return Ok(());
        }
        tracing::warn!(%slot, "the link to the running image was missing or pointed elsewhere: repaired");
        self.point_to(slot)
    }

    fn save(&mut self, record: BootRecord) -> io::Result<()> {
        if record != self.record {
            self.disk.replace(BOOT, &record.to_bytes().map_err(io::Error::other)?)?;
            self.record = record;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn refused(folder: &tempfile::TempDir, switch: Switch) -> String {
        let disk = Disk::open(folder.path()).unwrap();
        let sentence = Slots::open(disk, switch).unwrap_err().to_string();
        assert!(!sentence.contains('\n'));
        sentence
    }

    #[test]
    fn a_torn_boot_record_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = BootRecord::confirmed(Slot::B).to_bytes().unwrap();
        for length in 0..bytes.len() {
            fs::write(folder.path().join(BOOT), &bytes[..length]).unwrap();
            assert!(refused(&folder, Switch::BuiltIn).contains("boot.cbor is damaged"));
        }
    }

    #[test]
    fn a_lost_boot_record_is_not_made_anew() {
        for other in OTHERS {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(other), b"x").unwrap();
            assert!(refused(&folder, Switch::Command).contains("boot.cbor is missing"));
            assert!(!folder.path().join(BOOT).exists());
        }
    }

    #[test]
    fn an_empty_folder_serves_a_switch_command_only() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refused(&folder, Switch::BuiltIn).contains("--install"));
        let slots = Slots::open(Disk::open(folder.path()).unwrap(), Switch::Command).unwrap();
        assert_eq!(*slots.record(), BootRecord::confirmed(Slot::A));
        assert!(folder.path().join(BOOT).exists());
    }

    #[test]
    fn a_link_that_was_moved_is_moved_back() {
        let folder = tempfile::tempdir().unwrap();
        let record = BootRecord::confirmed(Slot::B).to_bytes().unwrap();
        fs::write(folder.path().join(BOOT), record).unwrap();
        for wrong in ["slot-a.img", "/elsewhere"] {
            let disk = Disk::open(folder.path()).unwrap();
            disk.point(CURRENT, wrong).unwrap();
            let slots = Slots::open(disk.clone(), Switch::BuiltIn).unwrap();
            assert_eq!(disk.target(CURRENT).unwrap().as_os_str(), "slot-b.img");
            drop(slots);
        }
    }

    #[test]
    fn another_update_or_trial_begins_without_what_the_last_one_left() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let mut slots = Slots::open(disk.clone(), Switch::Command).unwrap();
        slots.set_prepared(Prepared { image_bytes: 1, page_bytes: 2 }).unwrap();
        slots.begin_trial(&[1; 32], 1, Phase::Switching).unwrap();
        slots.end_roll_back(RollBackCause::Reset).unwrap();
        assert!(slots.record().rolled_back.is_some());
        slots.begin_trial(&[2; 32], 1, Phase::Switching).unwrap();
        assert_eq!(slots.record().rolled_back, None);
        slots.end_roll_back(RollBackCause::Reset).unwrap();
        slots.set_prepared(Prepared { image_bytes: 1, page_bytes: 2 }).unwrap();
        slots.forget_update().unwrap();
        assert_eq!((slots.record().prepared, slots.record().rolled_back), (None, None));
        let stored = fs::read(folder.path().join(BOOT)).unwrap();
        assert_eq!(stored, slots.record().to_bytes().unwrap(), "it is durable");
    }
}
