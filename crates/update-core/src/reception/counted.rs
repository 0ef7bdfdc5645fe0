//! What an agent has counted since it started. The one place that counts.

use crate::census::Counters;
use group_oscore::UnprotectError;

/// The counters of the census, and what its `malformed` is made of.
#[derive(Debug, Default)]
pub(super) struct Counted {
    counters: Counters,
    /// Datagrams that are no CoAP message, or not protected as they should be.
    malformed_datagrams: u32,
    /// Verified messages with an option, resource or payload that is not known here.
    unknown_content: u32,
    /// Blocks that do not fit the update: another size, or a number that it does not have.
    unfitting_blocks: u32,
}

impl Counted {
    /// As the census tells them.
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

    /// It came by a way that its mode rules out, from somebody who may not say that, or to the wrong address.
    pub(super) const fn not_for_us(&mut self) {
        self.counters.not_for_us += 1;
    }

    /// A datagram that was not unprotected.
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

    /// A block or page is written.
    pub(super) const fn stored(&mut self, multicast: bool) {
        if multicast {
            self.counters.stored_multicast += 1;
        } else {
            self.counters.stored_unicast += 1;
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

    /// The program has dropped so many datagrams on purpose so far.
    pub(super) const fn set_injected_losses(&mut self, count: u32) {
        self.counters.injected_losses = count;
    }
}
