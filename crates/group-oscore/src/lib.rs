//! Group OSCORE (RFC 10021) and OSCORE (RFC 8613): CoAP messages protected end to end, for a group or between
//! two endpoints.
//!
//! In **group mode** one multicast datagram is encrypted for all members and countersigned by its sender, so
//! that no member can impersonate another. In **pairwise mode** the same group's keys protect a message for
//! one member. [`oscore`] is plain OSCORE between two endpoints. Nothing here needs a heap, a clock,
//! randomness or the network; datagrams are decrypted in place, and no input from outside makes it panic.
//!
//! ```
//! use coap_wire::{Code, Message, Token, Type, Writer};
//! use group_oscore::*;
//!
//! # fn credential(seed: &[u8; 32]) -> Credential {
//! #     let key = ed25519_dalek::SigningKey::from_bytes(seed).verifying_key().to_bytes();
//! #     let mut ccs = [0; 46];
//! #     encode_ccs(&key, &mut ccs).unwrap();
//! #     Credential::from_ccs(&ccs).unwrap()
//! # }
//! # fn example() -> Option<()> {
//! // What the Group Manager provides. Each member has a Sender ID, a key pair and a credential.
//! let parameters = GroupParameters {
//!     gid: Gid::new(&[0xdd, 0x11])?,
//!     master_secret: &[7; 16],
//!     master_salt: &[],
//!     aead: AeadAlgorithm::A128Gcm,
//!     group_encryption: AeadAlgorithm::A128Gcm,
//!     gm_credential: credential(&[9; 32]),
//! };
//! let (alice, bob) = (MemberId::new(&[0xa1])?, MemberId::new(&[0xb0])?);
//! let (alices_seed, bobs_seed) = ([1; 32], [2; 32]);
//! let (alices, bobs) = (credential(&alices_seed), credential(&bobs_seed));
//!
//! // Alice may use the numbers 0 to 99: their end is already stored.
//! let common = CommonContext::derive(&parameters).ok()?;
//! let numbers = SequenceNumbers::new(0, 100);
//! let own = SenderContext::derive(&common, alice, alices.clone(), &alices_seed, numbers).ok()?;
//! let other = RecipientContext::derive(&common, bob, bobs.clone(), ReplayWindow::fresh()).ok()?;
//! let mut at_alice = GroupContext::new(common.clone(), own, [other]).ok()?;
//!
//! let own = SenderContext::derive(&common, bob, bobs, &bobs_seed, numbers).ok()?;
//! let other = RecipientContext::derive(&common, alice, alices, ReplayWindow::fresh()).ok()?;
//! let mut at_bob = GroupContext::new(common, own, [other]).ok()?;
//!
//! // Alice sends POST "hello" to the group.
//! let (mut plain, token) = ([0; 64], Token::new(&[5])?);
//! let mut writer = Writer::message(&mut plain, Type::NonConfirmable, Code::POST, 1, token).ok()?;
//! writer.payload(b"hello").ok()?;
//! let length = writer.finish();
//! let request = Message::parse(&plain[..length]).ok()?;
//! let mut datagram = [0; 64 + limits::OVERHEAD_BYTES_MAX];
//! let (length, _) = at_alice.protect_request(&request, Mode::Group, &mut datagram).ok()?;
//!
//! // Bob accepts it once.
//! let mut again = datagram;
//! let Ok(Received::Fresh(verified)) = at_bob.unprotect_request(&mut datagram[..length]) else {
//!     return None;
//! };
//! assert_eq!((verified.kid(), verified.body().payload()), (alice, &b"hello"[..]));
//! let replayed = at_bob.unprotect_request(&mut again[..length]).err();
//! assert_eq!(replayed, Some(UnprotectError::Replayed));
//! # Some(())
//! # }
//! # example().unwrap();
//! ```
//!
//! # What must be stored, and when
//!
//! Two counters must never go back, not even after a restart. A member that cannot keep them must get new
//! keys.
//!
//! - **The end of the reserved Sender Sequence Numbers.** When
//!   [`reservation_due`](GroupContext::reservation_due) returns a reservation, store [`Reservation::end`],
//!   then call [`reserve`](GroupContext::reserve). After a restart, begin with [`SequenceNumbers::new`]`(end,
//!   end)` and reserve again.
//! - **The floor of each replay window.** When [`floor_due`](ReplayWindow::floor_due) returns a floor after
//!   [`Received::Fresh`], store it, and only then act upon the message. After a restart, begin with
//!   [`ReplayWindow::from_floor`], or with [`ReplayWindow::invalid`] if there is no stored floor.
//!
//! A Sender Sequence Number used twice gives two messages the same nonce and the same keystream, which
//! reveals both. Never copy a context or restore it from a backup.
//!
//! After a restart a request below the floor is returned as [`Unproven`]: it is genuine, but may be old. Drop
//! it, or answer with 4.01 and an Echo option, in pairwise mode under its own Partial IV. Pass the request
//! that returns the Echo to [`accept_echo`](GroupContext::accept_echo) (RFC 10021 section 9).
//!
//! # Answers
//!
//! [`Verified::take_binding`] ties the answer to its request. It also knows whether the answer may omit its
//! own Partial IV ([`ResponsePiv::OfRequest`]): at most once, and never after an Echo. A [`ResponseNumber`]
//! for each (request, kid) tells which responses are new. Never answer a group request with an error; for
//! unicast, [`UnprotectError::code`] gives the code.
//!
//! # What is implemented
//!
//! - AEAD and Group Encryption Algorithms 1 (A128GCM), 10 (AES-CCM-16-64-128) and 24 (ChaCha20/Poly1305),
//!   also mixed; EdDSA on Ed25519, verified strictly; ECDH-SS + HKDF-256 on X25519; HKDF-SHA-256. [`limits`]
//!   lists the lengths. Credentials are opaque bytes; only a CCS is parsed, for the key.
//! - The contexts do not keep key schedules. Setting one up costs less than a hundredth of a signature, and a
//!   kilobyte for each member would be expensive on a microcontroller.
//! - Inner and outer options are those of RFC 8613 section 4.1: Uri-Host, Uri-Port, Proxy-Scheme,
//!   Proxy-Scheme-Number and Hop-Limit stay outside. The application must check whether it knows the inner
//!   critical options ([`Body::unknown_critical`](coap_wire::Body::unknown_critical)).
//!
//! Not implemented: Observe, Proxy-Uri and Proxy-Cri (messages with them are refused), groups without group
//! mode or without pairwise mode, ECDSA, algorithms that are not AEAD, silent servers, and the Group
//! Manager.
#![no_std]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "inspect")]
pub mod inspect;
pub mod limits;
pub mod oscore;

pub use coap_wire;

mod aead;
mod binding;
mod common;
mod cose;
mod credential;
mod error;
mod group;
mod ids;
mod incoming;
mod key;
mod mark;
mod nonce;
mod option;
mod outgoing;
mod received;
mod recipient;
mod replay;
mod responses;
mod sender;
mod sequence;

pub use aead::AeadAlgorithm;
pub use binding::{MessageMode, ReceivedRequest, SentRequest};
pub use common::{CommonContext, GroupParameters};
pub use credential::{Credential, encode_ccs};
pub use error::{
    CredentialError, DeriveError, ForeignReservation, MixedGroups, ProtectError, UnprotectError,
};
pub use group::{GroupContext, Mode, ResponseMode, ResponsePiv};
pub use ids::{Gid, IdContext, MemberId, PartialIv, PartialIvBytes};
pub use option::OscoreOption;
pub use received::{Received, Unproven, Verified, VerifiedResponse};
pub use recipient::{RecipientContext, Recipients};
pub use replay::ReplayWindow;
pub use responses::ResponseNumber;
pub use sender::SenderContext;
pub use sequence::{Reservation, SequenceNumbers};
