//! What members ask, and what they get.

use super::group::Group;
use super::peer::{Answer, Content, Peer, Reply};
use super::{Change, Manager};
use crate::labels::{CONTENT_FORMAT, PROBLEM_DETAILS, REQUESTER, parameter};
use crate::limits::{MATERIAL_BYTES_MAX, REFUSAL_EVERY, SENDER_ID_EVERY};
use crate::message::{Header, plain};
use crate::resource::Resource;
use alloc::borrow::ToOwned;
use coap_wire::{Body, Code, Type, option};
use core::net::SocketAddr;
use group_oscore::MemberId;
use group_oscore::oscore::Opened;
use update_core::codec::write_into;
use update_core::limits::DATAGRAM_BYTES_MAX;
use update_core::time::Instant;

/// Error identifiers of RFC 9594 section 9.
const ONLY_FOR_MEMBERS: u8 = 0;
const NO_SENDER_ID: u8 = 4;
const MEMBERSHIP_TERMINATED: u8 = 5;

/// The only critical option that a request may carry.
const KNOWN_OPTIONS: [u16; 1] = [option::URI_PATH];

impl Manager {
    /// A request of the member with this Sender ID in its individual context, or of somebody who says so.
    pub(super) fn on_request(&mut self, id: MemberId, now: Instant, from: SocketAddr, bytes: &mut [u8]) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let nonce = self.random.next_u64().to_be_bytes();
        let content = match peer.association.unprotect_request(bytes, nonce) {
            Ok(Opened::Renewal(renewal)) => Content::Renewal(renewal),
            // The Group Manager's Sender ID is the lower one, so the member's request is carried on with.
            Ok(Opened::Crossed) => return,
            Ok(Opened::Request(mut request)) => {
                // It proves that it can read what is sent to this address.
                let has_moved = peer.address.replace(from) != Some(from);
                if has_moved && !peer.is_evicted() {
                    let (group, node) = (peer.group().to_owned(), peer.name().to_owned());
                    self.changes.push_back(Change::Heard { group, node, address: from });
                }
                let Some(reply) = reply(peer, now, &request.body()) else { return };
                let acknowledge = (request.ty() == Type::Confirmable).then(|| request.message_id());
                let (token, binding) = (request.token(), request.take_binding());
                Content::Response { token, acknowledge, binding, reply }
            }
            Err(_) => return,
        };
        if let Content::Response { reply, .. } = &content {
            self.note(id, reply);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.answer = Some(Answer { to: from, content });
        }
        self.queue(id);
    }

    /// What a request means for the group, before it is answered.
    fn note(&mut self, id: MemberId, reply: &Reply) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(group) = self.groups.get_mut(peer.group()) else { return };
        let (name, node) = (peer.group().to_owned(), peer.name().to_owned());
        match reply {
            // Whoever asks for the generation has been given its keys before, and uses them.
            Reply::Num if peer.given == Some(group.num()) && peer.confirmed != peer.given => {
                peer.confirmed = peer.given;
                peer.push = None;
                let num = group.num();
                self.changes.push_back(Change::Confirmed { group: name, node, num });
            }
            Reply::SenderId(None) => self.changes.push_back(Change::SenderIdWanted { group: name, node }),
            Reply::Keys => (peer.given, peer.has_used_id) = (Some(group.num()), true),
            Reply::Deleted => {
                peer.evict();
                group.is_stale(peer.sender_id());
                self.changes.push_back(Change::Left { group: name, node });
            }
            _ => {}
        }
    }

    /// The answer that waits for this member.
    pub(super) fn next_answer(&mut self, id: MemberId, buffer: &mut [u8]) -> Option<(SocketAddr, usize)> {
        let message_id = self.next_message_id();
        let peer = self.peers.get_mut(&id)?;
        let Answer { to, content } = peer.answer.take()?;
        let mut bytes = [0; DATAGRAM_BYTES_MAX];
        let len = match content {
            Content::Renewal(mut renewal) => {
                // The same bytes for the same request.
                let (ty, code, token) = (Type::NonConfirmable, Code::UNAUTHORIZED, renewal.token());
                let header = Header { ty, code, message_id: renewal.message_id(), token };
                let message = plain(header, &mut bytes, |_| Ok(()))?;
                peer.association.renew(&mut renewal, &message, buffer).ok()?
            }
            Content::Response { token, acknowledge, mut binding, reply } => {
                let mut payload = [0; MATERIAL_BYTES_MAX];
                let group = self.groups.get(peer.group())?;
                let (code, format, len) = write_reply(&reply, group, peer, &mut payload)?;
                let (ty, message_id) = match acknowledge {
                    Some(message_id) => (Type::Acknowledgement, message_id),
                    None => (Type::NonConfirmable, message_id),
                };
                let message = plain(Header { ty, code, message_id, token }, &mut bytes, |writer| {
                    if let Some(format) = format {
                        writer.option(option::CONTENT_FORMAT, &format.to_be_bytes())?;
                    }
                    if len > 0 {
                        writer.payload(payload.get(..len).unwrap_or_default())?;
                    }
                    Ok(())
                })?;
                peer.association.protect_response(&message, &mut binding, buffer).ok()?
            }
        };
        Some((to, len))
    }
}

/// What a verified request gets; `None` for nothing at all.
fn reply(peer: &mut Peer, now: Instant, body: &Body<'_>) -> Option<Reply> {
    if peer.is_evicted() {
        if peer.refused_at.is_some_and(|at| now.since(at) < REFUSAL_EVERY) {
            return None;
        }
        peer.refused_at = Some(now);
        return Some(Reply::Error(Code::FORBIDDEN, Some(MEMBERSHIP_TERMINATED)));
    }
    if body.unknown_critical(&KNOWN_OPTIONS).is_some() {
        return Some(Reply::Error(Code::BAD_OPTION, None));
    }
    let Some(resource) = Resource::of(body) else { return Some(Reply::Error(Code::NOT_FOUND, None)) };
    if resource.group() != peer.group() {
        return Some(Reply::Error(Code::FORBIDDEN, Some(ONLY_FOR_MEMBERS)));
    }
    let of_another = |node: &str| node != peer.name();
    Some(match (body.code(), resource) {
        (_, Resource::Node(_, node) | Resource::NodeCredential(_, node)) if of_another(node) => {
            Reply::Error(Code::FORBIDDEN, None)
        }
        (Code::GET, Resource::Node(..) | Resource::Group(_)) => Reply::Keys,
        (Code::DELETE, Resource::Node(..)) => Reply::Deleted,
        (Code::POST, Resource::Node(..)) => {
            if peer.wanted_id_at.is_none_or(|at| now.since(at) >= SENDER_ID_EVERY) {
                peer.wanted_id_at = Some(now);
                peer.has_used_id = true;
                Reply::SenderId(None)
            } else if peer.has_used_id {
                Reply::Error(Code::SERVICE_UNAVAILABLE, Some(NO_SENDER_ID))
            } else {
                // The answer was lost, and without keys it has not used the one that it got.
                Reply::SenderId(Some(peer.sender_id()))
            }
        }
        (Code::GET, Resource::Num(_)) => Reply::Num,
        (Code::GET | Code::FETCH, Resource::Credentials(_)) => Reply::Credentials,
        (Code::FETCH, Resource::StaleIds(_)) => match minicbor::decode::<u32>(body.payload()) {
            Ok(num) => Reply::StaleSince(num),
            Err(_) => Reply::Error(Code::BAD_REQUEST, None),
        },
        (_, Resource::Control(_)) => Reply::Error(Code::NOT_FOUND, None),
        _ => Reply::Error(Code::METHOD_NOT_ALLOWED, None),
    })
}

/// Writes what a reply says: its code, Content-Format and length.
fn write_reply(
    reply: &Reply,
    group: &Group,
    peer: &Peer,
    payload: &mut [u8],
) -> Option<(Code, Option<u16>, usize)> {
    Some(match reply {
        Reply::Keys => (Code::CONTENT, Some(CONTENT_FORMAT), group.material(peer).encode(payload)?),
        Reply::Num => (Code::CONTENT, None, write_into(payload, |out| out.u32(group.num()).map(drop))?),
        Reply::Credentials => {
            let keys = group.keys();
            let len = write_into(payload, |out| {
                out.map(4)?.i64(parameter::NUM)?.u32(keys.num)?;
                out.i64(parameter::CREDS)?.array(1)?.bytes(&keys.credential)?;
                out.i64(parameter::PEER_ROLES)?.array(1)?.i64(REQUESTER)?;
                out.i64(parameter::PEER_IDENTIFIERS)?.array(1)?;
                out.bytes(keys.distributor.as_bytes()).map(drop)
            });
            (Code::CONTENT, Some(CONTENT_FORMAT), len?)
        }
        Reply::StaleSince(num) if *num >= group.num() => (Code::BAD_REQUEST, None, 0),
        Reply::StaleSince(num) => {
            let ids = group.stale_since(*num);
            let len = ids.and_then(|ids| {
                write_into(payload, |out| {
                    out.array(ids.len() as u64)?;
                    ids.iter().try_for_each(|id| out.bytes(id.as_bytes()).map(drop))
                })
            });
            // Not known any more, or too many for one message: no payload, which means all of them.
            (Code::CONTENT, None, len.unwrap_or(0))
        }
        Reply::Deleted => (Code::DELETED, None, 0),
        Reply::SenderId(id) => {
            let id = (*id)?;
            let len = write_into(payload, |out| {
                out.map(1)?.i64(parameter::GROUP_SENDER_ID)?.bytes(id.as_bytes()).map(drop)
            });
            (Code::CHANGED, Some(CONTENT_FORMAT), len?)
        }
        Reply::Error(code, None) => (*code, None, 0),
        Reply::Error(code, Some(error)) => {
            // RFC 9290 with the entry `ace-groupcomm-error` (0) and its `error-id` (0).
            let len = write_into(payload, |out| out.map(1)?.u8(0)?.map(1)?.u8(0)?.u8(*error).map(drop));
            (*code, Some(PROBLEM_DETAILS), len?)
        }
    })
}
