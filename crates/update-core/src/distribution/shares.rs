//! Shares of the airtime: what is sent to single agents takes only its share of the pace while the group
//! waits (protocol.md \[cost\]).

use crate::limits::{DATAGRAM_BYTES_MAX, SINGLE_SHARE_PARTS};

/// The credit of single agents, in bytes of UDP payload. Datagrams to the group add to it; datagrams to
/// single agents use it up.
#[derive(Debug, Default)]
pub(super) struct Shares {
    account: i64,
}

/// The maximum credit, so that quiet times are not saved up for later.
const ACCOUNT_MAX: i64 = DATAGRAM_BYTES_MAX as i64;

impl Shares {
    /// Whether it is a single agent's turn.
    pub(super) const fn is_for_one(&self) -> bool {
        self.account >= 0
    }

    /// Notes that this many bytes went to the group.
    pub(super) fn group_was_sent(&mut self, bytes: usize) {
        self.account = self.account.saturating_add(bytes as i64).min(ACCOUNT_MAX);
    }

    /// Notes that this many bytes went to one agent while the group waited.
    pub(super) fn one_was_sent(&mut self, bytes: usize) {
        let cost = bytes as i64 * i64::from(SINGLE_SHARE_PARTS - 1);
        self.account = self.account.min(0).saturating_sub(cost);
    }

    /// Notes that the group has nothing to send now, so single agents may send.
    pub(super) const fn group_has_nothing(&mut self) {
        self.account = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_agents_take_their_part() {
        let mut shares = Shares::default();
        let (mut group, mut single) = (0, 0);
        for _ in 0..10_000 {
            if shares.is_for_one() {
                single += 1000;
                shares.one_was_sent(1000);
            } else {
                group += 500;
                shares.group_was_sent(500);
            }
        }
        let part = f64::from(single) / f64::from(group + single);
        assert!((part - 1.0 / f64::from(SINGLE_SHARE_PARTS)).abs() < 0.01, "{part}");
    }

    #[test]
    fn quiet_times_are_not_saved_up() {
        let mut shares = Shares::default();
        shares.group_was_sent(1 << 30);
        let mut in_a_row = 0;
        while shares.is_for_one() {
            shares.one_was_sent(1000);
            in_a_row += 1;
        }
        assert_eq!(in_a_row, 1);
    }
}
