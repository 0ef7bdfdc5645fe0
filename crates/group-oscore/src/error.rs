//! One error for each operation.

use crate::MemberId;
use coap_wire::Code;
use core::fmt;

/// Why a context could not be derived: a parameter is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveError {
    /// The Sender or Recipient ID is longer than the shortest nonce minus 6 bytes (RFC 10021 section 2.2).
    MemberIdTooLong,
    /// Sender ID and Recipient ID are the same (RFC 8613 section 3.3).
    EqualIds,
    /// The Master Secret is empty.
    EmptyMasterSecret,
    /// The credential's public key is not a point of the curve, or is one of small order.
    InvalidPublicKey,
    /// The private key does not belong to the credential.
    PrivateKeyMismatch,
}

/// Why bytes are not a usable credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// More than [`CREDENTIAL_BYTES_MAX`](crate::limits::CREDENTIAL_BYTES_MAX) bytes.
    TooLong,
    /// Not one well-formed CBOR map that has the claim `cnf` (8) with a COSE_Key (1).
    Malformed,
    /// The COSE_Key is not an OKP key on Ed25519 with `x`, or its algorithm is not EdDSA.
    NotEd25519,
}

/// Why the parts were not combined into a context: one belongs to another group. Derive it from the same
/// Common Context as the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixedGroups {
    /// The Sender Context.
    Sender,
    /// The Recipient Context of this member.
    Recipient(MemberId),
}

/// The reservation was made by another context: pass it to that one. Its numbers are not reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignReservation;

/// Why a message was not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectError {
    /// The code is not that of a request.
    NotARequest,
    /// The code is not that of a response.
    NotAResponse,
    /// The message already has an OSCORE option.
    AlreadyProtected,
    /// The message has an Observe or Proxy-Uri option, which this crate does not support (see the front
    /// page).
    UnsupportedOption,
    /// The output has no room, or the result would exceed
    /// [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX).
    BufferTooSmall,
    /// Every reserved Sender Sequence Number is used: store a [`Reservation`](crate::Reservation) first.
    ReservationExhausted,
    /// All 2^40 Sender Sequence Numbers are used: only new keys help (RFC 8613 section 7.2.1).
    SequenceNumbersExhausted,
    /// There is no Recipient Context for that member.
    UnknownRecipient,
    /// The key agreement produced no secret (RFC 10021 section 2.5).
    KeyAgreement,
    /// The request's nonce was already used for a response, or must not be used for one: use your own Partial
    /// IV (RFC 10021 sections 5.3.1 and 9).
    NonceAlreadyUsed,
    /// The binding belongs to a request that this endpoint sent.
    WrongBinding,
}

macro_rules! unprotect_errors {
    ($($(#[$doc:meta])* $name:ident => $code:expr),* $(,)?) => {
        /// Why a datagram was not unprotected. The context is unchanged, but the datagram's payload may have
        /// changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum UnprotectError {
            $($(#[$doc])* $name,)*
        }

        impl UnprotectError {
            /// All variants in order, for counters.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code of an unprotected answer to a unicast request, if RFC 8613 section 8.2 or RFC 10021
            /// section 7.2 defines one. A group request is never answered with an error (RFC 10021 section
            /// 6.2).
            pub const fn code(self) -> Option<Code> {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

unprotect_errors! {
    /// The datagram is not a CoAP message.
    Malformed => None,
    /// More than [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) bytes.
    TooLong => None,
    /// There is no OSCORE option.
    NotProtected => Some(Code::UNAUTHORIZED),
    /// A request was expected and a response came, or the reverse.
    UnexpectedCode => None,
    /// There are two OSCORE options, or the option is not encoded as in RFC 8613 section 6.1, or a mandatory
    /// part is missing.
    MalformedOption => Some(Code::BAD_OPTION),
    /// The Block option is outside: such a message must be reassembled before it is unprotected.
    OuterBlock => Some(Code::BAD_OPTION),
    /// No context has this Gid or ID Context.
    UnknownGroup => Some(Code::UNAUTHORIZED),
    /// No Recipient Context has this kid.
    UnknownSender => Some(Code::UNAUTHORIZED),
    /// The kid is this endpoint's own.
    OwnMessage => None,
    /// The response is from another member than the one asked.
    UnexpectedSender => None,
    /// The binding does not belong to a request that this context protected.
    WrongBinding => None,
    /// The Partial IV has been seen before or is older than the replay window.
    Replayed => Some(Code::UNAUTHORIZED),
    /// The payload is too short for the tag and the countersignature.
    Truncated => Some(Code::BAD_REQUEST),
    /// The countersignature is not the sender's.
    BadCountersignature => Some(Code::BAD_REQUEST),
    /// The key agreement produced no secret (RFC 10021 section 2.5).
    KeyAgreement => Some(Code::BAD_REQUEST),
    /// The authentication tag is wrong: decryption failed.
    BadTag => Some(Code::BAD_REQUEST),
    /// The decrypted bytes are not a message of the expected kind.
    MalformedPlaintext => Some(Code::BAD_REQUEST),
}

impl UnprotectError {
    /// The position in [`UnprotectError::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DeriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MemberIdTooLong => {
                "the Sender or Recipient ID is too long for the AEAD algorithm: use a shorter one"
            }
            Self::EqualIds => "Sender ID and Recipient ID are equal: give each endpoint its own",
            Self::EmptyMasterSecret => "the Master Secret is empty: provision one",
            Self::InvalidPublicKey => {
                "the public key of the credential is invalid or weak: replace the credential"
            }
            Self::PrivateKeyMismatch => {
                "the private key does not belong to the credential: check which pair was provisioned"
            }
        })
    }
}

impl core::error::Error for DeriveError {}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the credential has too many bytes: use a shorter one",
            Self::Malformed => {
                "the credential is not a CWT claims set with a COSE_Key: check how it was encoded"
            }
            Self::NotEd25519 => "the key of the credential is not an Ed25519 key for EdDSA: use one that is",
        })
    }
}

impl core::error::Error for CredentialError {}

impl fmt::Display for MixedGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = "was derived for another group: derive it from this Common Context";
        match self {
            Self::Sender => write!(f, "the Sender Context {advice}"),
            Self::Recipient(id) => write!(f, "the Recipient Context of member {id} {advice}"),
        }
    }
}

impl core::error::Error for MixedGroups {}

impl fmt::Display for ForeignReservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reservation was made by another context: hand it to that one")
    }
}

impl core::error::Error for ForeignReservation {}

impl fmt::Display for ProtectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotARequest => "the message is not a request: pass a message with a method code",
            Self::NotAResponse => "the message is not a response: pass a message with a response code",
            Self::AlreadyProtected => {
                "the message already has an OSCORE option: pass the unprotected \
                 message"
            }
            Self::UnsupportedOption => {
                "the message has an option that is not supported (Observe, Proxy-Uri \
                 or Proxy-Cri): leave it out"
            }
            Self::BufferTooSmall => {
                "the protected message does not fit: pass a larger buffer or a shorter \
                 message"
            }
            Self::ReservationExhausted => {
                "all reserved Sender Sequence Numbers are used: store and hand in \
                 a new reservation"
            }
            Self::SequenceNumbersExhausted => {
                "all Sender Sequence Numbers are used: the group needs new \
                 keys"
            }
            Self::UnknownRecipient => "there is no Recipient Context for this member: add one first",
            Self::KeyAgreement => "the key agreement with this member failed: its credential is unusable",
            Self::NonceAlreadyUsed => {
                "the nonce of the request cannot be used for this response: use a \
                 separate Partial IV"
            }
            Self::WrongBinding => {
                "the request was not received by this context: pass the binding of a \
                 received request"
            }
        })
    }
}

impl core::error::Error for ProtectError {}

impl fmt::Display for UnprotectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the datagram is not a CoAP message: drop it",
            Self::TooLong => "the datagram is longer than the limit: the sender must send smaller ones",
            Self::NotProtected => "the message has no OSCORE option: the sender must protect it",
            Self::UnexpectedCode => {
                "the message is a response instead of a request, or the reverse: call the other function"
            }
            Self::MalformedOption => {
                "the OSCORE option is malformed: the sender's implementation is at fault"
            }
            Self::OuterBlock => "the message has an outer Block option: reassemble it before unprotecting it",
            Self::UnknownGroup => "no context has this Gid or ID Context: the sender may have other keys",
            Self::UnknownSender => {
                "there is no Recipient Context for this kid: add the sender's credential or drop the message"
            }
            Self::OwnMessage => "the message has this endpoint's own kid: drop it",
            Self::UnexpectedSender => "the response is from another member than the one asked: drop it",
            Self::WrongBinding => {
                "the request was not sent by this context: pass the binding of the request that is answered"
            }
            Self::Replayed => "the message was received before or is too old: drop it",
            Self::Truncated => "the payload is too short: the datagram was damaged or the sender is at fault",
            Self::BadCountersignature => {
                "the countersignature is not the sender's: the message is forged or damaged"
            }
            Self::KeyAgreement => "the key agreement with the sender failed: its credential is unusable",
            Self::BadTag => "decryption failed: the message is forged or damaged, or the keys differ",
            Self::MalformedPlaintext => {
                "the decrypted message is malformed: the sender's implementation is at fault"
            }
        })
    }
}

impl core::error::Error for UnprotectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_the_place_in_all() {
        for (index, error) in UnprotectError::ALL.iter().enumerate() {
            assert_eq!(error.index(), index);
        }
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        assert_eq!(UnprotectError::MalformedOption.code(), Some(Code::BAD_OPTION));
        assert_eq!(UnprotectError::UnknownGroup.code(), Some(Code::UNAUTHORIZED));
        assert_eq!(UnprotectError::Replayed.code(), Some(Code::UNAUTHORIZED));
        assert_eq!(UnprotectError::BadTag.code(), Some(Code::BAD_REQUEST));
        assert_eq!(UnprotectError::BadCountersignature.code(), Some(Code::BAD_REQUEST));
        assert_eq!(UnprotectError::Malformed.code(), None);
    }
}
