//! The output of a running rollout: its events, line by line, and on a terminal a bar with counts.

use std::collections::BTreeMap;
use std::time::Instant;

use indicatif::ProgressBar;
use provisioning::Name;

use super::output::{safe, say};
use super::progress::{LINE_AFTER, bar};
use fwcast_service::runner::{Note, RolloutObserver, doing, pace};
use rollout_engine::record::{Fact, Progress};
use rollout_engine::state::Sending;
use rollout_engine::{Engine, Run, Task};

/// Shows it on standard error. Each phase has its own counts, so that nothing unfinished stands at 100 %.
#[derive(Debug)]
pub(super) struct RolloutProgress {
    quiet: bool,
    bar: Option<ProgressBar>,
    spoke: Instant,
    /// The group that another process, or another rollout of this one, sends for.
    awaited: Option<Name>,
    /// What its lines begin with.
    prefix: String,
}

impl RolloutProgress {
    /// A bar if standard error is a terminal, nothing at all if `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, bar: bar(quiet), spoke: Instant::now(), awaited: None, prefix: String::new() }
    }

    /// Lines that begin with the name, for one of several rollouts.
    pub(super) fn of_several(quiet: bool, name: &Name) -> Self {
        Self { bar: None, prefix: format!("{name}: "), ..Self::new(quiet) }
    }

    fn line(&mut self, text: &str) {
        self.spoke = Instant::now();
        let prefix = &self.prefix;
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(format!("{prefix}{text}")),
            None => say!("{prefix}{text}"),
        }
    }
}

impl RolloutObserver for RolloutProgress {
    /// Prints events; healthy agents are only counted.
    fn facts(&mut self, facts: &[Fact]) {
        for fact in facts.iter().filter(|fact| fact.kind != "agent-confirmed") {
            let agent = fact.agent.as_ref().map_or_else(String::new, |agent| format!("agent {agent} "));
            self.line(&format!("{:.0} {agent}{}", fact.at, safe(&fact.text)));
        }
    }

    fn run_begins(&mut self, run: &Run, engine: &Engine) {
        self.awaited = None;
        if !matches!(run.task, Task::Census) {
            self.line(&format!("{}; {}", doing(engine), counts(engine)));
        }
    }

    fn waits_for(&mut self, group: &Name) {
        // Printed once per wait.
        if self.awaited.as_ref() != Some(group) {
            let who = if self.prefix.is_empty() { "" } else { "another of these rollouts, or " };
            self.line(&format!("group '{group}': waiting for {who}another fwcast process that sends for it"));
            self.awaited = Some(group.clone());
        }
    }

    fn tick(&mut self, engine: &Engine) {
        let Some(bar) = &self.bar else {
            if self.spoke.elapsed() >= LINE_AFTER {
                self.line(&format!("{}; {}", doing(engine), counts(engine)));
            }
            return;
        };
        let state = engine.state();
        let sendings: Vec<&Sending> = state.sending.values().filter(|sending| sending.blocks > 0).collect();
        let blocks: u64 = sendings.iter().map(|sending| u64::from(sending.blocks)).sum();
        let left: u64 = sendings.iter().map(|sending| u64::from(sending.left)).sum();
        let (done, of) = if blocks > 0 { (blocks - left, blocks) } else { share(engine) };
        bar.set_length(of);
        bar.set_position(done);
        // The bar has the numbers of blocks.
        bar.set_message(match sendings.as_slice() {
            [one] if state.outages.is_empty() => pace(one, engine.plan().image.block_bytes.into()),
            _ => doing(engine),
        });
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn note(&mut self, note: Note) {
        say!("{}note: {note}", self.prefix);
    }
}

/// The progress of the phase: agents with the image during the transfer, else agents of the waves so far that
/// have ended.
fn share(engine: &Engine) -> (u64, u64) {
    let (done, of) = match engine.state().reached {
        None => {
            let counts = engine.counts(|_| true);
            (counts.have_it, counts.all)
        }
        Some(reached) => {
            let counts = engine.counts(|wave| wave <= reached);
            (counts.confirmed + counts.failed + counts.lost, counts.all)
        }
    };
    (done as u64, of as u64)
}

/// How many agents are in each state, as in `3 ready, 2 confirmed`.
fn counts(engine: &Engine) -> String {
    let mut by_progress = BTreeMap::<Progress, usize>::new();
    for agent in engine.agents().values() {
        *by_progress.entry(agent.progress).or_default() += 1;
    }
    let parts: Vec<String> =
        by_progress.into_iter().map(|(progress, count)| format!("{count} {}", progress.name())).collect();
    parts.join(", ")
}
