//! What the Group Manager sends without being asked.

use super::{Member, Next, Stage};
use crate::agent::Identity;
use crate::limits::RENEWAL_EVERY;
use crate::material::Material;
use crate::message::{Header, plain};
use crate::resource::Resource;
use coap_wire::{Code, Token, Type};
use core::net::SocketAddr;
use group_oscore::ReceivedRequest;
use group_oscore::oscore::{Opened, Renewal};
use update_core::time::Instant;

/// An answer to the Group Manager.
#[derive(Debug)]
pub(super) struct Waiting {
    to: SocketAddr,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// The Group Manager asks for a new context.
    Renewal(Renewal),
    Response {
        code: Code,
        token: Token,
        /// The Message ID of a Confirmable request, to acknowledge.
        acknowledge: Option<u16>,
        binding: ReceivedRequest,
    },
}

impl Member {
    /// A request that is not from the group; `false` if it is not the Group Manager's either.
    pub(super) fn on_request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: &mut [u8],
        identity: &Identity,
    ) -> bool {
        let nonce = self.random.next_u64().to_be_bytes();
        match self.association.unprotect_request(bytes, nonce) {
            Ok(Opened::Renewal(renewal)) => {
                // Anybody can repeat an old one.
                if self.renewed_at.is_none_or(|at| now.since(at) >= RENEWAL_EVERY) {
                    self.renewed_at = Some(now);
                    self.waiting = Some(Waiting { to: from, answer: Answer::Renewal(renewal) });
                }
            }
            // It is there, unless somebody repeats what it said once.
            Ok(Opened::Crossed) => self.ask_again(now),
            Ok(Opened::Request(mut request)) => {
                let body = request.body();
                let own = Resource::Control(self.config.group.as_str());
                let code = match (body.code(), Resource::of(&body)) {
                    (Code::POST, Some(resource)) if resource == own => {
                        self.on_rekey(body.payload(), identity)
                    }
                    (_, Some(resource)) if resource == own => Code::METHOD_NOT_ALLOWED,
                    _ => Code::NOT_FOUND,
                };
                let acknowledge = (request.ty() == Type::Confirmable).then(|| request.message_id());
                let (token, binding) = (request.token(), request.take_binding());
                let answer = Answer::Response { code, token, acknowledge, binding };
                self.waiting = Some(Waiting { to: from, answer });
            }
            Err(_) => return false,
        }
        true
    }

    fn on_rekey(&mut self, payload: &[u8], identity: &Identity) -> Code {
        let Ok(material) = Material::decode(payload) else { return Code::BAD_REQUEST };
        if material.num == self.num() && material.gid == self.config.in_force.0 {
            // Its first answer was lost.
            return Code::CHANGED;
        }
        if self.take(payload, &material, identity) { Code::CHANGED } else { Code::CONFLICT }
    }

    /// The answer to send now. That to a rekey waits until its keys are in force.
    pub(super) fn next_waiting(&mut self, buffer: &mut [u8]) -> Option<Next> {
        if self.stage != Stage::Idle {
            return None;
        }
        let Waiting { to, answer } = self.waiting.take()?;
        let mut bytes = [0; 64];
        let len = match answer {
            Answer::Renewal(mut renewal) => {
                let header = Header {
                    ty: Type::NonConfirmable,
                    code: Code::UNAUTHORIZED,
                    message_id: renewal.message_id(),
                    token: renewal.token(),
                };
                let message = plain(header, &mut bytes, |_| Ok(()))?;
                self.association.renew(&mut renewal, &message, buffer).ok()?
            }
            Answer::Response { code, token, acknowledge, mut binding } => {
                self.message_id = self.message_id.wrapping_add(1);
                let (ty, message_id) = match acknowledge {
                    Some(message_id) => (Type::Acknowledgement, message_id),
                    None => (Type::NonConfirmable, self.message_id),
                };
                let message = plain(Header { ty, code, message_id, token }, &mut bytes, |_| Ok(()))?;
                self.association.protect_response(&message, &mut binding, buffer).ok()?
            }
        };
        Some(Next::Transmit(to, len))
    }
}
