//! The binary: what it says, and with which exit code it ends.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use agent_linux::disk::Disk;
use agent_linux::machine::{Machine, claim};
use common::enrolled::output;
use common::{AGENT, Device, OLD, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provisioning::{AgentFile, yaml};
use update_core::record::CounterBounds;

/// Runs `--check` and expects one sentence and an exit code.
fn refused(device: &Device, code: i32, part: &str) {
    let (ended, text) = output(device.agent().arg("--check"));
    assert_eq!((ended, text.lines().count()), (code, 1), "{text}");
    assert!(text.starts_with("fwcast-agent: ") && text.contains(part), "{text}");
}

#[test]
fn a_good_configuration_is_right_and_an_installation_goes_with_it() {
    let device = Device::empty();
    device.enroll(&device.file("239.255.72.1:47201"));
    refused(&device, 1, "--install");
    let image = device.folder.path().join("first.img");
    fs::write(&image, OLD).unwrap();
    let (code, text) = output(device.agent().arg("--install").arg(&image).args(["--sequence", "7"]));
    assert_eq!(code, 0, "{text}");
    assert_eq!(device.current(), OLD);
    let (code, text) = output(device.agent().arg("--check"));
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("lamp-1") && text.contains("239.255.72.1:47201"), "{text}");
    let (code, text) = output(device.agent().arg("--install").arg(&image).args(["--sequence", "7"]));
    assert_eq!(code, 8, "{text}");
}

#[test]
fn what_others_can_read_is_refused() {
    let device = Device::installed();
    let path = device.enroll(&device.file("239.255.72.2:47202"));
    for mode in [0o644, 0o640, 0o604, 0o620] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&device, 8, "chmod 600");
    }
}

#[test]
fn a_state_folder_from_another_machine_is_refused_until_it_has_moved() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.14:47230"));
    let check = |serial: &str, further: &[&str]| {
        let path = device.folder.path().join("serial");
        fs::write(&path, serial).unwrap();
        output(device.agent().env("FWCAST_MACHINE_ID_FILE", path).arg("--check").args(further))
    };
    assert_eq!(check("SN 1", &[]).0, 0);
    assert_eq!(check("SN 2", &[]).0, 0, "to check gives the folder to nobody");
    let machine = Machine::from_file(&device.folder.path().join("serial")).unwrap();
    claim(&Disk::open(&device.state).unwrap(), machine.as_ref(), false).unwrap().unwrap();
    assert_eq!(check("SN 2", &[]).0, 0);
    let (code, text) = check("SN 1", &[]);
    assert_eq!(code, 8, "{text}");
    assert!(text.contains("another machine") && text.contains("--moved"), "{text}");
    assert_eq!(check("SN 1", &["--moved"]).0, 0);
    let (code, text) = check(" ", &[]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("FWCAST_MACHINE_ID_FILE"), "{text}");
}

#[test]
fn a_wrong_configuration_is_refused_with_the_place() {
    type Spoil = fn(&mut AgentFile);
    let cases: [(Spoil, i32, &str); 11] = [
        (|file| file.linux.interface = "nothing0".into(), 1, "this machine has lo"),
        (|file| file.linux.listen_port = Some(5684), 2, "listen_port"),
        (|file| file.linux.listen_port = Some(0), 2, "listen_port"),
        (|file| file.linux.state_directory = "relative".into(), 2, "state_directory"),
        (|file| file.linux.health_command = Some(vec![]), 2, "health_command"),
        (|file| file.linux.activate_command = Some(vec![String::new()]), 2, "activate_command"),
        (|file| file.linux.health_interval_seconds = 0, 2, "health_interval_seconds"),
        (|file| file.linux.activate_deadline_seconds = 0, 2, "activate_deadline_seconds"),
        (|file| file.linux.ready_command = Some(vec![]), 2, "ready_command"),
        (|file| file.provisioning.coap_group = "10.0.0.1:5683".parse().unwrap(), 2, "coap_group"),
        (|file| file.provisioning.coap_group.set_port(5684), 2, "5684"),
    ];
    let device = Device::installed();
    for (spoil, code, part) in cases {
        let mut file = device.file("239.255.72.3:47203");
        spoil(&mut file);
        device.enroll(&file);
        refused(&device, code, part);
    }
}

#[test]
fn a_check_looks_at_commands_and_slots_and_a_start_says_the_same() {
    type Spoil = fn(&Device, &mut AgentFile);
    let cases: [(Spoil, &str); 6] = [
        (|_, file| file.linux.activate_command = Some(vec!["/nothing/here".into()]), "there is no program"),
        (
            |device, file| {
                let path = device.state.join("boot.cbor");
                file.linux.health_command = Some(vec![path.to_str().unwrap().into()]);
            },
            "not executable",
        ),
        (|_, file| file.linux.ready_command = Some(vec!["/tmp".into()]), "is a folder"),
        (|device, _| fs::remove_file(device.state.join("slot-a.img")).unwrap(), "'current' leads nowhere"),
        (|device, _| fs::create_dir(device.state.join("slot-b.img")).unwrap(), "slot-b.img is not a file"),
        (
            |device, _| {
                fs::remove_file(device.state.join("slot-a.img")).unwrap();
                fs::create_dir(device.state.join("slot-a.img")).unwrap();
            },
            "slot-a.img",
        ),
    ];
    for (number, (spoil, part)) in cases.into_iter().enumerate() {
        let device = Device::installed();
        let mut file = device.file(&format!("239.255.72.13:{}", 47213 + number));
        spoil(&device, &mut file);
        device.enroll(&file);
        refused(&device, 1, part);
        // An agent that runs can still tell the distributor, and be updated where that is possible.
        let log = device.folder.path().join("log");
        let daemon = Daemon::start_with(&device, Stdio::from(fs::File::create(&log).unwrap()));
        assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
        let said = fs::read_to_string(log).unwrap();
        assert!(said.contains(part) && said.contains("before this is mended"), "{said}");
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    let device = Device::installed();
    let good = yaml::to_string(&device.file("239.255.72.4:47204")).unwrap();
    let unknown = good.replace("linux:", "linux:\n  colour: red");
    let doubled = good.replace("linux:", "linux:\n  interface: lo");
    let half = &good[..good.len() / 2];
    for (text, part) in [("", ""), (&unknown, "colour"), (&doubled, "interface"), (half, ""), ("\u{0}", "")] {
        device.write_config(text);
        refused(&device, 2, part);
    }
    fs::remove_file(device.folder.path().join("agent.yaml")).unwrap();
    refused(&device, 2, "no configuration file");
    fs::create_dir(device.folder.path().join("agent.yaml")).unwrap();
    refused(&device, 2, "not a file");
}

#[test]
fn wrong_arguments_are_refused() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.5:47205"));
    for arguments in [
        &["--inject-loss", "101"][..],
        &["--seed", "x"],
        &["--install", "x"],
        &["--unknown"],
        &["--interface-within", "soon"],
        &["--profile", "toaster"],
    ] {
        let (code, text) = output(device.agent().args(arguments));
        assert_eq!(code, 2, "{arguments:?}: {text}");
    }
    let (code, text) = output(device.agent().arg("--help"));
    assert!(code == 0 && text.contains("Exit codes:"), "{text}");
}

#[test]
fn completions_and_the_manual_page_are_printed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, text) = output(Command::new(AGENT).args(["completions", shell]));
        assert!(code == 0 && text.contains("inject-loss"), "{shell}: {text}");
    }
    for page in ["completions", "man"] {
        let (code, text) = output(Command::new(AGENT).args([page, "--help"]));
        assert!(code == 0 && text.contains(&format!("Example:\n  fwcast-agent {page}")), "{text}");
    }
    let (code, text) = output(Command::new(AGENT).arg("man"));
    assert!(code == 0 && text.contains(".TH fwcast-agent") && text.contains("Exit codes"), "{text}");
    let (code, text) = output(Command::new(AGENT).args(["man", "--check"]));
    assert_eq!(code, 2, "{text}");
}

#[test]
fn a_damaged_state_folder_is_refused_and_not_touched() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.6:47206"));
    let boot = device.state.join("boot.cbor");
    let whole = fs::read(&boot).unwrap();
    fs::write(&boot, &whole[..whole.len() - 1]).unwrap();
    refused(&device, 8, "boot.cbor is damaged");
    let (code, text) = output(&mut device.agent());
    assert!(code == 8 && text.contains("boot.cbor is damaged"), "{text}");
    assert_eq!(fs::read(&boot).unwrap(), &whole[..whole.len() - 1]);
    fs::write(&boot, &whole).unwrap();
    fs::write(device.state.join("installed.cbor"), b"torn").unwrap();
    let (code, text) = output(&mut device.agent());
    assert!(code == 8 && text.contains("installed.cbor"), "{text}");
}

/// An agent that runs, with a service manager that listens.
struct Daemon {
    child: Child,
    told: Receiver<String>,
}

impl Daemon {
    fn start(device: &Device) -> Self {
        Self::start_with(device, Stdio::null())
    }

    fn start_with(device: &Device, log: Stdio) -> Self {
        let path = device.folder.path().join("notify");
        let _ = fs::remove_file(&path);
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut command = device.agent();
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
        command.stdout(Stdio::null()).stderr(log);
        let daemon = Self { child: command.spawn().unwrap(), told: listen(manager) };
        daemon.wait_for("READY=1");
        daemon
    }

    fn wait_for(&self, message: &str) {
        while let Ok(told) = self.told.recv_timeout(Duration::from_secs(10)) {
            if told.starts_with(message) {
                return;
            }
        }
        panic!("the agent did not say {message}");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.child.wait().unwrap().code()
    }
}

/// Always reads: a notification waits until there is room for it.
fn listen(manager: UnixDatagram) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 500];
        while let Ok(length) = manager.recv(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_daemon_tells_systemd_how_it_is_and_ends_when_asked() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.7:47207"));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = Daemon::start(&device);
        daemon.wait_for("WATCHDOG=1");
        daemon.wait_for("WATCHDOG=1");
        assert_eq!(daemon.end(signal), Some(0));
    }
}

#[test]
fn signals_of_no_meaning_and_a_log_that_nobody_reads_stop_nothing() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.21:47221"));
    let log = device.folder.path().join("log");
    let mut daemon = Daemon::start_with(&device, Stdio::from(fs::File::create(&log).unwrap()));
    for signal in [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE] {
        daemon.signal(signal);
        let named = || fs::read_to_string(&log).unwrap().contains(signal.as_str());
        assert!(signal == Signal::SIGPIPE || eventually(named), "{signal} is not in the log");
        daemon.wait_for("WATCHDOG=1");
        assert_eq!(daemon.child.try_wait().unwrap(), None);
    }
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    // Its log goes into a pipe whose reader ends.
    let mut daemon = Daemon::start_with(&device, Stdio::piped());
    drop(daemon.child.stderr.take());
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for("WATCHDOG=1");
    daemon.wait_for("WATCHDOG=1");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
}

#[test]
fn a_second_agent_on_the_same_folder_is_refused_and_a_check_is_not() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.8:47208"));
    let daemon = Daemon::start(&device);
    let (code, text) = output(&mut device.agent());
    assert!(code == 1 && text.contains("another fwcast-agent"), "{text}");
    let (code, text) = output(device.agent().arg("--check"));
    assert!(code == 0 && text.contains("an agent is running"), "{text}");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
}

#[test]
fn counters_go_up_when_the_agent_is_killed_and_stay_exact_when_it_is_asked() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.9:47209"));
    let saved = || {
        let bytes = fs::read(device.state.join("counters.cbor")).ok()?;
        Some(CounterBounds::decode(&bytes).unwrap().reserved_end)
    };
    let daemon = Daemon::start(&device);
    assert!(eventually(|| saved().is_some_and(|end| end > 0)), "numbers are reserved before use");
    let reserved = saved().unwrap();
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    let exact = saved().unwrap();
    assert!(exact < reserved, "{exact} {reserved}");

    let daemon = Daemon::start(&device);
    assert!(eventually(|| saved().unwrap() > exact));
    let reserved = saved().unwrap();
    assert_eq!(daemon.end(Signal::SIGKILL), None);
    let daemon = Daemon::start(&device);
    assert!(eventually(|| saved().unwrap() > reserved), "what was reserved is not used again");
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    assert!(saved().unwrap() >= reserved);
}

#[test]
fn lost_or_damaged_counters_stop_the_agent() {
    let device = Device::installed();
    device.enroll(&device.file("239.255.72.10:47210"));
    let daemon = Daemon::start(&device);
    let counters = device.state.join("counters.cbor");
    assert!(eventually(|| counters.exists()));
    assert_eq!(daemon.end(Signal::SIGTERM), Some(0));
    fs::write(&counters, b"torn").unwrap();
    let (code, text) = output(&mut device.agent());
    assert!(code == 8 && text.contains("counters.cbor"), "{text}");
    fs::remove_file(&counters).unwrap();
    let (code, text) = output(&mut device.agent());
    assert!(code == 8 && text.contains("is lost"), "{text}");
}
