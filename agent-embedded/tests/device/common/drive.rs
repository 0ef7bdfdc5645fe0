//! The driver loop on a device in memory, by a clock that jumps to whatever is waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Display;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use agent_embedded::drive::{Agent, Board, Buffer, Network, Received, SelfTest};
use agent_embedded::store::FlashStore;
use core::net::SocketAddr;
use embedded_storage::nor_flash::NorFlash;
use update_core::reception::{Reception, Via};
use update_core::time::{Duration, Instant};

/// How a run has gone.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    now: Cell<u64>,
    pub(crate) lines: RefCell<Vec<String>>,
    fed: Cell<u64>,
    /// The longest that the watchdog was not fed.
    pub(crate) hungry: Cell<Duration>,
    /// When it restarted.
    pub(crate) restarted: Cell<Option<Duration>>,
}

struct TestBoard {
    ran: Rc<Ran>,
    end: Duration,
}

impl Board for TestBoard {
    fn now(&self) -> Instant {
        Instant::from_micros(self.ran.now.get())
    }

    async fn sleep_until(&self, moment: Option<Instant>) {
        let end = Instant::from_micros(self.end.as_micros() as u64);
        let moment = moment.filter(|moment| *moment <= end);
        match moment {
            Some(moment) => self.ran.now.set(self.ran.now.get().max(moment.as_micros())),
            None => core::future::pending().await,
        }
    }

    fn line(&mut self, line: &dyn Display) {
        self.ran.lines.borrow_mut().push(line.to_string());
    }

    fn feed(&mut self) {
        let (now, fed) = (self.ran.now.get(), self.ran.fed.get());
        self.ran.hungry.set(self.ran.hungry.get().max(Duration::from_micros(now - fed)));
        self.ran.fed.set(now);
    }

    /// The test's own future is dropped then.
    fn restart(&mut self) -> ! {
        self.ran.restarted.set(Some(Duration::from_micros(self.ran.now.get() as _)));
        std::panic::resume_unwind(Box::new("restarted"))
    }
}

struct Queue<H> {
    datagrams: VecDeque<(Via, Vec<u8>)>,
    on_heard: H,
}

impl<H: FnMut()> Network for Queue<H> {
    async fn receive(&mut self, buffer: &mut [u8]) -> Received {
        match self.datagrams.pop_front() {
            Some((via, bytes)) => {
                (self.on_heard)();
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Received { len: bytes.len(), from: "10.0.0.1:5683".parse().unwrap(), via }
            }
            None => core::future::pending().await,
        }
    }

    async fn send(&mut self, _to: SocketAddr, _bytes: &[u8]) -> bool {
        true
    }
}

/// Runs an agent that hears these datagrams, until it restarts or `end` is over. `on_heard` is called right
/// before each of them comes.
pub(crate) fn run<'m, F: NorFlash>(
    reception: &'m mut Reception<'m>,
    store: FlashStore<F>,
    heard: Vec<(Via, Vec<u8>)>,
    on_heard: impl FnMut(),
    end: Duration,
) -> Rc<Ran> {
    let ran = Rc::new(Ran::default());
    let board = TestBoard { ran: Rc::clone(&ran), end };
    let network = Queue { datagrams: heard.into(), on_heard };
    let agent = Agent { reception, store, network, board, self_test: SelfTest::HearsDistributor };
    let mut buffer: Buffer = [0; size_of::<Buffer>()];
    let poll = std::panic::AssertUnwindSafe(|| {
        let mut future = pin!(agent.run(&mut buffer));
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    let _ = std::panic::catch_unwind(poll);
    ran
}
