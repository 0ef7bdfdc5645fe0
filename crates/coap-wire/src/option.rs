//! Option numbers (RFC 7252 section 12.2 and its registry), and the properties that a number implies.

pub use coap_numbers::option::{
    ACCEPT, BLOCK1, BLOCK2, CONTENT_FORMAT, ECHO, ETAG, HOP_LIMIT, IF_MATCH, IF_NONE_MATCH, LOCATION_PATH,
    LOCATION_QUERY, MAX_AGE, NO_RESPONSE, OBSERVE, OSCORE, PROXY_CRI, PROXY_SCHEME, PROXY_SCHEME_NUMBER,
    PROXY_URI, Q_BLOCK1, Q_BLOCK2, REQUEST_TAG, SIZE1, SIZE2, URI_HOST, URI_PATH, URI_PORT, URI_QUERY,
};

/// Whether a receiver that does not know the option must refuse the message (RFC 7252 section 5.4.1).
pub const fn is_critical(number: u16) -> bool {
    number & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use coap_numbers::option::{Criticality, get_criticality};

    #[test]
    fn criticality_is_that_of_the_registry() {
        for number in 0..=u16::MAX {
            assert_eq!(is_critical(number), get_criticality(number) == Criticality::Critical);
        }
    }
}
