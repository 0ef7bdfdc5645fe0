//! Which database this is, and how often it was opened to send.

use super::{Answer, Epoch};

/// Which database this is, and how often it was opened to send.
///
/// See [`Store`](super::Store).
pub trait Epochs: Send + Sync {
    /// Which database this is, and how often it was opened to send.
    fn epoch(&self) -> impl Future<Output = Answer<Epoch>> + Send;

    /// Stores how often it was opened to send.
    fn set_epoch(&self, number: u64) -> impl Future<Output = Answer<()>> + Send;
}
