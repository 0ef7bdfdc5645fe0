//! Acknowledgements of Confirmable answers (RFC 7252 section 4.2; protocol.md, section 14).

use crate::outgoing::Outgoing;
use coap_wire::{Code, Token, Type};
use core::net::SocketAddr;

/// The last Confirmable answer that was verified, and whether it still has to be acknowledged.
#[derive(Debug)]
pub(super) struct Acknowledging {
    last: Option<(SocketAddr, u16)>,
    is_due: bool,
}

impl Acknowledging {
    pub(super) const fn new() -> Self {
        Self { last: None, is_due: false }
    }

    /// A Confirmable answer from there was verified.
    pub(super) const fn verified(&mut self, from: SocketAddr, message_id: u16) {
        self.last = Some((from, message_id));
        self.is_due = true;
    }

    /// A message that answers no open request. If it is the last answer once more, its acknowledgement was
    /// lost.
    pub(super) fn came_again(&mut self, from: SocketAddr, message_id: u16) {
        self.is_due |= self.last == Some((from, message_id));
    }

    /// Writes the acknowledgement that is due.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let (to, message_id) = self.last.filter(|_| core::mem::take(&mut self.is_due))?;
        let header =
            Outgoing { ty: Type::Acknowledgement, code: Code::EMPTY, message_id, token: Token::default() };
        header.build(buffer, |_| Ok(())).map(|built| (to, built.len()))
    }
}
