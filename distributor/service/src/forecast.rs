//! Forecasts a rollout: its time on the air, and when it would finish.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use provisioning::Name;

use super::Fleet;
use crate::runner::BLOCK_OVERHEAD_BYTES;
use fwcast_documents::Planned;
use fwcast_state::{GroupState, StateDir, StateError};
use fwcast_store::{Loss, Store, StoreError};
use rollout_engine::Parity;
use rollout_engine::plan::{Percent, Plan, When};
use rollout_engine::window::Windows;

/// The loss that is assumed if none was measured.
const LOSS_ASSUMED: Percent = Percent::whole(5);
/// The most rounds that are assumed: with more loss, nothing arrives anyway.
const ROUNDS_MAX: i32 = 20;

/// Why there is no forecast.
#[derive(Debug, thiserror::Error)]
pub enum ForecastError {
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A group's files.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The forecast of a rollout.
#[derive(Debug)]
pub struct Forecast {
    /// The plan.
    pub planned: Planned,
    /// Whether it would change anything.
    pub changes: bool,
    /// How many blocks the image has.
    pub blocks: u64,
    /// The loss that was assumed for the group that takes longest.
    pub loss: Percent,
    /// When it was measured; `None` if it was given or is the default.
    pub loss_measured_at: Option<Timestamp>,
    /// The parity of that group.
    pub parity: Parity,
    /// Seconds on the air, for the transfer alone, of the group that takes longest.
    pub air_s: u64,
    /// How many transfer windows the transfer takes; 0 if there are no windows.
    pub windows: u32,
    /// Whether the deadline of the transfer is over before that.
    pub is_late: bool,
    /// When the last wave would finish, if all goes well and needs no approval.
    pub ends_at: Option<Timestamp>,
}

impl<S: Store> Fleet<S> {
    /// Forecasts a plan, with this loss to each agent or the last measured one.
    ///
    /// # Errors
    /// The store's errors, or a group cannot be read.
    pub async fn forecast(&self, planned: Planned, loss: Option<Percent>) -> Result<Forecast, ForecastError> {
        let begun = self.store.rollout(&planned.name).await?;
        let done = begun.is_some_and(|begun| {
            begun.line.outcome.is_some() && form(begun.plan) == form(planned.plan.clone())
        });
        let losses = self.store.losses().await?;
        Ok(forecast(&self.dir, planned, !done, loss, &losses)?)
    }
}

/// The parity of each rollout group of a plan. A group whose folder is gone is left out.
pub fn parity_of(dir: &StateDir, plan: &Plan) -> BTreeMap<Name, Parity> {
    let lanes = plan.lanes.iter().filter_map(|lane| {
        let group = GroupState::open(dir, &lane.security_group).ok()?;
        Some((lane.name.clone(), group.parity(lane.parity.unwrap_or(group.profile.parity))))
    });
    lanes.collect()
}

fn forecast(
    dir: &StateDir,
    planned: Planned,
    changes: bool,
    loss: Option<Percent>,
    losses: &BTreeMap<Name, Loss>,
) -> Result<Forecast, StateError> {
    let plan = &planned.plan;
    let blocks = u64::from(plan.image.bytes.div_ceil(u32::from(plan.image.block_bytes).max(1)));
    let (is_given, given) = (loss.is_some(), loss.unwrap_or(LOSS_ASSUMED));
    let (mut air_s, mut loss, mut loss_measured_at) = (0, given, None);
    let mut parity = Parity::None;
    // Security groups run in parallel; the rollout groups of one run in sequence.
    let groups: BTreeSet<&Name> = plan.lanes.iter().map(|lane| &lane.security_group).collect();
    for name in groups {
        let group = GroupState::open(dir, name)?;
        let measured = losses.get(name).filter(|_| !is_given);
        let here = measured.map_or(given, |loss| Percent::share(loss.missed, loss.awaited));
        let lanes = plan.lanes.iter().filter(|lane| lane.security_group == *name);
        let takes = lanes.map(|lane| {
            let rate = lane.rate_bits_per_second.unwrap_or(group.profile.rate_bits_per_second);
            let parity = group.parity(lane.parity.unwrap_or(group.profile.parity));
            let sent = sent(here, blocks, lane.agents.len(), parity);
            self::air_s(sent, plan.image.block_bytes, rate)
        });
        let takes = takes.sum();
        if takes > air_s {
            (air_s, loss, loss_measured_at) = (takes, here, measured.map(|loss| loss.at));
            let first = plan.lanes.iter().find(|lane| lane.security_group == *name);
            let own = first.and_then(|lane| lane.parity);
            parity = group.parity(own.unwrap_or(group.profile.parity));
        }
    }
    let now = Timestamp::now();
    let received = transfer(&plan.transfer_windows, now, air_s);
    let (windows, ends_at) = match received {
        Some((windows, at)) => (windows, ends_at(plan, at)),
        None => (0, None),
    };
    let is_late = air_s > u64::from(plan.transfer_s());
    Ok(Forecast {
        planned,
        changes,
        blocks,
        loss,
        loss_measured_at,
        parity,
        air_s,
        windows,
        is_late,
        ends_at,
    })
}

/// The most windows that one transfer is reckoned with.
const WINDOWS_MAX: u32 = 10_000;

/// How many windows a transfer of so many seconds takes, and when it ends; `None` if it never does.
fn transfer(windows: &Windows, now: Timestamp, air_s: u64) -> Option<(u32, Timestamp)> {
    let mut left = SignedDuration::from_secs(i64::try_from(air_s).ok()?);
    if windows.as_slice().is_empty() {
        return Some((0, now.checked_add(left).ok()?));
    }
    let mut moment = now;
    for count in 1..=WINDOWS_MAX {
        if !windows.are_open(moment) {
            moment = windows.next_open(moment)?;
        }
        // One may follow another without a pause.
        let mut closes = windows.closes(moment)?;
        while let Some(later) = windows.closes(closes) {
            if later.duration_since(moment) >= left {
                return Some((count, moment.checked_add(left).ok()?));
            }
            closes = later;
        }
        let open_for = closes.duration_since(moment);
        if open_for >= left {
            return Some((count, moment.checked_add(left).ok()?));
        }
        left -= open_for;
        moment = closes;
    }
    None
}

/// How many blocks and parity symbols it takes to deliver blocks to agents, with a given loss to each.
fn sent(loss: Percent, blocks: u64, agents: usize, parity: Parity) -> f64 {
    let loss = f64::from(loss.hundredths()) / 10_000.0;
    let blocks = blocks as f64;
    match parity.coded().filter(|_| loss < 1.0) {
        None => sent_again(loss, blocks, agents),
        Some(parity) => {
            // Of each generation the agent that loses most decides: about so many deviations above the mean.
            let generation = f64::from(parity.generation()).min(blocks);
            let deviation = (generation * loss * (1.0 - loss)).sqrt();
            let most = generation * loss + (2.0 * (agents.max(1) as f64).ln()).sqrt() * deviation;
            blocks * (1.0 + most.min(generation) / (1.0 - loss) / generation)
        }
    }
}

/// Each block is sent until every agent has it. Assuming independent loss, count rounds until the agents
/// together are expected to miss less than half a block.
fn sent_again(loss: f64, blocks: f64, agents: usize) -> f64 {
    let agents = i32::try_from(agents).unwrap_or(i32::MAX);
    let (mut sent, mut missing) = (0.0, blocks);
    for round in 1..=ROUNDS_MAX {
        sent += missing;
        // A block is sent again if any agent has missed it every time.
        missing = blocks * (1.0 - (1.0 - loss.powi(round)).powi(agents));
        if missing < 0.5 {
            break;
        }
    }
    sent
}

/// Seconds that so many blocks take at a rate in bit/s.
fn air_s(sent: f64, block_bytes: u16, rate: u64) -> u64 {
    let bits = sent * (f64::from(block_bytes) + BLOCK_OVERHEAD_BYTES as f64) * 8.0;
    (bits / rate.max(1) as f64).ceil() as u64
}

/// A plan without its agents, as its documents describe it.
fn form(mut plan: Plan) -> Plan {
    plan.lanes.iter_mut().for_each(|lane| lane.agents.clear());
    plan.waves.iter_mut().for_each(|wave| wave.agents.clear());
    plan
}

/// When the last wave would finish, if everything is received at this moment.
fn ends_at(plan: &Plan, received: Timestamp) -> Option<Timestamp> {
    let opens = |windows: &Windows, moment: Timestamp| {
        if windows.are_open(moment) { Some(moment) } else { windows.next_open(moment) }
    };
    let mut moment = received;
    for wave in &plan.waves {
        moment = match plan.activation {
            When::Now => moment,
            When::At(at) => moment.max(at),
            When::Window => opens(&plan.activation_windows, moment)?,
        };
        moment = moment.checked_add(SignedDuration::from_secs(wave.soak_s.into())).ok()?;
    }
    Some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollout_engine::window::{Window, WindowForm};

    #[test]
    fn a_transfer_goes_on_when_the_next_window_opens() {
        let window = |cron: &str, for_s| {
            let form = WindowForm { cron: cron.to_owned(), for_s, tz: "UTC".to_owned() };
            Window::new(form).unwrap()
        };
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let now = at("2026-11-25T12:00:00Z");
        let takes = |windows: Vec<Window>, air_s| transfer(&Windows::new(windows), now, air_s).unwrap();
        assert_eq!(takes(Vec::new(), 359), (0, at("2026-11-25T12:05:59Z")));
        let night = || window("0 1 * * *", 120);
        assert_eq!(takes(vec![night()], 100), (1, at("2026-11-26T01:01:40Z")));
        assert_eq!(takes(vec![night()], 120), (1, at("2026-11-26T01:02:00Z")));
        assert_eq!(takes(vec![night()], 359), (3, at("2026-11-28T01:01:59Z")));
        // Two that overlap, or follow one another at once, are one.
        let both = || vec![night(), window("1 1 * * *", 120), window("3 1 * * *", 60)];
        assert_eq!(takes(both(), 240), (1, at("2026-11-26T01:04:00Z")));
        assert_eq!(takes(both(), 241), (2, at("2026-11-27T01:00:01Z")));
        let always = window("* * * * *", 3600);
        assert_eq!(takes(vec![always], 100_000), (1, at("2026-11-26T15:46:40Z")));
        let never_enough = window("0 0 29 2 *", 1);
        assert_eq!(transfer(&Windows::new(vec![never_enough]), now, 1 << 30), None);
    }

    #[test]
    fn time_on_the_air_is_what_the_bytes_take_and_grows_with_loss_and_agents() {
        let with = |loss: &str, agents, parity: &str| {
            let sent = sent(loss.parse().unwrap(), 10_000, agents, parity.parse().unwrap());
            air_s(sent, 1024, 1_000_000)
        };
        let air_s = |loss: &str, agents| with(loss, agents, "none");
        // 10,000 blocks of 1194 bytes in all, at 1 Mbit/s.
        assert_eq!(air_s("0%", 1), 96);
        assert_eq!(air_s("0%", 10_000), 96);
        // One agent that loses one of 20 needs 1 / 0.95 of that.
        assert_eq!(air_s("5%", 1), 101);
        let of_agents = [1, 10, 100, 10_000].map(|agents| air_s("5%", agents));
        assert!(of_agents.is_sorted() && of_agents[3] < 6 * 96, "{of_agents:?}");
        let of_loss = ["0%", "1%", "10%", "50%"].map(|loss| air_s(loss, 100));
        assert!(of_loss.is_sorted() && of_loss[3] > 2 * 96, "{of_loss:?}");
        // Total loss must not make it hang.
        assert!(air_s("100%", 3) > 19 * 96 && with("100%", 3, "cauchy") > 19 * 96);
        // A simulation of the code with perfect feedback: 1.371 and 1.132 of the blocks.
        assert!((130..=135).contains(&with("20%", 8, "cauchy:64")), "{}", with("20%", 8, "cauchy:64"));
        assert!((107..=111).contains(&with("5%", 32, "cauchy:64")), "{}", with("5%", 32, "cauchy:64"));
    }
}
