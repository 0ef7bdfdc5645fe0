//! All nonces used, under each key and by every member, for ever (protocol.md \[reserve\], \[requests\]).

use coap_wire::{Message, option};
use core::net::SocketAddr;
use group_oscore::OscoreOption;
use std::collections::BTreeMap;
use update_core::digest::Digest;

/// The bytes of a Sender ID.
type Kid = Vec<u8>;

/// A nonce under one Sender Key. Pairwise keys differ from it, but their nonces come from the same counter: a
/// sender uses each of its own numbers only once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Nonce {
    /// The sender's own Partial IV.
    Own(Kid, u64),
    /// The Partial IV of a request, used for its answer: who answers, who asked, which number.
    OfRequest(Kid, Kid, u64),
}

/// The record of all nonces.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    used: BTreeMap<Nonce, Digest>,
    /// The protected part of each request that was sent.
    genuine: BTreeMap<(Kid, u64), Digest>,
    /// The last genuine request from an address with a token: its sender and number.
    requests: BTreeMap<(SocketAddr, Vec<u8>), (Kid, u64)>,
}

/// A datagram that must not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Misuse {
    /// The nonce was used before for something else.
    Reuse(String),
    /// It is not protected in the way of fwcast.
    NotProtected,
}

impl Ledger {
    /// A datagram arrives from `from`: if it is answered, the answer is about this request. The token is not
    /// protected, and may have changed in transit.
    pub(super) fn arrived(&mut self, from: SocketAddr, bytes: &[u8]) {
        let Ok(message) = Message::parse(bytes) else { return };
        let Ok(option) = OscoreOption::of(&message) else { return };
        let (Some(kid), Some(piv)) = (option.kid, option.partial_iv) else { return };
        let request = (kid.to_vec(), piv.value());
        if self.genuine.get(&request) == Some(&protected(&message)) {
            self.requests.insert((from, message.token().as_bytes().to_vec()), request);
        }
    }

    /// Records a datagram that `kid` sent to `to`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn enter(&mut self, kid: &[u8], to: SocketAddr, bytes: &[u8]) -> Result<(), Misuse> {
        let message = Message::parse(bytes).map_err(|_| Misuse::NotProtected)?;
        let option = OscoreOption::of(&message).map_err(|_| Misuse::NotProtected)?;
        if option.kid.is_some_and(|claimed| claimed != kid) {
            return Err(Misuse::NotProtected);
        }
        let token = message.token().as_bytes().to_vec();
        let nonce = match option.partial_iv {
            Some(piv) => {
                if message.code().is_request() {
                    self.genuine.insert((kid.to_vec(), piv.value()), protected(&message));
                }
                Nonce::Own(kid.to_vec(), piv.value())
            }
            None => {
                let (asker, number) = self.requests.get(&(to, token)).ok_or(Misuse::NotProtected)?;
                Nonce::OfRequest(kid.to_vec(), asker.clone(), *number)
            }
        };
        let digest = Digest::of(bytes);
        match self.used.get(&nonce) {
            Some(before) if *before != digest => Err(Misuse::Reuse(format!("{nonce:?}"))),
            _ => {
                self.used.insert(nonce, digest);
                Ok(())
            }
        }
    }
}

/// The part of a datagram that its receiver verifies: the OSCORE option and the payload.
fn protected(message: &Message<'_>) -> Digest {
    let option = message.option(option::OSCORE).unwrap_or_default();
    Digest::of(&[option, message.payload()].concat())
}
