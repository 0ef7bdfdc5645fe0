//! Request methods and response codes (RFC 7252 section 12.1).

use coap_numbers::code as number;
use core::fmt;

/// A code: class and detail in one byte, shown as `2.05`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        $($(#[$doc])* pub const $name: Self = Self(number::$name);)*
    };
}

impl Code {
    codes! {
        /// 0.00, the code of a message without content.
        EMPTY,
        /// 0.01
        GET,
        /// 0.02
        POST,
        /// 0.03
        PUT,
        /// 0.04
        DELETE,
        /// 0.05 (RFC 8132)
        FETCH,
        /// 0.06 (RFC 8132)
        PATCH,
        /// 0.07 (RFC 8132)
        IPATCH,
        /// 2.01
        CREATED,
        /// 2.02
        DELETED,
        /// 2.03
        VALID,
        /// 2.04
        CHANGED,
        /// 2.05
        CONTENT,
        /// 2.31 (RFC 7959)
        CONTINUE,
        /// 4.00
        BAD_REQUEST,
        /// 4.01
        UNAUTHORIZED,
        /// 4.02
        BAD_OPTION,
        /// 4.03
        FORBIDDEN,
        /// 4.04
        NOT_FOUND,
        /// 4.05
        METHOD_NOT_ALLOWED,
        /// 4.06
        NOT_ACCEPTABLE,
        /// 4.08 (RFC 7959)
        REQUEST_ENTITY_INCOMPLETE,
        /// 4.09 (RFC 8132)
        CONFLICT,
        /// 4.12
        PRECONDITION_FAILED,
        /// 4.13
        REQUEST_ENTITY_TOO_LARGE,
        /// 4.15
        UNSUPPORTED_CONTENT_FORMAT,
        /// 4.22 (RFC 8132)
        UNPROCESSABLE_ENTITY,
        /// 4.29 (RFC 8516)
        TOO_MANY_REQUESTS,
        /// 5.00
        INTERNAL_SERVER_ERROR,
        /// 5.01
        NOT_IMPLEMENTED,
        /// 5.03
        SERVICE_UNAVAILABLE,
        /// 5.04
        GATEWAY_TIMEOUT,
        /// 5.05
        PROXYING_NOT_SUPPORTED,
    }

    /// The code with this byte on the wire; any byte is a code, assigned or not.
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// The byte on the wire.
    pub const fn byte(self) -> u8 {
        self.0
    }

    /// The class, 0 to 7: the digit before the dot.
    pub const fn class(self) -> u8 {
        self.0 >> 5
    }

    /// The detail, 0 to 31: the digits after the dot.
    pub const fn detail(self) -> u8 {
        self.0 & 0x1f
    }

    /// A method: 0.01 to 0.31.
    pub const fn is_request(self) -> bool {
        self.class() == 0 && self.0 != 0
    }

    /// A response: class 2, 4 or 5.
    pub const fn is_response(self) -> bool {
        matches!(self.class(), 2 | 4 | 5)
    }

    /// A response of class 2.
    pub const fn is_success(self) -> bool {
        self.class() == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        number::format_dotted(self.0, f)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use coap_numbers::code::{Range, classify};
    use std::string::ToString;

    #[test]
    fn codes_are_shown_with_a_dot() {
        assert_eq!(Code::CONTENT.to_string(), "2.05");
        assert_eq!(Code::REQUEST_ENTITY_INCOMPLETE.to_string(), "4.08");
        assert_eq!(Code::GET.to_string(), "0.01");
    }

    #[test]
    fn ranges_are_those_of_the_registry() {
        for byte in 0..=u8::MAX {
            let code = Code::from_byte(byte);
            assert_eq!(code.is_request(), classify(byte) == Range::Request);
            assert_eq!(code.is_response(), matches!(classify(byte), Range::Response(_)));
        }
    }
}
