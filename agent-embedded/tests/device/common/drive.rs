//! The driver loop on a device in memory, by a clock that jumps to whatever is waited for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use agent_embedded::drive::{Agent, Application, Board, Buffer, Network, Received};
use agent_embedded::event::Event;
use agent_embedded::provisioning::Health;
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
    /// How often the application does not allow a restart.
    pub(crate) vetoes: Cell<u32>,
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

/// Writes down what it hears.
struct Listener(Rc<Ran>);

impl Application for Listener {
    fn on_event(&mut self, event: Event) {
        self.0.lines.borrow_mut().push(event.to_string());
    }

    fn may_restart(&mut self) -> bool {
        let vetoes = self.0.vetoes.get();
        self.0.vetoes.set(vetoes.saturating_sub(1));
        vetoes == 0
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
    run_with(reception, store, heard, on_heard, end, 0, std::future::ready(true))
}

/// As [`run`], with an application that does not allow so many restarts, and with this self test.
pub(crate) fn run_with<'m, F: NorFlash>(
    reception: &'m mut Reception<'m>,
    store: FlashStore<F>,
    heard: Vec<(Via, Vec<u8>)>,
    on_heard: impl FnMut(),
    end: Duration,
    vetoes: u32,
    self_test: impl Future<Output = bool>,
) -> Rc<Ran> {
    run_by(Health::DEFAULT, reception, store, (heard, on_heard), end, vetoes, self_test)
}

/// As [`run_with`], with this rule of what is healthy.
pub(crate) fn run_by<'m, F: NorFlash>(
    health: Health,
    reception: &'m mut Reception<'m>,
    store: FlashStore<F>,
    (heard, on_heard): (Vec<(Via, Vec<u8>)>, impl FnMut()),
    end: Duration,
    vetoes: u32,
    self_test: impl Future<Output = bool>,
) -> Rc<Ran> {
    let ran = Rc::new(Ran { vetoes: Cell::new(vetoes), ..Ran::default() });
    let board = TestBoard { ran: Rc::clone(&ran), end };
    let network = Queue { datagrams: heard.into(), on_heard };
    let application = Listener(Rc::clone(&ran));
    let buffer = Box::leak(Box::new([0; size_of::<Buffer>()]));
    let agent = Agent { reception, store, network, board, application, buffer, health };
    let poll = std::panic::AssertUnwindSafe(|| {
        let mut future = pin!(agent.run(self_test));
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    let _ = std::panic::catch_unwind(poll);
    ran
}
