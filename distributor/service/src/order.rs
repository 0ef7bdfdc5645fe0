//! Orders to a rollout, whether another process runs it or none does.

use std::time::{Duration, Instant};

use provisioning::Name;

use super::Fleet;
use super::watch::LOOK_EVERY;
use crate::control::Stop;
use crate::runner::{RolloutObserver, RunError, Runner, load};
use fwcast_state::RolloutLock;
use fwcast_store::{NewOrder, Store, StoreError};
use rollout_engine::Engine;
use rollout_engine::record::OrderOutcome;

/// How long the process that runs a rollout may take to react to an order.
const HEARD_WITHIN: Duration = Duration::from_secs(15);

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The rollout does not exist, or cannot continue.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The order makes no sense in the rollout's state.
    #[error("{0}")]
    Refused(String),
    /// The process that runs the rollout does not react to orders.
    #[error(
        "the process that runs rollout '{0}' has not reacted to the order for {seconds} s; the order \
         remains open: `fwcast status {0}` shows what it does",
        seconds = HEARD_WITHIN.as_secs()
    )]
    NotHeard(Name),
}

/// An order that was carried out.
pub struct Carried<'a, S, O> {
    /// What came of it.
    pub said: String,
    /// The rollout, if this process carried out the order.
    pub runner: Option<Runner<'a, S, O>>,
}

impl<S: Store> Fleet<S> {
    /// Gives an order, and waits until the process that runs the rollout has carried it out. If no process
    /// runs it, the order is carried out here, as far as it needs no network.
    ///
    /// # Errors
    /// There is no such rollout, or the order was refused or got no reaction.
    pub async fn order<O: RolloutObserver>(
        &self,
        order: NewOrder<'_>,
        observer: impl Fn() -> O,
    ) -> Result<Carried<'_, S, O>, OrderError> {
        let name = order.rollout;
        load(&self.store, name).await?;
        let id = self.store.give_order(order).await?;
        let mut runner = None;
        let began = Instant::now();
        while began.elapsed() < HEARD_WITHIN {
            if let Some(said) = self.store.order(id).await?.and_then(|given| given.outcome) {
                return match said {
                    OrderOutcome::Refused(why) => Err(OrderError::Refused(why)),
                    OrderOutcome::Done(said) => Ok(Carried { said, runner }),
                };
            }
            runner = self.runner(name, observer()).await?;
            match &mut runner {
                Some(runner) => runner.take_orders().await?,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        Err(OrderError::NotHeard(name.clone()))
    }

    /// Runs a rollout that was ordered to end until it ends, or waits until another process has done so.
    /// `None` if this process was told to stop first.
    ///
    /// # Errors
    /// Why the rollout cannot continue.
    pub async fn end<O: RolloutObserver>(
        &self,
        name: &Name,
        mut runner: Option<Runner<'_, S, O>>,
        observer: impl Fn() -> O,
        stop: &mut Stop,
    ) -> Result<Option<Engine>, RunError> {
        while !stop.is_asked() {
            if let Some(runner) = &mut runner {
                runner.run(stop.clone()).await?;
            }
            let engine = load(&self.store, name).await?;
            if engine.state().outcome().is_some() {
                return Ok(Some(engine));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.asked() => {}
            }
            // Release the previous lock first.
            drop(runner.take());
            runner = self.runner(name, observer()).await?;
        }
        Ok(None)
    }

    /// The rollout, run by this process unless another process runs it.
    async fn runner<O: RolloutObserver>(
        &self,
        name: &Name,
        observer: O,
    ) -> Result<Option<Runner<'_, S, O>>, RunError> {
        let Some(lock) = RolloutLock::if_free(&self.dir, name)? else { return Ok(None) };
        Runner::resume(self.resources(), name, observer, lock).await.map(Some)
    }
}
