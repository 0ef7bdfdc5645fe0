//! What the device trusts, and how signatures are checked.

use embedded_storage::nor_flash::NorFlash;
use update_core::key_set::KeySet;
use update_core::limits::KEY_SET_BYTES_MAX;
use update_core::suit::{self, Offer};

use crate::planted::{self, Bug};
use crate::record_log::{Kind, LogError, RecordLog};

/// What the device trusts, from its provisioning.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The Ed25519 public key that signs key sets.
    pub root_key: &'a [u8; 32],
    /// The signed key set that it was provisioned with.
    pub key_set: &'a [u8],
}

/// How signatures are checked. This is a parameter only so that a test that starts the same device a million
/// times need not check the same bytes again.
pub trait Verify {
    /// The key set, if the root key signed it.
    fn key_set(&mut self, signed: &[u8], root: &[u8; 32]) -> Option<KeySet>;

    /// The offer in an envelope, if one of the keys signed it.
    fn offer(&mut self, envelope: &[u8], keys: &KeySet) -> Option<Offer>;
}

/// Checks with Ed25519 each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ed25519;

impl Verify for Ed25519 {
    fn key_set(&mut self, signed: &[u8], root: &[u8; 32]) -> Option<KeySet> {
        KeySet::verify(signed, root).ok()
    }

    fn offer(&mut self, envelope: &[u8], keys: &KeySet) -> Option<Offer> {
        suit::verify(envelope, keys).ok()
    }
}

/// The key set in force: the stored one if the root key signed it and it supersedes the provisioned one.
/// `None` if the root key did not even sign the provisioned one.
///
/// # Errors
/// The flash's own. A lost stored key set counts as none.
pub fn key_set<F: NorFlash>(
    flash: &mut F,
    log: &RecordLog,
    trust: &Trust<'_>,
    verify: &mut impl Verify,
) -> Result<Option<KeySet>, LogError<F::Error>> {
    let provisioned = verify.key_set(trust.key_set, trust.root_key);
    let mut buffer = [0; KEY_SET_BYTES_MAX];
    let len = match log.read(flash, Kind::KeySet, &mut buffer) {
        Ok(Some(len)) => len,
        Ok(None) | Err(LogError::Lost | LogError::Full) => return Ok(provisioned),
        Err(error) => return Err(error),
    };
    let stored = buffer.get(..len).and_then(|signed| verify.key_set(signed, trust.root_key));
    Ok(match (stored, provisioned) {
        (Some(stored), Some(provisioned))
            if stored.supersedes(&provisioned) == planted::is(Bug::OlderKeySet) =>
        {
            Some(provisioned)
        }
        (Some(stored), _) => Some(stored),
        (None, provisioned) => provisioned,
    })
}
