//! Group OSCORE (RFC 10021) and OSCORE (RFC 8613).
#![no_std]

pub mod inspect;
pub mod limits;
pub mod oscore;

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
pub use binding::{MessageMode, RequestBinding};
pub use common::{CommonContext, GroupParameters};
pub use credential::{Credential, encode_ccs};
pub use error::{CredentialError, DeriveError, ProtectError, UnprotectError};
pub use group::{GroupContext, Mode, ResponseMode, ResponsePiv};
pub use ids::{Gid, IdContext, MemberId, PartialIv, PartialIvBytes};
pub use option::OscoreOption;
pub use received::{Received, Unproven, Verified};
pub use recipient::{RecipientContext, Recipients};
pub use replay::ReplayWindow;
pub use responses::ResponseNumber;
pub use sender::SenderContext;
pub use sequence::{Reservation, SequenceNumbers};
