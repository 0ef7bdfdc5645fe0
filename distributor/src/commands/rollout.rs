//! `fwcast rollout`: orders to a rollout, whether another process runs it or none does.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use provisioning::Name;

use super::kind::on_store;
use crate::cli::Global;
use crate::commands::exit_codes::{Exit, Failure};
use crate::commands::output;
use crate::control::Stop;
use crate::rollout::Engine;
use crate::rollout::record::{Order, Outcome};
use crate::runner::show::Show;
use crate::runner::{Runner, doing, load};
use crate::state::{RolloutLock, StateDir};
use crate::store::{NewOrder, REFUSED, SqliteStore, Store};

/// How long the process that runs a rollout may take to hear an order.
const HEARD_WITHIN: Duration = Duration::from_secs(15);
/// How often the store is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Steer a rollout
///
/// Where `fwcast run` has it in another process, that process carries the order out. Else it is carried out
/// here, and the next `fwcast run` goes on from there.
#[derive(Debug, Subcommand)]
pub enum Rollout {
    /// Begin a rollout whose manifest says `paused: true`
    Start(Ordered),
    /// Begin nothing new; agents keep what they have, and trials under way go on
    Pause(Ordered),
    /// Go on after a pause
    Resume(Ordered),
    /// Let the next wave activate
    Approve(Ordered),
    /// Try again where it failed
    Retry(Ordered),
    /// End it for good: agents that have not activated drop the update
    Cancel(Ordered),
    /// End it for good: agents on trial go back to the image that they had
    Undo(Ordered),
}

/// Arguments of an order.
#[derive(Debug, Args)]
pub struct Ordered {
    /// Which rollout
    name: Name,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
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

    /// Gives the order, and says what came of it.
    pub fn run(&self, global: &Global) -> Result<Exit, Failure> {
        let (order, ordered) = self.order();
        ordered.agreed(order)?;
        on_store(global, async |dir, store| {
            load(store, &ordered.name).await?;
            let mut stop = Stop::on_signals()?;
            let place = Place { dir, store, name: &ordered.name };
            let id = ordered.give(store, order).await?;
            let (said, runner) = place.carried_out(id).await?;
            if let Some(why) = said.strip_prefix(REFUSED) {
                return Err(Failure::error(why));
            }
            let ends_it = matches!(order, Order::Cancel | Order::Undo);
            let next = if runner.is_some() && !ends_it { "; `fwcast run` goes on with it" } else { "" };
            output::print_text(&format!("rollout '{}': {said}{next}\n", ordered.name))?;
            if !ends_it {
                return Ok(Exit::Done);
            }
            let Some(engine) = place.end(runner, &mut stop).await? else { return Ok(Exit::Interrupted) };
            output::print_text(&format!("{}\n", doing(&engine)))?;
            Ok(exit_after(order, &engine))
        })
    }
}

impl Ordered {
    /// What cannot be taken back is asked for.
    fn agreed(&self, order: Order) -> Result<(), Failure> {
        if self.yes || !matches!(order, Order::Cancel | Order::Undo) {
            return Ok(());
        }
        let declined =
            |how: &str| Failure::usage(format!("rollout '{}' was left as it is: {how}", self.name));
        if !std::io::stdin().is_terminal() {
            return Err(declined("there is no terminal to ask on, so say --yes"));
        }
        // Without a terminal to show it on, the answer decides all the same.
        let _ = write!(std::io::stderr(), "{} rollout '{}' for good? [y/N] ", order.name(), self.name);
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        let yes = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
        if yes { Ok(()) } else { Err(declined("the answer was not yes")) }
    }

    async fn give(&self, store: &SqliteStore, order: Order) -> Result<i64, Failure> {
        let by = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
        let (rollout, reason) = (&self.name, self.reason.as_deref());
        Ok(store.give_order(NewOrder { rollout, order, reason, by: &by, at: Timestamp::now() }).await?)
    }
}

/// A rollout that may be in the hands of another process.
struct Place<'a> {
    dir: &'a StateDir,
    store: &'a SqliteStore,
    name: &'a Name,
}

impl<'a> Place<'a> {
    /// The rollout in the hands of this process, unless another one has it.
    async fn runner(&self) -> Result<Option<Runner<'a, SqliteStore>>, Failure> {
        let Some(lock) = RolloutLock::if_free(self.dir, self.name)? else { return Ok(None) };
        Runner::resume(self.dir, self.store, self.name, Show::new(false), lock).await.map(Some)
    }

    /// What came of an order: of the process that runs the rollout, or of this one, where none does.
    async fn carried_out(&self, order: i64) -> Result<(String, Option<Runner<'a, SqliteStore>>), Failure> {
        let mut runner = None;
        let began = Instant::now();
        while began.elapsed() < HEARD_WITHIN {
            if let Some(said) = self.store.order(order).await?.and_then(|given| given.outcome) {
                return Ok((said, runner));
            }
            runner = self.runner().await?;
            match &mut runner {
                Some(runner) => runner.take_orders().await?,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        Err(Failure::new(
            Exit::TimedOut,
            format!(
                "the process that runs rollout '{0}' has not heard the order for {1} s; it will when it \
                 looks: `fwcast status {0}` shows what it does",
                self.name,
                HEARD_WITHIN.as_secs(),
            ),
        ))
    }

    /// The rollout at its end, to which this process brings it where no other one does; nothing if it was
    /// told to stop before.
    async fn end(
        &self,
        mut runner: Option<Runner<'a, SqliteStore>>,
        stop: &mut Stop,
    ) -> Result<Option<Engine>, Failure> {
        while !stop.is_asked() {
            if let Some(runner) = &mut runner {
                runner.run(stop.clone()).await?;
            }
            let engine = load(self.store, self.name).await?;
            if engine.state().outcome().is_some() {
                return Ok(Some(engine));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.asked() => {}
            }
            runner = self.runner().await?;
        }
        Ok(None)
    }
}

/// An undo that could not reach everyone is not done.
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
