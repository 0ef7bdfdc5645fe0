//! `fwcast rollout`: orders to a rollout, whether another process runs it or none does.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use provisioning::Name;

use super::completions::names_of;
use super::confirm::Yes;
use super::exit_codes::{Exit, Failure};
use super::kind::{Noun, on_fleet};
use super::output::{self, Format};
use super::rollout_progress::RolloutProgress;
use crate::commands::global::Global;
use fwcast_service::Carried;
use fwcast_service::control::Stop;
use fwcast_service::runner::doing;
use fwcast_store::NewOrder;
use rollout_engine::Engine;
use rollout_engine::record::{Order, Outcome};
use serde::Serialize;

/// Control a rollout
///
/// If `fwcast run` runs it in another process, that process carries out the order. Otherwise the order is
/// carried out here, and the next `fwcast run` continues from there.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Begin a rollout whose manifest says `paused: true`
    Start(Ordered),
    /// Begin nothing new; agents keep what they have, and running trials continue
    Pause(Ordered),
    /// Continue after a pause
    Resume(Ordered),
    /// Let the next wave activate
    Approve(Ordered),
    /// Retry the agents that failed
    Retry(Ordered),
    /// End it for good: agents that have not activated drop the update
    Cancel(Ordered),
    /// End it for good: agents on trial go back to their previous image
    Undo(Ordered),
}

/// Arguments of an order.
#[derive(Debug, Args)]
pub struct Ordered {
    /// Name of the rollout
    #[arg(add = names_of(Noun::Rollouts))]
    name: Name,
    /// Reason, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    yes: Yes,
}

impl Rollout {
    const fn order(&self) -> (Order, &Ordered) {
        match self {
            Self::Start(ordered) => (Order::Start, ordered),
            Self::Pause(ordered) => (Order::Pause, ordered),
            Self::Resume(ordered) => (Order::Resume, ordered),
            Self::Approve(ordered) => (Order::Approve, ordered),
            Self::Retry(ordered) => (Order::Retry, ordered),
            Self::Cancel(ordered) => (Order::Cancel, ordered),
            Self::Undo(ordered) => (Order::Undo, ordered),
        }
    }

    /// Gives the order, and prints what came of it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let (order, ordered) = self.order();
        ordered.agreed(order)?;
        on_fleet(global, async |fleet| {
            let mut stop = Stop::on_signals()?;
            let (rollout, reason) = (&ordered.name, ordered.reason.as_deref());
            let given = NewOrder { rollout, order, reason, by: fleet.actor(), at: Timestamp::now() };
            let progress = || RolloutProgress::new(false);
            let Carried { said, runner } = fleet.order(given, progress).await?;
            let ends_it = matches!(order, Order::Cancel | Order::Undo);
            let next = if runner.is_some() && !ends_it { "; `fwcast run` continues it" } else { "" };
            let said = format!("{said}{next}");
            let mut report = OrderReport { name: rollout, order, said, outcome: None, doing: None };
            if global.output.is_for_people() {
                output::print_text(&format!("rollout '{rollout}': {}\n", report.said))?;
            }
            if !ends_it {
                report.print(global)?;
                return Ok(Exit::Done);
            }
            let ended = fleet.end(rollout, runner, progress, &mut stop).await?;
            let Some(engine) = ended else { return Ok(Exit::Interrupted) };
            report.outcome = engine.state().outcome();
            report.doing = Some(doing(&engine));
            report.print(global)?;
            Ok(exit_after(order, &engine))
        })
    }
}

/// An order that was given, for programs.
#[derive(Debug, Serialize)]
struct OrderReport<'a> {
    /// Which rollout.
    name: &'a Name,
    order: Order,
    /// What came of it, as a sentence.
    said: String,
    /// How the rollout ended, after `cancel` and `undo`.
    outcome: Option<Outcome>,
    /// The same as a sentence.
    doing: Option<String>,
}

impl OrderReport<'_> {
    /// Prints it whole for programs; people have read the first sentence when the order was taken.
    fn print(&self, global: &Global) -> Result<(), Failure> {
        match (global.output, &self.doing) {
            (Format::Name, _) => output::print_text(&format!("{}\n", self.name)),
            (Format::Table | Format::Wide, Some(doing)) => output::print_text(&format!("{doing}\n")),
            (Format::Table | Format::Wide, None) => Ok(()),
            (format, _) => output::print_value(format, self),
        }
    }
}

impl Ordered {
    /// Asks before an order that cannot be undone.
    fn agreed(&self, order: Order) -> Result<(), Failure> {
        if !matches!(order, Order::Cancel | Order::Undo) {
            return Ok(());
        }
        let question = format!("{} rollout '{}' for good?", order.name(), self.name);
        self.yes.or_ask(&question, &format!("rollout '{}'", self.name))
    }
}

/// An undo that did not reach every agent has not succeeded.
fn exit_after(order: Order, engine: &Engine) -> Exit {
    match (order, engine.state().outcome()) {
        (Order::Cancel, Some(Outcome::Cancelled)) => Exit::Done,
        (Order::Undo, Some(Outcome::Undone))
            if engine.counts(|_| true).confirmed + engine.may_be_on_trial() == 0 =>
        {
            Exit::Done
        }
        (Order::Undo, Some(Outcome::Undone)) => Exit::SomeDevicesFailed,
        _ => Exit::RolloutFailed,
    }
}
