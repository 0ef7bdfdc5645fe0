//! Networks of namespaces: hosts, each in its own network namespace, on one Ethernet bridge that can lose
//! datagrams. Needs root, and the programs `ip` and `nft`.
//!
//! Datagrams are lost on the bridge, not inside a host: the kernel reports a datagram that it drops to the
//! sender, which no network does. Address resolution is not affected, so a program's first datagram is as
//! likely to be lost as any other.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;

/// The network interface of every host.
pub const INTERFACE: &str = "eth0";
/// The maximum number of hosts in a network: the last byte of their addresses is the number.
pub const HOSTS_MAX: u8 = 250;

const PREFIX: &str = "fwcast";
const NAMESPACES: &str = "/run/netns";

/// Whether a network uses IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// 10.77.0.0/24.
    V4,
    /// fd77::/64.
    V6,
}

/// Why networks of namespaces cannot be created here, if so; shown where something is left out.
#[must_use]
pub fn unavailable() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    install_missing().err().map(|error| format!("{error:#}"))
}

/// A network of namespaces. It is removed when this value is dropped.
#[derive(Debug)]
pub struct Net {
    family: Family,
    bridge: String,
    hosts: Vec<String>,
}

impl Net {
    /// Creates a network with this many hosts, numbered from 0. The name tells the networks of one process
    /// apart. Namespaces with that name that an ended process left behind are removed.
    ///
    /// # Errors
    /// Not root, a program is missing, or the kernel refuses.
    pub fn new(name: &str, family: Family, hosts: u8) -> Result<Self> {
        ensure!(hosts <= HOSTS_MAX, "{hosts} hosts, at most {HOSTS_MAX}");
        if let Some(why) = unavailable() {
            bail!(why);
        }
        remove_leftovers(name)?;
        let base = format!("{PREFIX}-{name}-{}", std::process::id());
        let hosts = (0..hosts).map(|host| format!("{base}-{host}")).collect();
        let net = Self { family, bridge: format!("{base}-bridge"), hosts };
        net.make_bridge()?;
        for host in 0..net.hosts.len() {
            net.make_host(host)?;
        }
        Ok(net)
    }

    /// Which version of the Internet Protocol it speaks.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The unicast address of a host.
    #[must_use]
    pub fn address(&self, host: usize) -> IpAddr {
        address(self.family, host)
    }

    /// Adds a tap to the bridge for a host that is not a namespace: an emulated machine, started with
    /// [`run_on_bridge`](Self::run_on_bridge). It counts as the host with this number.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_tap(&self, host: usize) -> Result<()> {
        let (bridge, tap) = (self.bridge.as_str(), self.tap(host));
        ip(&["-n", bridge, "tuntap", "add", "dev", &tap, "mode", "tap"])?;
        ip(&["-n", bridge, "link", "set", &tap, "master", "br0", "up"])
    }

    /// The name of the tap of a host.
    #[must_use]
    pub fn tap(&self, host: usize) -> String {
        port(host)
    }

    /// Starts a program in the namespace of the bridge and its taps.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run_on_bridge(&self, mut command: Command) -> Result<Child> {
        let program = command.get_program().to_owned();
        inside(&self.bridge, move || command.spawn())?
            .with_context(|| format!("cannot start {}", Path::new(&program).display()))
    }

    /// Loses this share of the UDP datagrams to a host, and the same share of those from it, each
    /// independently.
    ///
    /// # Errors
    /// Not a percentage, or the kernel refuses.
    pub fn drop_randomly(&self, host: usize, percent: f64) -> Result<()> {
        ensure!((0.0..=100.0).contains(&percent), "{percent} is not a percentage");
        let udp = match self.family {
            Family::V4 => "ip protocol udp",
            Family::V6 => "ip6 nexthdr udp",
        };
        let port = port(host);
        let chance = format!("{udp} numgen random mod 100000 < {:.0} counter drop", percent * 1000.0);
        let table = format!("bridge loss_{port}");
        let mut rules = format!("table {table}\ndelete table {table}\ntable {table} {{\n");
        // A multicast frame is one frame before it is forwarded, and one for each port after that. So what a
        // host sends is lost for all or for none, and what is sent to it is lost only for it.
        for (chain, hook, way) in [("from", "prerouting", "iifname"), ("to", "postrouting", "oifname")] {
            writeln!(
                rules,
                "chain {chain} {{ type filter hook {hook} priority 0; {way} \"{port}\" {chance}; }}"
            )?;
        }
        rules.push_str("}\n");
        self.nft(&rules)
    }

    /// Lets a host send at most so many bits a second, Ethernet headers included. What is too fast waits, and
    /// is lost after 300 ms of waiting, as in a switch.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn shape(&self, host: usize, bits_per_second: u64) -> Result<()> {
        let (name, rate) = (self.hosts[host].as_str(), format!("{bits_per_second}bit"));
        let link = ["-n", name, "qdisc", "replace", "dev", INTERFACE, "root"];
        let bucket = ["tbf", "rate", &rate, "burst", "16kb", "latency", "300ms"];
        output("tc", &[&link[..], &bucket].concat()).map(drop)
    }

    /// Cuts a host off, or reconnects it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cut(&self, host: usize, cut: bool) -> Result<()> {
        let state = if cut { "down" } else { "up" };
        ip(&["-n", &self.bridge, "link", "set", &port(host), state])
    }

    /// Takes a host's interface down, or brings it up again with its address: an operator would have to.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn take_down(&self, host: usize, down: bool) -> Result<()> {
        let name = &self.hosts[host];
        ip(&["-n", name, "link", "set", INTERFACE, if down { "down" } else { "up" }])?;
        // Only IPv6 loses its addresses with the link.
        if !down && self.family == Family::V6 { self.give_address(host) } else { Ok(()) }
    }

    /// Takes a host's address away, or gives it back.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn take_address(&self, host: usize, away: bool) -> Result<()> {
        if !away {
            return self.give_address(host);
        }
        ip(&["-n", &self.hosts[host], "address", "flush", "dev", INTERFACE, "scope", "global"])
    }

    /// Leaves a host with nothing but its network's own route.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn take_multicast_route(&self, host: usize) -> Result<()> {
        ip(&["-n", &self.hosts[host], "route", "delete", "224.0.0.0/4", "dev", INTERFACE])
    }

    fn give_address(&self, host: usize) -> Result<()> {
        let (name, address) = (&self.hosts[host], self.address(host));
        match self.family {
            Family::V4 => ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", INTERFACE]),
            // Nobody else has this address, and waiting to find that out takes two seconds.
            Family::V6 => {
                ip(&["-n", name, "address", "add", &format!("{address}/64"), "dev", INTERFACE, "nodad"])
            }
        }
    }

    /// Bytes over a host's link so far, in both directions, including Ethernet headers.
    ///
    /// # Errors
    /// The counters cannot be read.
    pub fn link_bytes(&self, host: usize) -> Result<u64> {
        let output = output("ip", &["-n", &self.hosts[host], "-j", "-s", "link", "show", "dev", INTERFACE])?;
        let links: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let counted = |way: &str| links[0]["stats64"][way]["bytes"].as_u64();
        let (received, sent) = counted("rx").zip(counted("tx")).context("ip shows no counters")?;
        Ok(received + sent)
    }

    /// Runs something on a host. Sockets that it opens, and programs that it starts, stay in the host's
    /// network.
    ///
    /// # Errors
    /// The namespace cannot be entered.
    pub fn inside<T: Send>(&self, host: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
        inside(&self.hosts[host], work)
    }

    /// Starts a program on a host.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn run(&self, host: usize, mut command: Command) -> Result<Child> {
        let program = command.get_program().to_owned();
        self.inside(host, move || command.spawn())?
            .with_context(|| format!("cannot start {}", Path::new(&program).display()))
    }

    fn make_bridge(&self) -> Result<()> {
        ip(&["netns", "add", &self.bridge])?;
        // A bridge with snooping would hold back multicast until a host reports that it listens.
        let bridge = ["link", "add", "br0", "type", "bridge", "mcast_snooping", "0"];
        ip(&[&["-n", &self.bridge], &bridge[..]].concat())?;
        ip(&["-n", &self.bridge, "link", "set", "br0", "up"])
    }

    fn make_host(&self, host: usize) -> Result<()> {
        let (name, port) = (&self.hosts[host], port(host));
        ip(&["netns", "add", name])?;
        let link = ["link", "add", &port, "type", "veth", "peer", "name", INTERFACE, "netns", name];
        ip(&[&["-n", &self.bridge], &link[..]].concat())?;
        ip(&["-n", &self.bridge, "link", "set", &port, "master", "br0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "link", "set", INTERFACE, "up"])?;
        self.give_address(host)?;
        match self.family {
            Family::V4 => ip(&["-n", name, "route", "add", "224.0.0.0/4", "dev", INTERFACE]),
            Family::V6 => ip(&["-n", name, "-6", "route", "add", "multicast", "ff00::/8", "dev", INTERFACE]),
        }
    }

    fn nft(&self, rules: &str) -> Result<()> {
        let mut command = Command::new("nft");
        command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = inside(&self.bridge, || command.spawn())?.context("cannot run nft")?;
        child.stdin.take().context("nft has no standard input")?.write_all(rules.as_bytes())?;
        check("nft", &child.wait_with_output()?)
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for name in self.hosts.iter().chain([&self.bridge]) {
            remove(name);
        }
    }
}

fn address(family: Family, host: usize) -> IpAddr {
    let last = u8::try_from(host + 1).unwrap_or(u8::MAX);
    match family {
        Family::V4 => Ipv4Addr::new(10, 77, 0, last).into(),
        Family::V6 => Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last.into()).into(),
    }
}

/// The bridge's end of a host's link.
fn port(host: usize) -> String {
    format!("p{host}")
}

/// Runs something in a namespace, on a separate thread: a namespace belongs to a thread.
fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = Path::new(NAMESPACES).join(namespace);
    let namespace = File::open(&path).with_context(|| format!("there is no {}", path.display()))?;
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter a network namespace")?;
            Ok(work())
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Removes namespaces with this name whose process has ended.
fn remove_leftovers(name: &str) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else { return Ok(()) };
    for entry in entries {
        let entry = entry?.file_name();
        let Some(entry) = entry.to_str() else { continue };
        if maker(entry, name).is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            remove(entry);
        }
    }
    Ok(())
}

/// The process that created a namespace for a network with this name.
fn maker(namespace: &str, name: &str) -> Option<u32> {
    let rest = namespace.strip_prefix(&format!("{PREFIX}-{name}-"))?;
    rest.split_once('-')?.0.parse().ok()
}

fn remove(namespace: &str) {
    if let Err(error) = ip(&["netns", "delete", namespace]) {
        eprintln!("cannot remove the network namespace {namespace}: {error:#}");
    }
}

/// Installs missing programs with the package manager of Debian and its derivatives.
fn install_missing() -> Result<()> {
    for (program, package) in [("ip", "iproute2"), ("nft", "nftables")] {
        if Command::new(program).arg("-V").output().is_ok() {
            continue;
        }
        eprintln!("installing {package} for the program {program}");
        let installed = output("apt-get", &["update", "-q"])
            .and_then(|_| output("apt-get", &["install", "-q", "-y", "--no-install-recommends", package]));
        installed.with_context(|| format!("{program} is missing: install {package}"))?;
    }
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<()> {
    output("ip", arguments).map(drop)
}

fn output(program: &str, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    check(&format!("{program} {}", arguments.join(" ")), &output)?;
    Ok(output)
}

fn check(what: &str, output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_namespaces_of_the_same_network_are_leftovers() {
        assert_eq!(maker("fwcast-late-41-0", "late"), Some(41));
        assert_eq!(maker("fwcast-late-41-bridge", "late"), Some(41));
        assert_eq!(maker("fwcast-late-joiner-41-0", "late"), None);
        assert_eq!(maker("other-late-41-0", "late"), None);
    }
}
