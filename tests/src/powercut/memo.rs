//! Signatures that are checked once: the same device starts millions of times with the same two envelopes.

use boot_stage::verify::{Ed25519, Verify};
use update_core::key_set::KeySet;
use update_core::suit::Offer;

/// Checks signatures that it has not seen, and remembers the result by all bytes and keys.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    key_sets: Vec<(Vec<u8>, [u8; 32], Option<KeySet>)>,
    offers: Vec<(Vec<u8>, KeySet, Option<Offer>)>,
}

/// How many envelopes are kept; torn ones come in any number.
const KEPT_MAX: usize = 16;

impl Verify for Memo {
    fn key_set(&mut self, signed: &[u8], root: &[u8; 32]) -> Option<KeySet> {
        if let Some((.., set)) = self.key_sets.iter().find(|(bytes, key, _)| bytes == signed && key == root) {
            return *set;
        }
        let set = Ed25519.key_set(signed, root);
        if self.key_sets.len() < KEPT_MAX {
            self.key_sets.push((signed.to_vec(), *root, set));
        }
        set
    }

    fn offer(&mut self, envelope: &[u8], keys: &KeySet) -> Option<Offer> {
        if let Some((.., offer)) = self.offers.iter().find(|(bytes, set, _)| bytes == envelope && set == keys)
        {
            return *offer;
        }
        let offer = Ed25519.offer(envelope, keys);
        if self.offers.len() < KEPT_MAX {
            self.offers.push((envelope.to_vec(), *keys, offer));
        }
        offer
    }
}
