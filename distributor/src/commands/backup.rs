//! `fwcast backup` and `fwcast restore`: everything that can be restored, in one file.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use jiff::Timestamp;
use provisioning::Name;
use serde::Serialize;

use crate::commands::confirm::Yes;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::global::Global;
use crate::commands::output::{self, Printable, fields, say};
use crate::commands::runtime::runtime;
use fwcast_state::MachineId;
use fwcast_state::files::shown;
use fwcast_store::{InFile as _, SqliteStore, backup, restore};

/// Write groups, agents, rollouts and images to one file, with their secrets
#[derive(Debug, Args)]
pub struct Backup {
    /// The file; nothing is overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Move to another machine: this one never sends for the groups again, and only that one can restore the
    /// file, with all keys. What `fwcast config machine` prints there
    #[arg(long, value_name = "MACHINE")]
    move_to: Option<MachineId>,
    #[command(flatten)]
    yes: Yes,
}

/// Restore a backup into an empty state folder; its groups need fresh keys before anything is sent, unless
/// they were moved here
#[derive(Debug, Args)]
pub struct Restore {
    /// The file that `fwcast backup` wrote
    file: PathBuf,
}

#[derive(Serialize)]
struct Shown {
    file: PathBuf,
    made_at: Timestamp,
    groups: Vec<Name>,
    images: usize,
}

impl Backup {
    /// Writes it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let dir = global.state_dir()?;
        if self.move_to.is_some() {
            let question = "move all groups? This machine will never send for them again";
            self.yes.or_ask(question, "all groups")?;
        }
        let contents = runtime()?.block_on(async {
            let store = SqliteStore::open(&dir).await?;
            let contents = backup::write(&dir, &store, &self.out, self.move_to.as_ref()).await;
            store.close().await;
            contents
        })?;
        if self.move_to.is_some() {
            for group in &contents.without_keys {
                say!("note: the counters of group '{group}' are in doubt, so it needs fresh keys there");
            }
        }
        output::print(global.output, &Shown::new(&self.out, contents))?;
        Ok(Exit::Done)
    }
}

impl Restore {
    /// Restores it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let dir = global.state_dir_or_new()?;
        let contents = runtime()?.block_on(restore::restore::<SqliteStore>(&dir, &self.file))?;
        for group in &contents.without_keys {
            say!(
                "note: nothing is sent for group '{group}' until it has fresh keys: run `fwcast group \
                rekey {group}`"
            );
        }
        output::print(global.output, &Shown::new(&self.file, contents))?;
        Ok(Exit::Done)
    }
}

impl Shown {
    fn new(file: &std::path::Path, contents: backup::Contents) -> Self {
        let backup::Contents { made_at, groups, images, .. } = contents;
        Self { file: file.to_owned(), made_at, groups, images }
    }
}

impl Printable for Shown {
    fn table(&self) -> Table {
        let groups: Vec<_> = self.groups.iter().map(Name::as_str).collect();
        fields([
            ("file", shown(&self.file)),
            ("made at", self.made_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            ("groups", groups.join(" ")),
            ("images", self.images.to_string()),
        ])
    }

    fn names(&self) -> Option<Vec<String>> {
        Some(self.groups.iter().map(ToString::to_string).collect())
    }
}
