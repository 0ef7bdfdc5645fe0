//! Progress of a push: a bar on a terminal, plain lines otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use update_core::census::State;
use update_core::distribution::{Distribution, Event, Stage};

use crate::commands::output::say;
use fwcast_service::drive::DistributionObserver;
use fwcast_service::runner::pace;
use rollout_engine::Many;
use rollout_engine::state::Sending;

/// Without a terminal, print a line at each stage, and one after this long without any.
pub(crate) const LINE_AFTER: Duration = Duration::from_secs(30);

/// Shows the progress of a push on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    block_bytes: u32,
    stage: String,
    round_blocks: u32,
    rounds: u32,
    spoke: Instant,
}

impl Progress {
    /// A bar if standard error is a terminal; nothing at all if `quiet`.
    pub fn new(quiet: bool, block_bytes: u32) -> Self {
        Self {
            block_bytes,
            bar: bar(quiet),
            quiet,
            stage: String::new(),
            round_blocks: 0,
            rounds: 0,
            spoke: Instant::now(),
        }
    }

    /// The passes over image blocks so far.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Clears the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn enter(&mut self, stage: Stage, distribution: &Distribution) {
        self.round_blocks = 0;
        self.stage = match stage {
            Stage::Offer => "offering the update".to_owned(),
            Stage::Pages(pages) => format!("sending {} of the hash tree", Many(pages, "page")),
            Stage::Blocks { round, blocks } => {
                (self.round_blocks, self.rounds) = (blocks, round + 1);
                if round == 0 {
                    format!("sending {}", Many(blocks, "block"))
                } else {
                    format!("sending {} again (round {round})", Many(blocks, "block"))
                }
            }
            Stage::Parity(symbols) => format!("sending {}", Many(symbols, "parity symbol")),
            Stage::Census => "asking the group".to_owned(),
            Stage::Repair => "agents fetch the last blocks by unicast".to_owned(),
            Stage::Closing => "checking that all agents have it".to_owned(),
            Stage::Activation => "activating".to_owned(),
            Stage::Cancellation => "cancelling".to_owned(),
            Stage::Undo => "rolling back agents on trial".to_owned(),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(self.stage.clone());
        } else {
            self.line(distribution);
        }
    }

    fn line(&mut self, distribution: &Distribution) {
        if !self.quiet && self.bar.is_none() {
            say!("{}; {}", self.stage, counts(distribution));
            self.spoke = Instant::now();
        }
    }
}

impl DistributionObserver for Progress {
    fn event(&mut self, event: Event, distribution: &Distribution) {
        match event {
            Event::Stage(stage) => self.enter(stage, distribution),
            Event::Lost(_)
            | Event::Report(_)
            | Event::Quarantined(_)
            | Event::Rewound(_)
            | Event::Finished(_) => {}
        }
    }

    fn outage(&mut self, why: Option<&str>) {
        let text = match why {
            Some(why) => format!("cannot send ({why}): trying again, and going on from here"),
            None => "can send again".to_owned(),
        };
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.println(text),
            None => say!("{text}"),
        }
    }

    fn tick(&mut self, distribution: &Distribution) {
        let Some(bar) = &self.bar else {
            if self.spoke.elapsed() >= LINE_AFTER {
                self.line(distribution);
            }
            return;
        };
        if self.round_blocks > 0 {
            bar.set_length(self.round_blocks.into());
            let left = distribution.blocks_to_send();
            let sending = Sending::new(self.rounds, self.round_blocks, left, distribution.rate());
            bar.set_position((sending.blocks - sending.left).into());
            bar.set_message(format!("{}, {}", pace(&sending, self.block_bytes), self.stage));
        } else {
            let agents = distribution.agents();
            let done = agents.iter().filter(|agent| agent.ended()).count();
            bar.set_length(agents.len() as u64);
            bar.set_position(done as u64);
            bar.set_message(format!("{}: {}", self.stage, counts(distribution)));
        }
    }
}

/// A bar on standard error, if that is a terminal and `quiet` is not set.
pub(crate) fn bar(quiet: bool) -> Option<ProgressBar> {
    if quiet || !std::io::stderr().is_terminal() {
        return None;
    }
    Some(ProgressBar::new(0).with_style(style()))
}

/// What is short comes first, and then the words as far as the terminal is wide at the moment: one line in
/// any window, of 40 columns too.
fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("[{bar:12}] {pos}/{len} {elapsed} {wide_msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// How many agents are in which state, as in `3 blocks, 2 ready`.
fn counts(distribution: &Distribution) -> String {
    let mut by_state: std::collections::BTreeMap<Option<State>, usize> = std::collections::BTreeMap::new();
    let (mut lost, mut laggards, mut quarantined) = (0, 0, 0);
    for agent in distribution.agents() {
        if agent.is_quarantined() {
            quarantined += 1;
        } else if agent.laggard().is_some() {
            laggards += 1;
        } else if agent.lost {
            lost += 1;
        } else {
            *by_state.entry(agent.state()).or_default() += 1;
        }
    }
    let mut parts: Vec<String> = by_state
        .into_iter()
        .map(|(state, count)| format!("{count} {}", state.map_or("not heard from yet", State::name)))
        .collect();
    let others = [(laggards, "lagging behind"), (lost, "lost"), (quarantined, "quarantined")];
    parts
        .extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal whose window changes its width.
    #[derive(Debug, Clone, Default)]
    struct Window {
        columns: Arc<AtomicU16>,
        written: Arc<Mutex<String>>,
    }

    impl Window {
        fn write(&self, text: &str) -> io::Result<()> {
            self.written.lock().unwrap().push_str(text);
            Ok(())
        }

        /// What was drawn last.
        fn line(&self) -> String {
            let written = std::mem::take(&mut *self.written.lock().unwrap());
            written.rsplit('\r').next().unwrap_or_default().to_owned()
        }
    }

    impl TermLike for Window {
        fn width(&self) -> u16 {
            self.columns.load(Ordering::Relaxed)
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            self.write("\r")
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            self.write("\r")
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            self.write("\r")
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_progress_fits_the_window_also_after_its_width_has_changed() {
        let window = Window::default();
        let target = ProgressDrawTarget::term_like(Box::new(window.clone()));
        let bar = ProgressBar::with_draw_target(Some(1_680), target).with_style(style());
        let text = "all agents receive; group 'hall': 1234 of 1680 blocks sent again (round 2), 12 s left at \
                    8000 kbit/s";
        for columns in [80, 40, 200, 60] {
            window.columns.store(columns, Ordering::Relaxed);
            bar.set_message(text);
            bar.set_position(1_234);
            bar.force_draw();
            let line = window.line();
            let width = line.chars().count();
            assert!(line.contains("1234/1680") && line.contains("all"), "{line:?}");
            assert!(width <= columns.into(), "{width} in {columns}: {line:?}");
            assert_eq!(line.contains("8000 kbit/s"), columns == 200, "{line:?}");
        }
    }
}
