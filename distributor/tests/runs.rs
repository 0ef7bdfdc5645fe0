//! Several runs on one session: no Sender Sequence Number twice, whenever the process is killed; parts of a
//! group; several groups at once.
#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use coap_wire::Message;
use common::{Desk, ENROLL_LAMP};
use fwcast_service::control::Stop;
use fwcast_service::drive::{self, DistributionEnd, DistributionObserver};
use fwcast_service::link::Link;
use fwcast_service::session::Session;
use fwcast_state::StateDir;
use fwcast_store::InFile as _;
use fwcast_store::SqliteStore;
use fwcast_store::epoch::Claims;
use group_oscore::{MemberId, OscoreOption};
use provisioning::Name;
use update_core::distribution::{Distribution, Ending, Event, Input, Job, Output};
use update_core::time::{Duration, Instant};

struct Nobody;

impl DistributionObserver for Nobody {
    fn event(&mut self, _: Event, _: &Distribution) {}
    fn tick(&mut self, _: &Distribution) {}
    fn outage(&mut self, _: Option<&str>) {}
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn open(desk: &Desk, group: &str) -> Session {
    block_on(open_async(desk, group))
}

async fn open_async(desk: &Desk, group: &str) -> Session {
    let dir = StateDir::open(&desk.path("state"), &desk.path("witness")).unwrap();
    let store = SqliteStore::open(&dir).await.unwrap();
    let claims = Claims::default();
    let session = Session::open(claims.get(&dir, &store).await.unwrap(), &Name::new(group).unwrap()).unwrap();
    store.close().await;
    session
}

/// A group `hall` with three agents.
fn hall() -> Desk {
    let desk = Desk::with_group();
    for lamp in ["lamp-1", "lamp-2", "lamp-3"] {
        desk.ok(&ENROLL_LAMP.replace("lamp-1", lamp));
    }
    desk
}

/// A process that sends, and that may be killed before, in the middle of and after any write to its counters.
/// To be killed between two datagrams is the same as after the last of them, and that is the worse moment.
struct Process<'d> {
    desk: &'d Desk,
    /// Moments at which it is not killed.
    lives: u32,
    /// All numbers that were ever sent.
    used: &'d mut BTreeSet<u64>,
}

impl Process<'_> {
    /// `None` when it is killed here.
    fn step(&mut self) -> Option<()> {
        self.lives = self.lives.checked_sub(1)?;
        Some(())
    }

    fn witness(&self) -> PathBuf {
        self.desk
            .files("witness")
            .into_iter()
            .find(|path| path.extension().is_some_and(|e| e == "sequence"))
            .unwrap()
    }

    /// Something that may write to both files of the counters, and be killed between the two.
    fn write<T>(&mut self, write: impl FnOnce() -> T) -> Option<T> {
        self.step()?;
        let before = std::fs::read(self.witness()).unwrap();
        let written = write();
        let changed = std::fs::read(self.witness()).unwrap() != before;
        if changed && self.step().is_none() {
            std::fs::write(self.witness(), before).unwrap();
            return None;
        }
        Some(written)
    }

    /// Three runs: with everyone, with a part, and one that is given up without being settled.
    fn run(&mut self) -> Option<()> {
        let mut session = open(self.desk, "hall");
        let all = session.members();
        for run in 0..4 {
            let members = if run == 1 { &all[..2] } else { &all[..] };
            let mut context = self.write(|| session.context_of(members).unwrap())?;
            // As after thousands of blocks: the reservation runs out at once.
            context.skip(if run == 2 { 4_000 } else { 3_500 });
            let job = Job::Census { rounds: 1 };
            let config = session.config_of(members);
            assert_eq!(config.everyone, run != 1);
            let mut distribution = Distribution::new(config, context, job, run, Instant::default());
            self.drive(&mut session, &mut distribution)?;
            if run != 2 {
                self.write(|| session.settle(&distribution).unwrap())?;
            }
        }
        let distribution = Distribution::new(
            session.config(),
            self.write(|| session.context().unwrap())?,
            Job::Census { rounds: 1 },
            9,
            Instant::default(),
        );
        self.write(|| session.settle(&distribution).unwrap())
    }

    fn drive(&mut self, session: &mut Session, distribution: &mut Distribution) -> Option<()> {
        let (mut now, mut buffer) = (Instant::default(), [0; 1232]);
        loop {
            match distribution.poll(now, &mut buffer) {
                Output::Transmit { len, .. } => {
                    let message = Message::parse(&buffer[..len]).unwrap();
                    let number = OscoreOption::of(&message).unwrap().partial_iv.unwrap().value();
                    assert!(self.used.insert(number), "{number} is used twice");
                }
                Output::Reserve(reservation) => {
                    self.write(|| session.reserve(&reservation).unwrap())?;
                    distribution.handle(now, Input::Reserved(reservation));
                }
                Output::SaveFloors => {
                    session.save_floors(distribution).unwrap();
                    distribution.handle(now, Input::FloorsSaved);
                }
                Output::Event(Event::Finished(Ending::NobodyAnswered)) => return Some(()),
                Output::Event(_) => {}
                Output::Read { .. } => unreachable!("a census reads no image"),
                Output::Wait(until) => now = until.unwrap().max(now + Duration::from_micros(1)),
            }
        }
    }
}

#[test]
fn no_number_is_sent_twice_over_runs_and_kills_at_every_write() {
    let desk = hall();
    let mut used = BTreeSet::new();
    let mut whole = 0;
    for lives in 0..60 {
        whole += u32::from(Process { desk: &desk, lives, used: &mut used }.run().is_some());
    }
    assert!(whole > 20, "{whole} were never killed");
}

#[test]
fn a_run_that_was_settled_leaves_its_numbers_to_the_next() {
    let desk = hall();
    let mut session = open(&desk, "hall");
    let mut next = 0;
    for run in 0..20 {
        let context = session.context().unwrap();
        assert_eq!(context.next_sequence_number(), next);
        let job = Job::Census { rounds: 1 };
        let mut distribution = Distribution::new(session.config(), context, job, run, Instant::default());
        let mut used = BTreeSet::new();
        let mut process = Process { desk: &desk, lives: u32::MAX, used: &mut used };
        process.drive(&mut session, &mut distribution).unwrap();
        session.settle(&distribution).unwrap();
        next = distribution.next_sequence_number();
        assert_eq!(used.last().unwrap() + 1, next);
    }
    assert!(next < 20 * 300, "{next}");
}

#[test]
fn a_run_that_was_given_up_gets_no_more_numbers() {
    let desk = hall();
    let mut session = open(&desk, "hall");
    let mut context = session.context().unwrap();
    context.skip(4_000);
    let job = Job::Census { rounds: 1 };
    let mut old = Distribution::new(session.config(), context, job, 1, Instant::default());
    let context = session.context().unwrap();
    let Output::Event(_) = old.poll(Instant::default(), &mut [0; 1232]) else { panic!("it begins") };
    let Output::Reserve(reservation) = old.poll(Instant::default(), &mut [0; 1232]) else {
        panic!("it needs more")
    };
    let error = session.reserve(&reservation).unwrap_err();
    assert!(error.to_string().contains("another run"), "{error}");
    // Nor does settling it make the next one use what this one has.
    let start = context.next_sequence_number();
    session.settle(&old).unwrap();
    assert!(session.context().unwrap().next_sequence_number() > start);
}

#[test]
fn an_agent_that_is_not_there_any_more_is_named() {
    let desk = hall();
    let mut session = open(&desk, "hall");
    let failure = session.context_of(&[MemberId::new(&[0x77]).unwrap()]).unwrap_err();
    assert!(failure.to_string().contains("77") && failure.to_string().contains("'hall'"), "{failure}");
}

/// One group's part of a process that serves several.
async fn serve(desk: &Desk, group: &str, mut stop: Stop) -> (DistributionEnd, u64) {
    let mut session = open_async(desk, group).await;
    let mut link = Link::open(session.group.profile.clone()).unwrap();
    let context = session.context().unwrap();
    let job = Job::Census { rounds: 1_000 };
    let mut distribution = Distribution::new(session.config(), context, job, 1, drive::clock()());
    let ended =
        drive::run(&mut distribution, &mut session, None, &mut link, &mut Nobody, &mut stop).await.unwrap();
    let sent = distribution.tallies().datagrams_multicast;
    session.settle(&distribution).unwrap();
    (ended, sent)
}

#[test]
fn several_groups_run_at_once_in_one_process_and_each_hears_its_stop() {
    let desk = Desk::new();
    desk.ok("key generate --kind root --out root.pem");
    desk.ok("key generate --kind image --out image.pem");
    for (group, port) in [("one", free_port()), ("two", free_port())] {
        desk.ok(&format!(
            "group create {group} --coap-group 239.192.73.1:{port} --interface lo --distributor \
             127.0.0.1:{port} --root-key root.pem --image-key image.pem.pub"
        ));
        desk.ok(&ENROLL_LAMP.replace("hall", group).replace("lamp-1.yaml", &format!("{group}.yaml")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let [(stop_one, one), (stop_two, two)] = [Stop::on_demand(), Stop::on_demand()];
        let operator = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop_one.send_replace(true);
            tokio::time::sleep(Duration::from_millis(300)).await;
            stop_two.send_replace(true);
        };
        let (one, two, ()) = tokio::join!(serve(&desk, "one", one), serve(&desk, "two", two), operator);
        assert_eq!((one.0, two.0), (DistributionEnd::Interrupted, DistributionEnd::Interrupted));
        assert!(one.1 > 0 && two.1 > one.1, "{one:?} {two:?}");
    });
}

fn free_port() -> u16 {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = socket.local_addr().unwrap();
    address.port()
}
