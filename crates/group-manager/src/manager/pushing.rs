//! New keys go to the members, one after the other (RFC 9594 section 6.1).

use super::peer::Push;
use super::{Change, Manager};
use crate::labels::CONTENT_FORMAT;
use crate::limits::{ASK_AGAIN_MAX, MATERIAL_BYTES_MAX, PUSH_AGAIN, PUSHES_UNANSWERED_MAX};
use crate::message::{Header, plain};
use crate::resource::Resource;
use alloc::borrow::ToOwned;
use coap_wire::{Code, Token, Type, option};
use core::net::SocketAddr;
use group_oscore::MemberId;
use group_oscore::oscore::RenewalAnswer;
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::time::Instant;

impl Manager {
    /// Keys are due to every member that has not confirmed them and whose address is known.
    pub(super) fn begin_pushing(&mut self, now: Instant) {
        for peer in self.peers.values_mut().filter(|peer| !peer.is_evicted() && peer.address.is_some()) {
            let num = self.groups.get(peer.group()).map(super::group::Group::num);
            if peer.confirmed < num && peer.push.is_none() {
                peer.push = Some(Push { due: now, tries: 0, unanswered: 0, sent: None });
            }
        }
    }

    /// Who gets keys next, and when.
    pub(super) fn next_push(&self) -> Option<(Instant, MemberId)> {
        self.peers.iter().filter_map(|(id, peer)| Some((peer.push.as_ref()?.due, *id))).min()
    }

    /// Sends keys to a member. The next try is later each time.
    pub(super) fn push(
        &mut self,
        now: Instant,
        id: MemberId,
        buffer: &mut [u8],
    ) -> Option<(SocketAddr, usize)> {
        let message_id = self.next_message_id();
        let peer = self.peers.get_mut(&id)?;
        let (to, push) = (peer.address?, peer.push.as_mut()?);
        if !peer.has_used_id {
            // It has lost count, and takes only what it asks for.
            push.due = now + PUSH_AGAIN;
            return None;
        }
        if push.unanswered >= PUSHES_UNANSWERED_MAX && peer.association.is_established() {
            // The member may have restarted.
            peer.association.forget();
        }
        push.unanswered = push.unanswered.saturating_add(1);
        push.tries = push.tries.saturating_add(1);
        let pause = (PUSH_AGAIN * (1 << (push.tries - 1).min(11))).min(ASK_AGAIN_MAX);
        push.due = now + pause + self.random.up_to(pause / 4);
        let token = Token::new(&self.random.next_u64().to_be_bytes()[..4])?;
        let nonce = self.random.next_u64().to_be_bytes();
        let group = self.groups.get(peer.group())?;
        let mut payload = [0; MATERIAL_BYTES_MAX];
        let len = group.material(peer).encode(&mut payload)?;
        let header = Header { ty: Type::NonConfirmable, code: Code::POST, message_id, token };
        let resource = Resource::Control(peer.group());
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        // Without a context the request does not arrive, so it carries no keys.
        let carries = peer.association.is_established();
        let message = plain(header, &mut bytes, |writer| {
            resource.write_path(writer)?;
            if carries {
                writer.option(option::CONTENT_FORMAT, &CONTENT_FORMAT.to_be_bytes())?;
                writer.payload(payload.get(..len).unwrap_or_default())?;
            }
            Ok(())
        })?;
        let (len, binding) = peer.association.protect_request(&message, nonce, buffer).ok()?;
        let push = peer.push.as_mut()?;
        push.sent = Some((token, binding));
        Some((to, len))
    }

    /// A datagram that may answer such a request.
    pub(super) fn on_answered(&mut self, now: Instant, token: Token, bytes: &mut [u8]) {
        let nonce = self.random.next_u64().to_be_bytes();
        let sent_to = |push: &Push| push.sent.as_ref().is_some_and(|(sent, _)| *sent == token);
        let found = self.peers.values_mut().find(|peer| peer.push.as_ref().is_some_and(sent_to));
        let Some(peer) = found else { return };
        let Some(Push { sent: Some((_, binding)), .. }) = &peer.push else { return };
        match peer.association.unprotect_response(bytes, binding, nonce) {
            Ok(RenewalAnswer::Renewed) => {
                if let Some(push) = &mut peer.push {
                    (push.due, push.unanswered, push.sent) = (now, 0, None);
                }
            }
            Ok(RenewalAnswer::Response(response)) if response.body().code() == Code::CHANGED => {
                let Some(num) = self.groups.get(peer.group()).map(super::group::Group::num) else { return };
                peer.push = None;
                peer.confirmed = Some(num);
                let (group, node) = (peer.group().to_owned(), peer.name().to_owned());
                self.changes.push_back(Change::Confirmed { group, node, num });
            }
            _ => {}
        }
    }
}
