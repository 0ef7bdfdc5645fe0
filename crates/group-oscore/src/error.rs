//! One error for each operation.

use coap_wire::Code;

/// Why a context could not be derived: the parameters are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeriveError {
    /// The Sender or Recipient ID is longer than the shortest nonce less 6 bytes (RFC 10021 section 2.2).
    MemberIdTooLong,
    /// Sender ID and Recipient ID are the same (RFC 8613 section 3.3).
    EqualIds,
    /// There is no Master Secret.
    EmptyMasterSecret,
    /// The credential's public key is no point of the curve or one of small order.
    InvalidPublicKey,
    /// The private key does not belong to the credential.
    PrivateKeyMismatch,
}

/// Why bytes are no credential that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialError {
    /// More than [`CREDENTIAL_BYTES_MAX`](crate::limits::CREDENTIAL_BYTES_MAX) bytes.
    TooLong,
    /// Not one well-formed CBOR map with claim `cnf` (8) and in it a COSE_Key (1).
    Malformed,
    /// The COSE_Key is not an OKP key on Ed25519 with `x`, or its algorithm is another than EdDSA.
    NotEd25519,
}

/// Why a message was not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectError {
    /// The code is not that of a request.
    NotARequest,
    /// The code is not that of a response.
    NotAResponse,
    /// The message has an OSCORE option already.
    AlreadyProtected,
    /// The message has an Observe or Proxy-Uri option, which this crate does not treat (see the front page).
    UnsupportedOption,
    /// The output has no room, or the result would exceed
    /// [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX).
    BufferTooSmall,
    /// Every reserved Sender Sequence Number has been used: store a [`Reservation`](crate::Reservation)
    /// first.
    ReservationExhausted,
    /// All 2^40 Sender Sequence Numbers have been used: only new keys help (RFC 8613 section 7.2.1).
    SequenceNumbersExhausted,
    /// There is no Recipient Context for that member.
    UnknownRecipient,
    /// The key agreement gave no secret (RFC 10021 section 2.5).
    KeyAgreement,
    /// The request's nonce has served for an answer, or must not serve for one: use an own Partial IV
    /// (RFC 10021 sections 5.3.1 and 9).
    NonceAlreadyUsed,
    /// The binding is that of this endpoint's own request.
    WrongBinding,
}

macro_rules! unprotect_errors {
    ($($(#[$doc:meta])* $name:ident => $code:expr),* $(,)?) => {
        /// Why a datagram was not unprotected. Nothing has changed then, but the datagram's payload may have.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum UnprotectError {
            $($(#[$doc])* $name,)*
        }

        impl UnprotectError {
            /// All of them in order, for counters.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code of an unprotected answer to a unicast request, where RFC 8613 section 8.2 or RFC
            /// 10021 section 7.2 has one. A request to a group is never answered with an error (RFC 10021
            /// section 6.2).
            pub const fn code(self) -> Option<Code> {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

unprotect_errors! {
    /// The datagram is no CoAP message.
    Malformed => None,
    /// More than [`DATAGRAM_BYTES_MAX`](crate::limits::DATAGRAM_BYTES_MAX) bytes.
    TooLong => None,
    /// There is no OSCORE option.
    NotProtected => Some(Code::UNAUTHORIZED),
    /// A request was expected and a response came, or the other way round.
    UnexpectedCode => None,
    /// The OSCORE option is twice there, not coded as in RFC 8613 section 6.1, or lacks a part that it must
    /// have.
    MalformedOption => Some(Code::BAD_OPTION),
    /// A Block option outside: such a message would have to be put together before it is unprotected.
    OuterBlock => Some(Code::BAD_OPTION),
    /// No context has this Gid or ID Context.
    UnknownGroup => Some(Code::UNAUTHORIZED),
    /// No Recipient Context has this kid.
    UnknownSender => Some(Code::UNAUTHORIZED),
    /// The kid is this endpoint's own.
    OwnMessage => None,
    /// A response from another member than the one asked.
    UnexpectedSender => None,
    /// The binding is not that of a request which this context has protected.
    WrongBinding => None,
    /// The Partial IV has been seen before or is older than the replay window.
    Replayed => Some(Code::UNAUTHORIZED),
    /// The payload is too short for tag and countersignature.
    Truncated => Some(Code::BAD_REQUEST),
    /// The countersignature is not the sender's.
    BadCountersignature => Some(Code::BAD_REQUEST),
    /// The key agreement gave no secret (RFC 10021 section 2.5).
    KeyAgreement => Some(Code::BAD_REQUEST),
    /// The authentication tag is wrong: decryption failed.
    BadTag => Some(Code::BAD_REQUEST),
    /// What was decrypted is no message of the expected kind.
    MalformedPlaintext => Some(Code::BAD_REQUEST),
}

impl UnprotectError {
    /// The place in [`UnprotectError::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

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
