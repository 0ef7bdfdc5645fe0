//! Real multicast: who gets a datagram, and who does not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use agent_linux::interface::Interface;
use agent_linux::loss::Loss;
use agent_linux::sockets::{Received, Sockets};
use common::{block_on, needs_namespace};
use libtest_mimic::{Arguments, Trial};
use nix::sched::{CloneFlags, unshare};
use update_core::reception::Via;

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long is listened for what must not come.
const SILENCE: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let test = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let namespaced = test(
        "an_agent_hears_its_own_interface_only_and_ipv6_reaches_all_agents",
        an_agent_hears_its_own_interface_only_and_ipv6_reaches_all_agents,
    );
    let tests = vec![
        test(
            "three_agents_on_one_port_get_every_datagram_over_ipv4",
            three_agents_on_one_port_get_every_datagram_over_ipv4,
        ),
        test("another_group_on_the_same_port_is_not_heard", another_group_on_the_same_port_is_not_heard),
        test("unicast_to_the_groups_port_is_not_heard", unicast_to_the_groups_port_is_not_heard),
        test(
            "loss_drops_whole_datagrams_both_ways_and_counts_them",
            loss_drops_whole_datagrams_both_ways_and_counts_them,
        ),
        test("a_port_of_its_own_that_is_taken_is_an_error", a_port_of_its_own_that_is_taken_is_an_error),
        needs_namespace(namespaced, CloneFlags::CLONE_NEWNET),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}

fn sockets(group: SocketAddr, interface: &str) -> Sockets {
    Sockets::open(group, Interface::by_name(interface).unwrap(), None, Loss::none()).unwrap()
}

/// A sender of IPv4 multicast on the loopback interface.
fn sender() -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
    socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.into()
}

async fn next(sockets: &mut Sockets, buffer: &mut [u8]) -> Received {
    let received = tokio::time::timeout(PATIENCE, sockets.receive(buffer)).await;
    received.expect("nothing came in").unwrap()
}

async fn is_silent(sockets: &mut Sockets) -> bool {
    tokio::time::timeout(SILENCE, sockets.receive(&mut [0; 100])).await.is_err()
}

/// Three agents on one port each get each datagram, and answer from sockets of their own.
async fn three_agents(group: SocketAddr, interface: &str, sender: UdpSocket) {
    let mut agents: Vec<Sockets> = (0..3).map(|_| sockets(group, interface)).collect();
    sender.set_nonblocking(true).unwrap();
    let sender = tokio::net::UdpSocket::from_std(sender).unwrap();
    for text in [&b"one"[..], b"two"] {
        sender.send_to(text, group).await.unwrap();
        for agent in &mut agents {
            let mut buffer = [0; 100];
            let received = next(agent, &mut buffer).await;
            assert_eq!((&buffer[..received.len], received.via), (text, Via::Group));
            agent.send(received.from, b"answer").await.unwrap();
            let answer = tokio::time::timeout(PATIENCE, sender.recv_from(&mut buffer)).await;
            let (len, from) = answer.expect("no answer came").unwrap();
            assert_eq!(&buffer[..len], b"answer");
            assert_eq!(from.port(), agent.own_address().unwrap().port());
            assert_ne!(from.port(), group.port());
            sender.send_to(b"unicast", from).await.unwrap();
            let received = next(agent, &mut buffer).await;
            assert_eq!((&buffer[..received.len], received.via), (&b"unicast"[..], Via::Own));
        }
    }
    let traffic = agents[0].traffic();
    assert_eq!((traffic.group_received, traffic.own_received, traffic.sent), (2, 2, 2));
}

fn three_agents_on_one_port_get_every_datagram_over_ipv4() {
    block_on(three_agents("239.255.71.1:47101".parse().unwrap(), "lo", sender()));
}

fn another_group_on_the_same_port_is_not_heard() {
    block_on(async {
        let (ours, theirs) = ("239.255.71.2:47102".parse().unwrap(), "239.255.71.3:47102".parse().unwrap());
        let (mut us, mut them) = (sockets(ours, "lo"), sockets(theirs, "lo"));
        sender().send_to(b"for them", theirs).unwrap();
        assert_eq!(next(&mut them, &mut [0; 100]).await.len, b"for them".len());
        assert!(is_silent(&mut us).await);
    });
}

fn unicast_to_the_groups_port_is_not_heard() {
    block_on(async {
        let group: SocketAddr = "239.255.71.4:47104".parse().unwrap();
        let mut agent = sockets(group, "lo");
        sender().send_to(b"x", (Ipv4Addr::LOCALHOST, group.port())).unwrap();
        assert!(is_silent(&mut agent).await);
    });
}

fn loss_drops_whole_datagrams_both_ways_and_counts_them() {
    block_on(async {
        let group: SocketAddr = "239.255.71.5:47105".parse().unwrap();
        let interface = Interface::by_name("lo").unwrap();
        let loss = Loss::new(50.0, 3).unwrap();
        let mut agent = Sockets::open(group, interface, None, loss).unwrap();
        let sender = sender();
        let mut buffer = [0; 100];
        let mut heard = 0;
        for _ in 0..100 {
            sender.send_to(b"x", group).unwrap();
            tokio::select! {
                _ = agent.receive(&mut buffer) => heard += 1,
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
            agent.send(sender.local_addr().unwrap(), b"y").await.unwrap();
        }
        while tokio::time::timeout(SILENCE, agent.receive(&mut buffer)).await.is_ok() {
            heard += 1;
        }
        let traffic = agent.traffic();
        assert_eq!(traffic.group_received, heard);
        assert!((30..70).contains(&traffic.received_dropped), "{traffic:?}");
        assert!((30..70).contains(&traffic.sent_dropped), "{traffic:?}");
        assert_eq!(traffic.group_received + traffic.received_dropped, 100);
        assert_eq!(traffic.sent + traffic.sent_dropped, 100);
        assert_eq!(u64::from(traffic.dropped()), traffic.received_dropped + traffic.sent_dropped);
    });
}

fn a_port_of_its_own_that_is_taken_is_an_error() {
    block_on(async {
        let taken = UdpSocket::bind("0.0.0.0:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let group = "239.255.71.6:47106".parse().unwrap();
        let interface = Interface::by_name("lo").unwrap();
        let error = Sockets::open(group, interface, Some(port), Loss::none()).unwrap_err();
        assert!(error.to_string().contains(&port.to_string()), "{error}");
    });
}

/// Two interfaces and IPv6 multicast need a network namespace, so this runs only as root, and else is left
/// out.
fn an_agent_hears_its_own_interface_only_and_ipv6_reaches_all_agents() {
    let namespaced = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for line in [
            "link add left type veth peer name right",
            "link set lo up",
            "link set left up",
            "link set right up",
            "addr add 10.71.0.1/24 dev left",
            "addr add 10.71.1.1/24 dev right",
            "addr add fd71::1/64 dev left nodad",
            "addr add fd72::1/64 dev right nodad",
        ] {
            ip(line);
        }
        block_on(async {
            one_interface_only().await;
            for group in ["[ff15::7101]:47107", "[ff12::7101]:47107"] {
                let (group, sender) = (group.parse().unwrap(), ipv6_sender("left"));
                three_agents(group, "left", sender).await;
            }
        });
    });
    namespaced.join().unwrap();
}

async fn one_interface_only() {
    let group: SocketAddr = "239.255.71.8:47108".parse().unwrap();
    let (mut left, mut right) = (sockets(group, "left"), sockets(group, "right"));
    let socket = UdpSocket::bind("10.71.0.1:0").unwrap();
    let outgoing = socket2::SockRef::from(&socket);
    outgoing.set_multicast_if_v4(&Ipv4Addr::new(10, 71, 0, 1)).unwrap();
    outgoing.set_multicast_loop_v4(true).unwrap();
    socket.send_to(b"x", group).unwrap();
    // It is looped back on the interface that it leaves by, and with IP_MULTICAST_ALL on both would hear
    // that.
    assert_eq!(next(&mut left, &mut [0; 100]).await.len, 1);
    assert!(is_silent(&mut right).await);
}

fn ipv6_sender(interface: &str) -> UdpSocket {
    let socket = UdpSocket::bind("[fd71::1]:0").unwrap();
    let index = Interface::by_name(interface).unwrap().index;
    let outgoing = socket2::SockRef::from(&socket);
    outgoing.set_multicast_if_v6(index).unwrap();
    outgoing.set_multicast_loop_v6(true).unwrap();
    socket
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split(' ')).status().expect("the command ip is needed");
    assert!(status.success(), "ip {line}: {status}");
}
