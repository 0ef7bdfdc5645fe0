//! How often a database was opened to send, recorded outside any backup of the database.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::sealed::{self, SealedError};
use super::{StateDir, StateError};

/// The witness of a database.
#[derive(Debug)]
pub struct EpochWitness {
    path: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochFile {
    epoch: u64,
}

impl EpochWitness {
    /// The witness of the database with this identity.
    pub fn of(dir: &StateDir, database: u64) -> Self {
        Self { path: dir.witness_of_database(database) }
    }

    /// The last number that was written; 0 if there is none or it cannot be read. The counters of the groups
    /// have their own witnesses, whose loss is noticed if this folder is lost.
    pub fn read(&self) -> Result<u64, StateError> {
        match sealed::read::<EpochFile>(&self.path) {
            Ok(record) => Ok(record.epoch),
            Err(SealedError::Missing | SealedError::Torn(_)) => Ok(0),
            Err(SealedError::File(error)) => Err(error.into()),
        }
    }

    /// Writes the number; durable when it returns.
    pub fn write(&self, epoch: u64) -> Result<(), StateError> {
        Ok(sealed::write(&self.path, &EpochFile { epoch })?)
    }
}
