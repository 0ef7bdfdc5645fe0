//! What is known of a rollout, whichever process runs it.

use jiff::Timestamp;
use provisioning::Name;

use super::RunError;
use fwcast_store::Store;
use rollout_engine::record::Outcome;
use rollout_engine::state::{Pause, Sending, Stage};
use rollout_engine::{Engine, Waits};

/// What a block takes on the link besides its bytes: headers, signature and its part of the hash tree.
pub const BLOCK_OVERHEAD_BYTES: u64 = 128 + 42;

/// The engine of a rollout that is in the store.
///
/// # Errors
/// There is no rollout with this name, or it cannot be read.
pub async fn load<S: Store>(store: &S, name: &Name) -> Result<Engine, RunError> {
    let rollout = store.rollout(name).await?.ok_or_else(|| RunError::NotBegun(name.clone()))?;
    let state = serde_json::from_str(&rollout.state)
        .map_err(|why| RunError::StateUnreadable { name: name.clone(), why })?;
    let agents = store.rollout_agents(name).await?.into_iter().collect();
    Ok(Engine::resume(name.clone(), rollout.plan, state, agents))
}

/// How a rollout stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has ended like this.
    Ended(Outcome),
    /// No process runs it.
    NoProcess,
    /// It is paused.
    Paused,
    /// It waits for a window or a moment.
    Waiting,
    /// It runs.
    Running,
}

impl Standing {
    /// How this rollout stands; `is_run`: some process runs it.
    pub fn of(engine: &Engine, is_run: bool, now: Timestamp) -> Self {
        match engine.state().outcome() {
            Some(outcome) => Self::Ended(outcome),
            None if !is_run => Self::NoProcess,
            None if engine.state().paused.is_some() => Self::Paused,
            None if engine.waits(now).is_some() => Self::Waiting,
            None => Self::Running,
        }
    }

    /// Its name in output, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ended(outcome) => outcome.name(),
            Self::NoProcess => "no-process",
            Self::Paused => "paused",
            Self::Waiting => "waiting",
            Self::Running => "running",
        }
    }
}

/// What a rollout does or waits for, in one line; `is_run`: some process runs it.
pub fn doing_of(engine: &Engine, is_run: bool) -> String {
    let doing = doing(engine);
    if is_run || engine.state().outcome().is_some() {
        return doing;
    }
    format!("no process runs this: `fwcast run {}` goes on; {doing}", engine.name())
}

/// What the rollout does or waits for, in one line.
pub fn doing(engine: &Engine) -> String {
    let state = engine.state();
    match &state.paused {
        Some(Pause::Broken(why)) if state.outcome().is_none() => {
            let name = engine.name();
            return format!(
                "paused: {why}; once that is mended, `fwcast run` goes on; `fwcast rollout cancel {name}` \
                 ends it"
            );
        }
        Some(pause) if state.outcome().is_none() => return format!("paused: {pause}"),
        _ => {}
    }
    if let (Some((group, why)), None) = (state.outages.first_key_value(), state.outcome()) {
        return format!("{}; group '{group}' cannot be reached at the moment ({why})", stage(engine));
    }
    match engine.waits(Timestamp::now()) {
        Some(Waits::Retry(_)) | None => stage(engine),
        Some(waits) => waits.to_string(),
    }
}

/// The blocks that are being sent, in one line; `None` if none are.
pub fn sending(engine: &Engine) -> Option<String> {
    let block_bytes = engine.plan().image.block_bytes;
    let groups = engine.state().sending.iter().filter(|(_, sending)| sending.blocks > 0);
    let texts = groups.map(|(group, sending)| {
        let again =
            if sending.round > 0 { format!(" again (round {})", sending.round) } else { String::new() };
        let (sent, pace) = (sending.blocks - sending.left, pace(sending, block_bytes.into()));
        format!("group '{group}': {sent} of {} blocks sent{again}, {pace}", sending.blocks)
    });
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// How fast blocks of this size are sent, and how long the rest takes.
pub fn pace(sending: &Sending, block_bytes: u32) -> String {
    let on_link = u64::from(block_bytes) + BLOCK_OVERHEAD_BYTES;
    format!("{} s left at {} kbit/s", sending.seconds_left(on_link), sending.bits_per_second / 1000)
}

/// What its stage does or waits for.
fn stage(engine: &Engine) -> String {
    let state = engine.state();
    let wave = |wave: u32| engine.plan().waves.get(wave as usize).map_or("", |wave| wave.name.as_str());
    match &state.stage {
        Stage::Transfer => match sending(engine) {
            Some(sending) => format!("all agents receive; {sending}"),
            None => "all agents receive".to_owned(),
        },
        Stage::Activation { wave: number } => {
            let budget = engine.plan().budget.as_ref();
            let budget = budget.map_or_else(String::new, |budget| {
                format!(", at most {} of each '{}' at once", budget.max, budget.label)
            });
            format!("wave '{}' activates{budget}", wave(*number))
        }
        Stage::Soak { wave: number, until, .. } => {
            format!("wave '{}' is watched until {until:.0}", wave(*number))
        }
        Stage::Approval { wave: number } => {
            let (name, next) = (engine.name(), wave(number + 1));
            format!("wave '{next}' waits for `fwcast rollout approve {name}`")
        }
        Stage::Stopping { wave: number, why, .. } => format!(
            "stops at wave '{}' ({why}): agents that were told to activate may still report",
            wave(*number)
        ),
        Stage::Cancelling => "agents are told to drop the update".to_owned(),
        Stage::Undoing => "agents on trial are told to go back".to_owned(),
        Stage::Ended { outcome, why } => format!("{}: {why}", outcome.name()),
    }
}
