//! The value of the No-Response option (RFC 7967).

use crate::Code;

/// Which classes of responses the client does not want: bit 2 for 2.xx, 8 for 4.xx, 16 for 5.xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoResponse(u8);

impl NoResponse {
    /// Every response is wanted: the meaning of an absent option (RFC 7967 section 2.1).
    pub const ALL_WANTED: Self = Self(0);
    /// No response is wanted: 26.
    pub const ALL_SUPPRESSED: Self = Self(26);

    /// Parses the option's value, an integer of at most one byte; `None` if it is longer.
    pub const fn parse(value: &[u8]) -> Option<Self> {
        match *value {
            [] => Some(Self(0)),
            [byte] => Some(Self(byte)),
            _ => None,
        }
    }

    /// Creates it from the bit map.
    pub const fn from_value(value: u8) -> Self {
        Self(value)
    }

    /// The bit map.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// Whether a response with this code is not wanted. Codes that are not responses are never suppressed.
    pub const fn suppresses(self, code: Code) -> bool {
        code.is_response() && self.0 & (1 << (code.class() - 1)) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_suppresses_its_class() {
        for (value, suppressed) in [
            (0, [false; 3]),
            (2, [true, false, false]),
            (8, [false, true, false]),
            (16, [false, false, true]),
            (26, [true; 3]),
        ] {
            let codes = [Code::CHANGED, Code::NOT_FOUND, Code::SERVICE_UNAVAILABLE];
            assert_eq!(codes.map(|code| NoResponse::from_value(value).suppresses(code)), suppressed);
        }
        assert!(!NoResponse::from_value(0xff).suppresses(Code::GET));
        assert!(!NoResponse::from_value(0xff).suppresses(Code::EMPTY));
    }

    #[test]
    fn the_value_has_at_most_one_byte() {
        assert_eq!(NoResponse::parse(&[]), Some(NoResponse::ALL_WANTED));
        assert_eq!(NoResponse::parse(&[26]), Some(NoResponse::ALL_SUPPRESSED));
        assert_eq!(NoResponse::parse(&[0, 26]), None);
    }
}
