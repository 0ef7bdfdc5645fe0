//! What reaches a run from outside: a stop, from the terminal or the service manager, and the operator's
//! orders.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

/// The system does not allow signals to be caught.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals: {0}")]
pub struct SignalError(std::io::Error);

/// An instruction to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instruction {
    /// End without sending another datagram; agents keep what they have.
    Stop,
    /// Tell the agents to drop the update.
    Cancel,
    /// Tell the agents on trial to go back to their previous image.
    Undo,
}

/// Stops every run that holds it, including those that begin later. Clones share it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop on Ctrl-C or SIGTERM. A command creates one, inside its event loop, for everything it runs.
    ///
    /// # Errors
    /// The system does not allow signals to be caught.
    pub fn on_signals() -> Result<Self, SignalError> {
        let (sender, stop) = Self::on_demand();
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            sender.send_replace(true);
        });
        Ok(stop)
    }

    /// A stop on sending `true`.
    pub fn on_demand() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Whether it has been asked for.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is asked for. Can be dropped and called again without losing anything.
    pub async fn asked(&mut self) {
        if self.0.wait_for(|asked| *asked).await.is_err() {
            // No sender is left.
            pending::<()>().await;
        }
    }
}

/// The inputs that one run listens to.
#[derive(Debug)]
pub struct Control {
    stop: Stop,
    orders: Option<mpsc::UnboundedReceiver<Instruction>>,
}

impl Control {
    /// Only a stop.
    pub fn new(stop: Stop) -> Self {
        Self { stop, orders: None }
    }

    /// A stop, and orders sent during the run.
    pub fn with_orders(stop: Stop) -> (mpsc::UnboundedSender<Instruction>, Self) {
        let (sender, orders) = mpsc::unbounded_channel();
        (sender, Self { stop, orders: Some(orders) })
    }

    /// The next order. Can be dropped and called again without losing anything.
    pub async fn next(&mut self) -> Instruction {
        let Self { stop, orders } = self;
        let order = async {
            match orders {
                Some(orders) => orders.recv().await,
                None => None,
            }
        };
        tokio::select! {
            biased;
            () = stop.asked() => Instruction::Stop,
            Some(order) = order => order,
            else => pending().await,
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, SignalError> {
    signal(kind).map_err(SignalError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn block_on(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    #[test]
    fn orders_come_in_turn_and_a_stop_comes_first_for_all() {
        block_on(async {
            let (stopper, stop) = Stop::on_demand();
            let (orders, mut one) = Control::with_orders(stop.clone());
            let mut other = Control::new(stop.clone());
            orders.send(Instruction::Cancel).unwrap();
            orders.send(Instruction::Undo).unwrap();
            assert_eq!(one.next().await, Instruction::Cancel);
            stopper.send_replace(true);
            assert!(stop.is_asked());
            assert_eq!((one.next().await, other.next().await), (Instruction::Stop, Instruction::Stop));
        });
    }

    #[test]
    fn who_is_told_nothing_any_more_goes_on() {
        block_on(async {
            let (stopper, stop) = Stop::on_demand();
            let (orders, mut control) = Control::with_orders(stop);
            drop((stopper, orders));
            let told = tokio::time::timeout(Duration::from_millis(20), control.next()).await;
            assert!(told.is_err(), "{told:?}");
        });
    }
}
