//! `fwcast rollout`: orders to a rollout, whether another process runs it or none does.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use provisioning::Name;

use super::kind::on_store;
use crate::cli::Global;
use crate::control::Stop;
use crate::exit::{Exit, Failure};
use crate::rollout::record::{Order, Outcome};
use crate::runner::show::Show;
use crate::runner::{REFUSED, Runner, doing, load};
use crate::state::{RolloutLock, StateDir, StateError};
use crate::store::{NewOrder, SqliteStore, Store};

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
            match RolloutLock::to_run(dir, &ordered.name) {
                Ok(lock) => ordered.here(dir, store, order, lock).await,
                Err(StateError::RolloutLocked(_)) => ordered.there(dir, store, order).await,
                Err(error) => Err(error.into()),
            }
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
        eprint!("{} rollout '{}' for good? [y/N] ", order.name(), self.name);
        // Without a terminal to show it on, the answer decides all the same.
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer);
        let yes = read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes");
        if yes { Ok(()) } else { Err(declined("the answer was not yes")) }
    }

    /// Nobody runs it: the order is carried out here, as far as that ends by itself.
    async fn here(
        &self,
        dir: &StateDir,
        store: &SqliteStore,
        order: Order,
        lock: RolloutLock,
    ) -> Result<Exit, Failure> {
        let stop = Stop::on_signals()?;
        let mut runner = Runner::resume(dir, store, &self.name, Show::new(false), lock).await?;
        let id = self.give(store, order).await?;
        let ordered = runner.order(order, self.reason.as_deref()).await;
        let text = match &ordered {
            Ok(Ok(said)) => said.clone(),
            Ok(Err(why)) => format!("{REFUSED}{why}"),
            Err(failure) => format!("{REFUSED}{failure}"),
        };
        store.settle_order(id, &text, Timestamp::now()).await?;
        let said = ordered?;
        let said = said.map_err(Failure::error)?;
        if !matches!(order, Order::Cancel | Order::Undo) {
            println!("rollout '{}': {said}; `fwcast run` goes on with it", self.name);
            return Ok(Exit::Done);
        }
        println!("rollout '{}': {said}", self.name);
        runner.run(stop).await?;
        println!("{}", doing(runner.engine()));
        Ok(exit_after(order, runner.engine()))
    }

    /// Another process runs it, and hears of the order through the store.
    async fn there(&self, dir: &StateDir, store: &SqliteStore, order: Order) -> Result<Exit, Failure> {
        let id = self.give(store, order).await?;
        let began = Instant::now();
        let said = loop {
            if let Some(said) = store.order(id).await?.and_then(|given| given.outcome) {
                break said;
            }
            if began.elapsed() > HEARD_WITHIN {
                return Err(Failure::new(
                    Exit::TimedOut,
                    format!(
                        "the process that runs rollout '{}' has not heard the order for {} s; it will when \
                         it looks: `fwcast status {}` shows what it does",
                        self.name,
                        HEARD_WITHIN.as_secs(),
                        self.name
                    ),
                ));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        if let Some(why) = said.strip_prefix(REFUSED) {
            return Err(Failure::error(why));
        }
        println!("rollout '{}': {said}", self.name);
        if !matches!(order, Order::Cancel | Order::Undo) {
            return Ok(Exit::Done);
        }
        let mut stop = Stop::on_signals()?;
        loop {
            let engine = load(store, &self.name).await?;
            if engine.state().outcome().is_some() {
                println!("{}", doing(&engine));
                return Ok(exit_after(order, &engine));
            }
            if RolloutLock::to_run(dir, &self.name).is_ok() {
                return Err(Failure::error(format!(
                    "the process that ran rollout '{0}' has ended before it was through with this: `fwcast \
                     rollout {1} {0}` goes on with it",
                    self.name,
                    order.name()
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.asked() => return Ok(Exit::Interrupted),
            }
        }
    }

    async fn give(&self, store: &SqliteStore, order: Order) -> Result<i64, Failure> {
        let by = std::env::var("USER").unwrap_or_else(|_| "unknown".to_owned());
        let (rollout, reason) = (&self.name, self.reason.as_deref());
        Ok(store.give_order(NewOrder { rollout, order, reason, by: &by, at: Timestamp::now() }).await?)
    }
}

/// An undo that could not reach everyone is not done.
fn exit_after(order: Order, engine: &crate::rollout::Engine) -> Exit {
    match (order, engine.state().outcome()) {
        (Order::Cancel, Some(Outcome::Cancelled)) => Exit::Done,
        (Order::Undo, Some(Outcome::Undone)) if engine.counts(|_| true).confirmed == 0 => Exit::Done,
        (Order::Undo, Some(Outcome::Undone)) => Exit::SomeDevicesFailed,
        _ => Exit::RolloutFailed,
    }
}
