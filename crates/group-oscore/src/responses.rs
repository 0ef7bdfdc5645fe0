//! The Response Number of a request and one server (RFC 10021 section 5.3.1).

use crate::{PartialIv, VerifiedResponse};

/// Tells a client which of a server's responses to one request are new. Keep one for each (request, kid):
/// several members may answer a group request, and each may answer more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseNumber {
    highest: Option<PartialIv>,
    without_piv_seen: bool,
}

impl ResponseNumber {
    /// Before any response.
    pub const fn new() -> Self {
        Self { highest: None, without_piv_seen: false }
    }

    /// Whether this response is new: the first one without a Partial IV, or one whose Partial IV is higher
    /// than those of all earlier ones.
    #[must_use]
    pub fn accept(&mut self, response: &VerifiedResponse<'_>) -> bool {
        match response.partial_iv() {
            None => !core::mem::replace(&mut self.without_piv_seen, true),
            Some(piv) => {
                let is_new = self.highest.is_none_or(|highest| piv > highest);
                if is_new {
                    self.highest = Some(piv);
                }
                is_new
            }
        }
    }
}
