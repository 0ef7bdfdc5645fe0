//! Datagrams in and out: dispatch by sender and content.

use super::vault::Way;
use super::{Event, Reception, Via};
use crate::digest::UpdateId;
use crate::limits::TARGET_QUERY_BYTES_MAX;
use crate::parity::Parity;
use crate::platform::Area;
use crate::resource::Resource;
use crate::target::Target;
use crate::time::Instant;
use coap_wire::{Block, Body, Code, Message, Type, option};
use core::net::SocketAddr;
use group_oscore::{MessageMode, ProtectError, Received, UnprotectError, Verified};

/// The critical options that requests to an agent may carry (RFC 7252 section 5.4.1).
const KNOWN_OPTIONS: [u16; 3] = [option::URI_PATH, option::BLOCK1, option::URI_QUERY];

impl Reception<'_> {
    pub(super) fn on_datagram(&mut self, now: Instant, from: SocketAddr, via: Via, bytes: &mut [u8]) {
        let Ok(message) = Message::parse(bytes) else {
            return self.counted.malformed_datagram();
        };
        if message.code().is_response() {
            if via == Via::Own {
                let (token, message_id) = (message.token(), message.message_id());
                if !self.on_fetched(now, from, token, bytes) && !self.on_announced(now, from, token, bytes) {
                    self.channel.acknowledging.came_again(from, message_id);
                }
            }
            return;
        }
        match self.channel.open_request(bytes) {
            Ok(Received::Fresh(mut request)) => self.on_request(now, from, via, &mut request),
            // At or below the stored bound, so it may be a replay (protocol.md \[bound\]).
            Ok(Received::Unproven(_)) => self.discard(UnprotectError::Replayed),
            Err(error) => self.discard(error),
        }
    }

    fn discard(&mut self, error: UnprotectError) {
        self.counted.discarded(error);
        self.event(Event::Discarded(error));
    }

    /// Handles a request that the distributor signed (group mode) or that only it can have made (pairwise
    /// mode).
    fn on_request(&mut self, now: Instant, from: SocketAddr, via: Via, request: &mut Verified<'_>) {
        // [role], with the two sockets kept apart: a message for the group must not be redirected to one
        // agent (RFC 10021 section 14.9), nor a Confirmable one sent to all (RFC 7252 section 8.1).
        let multicast = via == Via::Group;
        let right_way = match via {
            Via::Group => request.mode() == MessageMode::Group && request.ty() == Type::NonConfirmable,
            Via::Own => request.mode() == MessageMode::Pairwise,
        };
        if request.kid() != self.config.distributor || !right_way {
            return self.counted.not_for_us();
        }
        self.distributor_heard(now);
        let body = request.body();
        if body.unknown_critical(&KNOWN_OPTIONS).is_some() {
            return self.counted.unknown_content();
        }
        let Some(resource) = Resource::of(&body) else {
            return self.counted.unknown_content();
        };
        match (body.code(), resource) {
            (Code::PUT, Resource::Image(id)) => self.on_block(id, Area::Image, &body),
            (Code::PUT, Resource::Hashes(id)) => self.on_block(id, Area::Pages, &body),
            (Code::PUT, Resource::Manifest(id)) => match block_option(&body, option::BLOCK1) {
                Some(block) if self.is_offered(&body) => {
                    self.take_offer(now, id, block, body.payload());
                    self.agree(id, queries(&body).find_map(Parity::from_query));
                }
                Some(_) => {}
                None => self.counted.unknown_content(),
            },
            (Code::FETCH, Resource::Status) => self.on_query(now, from, request, multicast),
            (Code::POST, Resource::Activate) => self.on_command(now, from, request, multicast, false),
            (Code::POST, Resource::Cancel) => self.on_command(now, from, request, multicast, true),
            (Code::POST, Resource::Rewind) if !multicast => self.is_rewound(),
            (Code::PUT, Resource::Parity(id)) => self.on_symbol(id, Area::Image, &body),
            (Code::PUT, Resource::PageParity(id)) => self.on_symbol(id, Area::Pages, &body),
            // An agent that does not replace its keys ignores new ones.
            (Code::PUT, Resource::Keys) => {}
            _ => self.counted.unknown_content(),
        }
    }

    /// [rewind]: this device has used numbers that were used before. It neither sends nor accepts any more.
    pub(super) fn is_rewound(&mut self) {
        self.channel.close();
        self.event(Event::Rewound);
    }

    /// The distributor was heard, so it need not be probed for.
    fn distributor_heard(&mut self, now: Instant) {
        self.received.heard(now);
        self.fetch.distributor_heard();
        self.announcement.take_if(|announcement| announcement.is_probe());
    }

    /// [target]: an offer without a target is for everyone.
    fn is_offered(&self, body: &Body<'_>) -> bool {
        let mut cbor = [0; TARGET_QUERY_BYTES_MAX];
        queries(body).filter(|query| Parity::from_query(query).is_none()).all(|query| {
            Target::from_query(query, &mut cbor)
                .is_ok_and(|target| target.matches(self.channel.own_id(), &self.config.name))
        })
    }

    /// The distributor tells of the parity of an update.
    pub(super) fn agree(&mut self, id: UpdateId, parity: Option<Parity>) {
        let update = self.received.update().filter(|update| update.id() == id);
        if let (Some(update), Some(parity)) = (update, parity) {
            self.vault.agree(parity, update.shape());
        }
    }

    fn on_block(&mut self, id: UpdateId, area: Area, body: &Body<'_>) {
        if self.received.id() != Some(id) {
            return;
        }
        match block_option(body, option::BLOCK1) {
            Some(block) => {
                self.take_block(area, block, body.payload(), Way::Multicast);
            }
            None => self.counted.unknown_content(),
        }
    }

    fn on_symbol(&mut self, id: UpdateId, area: Area, body: &Body<'_>) {
        match block_option(body, option::BLOCK1) {
            Some(block) if self.received.id() == Some(id) => self.take_symbol(area, block, body.payload()),
            Some(_) => {}
            None => self.counted.unknown_content(),
        }
    }

    /// The datagram to send now, if there is one. Only this function decides which goes next.
    pub(super) fn next_datagram(&mut self, now: Instant, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        if let Some(sent) = self.channel.acknowledging.next(buffer) {
            return Some(sent);
        }
        if let Some(sent) = self.next_answer(now, buffer) {
            return Some(sent);
        }
        if let Some(len) = self.next_announcement(now, buffer) {
            return Some((self.config.distributor_address, len));
        }
        let len = self.next_fetch(now, buffer)?;
        Some((self.config.distributor_address, len))
    }

    /// Passes on what was protected. If protecting failed, the log tells why.
    pub(super) fn sent<T>(&mut self, sent: Result<T, ProtectError>) -> Option<T> {
        sent.map_err(|error| self.event(Event::NotSent(error))).ok()
    }
}

/// The Block option with this number, if it is present and well-formed.
pub(super) fn block_option(body: &Body<'_>, number: u16) -> Option<Block> {
    Block::parse(body.option(number)?).ok()
}

/// The values of all Uri-Query options.
fn queries<'b>(body: &Body<'b>) -> impl Iterator<Item = &'b [u8]> {
    body.options().filter(|opt| opt.number == option::URI_QUERY).map(|opt| opt.value)
}
