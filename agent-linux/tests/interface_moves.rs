//! The interface comes late, goes, comes back as another one, loses its address, has another name: the agent
//! follows. With the real binary, in network namespaces.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs::{self, File};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

use common::enrolled::output;
use common::{Device, eventually, needs_namespace};
use libtest_mimic::{Arguments, Trial};
use nix::sched::{CloneFlags, unshare};

const GROUP: &str = "239.255.74.1";

/// Interfaces are made and deleted, so this runs only as root, and else is left out.
fn main() -> ExitCode {
    let test = |name: &str, test: fn()| {
        let run = move || {
            let namespaced = thread::spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                ip("link set lo up");
                test();
            });
            namespaced.join().unwrap();
            Ok(())
        };
        needs_namespace(Trial::test(name, run), CloneFlags::CLONE_NEWNET)
    };
    let tests = vec![
        test("an_interface_that_comes_late_is_waited_for", an_interface_that_comes_late_is_waited_for),
        test("an_interface_that_never_comes_ends_with_1", an_interface_that_never_comes_ends_with_1),
        test("an_interface_made_anew_is_joined_again", an_interface_made_anew_is_joined_again),
        test("a_link_or_address_that_comes_back_is_noticed", a_link_or_address_that_comes_back_is_noticed),
        test("a_renamed_interface_goes_on", a_renamed_interface_goes_on),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().expect("the command ip is needed");
    assert!(status.success(), "ip {line}: {status}");
}

/// A pair of interfaces that are up, of which the agent has `left`; perhaps under this number.
fn make_left(index: Option<&str>) {
    let index = index.map_or_else(String::new, |index| format!(" index {index}"));
    ip(&format!("link add left{index} type veth peer name right"));
    ip("link set right up");
    ip("link set left up");
}

fn index_of_left() -> String {
    nix::net::if_::if_nametoindex("left").unwrap().to_string()
}

/// Whether somebody in this namespace has joined the group on an interface.
fn is_joined_on(interface: &str) -> bool {
    let shown = Command::new("ip").args(["-4", "maddr", "show", "dev", interface]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().contains(GROUP)
}

/// An agent that runs in this thread's namespace.
struct Running {
    device: Device,
    child: Child,
}

impl Running {
    fn start() -> Self {
        let device = Device::installed();
        let mut file = device.file(&format!("{GROUP}:47401"));
        file.linux.interface = "left".into();
        device.enroll(&file);
        let log = File::create(device.folder.path().join("log")).unwrap();
        let child = device.agent().stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { device, child }
    }

    fn has_said(&self, text: &str, times: usize) -> bool {
        let log = fs::read_to_string(self.device.folder.path().join("log")).unwrap();
        log.matches(text).count() >= times
    }

    /// It says this so often, and is a member of the group on `left`.
    fn says_and_joins(&mut self, text: &str, times: usize) {
        let log = || fs::read_to_string(self.device.folder.path().join("log")).unwrap();
        assert!(eventually(|| self.has_said(text, times)), "{text}: {}", log());
        assert!(eventually(|| is_joined_on("left")), "not joined: {}", log());
        assert!(self.child.try_wait().unwrap().is_none(), "it has ended: {}", log());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const AGAIN: &str = "joining the CoAP group again";

fn an_interface_that_comes_late_is_waited_for() {
    let mut agent = Running::start();
    assert!(eventually(|| agent.has_said("waiting for it", 1)));
    assert!(!agent.has_said("started", 1));
    // It has no address yet either.
    make_left(None);
    agent.says_and_joins("started", 1);
    ip("addr add 10.74.0.2/24 dev left");
    agent.says_and_joins(AGAIN, 1);
}

fn an_interface_that_never_comes_ends_with_1() {
    let device = Device::installed();
    let mut file = device.file(&format!("{GROUP}:47402"));
    file.linux.interface = "left".into();
    device.enroll(&file);
    let (code, text) = output(device.agent().args(["--interface-within", "1"]));
    // Not 2, after which the unit would not start it again.
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("no network interface 'left'") && text.contains("within 1 s"), "{text}");
}

fn an_interface_made_anew_is_joined_again() {
    make_left(None);
    ip("addr add 10.74.0.2/24 dev left");
    let mut agent = Running::start();
    agent.says_and_joins("started", 1);
    ip("link delete left");
    assert!(eventually(|| agent.has_said("the interface is gone", 1)));
    make_left(None);
    ip("addr add 10.74.0.2/24 dev left");
    agent.says_and_joins(AGAIN, 1);
    // At once, and under the same number: only netlink knows that it is another one.
    let index = index_of_left();
    ip("link delete left");
    make_left(Some(&index));
    ip("addr add 10.74.0.2/24 dev left");
    assert_eq!(index_of_left(), index);
    agent.says_and_joins(AGAIN, 2);
}

fn a_link_or_address_that_comes_back_is_noticed() {
    make_left(None);
    ip("addr add 10.74.0.2/24 dev left");
    let mut agent = Running::start();
    agent.says_and_joins("started", 1);
    ip("link set left down");
    agent.says_and_joins(AGAIN, 1);
    ip("link set left up");
    agent.says_and_joins(AGAIN, 2);
    ip("addr flush dev left");
    agent.says_and_joins(AGAIN, 3);
    ip("addr add 10.74.0.3/24 dev left");
    agent.says_and_joins(AGAIN, 4);
}

fn a_renamed_interface_goes_on() {
    make_left(None);
    let mut agent = Running::start();
    agent.says_and_joins("started", 1);
    ip("link set left down");
    ip("link set left name other");
    ip("link set other up");
    assert!(eventually(|| agent.has_said("has another name now", 1)));
    assert!(is_joined_on("other"), "it goes on where it is");
    // Another one takes the name, and that is the one in the configuration.
    ip("link add left type veth peer name right2");
    ip("link set left up");
    agent.says_and_joins(AGAIN, 1);
}
