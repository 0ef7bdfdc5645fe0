//! What is known of a rollout, whichever process runs it.

use provisioning::Name;

use super::RunError;
use crate::store::Store;
use rollout_engine::Engine;
use rollout_engine::state::{Pause, Stage};

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

/// What the rollout does or waits for, in one line.
pub fn doing(engine: &Engine) -> String {
    let state = engine.state();
    match &state.paused {
        Some(Pause::Broken(why)) if state.outcome().is_none() => {
            let name = engine.name();
            return format!(
                "paused: {why}; once that is mended, `fwcast run` goes on; `fwcast rollout cancel {name}` ends it"
            );
        }
        Some(pause) if state.outcome().is_none() => return format!("paused: {pause}"),
        _ => {}
    }
    if let (Some((group, why)), None) = (state.outages.first_key_value(), state.outcome()) {
        return format!("{}; group '{group}' cannot be reached at the moment ({why})", stage(engine));
    }
    stage(engine)
}

/// What its stage does or waits for.
fn stage(engine: &Engine) -> String {
    let state = engine.state();
    let wave = |wave: u32| engine.plan().waves.get(wave as usize).map_or("", |wave| wave.name.as_str());
    match &state.stage {
        Stage::Transfer => "all agents receive".to_owned(),
        Stage::Activation { wave: number } => format!("wave '{}' activates", wave(*number)),
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
