//! Where state is kept.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use provisioning::{Hex, Name};

use super::StateError;
use crate::files::{self, FileError};

/// The files in a group's folder, except its counters.
pub const GROUP_FILES: [&str; 5] = ["group.json", "agents.json", "manager.json", "floors", "attempts"];

/// The state folder and the witness folder. Neither may contain the other: restoring one backup must not
/// bring back both copies of the counters (protocol.md \[reserve\]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir {
    state: PathBuf,
    witness: PathBuf,
}

impl StateDir {
    /// Finds both folders, and creates them if they are missing.
    ///
    /// State: as given, else `$STATE_DIRECTORY` (systemd), else `$XDG_STATE_HOME/fwcast`, else
    /// `~/.local/state/fwcast`. Witness: as given, else `$XDG_DATA_HOME/fwcast-witness`, else
    /// `~/.local/share/fwcast-witness`.
    pub fn locate(state: Option<&Path>, witness: Option<&Path>) -> Result<Self, StateError> {
        let (state, witness) = Self::folders(state, witness)?;
        Self::open(&state, &witness)
    }

    /// Both folders as given, else their defaults, whether they are there or not.
    pub fn folders(state: Option<&Path>, witness: Option<&Path>) -> Result<(PathBuf, PathBuf), StateError> {
        let state = Self::state_of(state)?;
        let witness = match witness {
            Some(path) => path.to_owned(),
            None => home("XDG_DATA_HOME", ".local/share", "fwcast-witness", "--witness (or FWCAST_WITNESS)")?,
        };
        Ok((state, witness))
    }

    /// The state folder as given, else its default, whether it is there or not.
    fn state_of(state: Option<&Path>) -> Result<PathBuf, StateError> {
        match (state, systemd_folder()) {
            (Some(path), _) => Ok(path.to_owned()),
            (None, Some(path)) => Ok(path),
            (None, None) => home("XDG_STATE_HOME", ".local/state", "fwcast", "--state (or FWCAST_STATE)"),
        }
    }

    /// Uses these two folders, and creates them if they are missing.
    pub fn open(state: &Path, witness: &Path) -> Result<Self, StateError> {
        files::make_folder(state)?;
        files::make_folder(witness)?;
        let state = absolute(state)?;
        let witness = absolute(witness)?;
        if state.starts_with(&witness) || witness.starts_with(&state) {
            return Err(StateError::WitnessNotApart { state, witness });
        }
        Ok(Self { state, witness })
    }

    /// The names of all groups, in order.
    pub fn groups(&self) -> Result<Vec<Name>, StateError> {
        let folder = self.state.join("groups");
        files::make_folder(&folder)?;
        let failed = |source| FileError::System { verb: "list", path: folder.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Anything else is not a group: an unfinished one has a name that begins with a dot.
            if let Some(name) = entry.file_name().to_str().and_then(|text| Name::new(text).ok()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// The state folder itself.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Another state folder with the same witness folder. A restored state is assembled there before it gets
    /// its name.
    pub fn in_making(&self, what: &str) -> Self {
        Self { state: self.state.join(format!(".{what}.new")), witness: self.witness.clone() }
    }

    /// The files of a group that go into a backup: all except its counters (protocol.md \[reserve\]).
    pub fn backed_up(&self, name: &Name) -> Vec<PathBuf> {
        GROUP_FILES.iter().map(|file| self.group(name).join(file)).filter(|path| path.exists()).collect()
    }

    /// The witness copy of a database's epoch.
    pub(super) fn witness_of_database(&self, database: u64) -> PathBuf {
        self.witness.join(format!("database-{database:016x}.epoch"))
    }

    /// The witness folder.
    pub fn witness(&self) -> &Path {
        &self.witness
    }

    /// The folder of a group.
    pub(super) fn group(&self, name: &Name) -> PathBuf {
        self.state.join("groups").join(name.as_str())
    }

    /// Where a group is assembled before it gets its name.
    pub(super) fn group_in_making(&self, name: &Name) -> PathBuf {
        self.state.join("groups").join(format!(".{name}.new"))
    }

    /// Where a replaced group is archived. Gids are random, so the name is free.
    pub(super) fn archived(&self, name: &Name, gid: &Hex) -> PathBuf {
        self.state.join("archive").join(format!("{name}-{gid}"))
    }

    /// The lock file for one kind of work on the group or rollout with this name. It is outside the group's
    /// folder, which is renamed when the group is replaced.
    pub(super) fn lock(&self, name: &Name, purpose: &str) -> PathBuf {
        self.state.join("locks").join(format!("{name}.{purpose}"))
    }

    /// A lock file for the state folder as a whole. Lock files of groups and rollouts have a dot in their
    /// names.
    pub(super) fn state_lock(&self, purpose: &str) -> PathBuf {
        self.state.join("locks").join(purpose)
    }

    /// The witness of the Sender IDs that a group has given.
    pub(super) fn witness_of_sender_ids(&self, name: &Name, gid: &Hex) -> PathBuf {
        self.witness.join(format!("{name}-{gid}.ids"))
    }

    /// The witness of the last generation of keys that a group of this name had.
    pub(super) fn witness_of_generation(&self, name: &Name) -> PathBuf {
        self.witness.join(format!("{name}.generation"))
    }

    /// The witness copy of a group's counters.
    pub(super) fn witness_of(&self, name: &Name, gid: &Hex) -> PathBuf {
        self.witness.join(format!("{name}-{gid}.sequence"))
    }
}

fn systemd_folder() -> Option<PathBuf> {
    // systemd separates several folders in one variable with colons; the first is ours.
    let all = env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty())?;
    env::split_paths(&all).next()
}

fn home(
    variable: &'static str,
    below_home: &str,
    folder: &str,
    option: &'static str,
) -> Result<PathBuf, StateError> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set(variable)
        .or_else(|| set("HOME").map(|home| home.join(below_home)))
        .ok_or(StateError::NoHome { variable, option })?;
    Ok(base.join(folder))
}

fn absolute(path: &Path) -> Result<PathBuf, StateError> {
    fs::canonicalize(path)
        .map_err(|source| FileError::System { verb: "find", path: path.into(), source }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_folders_must_lie_apart_whatever_links_say() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(StateDir::open(&path("state"), &path("witness")).is_ok());
        std::os::unix::fs::symlink(path("state"), path("link")).unwrap();
        for (state, witness) in [
            ("state", "state"),
            ("state", "state/witness"),
            ("both/state", "both"),
            ("state", "link/witness"),
            ("state", "witness/../state/deeper"),
        ] {
            let error = StateDir::open(&path(state), &path(witness)).unwrap_err();
            assert!(matches!(error, StateError::WitnessNotApart { .. }), "{state} {witness}");
        }
        assert!(StateDir::open(&path("state"), &path("state-witness")).is_ok());
    }
}
