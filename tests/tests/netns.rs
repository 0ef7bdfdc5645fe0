//! The harness of network namespaces: multicast reaches every host, the configured share of datagrams is
//! lost, and bytes are counted.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};
use tests::hear::hear;
use tests::netns::{Family, INTERFACE, Net, unavailable};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0, 0x77);
const PORT: u16 = 5683;

/// If namespaces cannot be created, each test reports that it was left out, and why.
fn main() -> ExitCode {
    let why = unavailable();
    let test = |name: &str, test: fn()| {
        let run = move || {
            test();
            Ok(())
        };
        let left_out = why.as_ref().map(|why| format!("left out: {why}"));
        Trial::test(name, run).with_ignored_flag(left_out.is_some()).with_kind(left_out.unwrap_or_default())
    };
    let tests = vec![
        test("multicast_of_ipv4_reaches_the_others", multicast_of_ipv4_reaches_the_others),
        test("multicast_of_ipv6_reaches_the_others", multicast_of_ipv6_reaches_the_others),
        test(
            "so_many_datagrams_are_lost_each_way_and_each_host_by_itself",
            so_many_datagrams_are_lost_each_way_and_each_host_by_itself,
        ),
        test(
            "a_host_that_is_cut_off_hears_nothing_until_it_is_back",
            a_host_that_is_cut_off_hears_nothing_until_it_is_back,
        ),
        test(
            "a_program_runs_on_its_host_and_the_network_goes_with_its_value",
            a_program_runs_on_its_host_and_the_network_goes_with_its_value,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn group(family: Family) -> SocketAddr {
    let group: IpAddr = match family {
        Family::V4 => GROUP_V4.into(),
        Family::V6 => GROUP_V6.into(),
    };
    SocketAddr::new(group, PORT)
}

/// A socket on a host that has joined the group.
fn receiver(net: &Net, host: usize, family: Family) -> UdpSocket {
    net.inside(host, || {
        let index = nix::net::if_::if_nametoindex(INTERFACE).unwrap();
        let group = group(family);
        let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_recv_buffer_size(4 << 20).unwrap();
        socket.bind(&group.into()).unwrap();
        match family {
            Family::V4 => {
                socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index)).unwrap();
            }
            Family::V6 => socket.join_multicast_v6(&GROUP_V6, index).unwrap(),
        }
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        UdpSocket::from(socket)
    })
    .unwrap()
}

fn sender(net: &Net, host: usize) -> UdpSocket {
    net.inside(host, || UdpSocket::bind((net.address(host), 0)).unwrap()).unwrap()
}

/// How many datagrams arrive until it is quiet.
fn count(socket: &UdpSocket) -> usize {
    let mut buffer = [0; 64];
    let mut counted = 0;
    while hear(|| socket.recv(&mut buffer)).unwrap().is_some() {
        counted += 1;
    }
    counted
}

fn multicast_reaches_the_others(family: Family, name: &str) {
    let net = Net::new(name, family, 4).unwrap();
    let receivers: Vec<_> = (1..4).map(|host| receiver(&net, host, family)).collect();
    let sender = sender(&net, 0);
    let before = net.link_bytes(0).unwrap();
    for _ in 0..10 {
        sender.send_to(&[7; 50], group(family)).unwrap();
    }
    for receiver in &receivers {
        assert_eq!(count(receiver), 10);
    }
    let bytes = net.link_bytes(0).unwrap() - before;
    assert!((10 * 50..10_000).contains(&bytes), "{bytes} bytes on the link");
    let back = self::sender(&net, 2);
    back.send_to(b"unicast", sender.local_addr().unwrap()).unwrap();
    let mut buffer = [0; 64];
    sender.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (_, from) = hear(|| sender.recv_from(&mut buffer)).unwrap().unwrap();
    assert_eq!(from.ip(), net.address(2));
}

fn multicast_of_ipv4_reaches_the_others() {
    multicast_reaches_the_others(Family::V4, "reach4");
}

fn multicast_of_ipv6_reaches_the_others() {
    multicast_reaches_the_others(Family::V6, "reach6");
}

fn so_many_datagrams_are_lost_each_way_and_each_host_by_itself() {
    const SENT: usize = 4000;
    for (family, name) in [(Family::V4, "loss4"), (Family::V6, "loss6")] {
        let net = Net::new(name, family, 3).unwrap();
        net.drop_randomly(1, 50.0).unwrap();
        net.drop_randomly(1, 20.0).unwrap();
        let receivers = [receiver(&net, 1, family), receiver(&net, 2, family)];
        let sender = sender(&net, 0);
        for _ in 0..SENT {
            sender.send_to(b"down", group(family)).unwrap();
        }
        let heard = count(&receivers[0]);
        assert!((3000..3400).contains(&heard), "{heard} of {SENT} with 20 % loss");
        assert_eq!(count(&receivers[1]), SENT);
        let lossy = self::sender(&net, 1);
        for _ in 0..SENT {
            lossy.send_to(b"up", group(family)).unwrap();
        }
        let heard = count(&receivers[1]);
        assert!((3000..3400).contains(&heard), "{heard} of {SENT} with 20 % loss");
    }
}

fn a_host_that_is_cut_off_hears_nothing_until_it_is_back() {
    let net = Net::new("cut", Family::V4, 2).unwrap();
    let receiver = receiver(&net, 1, Family::V4);
    let sender = sender(&net, 0);
    net.cut(1, true).unwrap();
    sender.send_to(b"lost", group(Family::V4)).unwrap();
    assert_eq!(count(&receiver), 0);
    net.cut(1, false).unwrap();
    sender.send_to(b"heard", group(Family::V4)).unwrap();
    assert_eq!(count(&receiver), 1);
}

fn a_program_runs_on_its_host_and_the_network_goes_with_its_value() {
    let net = Net::new("run", Family::V4, 2).unwrap();
    let mut command = Command::new("ip");
    command.args(["-4", "address", "show", "dev", INTERFACE]).stdout(std::process::Stdio::piped());
    let shown = net.run(1, command).unwrap().wait_with_output().unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains("10.77.0.2/24"));
    let name = format!("fwcast-run-{}-1", std::process::id());
    let listed =
        || String::from_utf8(Command::new("ip").args(["netns", "list"]).output().unwrap().stdout).unwrap();
    assert!(listed().contains(&name));
    drop(net);
    assert!(!listed().contains(&name));
}
