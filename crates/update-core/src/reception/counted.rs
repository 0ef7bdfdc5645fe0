//! What an agent has counted since it started. This is the only place that counts.

use super::vault::Way;
use crate::census::Counters;
use group_oscore::UnprotectError;

/// The counters of the census, and the parts that its `malformed` consists of.
#[derive(Debug, Default)]
pub(super) struct Counted {
    counters: Counters,
    /// Datagrams that are no CoAP message, or not protected as required.
    malformed_datagrams: u32,
    /// Verified messages with an unknown option, resource or payload.
    unknown_content: u32,
    /// Blocks that do not fit the update: of another size, or with a number that it does not have.
    unfitting_blocks: u32,
}

impl Counted {
    /// The counters as the census reports them.
    pub(super) fn counters(&self) -> Counters {
        let malformed = self.malformed_datagrams + self.unknown_content + self.unfitting_blocks;
        Counters { malformed, ..self.counters }
    }

    pub(super) const fn malformed_datagram(&mut self) {
        self.malformed_datagrams += 1;
    }

    pub(super) const fn unknown_content(&mut self) {
        self.unknown_content += 1;
    }

    pub(super) const fn unfitting_block(&mut self) {
        self.unfitting_blocks += 1;
    }

    /// Counts a message on a socket that its mode rules out, from a sender without that right, or to the
    /// wrong address.
    pub(super) const fn not_for_us(&mut self) {
        self.counters.not_for_us += 1;
    }

    /// Counts a datagram that could not be unprotected.
    pub(super) const fn discarded(&mut self, error: UnprotectError) {
        match error {
            UnprotectError::Replayed => self.counters.replayed += 1,
            UnprotectError::BadTag => self.counters.bad_tag += 1,
            UnprotectError::BadCountersignature => self.counters.bad_countersignature += 1,
            UnprotectError::UnknownGroup | UnprotectError::UnknownSender | UnprotectError::OwnMessage => {
                self.not_for_us();
            }
            _ => self.malformed_datagram(),
        }
    }

    /// Counts a block or page that was written.
    pub(super) const fn stored(&mut self, way: Way) {
        match way {
            Way::Multicast => self.counters.stored_multicast += 1,
            Way::Unicast => self.counters.stored_unicast += 1,
            Way::Parity => self.counters.stored_parity += 1,
        }
    }

    pub(super) const fn duplicate(&mut self) {
        self.counters.duplicates += 1;
    }

    pub(super) const fn without_page(&mut self) {
        self.counters.without_page += 1;
    }

    pub(super) const fn hash_mismatch(&mut self) {
        self.counters.hash_mismatches += 1;
    }

    pub(super) const fn storage_failure(&mut self) {
        self.counters.storage_failures += 1;
    }

    /// Sets how many datagrams the program has dropped on purpose so far.
    pub(super) const fn set_injected_losses(&mut self, count: u32) {
        self.counters.injected_losses = count;
    }
}
