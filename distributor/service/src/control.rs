//! What reaches a run from outside: a stop, from the terminal or the service manager.

use std::future::pending;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The system does not allow signals to be caught.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for signals: {0}")]
pub struct SignalError(std::io::Error);

/// Stops every run that holds it, including those that begin later. Clones share it.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A stop on Ctrl-C, on SIGTERM, or when the terminal is closed (SIGHUP). A command creates one, inside
    /// its event loop, for everything it runs.
    ///
    /// # Errors
    /// The system does not allow signals to be caught.
    pub fn on_signals() -> Result<Self, SignalError> {
        let (sender, stop) = Self::on_demand();
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = if is_hangup_ignored() { None } else { Some(listen(SignalKind::hangup())?) };
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                Some(_) = async { hangup.as_mut()?.recv().await } => {}
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

/// Whether this process was started to outlive its terminal, as `nohup` does it. To listen would end that.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_none_or(|mask| mask & 1 == 1)
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
    fn a_stop_reaches_all_that_hold_it_also_later() {
        block_on(async {
            let (stopper, mut stop) = Stop::on_demand();
            let mut other = stop.clone();
            assert!(!stop.is_asked());
            stopper.send_replace(true);
            assert!(stop.is_asked());
            stop.asked().await;
            other.asked().await;
        });
    }

    #[test]
    fn a_stop_that_nobody_can_ask_for_any_more_never_comes() {
        block_on(async {
            let (stopper, mut stop) = Stop::on_demand();
            drop(stopper);
            let told = tokio::time::timeout(Duration::from_millis(20), stop.asked()).await;
            assert!(told.is_err(), "{told:?}");
        });
    }
}
