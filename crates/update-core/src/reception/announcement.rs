//! The announcement of a boot (protocol.md \[bound\]).

use super::{Reception, channel};
use crate::limits::{ANNOUNCE_AGAIN, ANNOUNCE_TRIES_MAX, REPORT_BYTES_MAX};
use crate::resource::Resource;
use crate::time::Instant;
use coap_wire::{Code, Token, option};
use group_oscore::SentRequest;

/// The announcement of a boot: repeated a few times until it is answered.
#[derive(Debug)]
pub(super) struct Announcement {
    due: Instant,
    tries: u8,
    request: Option<(Token, SentRequest)>,
}

impl Announcement {
    pub(super) const fn new(due: Instant) -> Self {
        Self { due, tries: 0, request: None }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }
}

impl Reception<'_> {
    /// The announcement to send now. After the last try the agent waits to be asked.
    pub(super) fn next_announcement(&mut self, now: Instant, buffer: &mut [u8]) -> Option<usize> {
        let announcement = self.announcement.as_mut().filter(|announcement| announcement.due <= now)?;
        announcement.tries += 1;
        announcement.due = now + ANNOUNCE_AGAIN * (1 << announcement.tries.min(6));
        if announcement.tries > ANNOUNCE_TRIES_MAX {
            self.announcement = None;
            return None;
        }
        let mut payload = [0; REPORT_BYTES_MAX];
        let len = self.report(None, None, false, &mut payload)?;
        let payload = payload.get(..len)?;
        let request = channel::Request { code: Code::POST, resource: Resource::Boot, block: None, payload };
        let sent = self.channel.request(&mut self.random, &request, buffer);
        let (len, token, binding) = self.sent(sent)?;
        self.announcement.as_mut()?.request = Some((token, binding));
        Some(len)
    }

    /// A datagram that may answer the announcement.
    pub(super) fn on_announced(&mut self, now: Instant, token: Token, bytes: &mut [u8]) {
        let Some(announcement) = &mut self.announcement else { return };
        let Some((_, binding)) = announcement.request.as_ref().filter(|(sent, _)| *sent == token) else {
            return;
        };
        let Ok(response) = self.channel.open_response(bytes, binding) else { return };
        if let Some(echo) = response.body().option(option::ECHO) {
            self.channel.echo_next(echo);
            announcement.due = now;
        } else {
            self.announcement = None;
        }
    }
}
