//! Enrolls many agents from a table.
//!
//! It can be interrupted at any moment and run again. Files are written with the ending `.new`; then the
//! group's record is written; then the files get their names. So an agent of the record either has its file,
//! or a `.new` file with its credential in it, which the next run gives its name.

use std::path::{Path, PathBuf};

use provisioning::Name;

use super::enroll::{Request, RequestError};
use super::enrollment::{self, Done};
use fwcast_state::files::{self, Access, FileError};
use fwcast_state::{Agents, Enrolled, GroupLock, GroupState, StateDir};
use rollout_engine::plan::AgentKey;

/// How many agents are enrolled between two writes of the group's record.
const BATCH: usize = 100;

/// What has become of the lines so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Enrolled by this run.
    pub enrolled: usize,
    /// Enrolled before.
    pub passed_over: usize,
}

/// Enrolls the agents that are not enrolled yet, those of one group after another, and tells how far it
/// is, and whom it has enrolled.
///
/// # Errors
/// The first thing that fails. What was told is enrolled and has its file.
pub async fn import(
    dir: &StateDir,
    mut requests: Vec<Request>,
    mut tell: impl FnMut(Imported, Vec<AgentKey>),
) -> Result<Imported, RequestError> {
    requests.sort_by(|one, other| one.group.cmp(&other.group));
    let mut done = Imported::default();
    for of_group in requests.chunk_by(|one, other| one.group == other.group) {
        for batch in of_group.chunks(BATCH) {
            let enrolled = enroll_batch(dir, batch, &mut done).await?;
            tell(done, enrolled);
        }
    }
    Ok(done)
}

async fn enroll_batch(
    dir: &StateDir,
    batch: &[Request],
    done: &mut Imported,
) -> Result<Vec<AgentKey>, RequestError> {
    let Some(first) = batch.first() else { return Ok(Vec::new()) };
    let lock = GroupLock::to_edit(dir, &first.group).await?;
    let group = GroupState::open(dir, &first.group)?;
    let agents = Agents::load(dir, &first.group)?;
    let mut fresh = Vec::new();
    for request in batch {
        if let Some(enrolled) = group.agents.iter().find(|agent| agent.name == request.name) {
            finish(enrolled, &request.out)?;
            done.passed_over += 1;
        } else {
            files::check_target(&request.out)?;
            let known = agents.has(&request.name);
            fresh.push(Request { again: known, ..request.clone() });
        }
    }
    let outs: Vec<PathBuf> = fresh.iter().map(|request| request.out.clone()).collect();
    let news: Vec<PathBuf> = outs.iter().map(|out| unfinished(out)).collect();
    let resolved = fresh.into_iter().map(|request| request.resolve(&group, &agents));
    let resolved = resolved.collect::<Result<Vec<_>, _>>()?;
    let write = |all: &[Done]| -> Result<(), FileError> {
        news.iter().try_for_each(|new| files::remove_file(new))?;
        let files: Vec<(&Path, &[u8])> =
            news.iter().zip(all).map(|(new, done)| (new.as_path(), done.content.as_slice())).collect();
        files::create_all(&files, Access::Secret)
    };
    let all = enrollment::enroll_writing(dir, &lock, agents, resolved, write)?;
    let renamed: Vec<(&Path, &Path)> =
        news.iter().zip(&outs).map(|(new, out)| (new.as_path(), out.as_path())).collect();
    files::rename_all(&renamed)?;
    done.enrolled += all.len();
    let key = |done: Done| AgentKey { group: first.group.clone(), name: done.enrolled.name };
    Ok(all.into_iter().map(key).collect())
}

/// Gives an agent's file its name, if the run that enrolled it did not come to that.
fn finish(agent: &Enrolled, out: &Path) -> Result<(), FileError> {
    let new = unfinished(out);
    if !new.exists() || out.exists() {
        return Ok(());
    }
    let content = files::read_secret(&new, 1024 * 1024)?;
    let credential = agent.credential.as_bytes();
    let text = hex::encode(credential);
    let holds = |wanted: &[u8]| content.windows(wanted.len()).any(|window| window == wanted);
    if holds(credential) || holds(text.as_bytes()) { files::rename(&new, out) } else { Ok(()) }
}

fn unfinished(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// The name of an agent's file: colons of MAC addresses are none for all file systems.
pub fn file_name(agent: &Name, is_mcu: bool) -> String {
    let ending = if is_mcu { "cbor" } else { "yaml" };
    format!("{}.{ending}", agent.as_str().replace(':', "-"))
}
