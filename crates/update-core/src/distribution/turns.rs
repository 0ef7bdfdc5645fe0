//! Turns: which phase the answers of an ask lead to.

use super::asks::Purpose;
use super::parts::Parts;
use super::phase::Phase;
use super::{Activate, Agent, Ending, Event, Stage};
use crate::census::State;
use crate::limits::{
    ASK_AGAIN_FIRST, ASK_AGAIN_FIRST_PART, ASK_AGAIN_MAX, ASK_AGAIN_PART, ASK_AGAIN_SOON, ASK_SILENT_MAX,
    ASK_UNHEARD_MIN, BLOCK_ROUNDS_IN_A_ROW, CLOSE_ASKS_MAX, FEW_PARTS, OFFER_COPIES, PROGRESS_PARTS,
    REPAIR_ASKS_MAX, REPAIR_LOSS_MAX,
};
use crate::platform::Area;
use crate::time::{Duration, Instant};
use alloc::vec::Vec;

/// The progress of the turns.
#[derive(Debug)]
pub(super) struct Turns {
    /// The number of the next pass over image blocks.
    round: u32,
    /// Pages of the hash tree have been sent.
    pages_sent: bool,
    /// Questions sent in the middle of rounds.
    questions: u32,
    /// Consecutive repair asks without progress.
    repair_asks_in_vain: u8,
    missing_before: u64,
    /// The pause before the next ask of a waiting loop.
    again: Duration,
    /// When everyone but laggards was done: first with the image, then with the trial.
    through_at: Option<Instant>,
    /// How many blocks were missing in all when they last got on.
    left_then: u64,
    /// When all but a few had the image.
    nearly_at: Option<Instant>,
    /// What agents that are hardly heard are sent next.
    faint: u8,
    /// Nothing is to be sent but for agents that are hardly heard.
    only_faint: bool,
    /// How often agents that need blocks have been asked which, since the last round of parity symbols.
    asked_for_blocks: u8,
    /// Asks made in the closing census.
    close_asks: u8,
    /// Asks that nobody answered while no agent has been heard at all.
    unanswered_asks: u8,
    /// Repeated asks of a census, for agents that did not answer.
    census_repeats: u8,
    /// Censuses still to be made, for a job that is only a census.
    censuses: u32,
}

impl Turns {
    pub(super) const fn new(censuses: u32) -> Self {
        Self {
            round: 0,
            pages_sent: false,
            questions: 0,
            repair_asks_in_vain: 0,
            missing_before: u64::MAX,
            again: ASK_AGAIN_FIRST,
            through_at: None,
            left_then: u64::MAX,
            nearly_at: None,
            faint: 0,
            only_faint: false,
            asked_for_blocks: 0,
            close_asks: 0,
            unanswered_asks: 0,
            census_repeats: 0,
            censuses,
        }
    }

    /// Begins a pass over image blocks and returns its number.
    pub(super) const fn begin_round(&mut self) -> u32 {
        let round = self.round;
        self.round += 1;
        round
    }

    /// Begins a pass over pages of the hash tree.
    pub(super) const fn begin_page_round(&mut self) {
        self.pages_sent = true;
    }

    /// Whether pages have been sent, so that parity can repair what agents miss of them.
    pub(super) const fn has_sent_pages(&self) -> bool {
        self.pages_sent
    }

    pub(super) const fn has_had_a_round(&self) -> bool {
        self.round > 0
    }

    /// Which target to ask next in the middle of a round.
    pub(super) fn question_turn<'t, T>(&mut self, targets: &'t [T]) -> Option<&'t T> {
        let turn = (self.questions as usize).checked_rem(targets.len());
        self.questions = self.questions.wrapping_add(1);
        targets.get(turn?)
    }

    /// Notes progress: the next waiting loop asks soon.
    pub(super) const fn moved_on(&mut self) {
        self.again = ASK_AGAIN_FIRST;
    }

    /// Notes that the image has been activated: laggards get their time again once the trials of the others
    /// end.
    pub(super) const fn activated(&mut self) {
        self.moved_on();
        self.through_at = None;
    }

    /// How long to wait before the next ask: at least about so long. It grows while nothing changes, up to
    /// this.
    pub(super) fn wait_up_to(&mut self, max: Duration, least: Duration) -> Duration {
        let wait = self.again.max(least).min(max);
        self.again = (wait * 3 / 2).min(max);
        wait
    }

    /// Notes whether nothing is to be sent but for agents that are hardly heard.
    pub(super) const fn serve_only_faint(&mut self, only: bool) {
        self.only_faint = only;
    }

    /// Whether nothing is to be sent but for agents that are hardly heard.
    pub(super) const fn serves_only_faint(&self) -> bool {
        self.only_faint
    }

    /// The turn in which agents that are hardly heard are served: 0, 1, 2 and again 0.
    pub(super) const fn faint_turn(&mut self) -> u8 {
        let turn = self.faint;
        self.faint = (turn + 1) % 3;
        turn
    }

    fn moved(&mut self) {
        self.moved_on();
        self.repair_asks_in_vain = 0;
    }
}

/// The sum of what the agents still taking part have reported.
#[derive(Debug, Default)]
struct Tally {
    heard: usize,
    unknown: usize,
    missing_pages: u64,
    missing_blocks: u64,
    /// Blocks or parity symbols that they need.
    lacking: u64,
    /// Agents that miss some block and cannot be helped with parity alone.
    on_blocks: usize,
    /// The most image blocks and pages that one agent misses.
    worst: u32,
    /// Agents that miss every block.
    empty: usize,
    /// Agents that miss some block.
    short: usize,
    /// Agents that are recovering or checking.
    busy: usize,
    /// The highest loss of an agent that misses some block, in thousandths.
    loss: u32,
}

impl Tally {
    /// Whether every agent that answers has everything.
    fn is_complete(&self) -> bool {
        self.unknown == 0 && self.missing_pages + self.missing_blocks == 0 && self.busy == 0
    }
}

impl Parts {
    /// How long to wait before the next ask of a waiting loop: short beside the time so far.
    pub(super) fn pause(&mut self, now: Instant) -> Duration {
        let so_far = now.since(self.started_at);
        let max = (so_far / ASK_AGAIN_PART).clamp(ASK_AGAIN_SOON, ASK_AGAIN_MAX);
        self.turns.wait_up_to(max, so_far / ASK_AGAIN_FIRST_PART)
    }

    /// The first phase.
    pub(super) fn begin(&mut self) -> Phase {
        if self.job.is_some() {
            return self.offer(OFFER_COPIES);
        }
        self.events.push_back(Event::Stage(Stage::Census));
        self.ask(Purpose::Status, self.started_at)
    }

    /// Decides what follows once all expected answers are in.
    pub(super) fn decide(&mut self, now: Instant, purpose: Purpose) -> Phase {
        self.judge_patience(now, purpose);
        self.call_back_faint(now);
        match purpose {
            Purpose::Withdrawn => self.decide_withdrawal(now),
            _ if self.job.is_none() => self.decide_status(now),
            _ if self.is_on_trial() => self.decide_trials(now, purpose),
            Purpose::Close => self.decide_closing(now),
            _ => self.decide_transfer(now, purpose),
        }
    }

    /// The sum over the agents that `counts` selects.
    fn tally(&self, counts: impl Fn(&Agent) -> bool) -> Tally {
        let mut tally = Tally::default();
        let blocks = self.job.as_ref().map_or(0, |subject| subject.needed_blocks.count());
        let large = self.fleet.is_large();
        let agents = self.fleet.agents().iter().filter(|agent| counts(agent));
        for agent in agents.filter(|agent| agent.awaited() && !(large && agent.unsure())) {
            let Some(status) = agent.status else { continue };
            tally.heard += 1;
            match status.state {
                State::Unknown | State::Idle => tally.unknown += 1,
                State::Recovering | State::Checking => tally.busy += 1,
                State::Pages | State::Blocks => {
                    tally.missing_pages += u64::from(status.missing_pages);
                    tally.missing_blocks += u64::from(status.missing_blocks);
                    let lacking = status.lacking.unwrap_or(status.missing_blocks);
                    tally.lacking += u64::from(lacking);
                    tally.worst = tally.worst.max(lacking.saturating_add(status.missing_pages));
                    // Who has not answered this time may not have heard of parity when it last did.
                    let on_blocks = agent.lives_on_blocks() && agent.silence() == 0;
                    tally.on_blocks += usize::from(status.missing_blocks > 0 && on_blocks);
                    tally.empty += usize::from(status.missing_blocks == blocks);
                    tally.short += usize::from(status.missing_blocks > 0);
                    tally.loss = tally.loss.max(agent.loss());
                }
                _ => {}
            }
        }
        tally
    }

    fn decide_transfer(&mut self, now: Instant, purpose: Purpose) -> Phase {
        let ever_heard = self.fleet.anybody_heard();
        if !ever_heard {
            return self.nobody_answered(now);
        }
        if self.only_few_are_left(now) {
            return self.begin_activation(now);
        }
        // [waves]: a wave waits for no other agent.
        let wave_has_it =
            matches!(self.config.activate, Activate::Only(_)) && self.tally(Agent::waited_for).is_complete();
        if !wave_has_it && let Some(next) = self.serve(now, purpose) {
            return next;
        }
        if !wave_has_it && self.tally(|_| true).busy > 0 {
            let wait = self.pause(now);
            return self.ask(Purpose::Repair(u32::MAX), now + wait);
        }
        self.events.push_back(Event::Stage(Stage::Closing));
        self.turns.close_asks = 0;
        self.decide_closing(now)
    }

    /// The phase that next serves agents that miss something; `None` if none that answers does.
    pub(super) fn serve(&mut self, now: Instant, purpose: Purpose) -> Option<Phase> {
        if matches!(purpose, Purpose::Blocks | Purpose::Generations) {
            self.adapt_pace();
        }
        let tally = self.tally(|_| true);
        if tally.unknown > 0 {
            let without = self.fleet.iter_mut().filter(|agent| agent.is_without_offer());
            without.for_each(Agent::offer_again);
            return Some(self.offer(OFFER_COPIES));
        }
        let missing = tally.missing_pages + tally.lacking;
        if missing < self.turns.missing_before {
            self.turns.moved();
        }
        self.turns.missing_before = missing;
        if tally.missing_pages > 0 {
            return Some(self.decide_pages(now, purpose));
        }
        if purpose == Purpose::Pages && self.fleet.is_large() && self.turns.has_had_a_round() {
            // Agents that miss only blocks were not asked.
            return Some(self.ask(self.asks_what_is_missing(), now));
        }
        if tally.missing_blocks > 0 {
            return Some(self.decide_blocks(now, purpose, &tally));
        }
        self.serve_faint(now)
    }

    fn decide_pages(&mut self, now: Instant, purpose: Purpose) -> Phase {
        let needed = self.job.as_ref().map_or(0, |subject| subject.needed_pages.len());
        if purpose != Purpose::Pages {
            return self.ask(Purpose::Pages, now);
        }
        if needed > 0 {
            return self.send_round(Area::Pages);
        }
        if let Some(planned) = self.symbols_for(Area::Pages) {
            return self.send_symbols(Area::Pages, &planned);
        }
        let are_made = self.fleet.agents().iter().any(|agent| agent.awaited() && agent.makes(Area::Pages));
        let wait = if are_made { self.pause(now) } else { Duration::ZERO };
        self.ask(Purpose::Pages, now + wait)
    }

    /// How many symbols of each generation are needed; `None` if there are none to send.
    fn symbols_for(&self, area: Area) -> Option<Vec<u16>> {
        let agents = self.fleet.agents().iter().filter(|agent| agent.awaited()).count();
        let mending = self.job.as_ref()?.mending.as_ref()?;
        let planned = mending.of(area).lacks.plan(agents);
        planned.iter().any(|symbols| *symbols > 0).then_some(planned)
    }

    /// [repair]: multicast for what many miss, unicast for the last few. The criterion is the number of
    /// blocks to send: each once by multicast, or to each agent that misses it by unicast.
    fn decide_blocks(&mut self, now: Instant, purpose: Purpose, tally: &Tally) -> Phase {
        let Some(subject) = &mut self.job else { return self.finish(Ending::Done) };
        let count = subject.needed_blocks.count();
        let is_told = matches!(purpose, Purpose::Blocks | Purpose::Generations);
        // With parity it is asked after each round what is missing.
        let is_known = is_told || (subject.mending.is_some() && self.turns.has_had_a_round());
        if !is_known && tally.empty == tally.short {
            // Every agent that misses anything misses everything: there is no need to ask which.
            subject.needed_blocks.insert_all();
            return self.send_round(Area::Image);
        }
        let few = u64::from((count / 256).clamp(8, 64));
        let is_little = tally.lacking <= few && tally.lacking > 0;
        let fetching_helps =
            self.turns.repair_asks_in_vain < REPAIR_ASKS_MAX && tally.loss <= REPAIR_LOSS_MAX;
        match purpose {
            Purpose::Blocks if subject.needed_blocks.len() == 0 => {
                self.serve_faint(now).unwrap_or_else(|| self.ask_again(now))
            }
            Purpose::Blocks | Purpose::Generations if is_little && fetching_helps => {
                subject.needed_blocks.clear();
                self.events.push_back(Event::Stage(Stage::Repair));
                self.turns.moved();
                self.ask(Purpose::Repair(tally.worst), now)
            }
            Purpose::Blocks => self.send_round(Area::Image),
            Purpose::Generations => self.decide_generations(now, tally),
            Purpose::Repair(_) => {
                self.turns.repair_asks_in_vain += 1;
                if self.turns.repair_asks_in_vain >= REPAIR_ASKS_MAX || tally.lacking > few {
                    return self.ask(self.asks_what_is_missing(), now);
                }
                let wait = self.pause(now);
                self.ask(Purpose::Repair(tally.worst), now + wait)
            }
            _ => self.ask(self.asks_what_is_missing(), now),
        }
    }

    /// [parity]: symbols for what several agents lack. Agents that need blocks have their turn before each
    /// round of symbols: some of these blocks help the others as well.
    fn decide_generations(&mut self, now: Instant, tally: &Tally) -> Phase {
        let planned = self.symbols_for(Area::Image);
        let blocks_are_next = planned.is_none() || self.turns.asked_for_blocks < BLOCK_ROUNDS_IN_A_ROW;
        if tally.on_blocks > 0 && blocks_are_next {
            self.turns.asked_for_blocks = self.turns.asked_for_blocks.saturating_add(1);
            return self.ask(Purpose::Blocks, now);
        }
        let Some(planned) = planned else {
            // They are busy making blocks, unless none of them was heard.
            return self.serve_faint(now).unwrap_or_else(|| self.ask_again(now));
        };
        self.turns.asked_for_blocks = 0;
        self.send_symbols(Area::Image, &planned)
    }

    /// Asks once more what is missing, after a while.
    fn ask_again(&mut self, now: Instant) -> Phase {
        let wait = self.pause(now);
        self.ask(self.asks_what_is_missing(), now + wait)
    }

    /// After a round over blocks, takes the best agent: the one with the smallest fraction left of what it
    /// missed. If some agent missed nothing before, the others' loss is on their own links.
    fn adapt_pace(&mut self) {
        let outbox = &mut self.outbox;
        let left = self.fleet.iter_mut().filter_map(Agent::end_round);
        let left = left.inspect(|(before, left)| {
            outbox.count_loss(*before, *left.min(before));
        });
        // Compares by the fraction left; an agent that missed nothing counts as the best.
        let best =
            left.min_by_key(|(before, left)| u64::from(*left) * 1_000_000 / u64::from((*before).max(1)));
        if let Some((before, left)) = best {
            self.outbox.adapt(before, left);
        }
    }

    fn nobody_answered(&mut self, now: Instant) -> Phase {
        if now >= self.first_answer_due() {
            return self.finish(Ending::NobodyAnswered);
        }
        self.turns.unanswered_asks = self.turns.unanswered_asks.wrapping_add(1);
        self.fleet.iter_mut().for_each(Agent::forgive_silence);
        // Who comes in time is asked in time.
        let (so_far, left) = (now.since(self.started_at), self.first_answer_due().since(now));
        let wait = so_far.min(left / 2).clamp(ASK_UNHEARD_MIN, ASK_SILENT_MAX);
        self.offers.begin_anew();
        let ask = self.ask(Purpose::Pages, now + wait);
        if self.turns.unanswered_asks.is_multiple_of(2) { self.offer(OFFER_COPIES) } else { ask }
    }

    /// [census]: the transfer closes on evidence. Agents that stay silent through the last asks hold up no
    /// other agent.
    fn decide_closing(&mut self, now: Instant) -> Phase {
        if self.only_few_are_left(now) {
            return self.begin_activation(now);
        }
        let unfinished =
            self.fleet.waited_for().any(|agent| agent.awaited() && !agent.unsure() && !agent.has_all());
        if unfinished {
            // An agent that was silent before has appeared and misses something.
            let asks = self.asks_what_is_missing();
            let purpose = if self.turns.has_had_a_round() { asks } else { Purpose::Pages };
            return self.ask(purpose, now);
        }
        let silent = self.fleet.waited_for().any(Agent::unsure);
        if silent && self.turns.close_asks < CLOSE_ASKS_MAX {
            self.turns.close_asks += 1;
            if self.turns.close_asks == CLOSE_ASKS_MAX
                && let Some(polling) = self.poll_silent()
            {
                return polling;
            }
            let wait = if self.turns.close_asks == 1 { Duration::ZERO } else { self.pause(now) };
            return self.ask(Purpose::Close, now + wait);
        }
        if self.laggards_may_catch_up(now) {
            let wait = self.pause(now);
            return self.ask(Purpose::Close, now + wait);
        }
        self.transfer_complete(now)
    }

    /// Whether all but a few agents have waited long enough to activate. The few are served alongside the
    /// trials, and activate later.
    fn only_few_are_left(&mut self, now: Instant) -> bool {
        let open = |agent: &Agent| !agent.ended() && !agent.has_all();
        let (ready, left) =
            (self.fleet.waiting().len(), self.fleet.waited_for().filter(|it| open(it)).count());
        let few = (self.fleet.waited_for().count() / FEW_PARTS).max(1);
        if self.config.activate == Activate::Nobody || ready == 0 || left > few {
            self.turns.nearly_at = None;
            return false;
        }
        let gone = |agent: &Agent| agent.status.is_none() && agent.silence() > 0;
        if self.fleet.waited_for().filter(|agent| open(agent)).all(gone) {
            return true;
        }
        let since = *self.turns.nearly_at.get_or_insert(now);
        now >= since + self.wait_for_few(since)
    }

    /// Whether laggards get time to catch up, once everyone else has the image or has ended after the
    /// activation.
    pub(super) fn laggards_may_catch_up(&mut self, now: Instant) -> bool {
        let (before, left) = (self.turns.left_then, self.missing_in_all());
        if left < before - before / PROGRESS_PARTS {
            // They get on, if slowly.
            (self.turns.through_at, self.turns.left_then) = (Some(now), left);
        }
        let through_at = *self.turns.through_at.get_or_insert(now);
        let more = self.wait_for_few(through_at);
        self.laggards_are_left() && now < through_at + more
    }

    /// Whether agents that are hardly heard have had their time.
    pub(super) fn faint_are_late(&self, now: Instant) -> bool {
        self.turns.through_at.is_some_and(|at| now >= at + self.wait_for_few(at))
    }

    /// How many blocks the agents that are waited for miss.
    fn missing_in_all(&self) -> u64 {
        let open = self.fleet.waited_for().filter(|agent| !agent.ended());
        open.filter_map(Agent::misses).map(u64::from).sum()
    }

    /// Everyone who answers has the image, or the time is over.
    pub(super) fn transfer_complete(&mut self, now: Instant) -> Phase {
        let ready = |agent: &Agent| !agent.ended() && agent.laggard().is_none() && !agent.is_absent();
        if self.config.activate != Activate::Nobody && self.fleet.waited_for().any(ready) {
            return self.begin_activation(now);
        }
        if self.waits_for_silent() {
            let wait = self.pause_for_silent(now);
            return self.ask(Purpose::Close, now + wait);
        }
        self.fleet.lose(&mut self.events, |agent| agent.waited_for() && agent.laggard().is_some());
        self.finish(Ending::Done)
    }

    fn decide_status(&mut self, now: Instant) -> Phase {
        let silent = self.fleet.agents().iter().any(|agent| agent.status.is_none());
        if silent && self.turns.census_repeats < 2 {
            self.turns.census_repeats += 1;
            return self.ask(Purpose::Close, now);
        }
        self.turns.censuses = self.turns.censuses.saturating_sub(1);
        if self.turns.censuses > 0 {
            return self.ask(Purpose::Status, now);
        }
        self.fleet.lose(&mut self.events, |agent| agent.waited_for() && agent.unsure());
        let nobody = !self.fleet.anybody_heard();
        self.finish(if nobody { Ending::NobodyAnswered } else { Ending::Done })
    }
}
