//! Operators' orders, and agents that join and leave.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use jiff::Timestamp;

use super::engine::{Engine, record_of};
use super::judge::Why;
use super::many::Many;
use super::plan::AgentKey;
use super::record::{AgentRecord, Given, Order, Outcome, Progress};
use super::state::{Pause, Stage};
use super::steps::after;

impl Engine {
    /// Carries out an operator's order, as far as it can be done at once; the rest comes from [`Self::poll`].
    ///
    /// # Errors
    /// One sentence: why this order makes no sense now, and what does.
    pub(super) fn carry_out(
        &mut self,
        now: Timestamp,
        order: Order,
        given: &Given,
    ) -> Result<String, String> {
        let said = match order {
            Order::Start => self.start(),
            Order::Pause => self.pause(given),
            Order::Resume => self.go_on(),
            Order::Approve => self.approve(),
            Order::Retry => self.retry(now),
            Order::Cancel => self.cancel(),
            Order::Undo => self.undo(),
        }?;
        if matches!(order, Order::Cancel | Order::Undo) {
            self.state.given_up = Some(given.clone());
        }
        self.tell(now, None, order.name(), format!("{said} ({given})"));
        Ok(said)
    }

    fn start(&mut self) -> Result<String, String> {
        self.not_ended()?;
        self.not_given_up()?;
        if self.state.started || self.state.paused.is_none() {
            return Err(format!("rollout '{}' has been started already", self.name));
        }
        self.state.paused = None;
        Ok("started".to_owned())
    }

    fn pause(&mut self, given: &Given) -> Result<String, String> {
        self.not_ended()?;
        if self.state.paused.is_some() {
            return Err(format!("rollout '{}' is paused already", self.name));
        }
        self.state.paused = Some(Pause::Operator(given.clone()));
        Ok("paused: agents keep what they have, and running trials continue to their end".to_owned())
    }

    fn go_on(&mut self) -> Result<String, String> {
        self.not_ended()?;
        match self.state.paused.take() {
            Some(_) => Ok("resumed".to_owned()),
            None => Err(format!("rollout '{}' is not paused", self.name)),
        }
    }

    fn approve(&mut self) -> Result<String, String> {
        let Stage::Approval { wave } = self.state.stage else {
            return Err(format!("rollout '{}' does not wait for an approval", self.name));
        };
        self.enter(Stage::Activation { wave: wave + 1 });
        Ok(format!("approved: wave '{}' activates", self.wave_name(wave + 1)))
    }

    /// Retries the agents that have failed or are lost, up to the last wave that was reached.
    fn retry(&mut self, now: Timestamp) -> Result<String, String> {
        self.not_given_up()?;
        match self.state.outcome() {
            Some(Outcome::Cancelled | Outcome::Undone) => {
                return Err(format!(
                    "rollout '{}' was cancelled: give the rollout manifest another name and apply that",
                    self.name
                ));
            }
            None if self.running.is_some() => {
                return Err(format!(
                    "rollout '{}' is busy: failed agents can be retried when this wave is done",
                    self.name
                ));
            }
            _ => {}
        }
        let Some(reached) = self.state.reached else {
            self.state.unanswered = 0;
            self.state.try_at = None;
            self.transfer_begins_anew();
            self.enter(Stage::Transfer);
            return Ok("blocks are sent again".to_owned());
        };
        let mut again = 0_usize;
        for (key, agent) in &mut self.agents {
            let ended_badly = agent.progress.has_failed() || agent.progress == Progress::Lost;
            if agent.wave <= reached && ended_badly {
                (agent.retry_at, again) = (Some(now), again + 1);
                self.changed.insert(key.clone());
            }
        }
        let stopped = matches!(self.state.stage, Stage::Stopping { .. })
            || self.state.outcome() == Some(Outcome::Stopped);
        if again == 0 && !stopped {
            return Err(format!("no agent of rollout '{}' has failed or is lost", self.name));
        }
        self.enter(Stage::Activation { wave: reached });
        Ok(format!("{} will try again", Many(again, "agent")))
    }

    fn cancel(&mut self) -> Result<String, String> {
        if self.state.outcome() != Some(Outcome::Stopped) {
            self.not_ended()?;
        }
        let counts = self.counts(|_| true);
        self.state.paused = None;
        self.enter(Stage::Cancelling);
        Ok(format!(
            "cancelling: {} will drop the update; {} on trial will finish without an order, and {} that \
             confirmed will keep the new image",
            Many(counts.all - counts.confirmed - counts.trial, "agent"),
            counts.trial,
            counts.confirmed
        ))
    }

    fn undo(&mut self) -> Result<String, String> {
        let counts = self.counts(|_| true);
        let on_trial = self.may_be_on_trial();
        // An undo that was cut off is completed, even if nobody is left to hear it.
        if on_trial == 0 && self.state.stage != Stage::Undoing {
            let confirmed = counts.confirmed;
            return Err(format!(
                "no agent of rollout '{}' is on trial; {confirmed} confirmed, and will go back only to an \
                 image that is signed again with a higher manifest sequence number: `fwcast image sign \
                 OLD_IMAGE --sequence {}`",
                self.name,
                self.plan.image.sequence_number.saturating_add(1)
            ));
        }
        self.state.paused = None;
        self.enter(Stage::Undoing);
        Ok(match on_trial - counts.trial {
            0 => {
                format!("undoing: {} on trial will return to the previous image", Many(on_trial, "agent"))
            }
            unheard => format!(
                "undoing: {} on trial will return to the previous image, and so will those on trial of \
                 {unheard} told to activate and not heard since",
                Many(counts.trial, "agent")
            ),
        })
    }

    /// Ends a pause for something that was broken: the program that runs the rollout tries it again.
    pub(super) fn mended(&mut self, now: Timestamp) {
        // Left by a process that was killed.
        self.state.sending.clear();
        self.state.outages.clear();
        if matches!(self.state.paused, Some(Pause::Broken(_)))
            && let Ok(said) = self.go_on()
        {
            self.tell(now, None, Order::Resume.name(), said);
        }
    }

    /// How many agents are on trial, or may be: they were told to activate, and have not reported the result.
    /// If an undo did not reach them, they may confirm later.
    pub fn may_be_on_trial(&self) -> usize {
        let may_be = |agent: &&AgentRecord| match agent.progress {
            Progress::Trial | Progress::Deferred => true,
            Progress::Lost => agent.told || agent.tries > 0,
            progress => agent.told && !progress.has_ended(),
        };
        self.agents.values().filter(may_be).count()
    }

    /// All agents have been told to drop the update, or some could not be told, for this reason.
    pub(super) fn cancelled(&mut self, now: Timestamp, broken: Option<&str>) {
        let counts = self.counts(|_| true);
        let mut why = format!(
            "{} dropped the update; confirmed: {}, on trial: {}, failed before: {}, not heard: {}",
            Many(counts.cancelled, "agent"),
            counts.confirmed,
            counts.trial,
            counts.failed,
            counts.lost
        );
        why.push_str(&self.untold(broken));
        self.end(now, Outcome::Cancelled, why);
    }

    /// All agents on trial have been told to roll back, or some could not be told, for this reason.
    pub(super) fn undone(&mut self, now: Timestamp, broken: Option<&str>) {
        // Each agent that was being told to activate has reported the result, or is lost.
        for (key, agent) in self.agents.iter_mut().filter(|(_, agent)| agent.told) {
            (agent.told, agent.tries) = (false, agent.tries.saturating_add(1));
            self.changed.insert(key.clone());
        }
        let counts = self.counts(|_| true);
        let mut why = format!("{} returned to the previous image", Many(counts.rolled_back, "agent"));
        if counts.confirmed > 0 {
            why.push_str(&format!(
                "; {} confirmed, and will go back only to an image that is signed again with a higher \
                 manifest sequence number",
                counts.confirmed
            ));
        }
        match self.may_be_on_trial() {
            0 => {}
            unheard => why.push_str(&format!(
                "; not heard from, and perhaps on trial: {unheard}; run `fwcast rollout undo {}` again when \
                 they can be reached",
                self.name
            )),
        }
        why.push_str(&self.untold(broken));
        self.end(now, Outcome::Undone, why);
    }

    /// Why not every agent could be told, and who ordered it, in a sentence that goes on.
    fn untold(&self, broken: Option<&str>) -> String {
        let broken = broken.map_or_else(String::new, |why| format!("; not every agent could be told: {why}"));
        let given = self.state.given_up.as_ref();
        given.map_or_else(|| broken.clone(), |given| format!("{broken} ({given})"))
    }

    fn not_ended(&self) -> Result<(), String> {
        match &self.state.stage {
            Stage::Ended { outcome, why } => {
                Err(format!("rollout '{}' has ended ({}: {why})", self.name, outcome.name()))
            }
            _ => Ok(()),
        }
    }

    /// A cancelled or undone rollout stays so, even if not every agent has been told yet.
    fn not_given_up(&self) -> Result<(), String> {
        let (doing, order) = match self.state.stage {
            Stage::Cancelling => ("cancelled", Order::Cancel),
            Stage::Undoing => ("undone", Order::Undo),
            _ => return Ok(()),
        };
        Err(format!(
            "rollout '{0}' is being {doing}: `fwcast rollout {1} {0}` or `fwcast run` completes that",
            self.name,
            order.name()
        ))
    }

    /// Adds an agent that was enrolled late: it joins the last wave.
    pub(super) fn joined(&mut self, now: Timestamp, key: AgentKey) {
        let last = self.plan.waves.len().saturating_sub(1);
        if self.agents.get(&key).is_some_and(|agent| agent.progress != Progress::Removed) {
            return;
        }
        let text = match self.state.left.remove(&key) {
            // An agent that has failed does not start over by leaving and coming back.
            Some(left_as) => {
                self.set(now, &key, left_as, Why::NONE);
                "is enrolled again, and continues in its wave"
            }
            None => {
                self.agents.insert(key.clone(), record_of(last, now));
                self.changed.insert(key.clone());
                "was enrolled, and joins the last wave"
            }
        };
        self.tell(now, Some(key), "agent-joined", text.to_owned());
        if let Some(Outcome::Done | Outcome::DoneWithFailures) = self.state.outcome() {
            let wave = u32::try_from(last).unwrap_or(u32::MAX);
            self.enter(Stage::Soak { wave, until: after(now, 0), checked: false });
        }
    }

    pub(super) fn left(&mut self, now: Timestamp, key: &AgentKey) {
        let Some(agent) = self.agents.get_mut(key) else { return };
        let progress = agent.progress;
        if (agent.told || agent.tries > 0) && !matches!(progress, Progress::Confirmed | Progress::Removed) {
            // Nobody will hear how it ends.
            let left_as = if progress.has_ended() { progress } else { Progress::Lost };
            self.state.left.insert(key.clone(), left_as);
        }
        (agent.told, agent.retry_at) = (false, None);
        self.set(now, key, Progress::Removed, Why::NONE);
    }
}

impl Order {
    /// The name of the order on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Undo => "undo",
        }
    }
}

impl Outcome {
    /// Its name in output and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DoneWithFailures => "done-with-failures",
            Self::Stopped => "stopped",
            Self::Cancelled => "cancelled",
            Self::Undone => "undone",
        }
    }
}
