//! The driver loop on a simulated device, with a clock that jumps to the next event.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use agent_embedded::drive::{Agent, Application, Board, Buffer, Network, Received};
use agent_embedded::event::Event;
use agent_embedded::provisioning::Health;
use agent_embedded::start::Machine;
use agent_embedded::store::FlashStore;
use core::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use embedded_storage::nor_flash::NorFlash;
use provisioning::testing::enrolled;
use update_core::reception::{Reception, Via};
use update_core::time::{Duration, Instant};

const COAP_GROUP: SocketAddr =
    SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 1), 5683, 0, 0));

/// The record of a run.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    now: Cell<u64>,
    pub(crate) lines: RefCell<Vec<String>>,
    fed: Cell<u64>,
    /// The longest time without feeding the watchdog.
    pub(crate) hungry: Cell<Duration>,
    /// When it restarted.
    pub(crate) restarted: Cell<Option<Duration>>,
    /// How often the application will refuse a restart.
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

/// Records what it hears.
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

    fn listen_at(&mut self, _coap_group: SocketAddr) -> bool {
        true
    }
}

/// Runs an agent that hears these datagrams, until it restarts or `end` has passed. `on_heard` is called
/// right before each of them.
pub(crate) fn run<'m, F: NorFlash>(
    reception: &'m mut Reception<'m>,
    store: FlashStore<F>,
    heard: Vec<(Via, Vec<u8>)>,
    on_heard: impl FnMut(),
    end: Duration,
) -> Rc<Ran> {
    run_with(reception, store, heard, on_heard, end, 0, std::future::ready(true))
}

/// Like [`run`], with an application that refuses this many restarts, and with this self-test.
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

/// Like [`run_with`], with this health rule.
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
    let document = enrolled(COAP_GROUP, "[fd77::1]:5690".parse().unwrap()).check().unwrap();
    let place = document.enrollment().keys.place;
    let machine = Box::leak(Box::new(Machine::new(reception, None, document.identity(), place)));
    let coap_group = place.coap_group;
    let agent = Agent { machine, store, network, board, application, buffer, health, coap_group };
    let poll = std::panic::AssertUnwindSafe(|| {
        let mut future = pin!(agent.run(self_test));
        let _ = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    });
    let _ = std::panic::catch_unwind(poll);
    ran
}
