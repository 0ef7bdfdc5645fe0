//! Arguments with a syntax of their own. Each is checked once, when it is read.

use std::net::SocketAddr;
use std::time::Duration;

use provisioning::address;

pub use fwcast_documents::values::Rate;
pub(super) use fwcast_documents::values::{Class, Network, Vendor, block_size, coap_group, interface};
use fwcast_documents::values::{socket_address, whole_seconds};

/// The address and port of one host.
pub(super) fn peer(text: &str) -> Result<SocketAddr, String> {
    address::peer(socket_address(text)?).map_err(|error| error.to_string())
}

/// A time span such as `90s` or `30m`, in whole seconds.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    whole_seconds(text, Duration::from_secs(7 * 24 * 60 * 60))
        .ok_or_else(|| "a time is written like 90s, 30m or 24h, from 1s to 7days".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_limits() {
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5min"), Ok(300));
        for text in ["", "60", "0s", "1500ms", "8days", "-1s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
