//! Checks what a push needs: interface, address, route, MTU, and the loss on the way to the agents, from this
//! machine outwards.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use serde::Serialize;
use update_core::distribution::Distribution;

use fwcast_state::socket::{self, interface_index, with_scope};
use fwcast_state::{GroupState, Profile};
use rollout_engine::Many;

/// The result of one check.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// Whether it is good enough for a push.
    pub ok: bool,
    /// What was found, and if it is not good enough, what to do.
    pub says: String,
}

/// Checks this machine's part. Nothing is sent.
pub fn machine(profile: &Profile) -> Vec<Finding> {
    vec![interface(profile), address(profile), route(profile), mtu(profile)]
}

fn finding(check: &'static str, says: Result<String, String>) -> Finding {
    match says {
        Ok(says) => Finding { check, ok: true, says },
        Err(says) => Finding { check, ok: false, says },
    }
}

fn interface(profile: &Profile) -> Finding {
    let name = &profile.interface;
    let flags =
        getifaddrs().ok().and_then(|mut all| all.find(|i| &i.interface_name == name)).map(|i| i.flags);
    finding(
        "interface",
        match (interface_index(name), flags) {
            (Err(failure), _) => Err(failure.to_string()),
            (Ok(_), Some(flags)) if !flags.contains(InterfaceFlags::IFF_UP) => {
                Err(format!("{name} is down: bring it up with `ip link set {name} up`"))
            }
            (Ok(_), Some(flags))
                if !flags.intersects(InterfaceFlags::IFF_MULTICAST | InterfaceFlags::IFF_LOOPBACK) =>
            {
                Err(format!("{name} does not do multicast: `ip link set {name} multicast on`"))
            }
            (Ok(index), _) => Ok(format!("{name} (number {index}) is up")),
        },
    )
}

fn address(profile: &Profile) -> Finding {
    let wanted = profile.distributor.ip();
    let held = getifaddrs().ok().is_some_and(|all| {
        all.filter(|i| i.interface_name == profile.interface).filter_map(|i| i.address).any(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let v6 = address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
            v4.or(v6) == Some(wanted)
        })
    });
    finding(
        "address",
        if held {
            Ok(format!("{wanted} is on {}", profile.interface))
        } else {
            Err(format!(
                "{wanted}, where agents expect the distributor, is not an address of {}: add it, or create \
                 the group with another --distributor",
                profile.interface
            ))
        },
    )
}

/// Connecting a datagram socket sends nothing; it only looks up the route, by the interface that a push names
/// as well.
fn route(profile: &Profile) -> Finding {
    let group = profile.coap_group;
    let found = socket::multicast(profile).map_err(|error| error.to_string()).and_then(|socket| {
        let index = interface_index(&profile.interface).unwrap_or(0);
        socket.connect(&with_scope(group, index).into()).map_err(|error| error.to_string())
    });
    finding(
        "route",
        match found {
            Ok(_) => Ok(format!("there is a route to {}", group.ip())),
            Err(error) => Err(format!(
                "there is no route to {} ({error}): `ip route add {} dev {}`",
                group.ip(),
                if group.is_ipv4() { "224.0.0.0/4" } else { "ff00::/8 table local" },
                profile.interface
            )),
        },
    )
}

/// A block's datagram must not be fragmented: one lost fragment loses the whole block.
fn mtu(profile: &Profile) -> Finding {
    let headers = if profile.coap_group.is_ipv4() { 28 } else { 48 };
    let needed = u32::from(profile.block_size) + 136 + headers;
    let path = format!("/sys/class/net/{}/mtu", profile.interface);
    let mtu = std::fs::read_to_string(&path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    finding(
        "MTU",
        match mtu {
            Some(mtu) if mtu >= needed => Ok(format!("{mtu} bytes, {needed} needed")),
            Some(mtu) => Err(format!(
                "{mtu} bytes, but blocks of {} bytes need {needed}: create the group with a smaller \
                 --block-size",
                profile.block_size
            )),
            None => Err(format!("cannot read {path}")),
        },
    )
}

/// The loss could not be measured, for this reason.
pub fn not_measured(why: &str) -> Finding {
    finding("loss", Err(format!("not measured: {why}")))
}

/// How many questions each agent answered in a census.
pub fn loss(group: &GroupState, distribution: &Distribution) -> Vec<Finding> {
    let agents = distribution.agents().iter();
    agents
        .map(|agent| {
            let name = group
                .agent_by_sender_id(agent.id)
                .map_or_else(String::new, |enrolled| enrolled.name.to_string());
            let (asked, answered) = (agent.asked(), agent.answered());
            let percent = (asked - answered.min(asked)) * 100 / asked.max(1);
            let says = format!(
                "{name}: {answered} of {} answered, {percent} % lost both ways",
                Many(asked, "question")
            );
            finding(
                "loss",
                match percent {
                    100 => Err(format!(
                        "{name}: no answer to {}: is it running, and does the network pass multicast to it?",
                        Many(asked, "question")
                    )),
                    51.. => Err(format!("{says}; Wi-Fi often does that: see docs/operating.md")),
                    _ => Ok(says),
                },
            )
        })
        .collect()
}
