//! One start of the device: what runs, and what has to be done before.

use crate::layout::{FlashLayout, LayoutError};
use embedded_storage::nor_flash::NorFlash;
use update_core::digest::Digest;
use update_core::key_set::KeySet;
use update_core::platform::RollBackCause;
use update_core::suit::Offer;

/// Whom the device trusts, from its provisioning.
#[derive(Debug, Clone, Copy)]
pub struct Trust<'a> {
    /// The Ed25519 public key that signs key sets.
    pub root_key: &'a [u8; 32],
    /// The signed key set that it was provisioned with.
    pub key_set: &'a [u8],
}

/// How signatures are checked.
pub trait Verify {
    /// The key set, if the root key signed it.
    fn key_set(&mut self, signed: &[u8], root: &[u8; 32]) -> Option<KeySet>;
    /// The offer in an envelope, if one of the keys signed it.
    fn offer(&mut self, envelope: &[u8], keys: &KeySet) -> Option<Offer>;
}

/// By Ed25519, each time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ed25519;

/// The image in the active slot that may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runs {
    /// Its manifest sequence number.
    pub sequence_number: u64,
    /// SHA-256 of its signed SUIT manifest.
    pub digest: Digest,
    /// What happened before.
    pub news: News,
}

/// What happened in this start, for one line on the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Nothing: the confirmed image runs.
    None,
    /// The new image begins its trial.
    Trial,
    /// The old image runs again.
    RolledBack(RollBackCause),
    /// The activation was refused: the image or its envelope is not what was signed.
    Refused,
    /// The active slot was damaged; the whole update in the other one took its place.
    Recovered,
}

/// How a start ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Jump into the active slot.
    Run(Runs),
    /// Reset: the hardware exchanges the banks only then.
    Reset,
}

/// Why nothing may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt<E> {
    /// The layout does not fit the flash.
    Layout(LayoutError),
    /// The flash refused.
    Flash(E),
    /// The records are lost.
    RecordsLost,
    /// The provisioned key set was not signed by the root key.
    KeySet,
    /// The active slot has no envelope that an image key signed.
    NotSigned,
    /// The image in the active slot is not the signed one.
    Damaged,
    /// The image in the active slot is older than the one confirmed last.
    Downgrade,
}

/// Carries one start out, from wherever the last one was cut. `exchange` is [`BySpare`](crate::exchange::BySpare)
/// or [`ByBanks`](crate::exchange::ByBanks).
///
/// # Errors
/// [`Halt`]: nothing may run.
pub fn start<F: NorFlash, X, V: Verify>(
    _flash: &mut F,
    _layout: &FlashLayout,
    _exchange: &mut X,
    _trust: &Trust<'_>,
    _verify: &mut V,
) -> Result<Start, Halt<F::Error>> {
    todo!()
}
