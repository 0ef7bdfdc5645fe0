//! The parts that all phases work with. Each owns its state and offers verbs; none knows the phase.

use super::activation::Attempts;
use super::claims::Claims;
use super::deadlines::Deadlines;
use super::fleet::Fleet;
use super::image_block::ImageBlock;
use super::job::{DistributionConfig, Job, Subject};
use super::laggards::Laggards;
use super::offer::Offers;
use super::outbox::Outbox;
use super::phase::Phase;
use super::questions::Questions;
use super::replies::Replies;
use super::shares::Shares;
use super::singles::Singles;
use super::turns::Turns;
use super::withdrawal::Withdrawal;
use super::{Ending, Event, Members};
use crate::random::Random;
use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;
use group_oscore::GroupContext;

/// See the module above.
pub(super) struct Parts {
    pub(super) config: DistributionConfig,
    /// Distinguishes this distribution from others: see [`Query::run`](crate::census::Query::run).
    pub(super) run: u32,
    pub(super) outbox: Outbox,
    pub(super) questions: Questions,
    /// The update; `None` for a census.
    pub(super) job: Option<Subject>,
    pub(super) fleet: Fleet,
    pub(super) claims: Claims,
    pub(super) offers: Offers,
    pub(super) turns: Turns,
    /// Until when each agent is waited for.
    pub(super) deadlines: Deadlines,
    pub(super) attempts: Attempts,
    /// The withdrawal of the update, once one has begun.
    pub(super) withdrawal: Option<Withdrawal>,
    pub(super) replies: Replies,
    pub(super) shares: Shares,
    /// Agents that are given an order alone.
    pub(super) singles: Singles,
    /// When laggards are asked next.
    pub(super) laggards: Laggards,
    pub(super) block: ImageBlock,
    pub(super) events: VecDeque<Event>,
    pub(super) random: Random,
    pub(super) started_at: Instant,
}

impl Parts {
    pub(super) fn new(
        config: DistributionConfig,
        context: GroupContext<Members>,
        job: Job,
        seed: u64,
        now: Instant,
    ) -> Self {
        let mut random = Random::new(seed);
        let (job, censuses) = match job {
            Job::Census { rounds } => (None, rounds),
            Job::Update(update) => (Some(Subject::new(update, config.parity)), 1),
            Job::Cancel(digest) | Job::Undo(digest) => (Some(Subject::named(digest)), 1),
        };
        Self {
            fleet: Fleet::new(&config, context.recipients()),
            outbox: Outbox::new(&config, context, &mut random, now),
            questions: Questions::new(),
            attempts: Attempts::new(config.attempt),
            config,
            run: ((seed >> 32) as u32 ^ seed as u32).max(1),
            job,
            claims: Claims::default(),
            offers: Offers::new(now),
            turns: Turns::new(censuses),
            deadlines: Deadlines::new(now),
            withdrawal: None,
            replies: Replies::default(),
            shares: Shares::default(),
            singles: Singles::default(),
            laggards: Laggards::new(now),
            block: ImageBlock::default(),
            events: VecDeque::new(),
            random,
            started_at: now,
        }
    }

    /// Ends the distribution: nothing is sent any more.
    pub(super) fn finish(&mut self, ending: Ending) -> Phase {
        self.replies.clear();
        self.events.push_back(Event::Finished(ending));
        Phase::Finished
    }

    /// See [`Distribution::attempt`](super::Distribution::attempt).
    pub(super) fn attempt(&self) -> u32 {
        self.attempts.used().max(self.config.attempt)
    }

    /// The delay of an activation.
    pub(super) fn delay(&self) -> Duration {
        Duration::from_millis(u64::from(self.config.delay_ms))
    }
}
