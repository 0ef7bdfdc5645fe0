//! Message IDs: none is used twice to the same agent within NON_LIFETIME (protocol.md \[message ids\]).

use super::Members;
use crate::cycle::Cycle;
use crate::limits::{PUT_PORTS_MAX, REPLY_MESSAGE_IDS};
use crate::time::{Instant, earliest};
use alloc::vec;
use alloc::vec::Vec;
use group_oscore::MemberId;

/// Message IDs of datagrams to the group from the distributor's own port; the others are for single agents.
const GROUP_IDS: u32 = 1 << 15;
/// The first Message ID of requests to single agents, after those of replies.
const SINGLE_IDS_FROM: u16 = (GROUP_IDS + REPLY_MESSAGE_IDS) as u16;
/// All Message IDs of a port.
const PORT_IDS: u32 = 1 << 16;

/// Which Message ID comes next from which port. A distribution that follows another one from the same port
/// continues with its Message IDs.
#[derive(Debug, Clone)]
pub struct MessageIds {
    /// To the group: from the distributor's own port, then from further ones. There are further ones if the
    /// pace needs them.
    ports: Vec<Port>,
    /// Requests to each agent, by index: for these, how many there were is enough.
    singles: Vec<u16>,
    start: u64,
    further_max: u8,
}

#[derive(Debug, Clone)]
struct Port {
    next: u64,
    cycle: Cycle,
}

impl Port {
    fn take(&mut self, now: Instant) -> u64 {
        let number = self.next;
        self.cycle.used(number, now);
        self.next += 1;
        number
    }
}

impl MessageIds {
    /// Starts at the distributor's next Sender Sequence Number: it is above the numbers that other
    /// distributions have used, each of which stood for one Message ID at most.
    pub(super) fn new(start: u64, members: &Members) -> Self {
        let own = Port { next: start, cycle: Cycle::new(GROUP_IDS) };
        Self {
            ports: vec![own],
            singles: vec![start as u16; members.as_slice().len()],
            start,
            further_max: PUT_PORTS_MAX,
        }
    }

    /// Continues where another distribution of the same process was. Its agents may have been others.
    pub(super) fn follow(&mut self, before: Self) {
        self.ports = before.ports;
    }

    /// For a request to the group that agents answer: from the distributor's own port.
    pub(super) fn for_group(&mut self, now: Instant) -> u16 {
        self.ports.first_mut().map_or(0, |own| (own.take(now) % u64::from(GROUP_IDS)) as u16)
    }

    /// For a PUT to the group, with the port from which it goes; port 0 is the distributor's own. Call it at
    /// [`Self::put_free_at`].
    pub(super) fn for_put(&mut self, now: Instant) -> (u8, u16) {
        let is_free = |port: &usize| self.port_free_at(*port).is_none_or(|free| free <= now);
        let last = self.ports.len() - 1;
        let port = (0..=last).find(is_free).unwrap_or_else(|| {
            if last < usize::from(self.further_max) {
                self.ports.push(Port { next: self.start, cycle: Cycle::new(PORT_IDS) });
                last + 1
            } else {
                last
            }
        });
        let ids = if port == 0 { GROUP_IDS } else { PORT_IDS };
        let number = self.ports.get_mut(port).map_or(0, |port| port.take(now));
        (port as u8, (number % u64::from(ids)) as u16)
    }

    /// From when the next PUT may go; `None` if at once.
    pub(super) fn put_free_at(&self) -> Option<Instant> {
        if self.ports.len() <= usize::from(self.further_max) {
            return None;
        }
        let mut soonest = None;
        for port in 0..self.ports.len() {
            soonest = earliest(soonest, Some(self.port_free_at(port)?));
        }
        soonest
    }

    /// On the distributor's own port, PUTs leave room for questions and orders.
    fn port_free_at(&self, port: usize) -> Option<Instant> {
        let Port { next, cycle } = self.ports.get(port)?;
        if port == 0 { cycle.room_at(*next) } else { cycle.free_at(*next) }
    }

    /// For a request to a single agent.
    pub(super) fn for_agent(&mut self, members: &Members, agent: MemberId) -> u16 {
        let single = members.index(agent).and_then(|index| self.singles.get_mut(index));
        let number = single.map_or(0, |number| {
            *number = number.wrapping_add(1);
            *number
        });
        SINGLE_IDS_FROM + number % (u16::MAX - SINGLE_IDS_FROM + 1)
    }

    /// For the reply to a request with this Partial IV of an agent. Agents use at most as many numbers within
    /// NON_LIFETIME as there are Message IDs for replies.
    pub(super) const fn for_reply(agents_piv: u64) -> u16 {
        (GROUP_IDS as u64 + agents_piv % REPLY_MESSAGE_IDS as u64) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MESSAGE_ID_AGAIN_AFTER;
    use crate::time::Duration;
    extern crate std;
    use std::collections::BTreeMap;

    fn none() -> MessageIds {
        MessageIds::new(1_000_000, &Members::new(Vec::new()))
    }

    /// Sends PUTs at this pace and a question now and then; returns how many ports that took.
    fn send(ids: &mut MessageIds, every: Duration, seconds: u64) -> usize {
        let mut last: BTreeMap<(u8, u16), Instant> = BTreeMap::new();
        let mut now = Instant::from_micros(0);
        for turn in 0_u64.. {
            now = now + every;
            if now.as_micros() > seconds * 1_000_000 {
                break;
            }
            let used = if turn % 700 == 0 {
                (0, ids.for_group(now))
            } else {
                now = ids.put_free_at().map_or(now, |free| now.max(free));
                ids.for_put(now)
            };
            let before = last.insert(used, now);
            let is_long_ago = |before: &Instant| now.since(*before) >= MESSAGE_ID_AGAIN_AFTER;
            assert!(
                before.as_ref().is_none_or(is_long_ago),
                "{used:?} at {now:?}, before that at {before:?}"
            );
        }
        ids.ports.len()
    }

    #[test]
    fn no_message_id_comes_again_in_time_at_any_pace() {
        assert_eq!(send(&mut none(), Duration::from_millis(8), 500), 1);
        assert_eq!(send(&mut none(), Duration::from_millis(1), 500), 4);
        assert_eq!(send(&mut none(), Duration::from_micros(500), 300), 6);
        // More than all ports allow: it waits.
        let mut two = MessageIds { further_max: 1, ..none() };
        assert_eq!(send(&mut two, Duration::from_micros(500), 500), 2);
    }

    #[test]
    fn ids_of_replies_and_of_other_messages_have_nothing_in_common() {
        let mut ids = none();
        let now = Instant::from_micros(0);
        let (group, put) = (ids.for_group(now), ids.for_put(now));
        assert!(u32::from(group) < GROUP_IDS && put.0 == 0 && u32::from(put.1) < GROUP_IDS);
        let all = u64::from(REPLY_MESSAGE_IDS);
        let replies = [0, 1, all - 1, all, (1 << 40) - 1];
        for reply in replies.map(MessageIds::for_reply) {
            assert!(u32::from(reply) >= GROUP_IDS && reply < SINGLE_IDS_FROM, "{reply}");
        }
        for _ in 0..70_000 {
            let member = MemberId::new(&[1]).unwrap();
            assert!(ids.for_agent(&Members::new(Vec::new()), member) >= SINGLE_IDS_FROM);
        }
    }
}
