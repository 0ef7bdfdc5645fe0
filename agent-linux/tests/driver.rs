//! The driver loop with a small machine: what goes in, what comes out, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::future::pending;
use std::net::UdpSocket;
use std::time::Duration;

use agent_linux::interface::Interface;
use agent_linux::loss::Loss;
use agent_linux::notify::Notifier;
use agent_linux::run::{self, Machine, run};
use agent_linux::sockets::Sockets;
use agent_linux::trial::TrialSettings;
use agent_linux::watch::Watch;
use common::{DIGEST, Device, OLD, block_on, settings};
use update_core::platform::{Area, Done, Platform, Record, Task, Trial};
use update_core::reception::{Input, Output, Via};
use update_core::remark::Remark;
use update_core::time::Instant;

/// Answers each datagram after saving it, and writes down everything else that it is told.
#[derive(Default)]
struct Parrot {
    record: Vec<u8>,
    answer_to: Option<std::net::SocketAddr>,
    save: bool,
    saved: bool,
    read: bool,
    /// Always due, as while an image is read back.
    impatient: bool,
    told: Vec<String>,
    remark: Remark,
    timeouts: u32,
    losses: u32,
    closing: bool,
    sent: u32,
}

impl Machine for Parrot {
    fn handle(&mut self, _: Instant, input: Input<'_>) {
        match input {
            Input::Datagram { from, via, bytes } => {
                self.record = bytes.to_vec();
                self.answer_to = Some(from);
                self.save = true;
                self.told.push(format!("{via:?}"));
            }
            Input::Done { done: Done::Read(len), bytes } => {
                assert_eq!(len, bytes.len());
                self.told.push(String::from_utf8(bytes.to_vec()).unwrap());
            }
            Input::Done { done, bytes } => {
                assert!(bytes.is_empty());
                self.saved = done == Done::Carried;
            }
            Input::Trial(trial) => self.told.push(format!("{trial:?}")),
            Input::Timeout => self.timeouts += 1,
        }
    }

    fn poll(&mut self, now: Instant, buffer: &mut [u8]) -> Output<'_> {
        if std::mem::take(&mut self.closing) {
            // What is wanted after the counters must not be carried out any more.
            self.answer_to = "127.0.0.1:9".parse().ok();
            self.saved = true;
            return Output::Task(Task::Save { record: Record::Counters, bytes: b"exact" });
        }
        if std::mem::take(&mut self.read) {
            return Output::Task(Task::Read { area: Area::Image, offset: 0, len: 3 });
        }
        if std::mem::take(&mut self.save) {
            return Output::Task(Task::Save { record: Record::Update, bytes: &self.record });
        }
        if std::mem::take(&mut self.saved)
            && let Some(to) = self.answer_to.take()
        {
            self.sent += 1;
            buffer[..self.record.len()].copy_from_slice(&self.record);
            return Output::Transmit { to, len: self.record.len() };
        }
        Output::Wait(self.impatient.then_some(now))
    }

    fn close(&mut self) {
        self.closing = true;
    }

    fn set_remark(&mut self, remark: Remark) {
        self.remark = remark;
    }

    fn set_injected_losses(&mut self, count: u32) {
        self.losses = count;
    }

    fn status(&self) -> String {
        String::new()
    }
}

/// Sends to the agent's group.
struct Sender {
    socket: UdpSocket,
    group: std::net::SocketAddr,
}

impl Sender {
    fn say(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.group).unwrap();
    }
}

/// The loop's device, with a socket that can reach the agent's group.
fn driven(device: &Device, settings: &TrialSettings, port: u16, loss: Loss) -> (run::Device, Sender) {
    let group = std::net::SocketAddr::from(([239, 255, 73, 1], port));
    let interface = Interface::by_name("lo").unwrap();
    let watch = Watch::of(&interface);
    let sockets = Sockets::open(group, interface, None, loss).unwrap();
    let platform = device.open(settings).unwrap();
    let notifier = Notifier::from_environment();
    let start = tokio::time::Instant::now();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&socket).set_multicast_if_v4(&std::net::Ipv4Addr::LOCALHOST).unwrap();
    (run::Device { sockets, watch, platform, notifier, start }, Sender { socket, group })
}

async fn for_a_while() {
    tokio::time::sleep(Duration::from_millis(300)).await;
}

#[test]
fn a_datagram_goes_in_and_its_answer_out() {
    let device = Device::installed();
    let mut parrot = Parrot::default();
    block_on(async {
        let (mut driven, sender) = driven(&device, &settings(), 47301, Loss::none());
        sender.say(b"hello");
        run(&mut parrot, &mut driven, for_a_while()).await;
        assert_eq!(driven.sockets.traffic().sent, 1);
        let mut answer = [0; 10];
        let socket = tokio::net::UdpSocket::from_std(sender.socket).unwrap();
        let received = tokio::time::timeout(Duration::from_secs(5), socket.recv_from(&mut answer)).await;
        let (length, from) = received.expect("no answer came").unwrap();
        assert_eq!(&answer[..length], b"hello");
        assert_eq!(from.port(), driven.sockets.own_address().unwrap().port());
    });
    assert_eq!(parrot.told, [format!("{:?}", Via::Group)]);
    assert_eq!(fs::read(device.state.join("update.cbor")).unwrap(), b"hello");
    assert_eq!(parrot.timeouts, 0);
}

#[test]
fn at_the_end_the_exact_counters_are_saved_and_nothing_is_sent() {
    let device = Device::installed();
    let mut parrot = Parrot::default();
    block_on(async {
        let (mut driven, _sender) = driven(&device, &settings(), 47302, Loss::none());
        driven.platform.prepare(4, 0).await.unwrap();
        driven.platform.write(Area::Image, 0, b"last").await.unwrap();
        run(&mut parrot, &mut driven, std::future::ready(())).await;
    });
    assert_eq!(fs::read(device.state.join("counters.cbor")).unwrap(), b"exact");
    assert_eq!(fs::read(device.state.join("slot-b.img")).unwrap(), b"last");
    assert_eq!(parrot.sent, 0);
}

#[test]
fn datagrams_are_heard_while_the_machine_is_always_due() {
    let device = Device::installed();
    let mut parrot = Parrot { impatient: true, ..Parrot::default() };
    block_on(async {
        let (mut driven, sender) = driven(&device, &settings(), 47303, Loss::none());
        for _ in 0..3 {
            sender.say(b"x");
        }
        run(&mut parrot, &mut driven, for_a_while()).await;
    });
    assert_eq!(parrot.told.len(), 3);
    assert!(parrot.timeouts > 10, "and it goes on with its work");
}

#[test]
fn what_is_read_and_the_verdict_upon_a_trial_reach_the_machine() {
    let device = Device::installed();
    let mut parrot = Parrot { read: true, ..Parrot::default() };
    block_on(async {
        let (mut driven, _sender) = driven(&device, &settings(), 47304, Loss::none());
        driven.platform.prepare(3, 0).await.unwrap();
        driven.platform.write(Area::Image, 0, b"new").await.unwrap();
        driven.platform.activate(3, &DIGEST).await.unwrap();
        run(&mut parrot, &mut driven, for_a_while()).await;
    });
    assert_eq!(parrot.told, ["new".to_owned(), format!("{:?}", Trial::Healthy)]);
}

#[test]
fn losses_are_reported_to_the_machine() {
    let device = Device::installed();
    let mut parrot = Parrot { impatient: true, ..Parrot::default() };
    block_on(async {
        let (mut driven, sender) = driven(&device, &settings(), 47305, Loss::new(100.0, 1).unwrap());
        for _ in 0..5 {
            sender.say(b"x");
        }
        run(&mut parrot, &mut driven, for_a_while()).await;
    });
    assert_eq!((parrot.losses, parrot.told.len()), (5, 0));
}

#[test]
fn commands_die_with_the_loop() {
    let device = Device::installed();
    let health_command = device.shell("echo $$ > pid; sleep 1000");
    let settings = TrialSettings { health_command, ..settings() };
    block_on(async {
        let (mut driven, _sender) = driven(&device, &settings, 47306, Loss::none());
        driven.platform.prepare(3, 0).await.unwrap();
        driven.platform.activate(3, &DIGEST).await.unwrap();
        let stop = async {
            while device.left("pid").is_none_or(|pid| pid.is_empty()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        run(&mut Parrot::default(), &mut driven, stop).await;
    });
    let pid = device.left("pid").unwrap();
    assert!(common::eventually(|| !common::lives(&pid)));
}

#[test]
fn without_anything_to_do_the_loop_waits() {
    let device = Device::installed();
    let mut parrot = Parrot::default();
    block_on(async {
        let (mut driven, _sender) = driven(&device, &settings(), 47307, Loss::none());
        let endless = run(&mut parrot, &mut driven, pending());
        assert!(tokio::time::timeout(Duration::from_millis(200), endless).await.is_err());
    });
    assert_eq!((parrot.timeouts, parrot.told.len()), (0, 0));
    assert_eq!(device.current(), OLD);
}
