//! Arguments with a syntax of their own. Each is checked once, when it is read.

use std::net::SocketAddr;
use std::time::Duration;

use provisioning::address;
use uuid::Uuid;

pub use fwcast_documents::values::Rate;
pub(super) use fwcast_documents::values::{Class, Network, block_size, coap_group, interface};
use fwcast_documents::values::{socket_address, whole_seconds};

/// The address and port of one host.
pub(super) fn peer(text: &str) -> Result<SocketAddr, String> {
    address::peer(socket_address(text)?).map_err(|error| error.to_string())
}

/// A time span such as `90s` or `5min`, in whole seconds.
pub(super) fn seconds(text: &str) -> Result<u32, String> {
    whole_seconds(text, Duration::from_secs(7 * 24 * 60 * 60))
        .ok_or_else(|| "a time is written like 90s or 5min, from 1s to 7days".to_owned())
}

/// The SUIT vendor identifier: a UUID, or UUIDv5 of the vendor's domain (draft-ietf-suit-manifest-37
/// section 8.4.8.2).
pub(super) fn vendor(text: &str) -> Result<Uuid, String> {
    if let Ok(uuid) = Uuid::try_parse(text) {
        return Ok(uuid);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let plausible = text.contains('.') && text.len() <= 253 && text.bytes().all(allowed);
    if !plausible {
        return Err("a vendor is a domain such as example.com, or a UUID".to_owned());
    }
    Ok(Uuid::new_v5(&Uuid::NAMESPACE_DNS, text.to_ascii_lowercase().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_and_class_are_uuids_of_version_5() {
        // draft-ietf-suit-manifest-37 section 8.4.8.2 names these identifiers of its examples.
        let vendor = vendor("acme.example").unwrap();
        assert_eq!(vendor.get_version_num(), 5);
        assert_eq!(vendor, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"acme.example"));
        assert_eq!(super::vendor("ACME.example"), Ok(vendor));
        let class = "Acme AC100".parse::<Class>().unwrap().of_vendor(&vendor);
        assert_eq!(class, Uuid::new_v5(&vendor, b"Acme AC100"));
        let text = "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe";
        assert_eq!(super::vendor(text).unwrap().to_string(), text);
        assert_eq!(text.parse::<Class>().unwrap().of_vendor(&vendor).to_string(), text);
        assert!(super::vendor("acme").is_err() && super::vendor("a b.c").is_err());
        assert!("".parse::<Class>().is_err() && "a\u{1b}".parse::<Class>().is_err());
    }

    #[test]
    fn times_have_limits() {
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5min"), Ok(300));
        for text in ["", "60", "0s", "1500ms", "8days", "-1s"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
