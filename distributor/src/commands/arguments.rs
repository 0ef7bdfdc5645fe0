//! Arguments that are more than a word: each is checked once, when it is read.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use provisioning::address;
use uuid::Uuid;

pub use crate::values::Rate;
pub(super) use crate::values::{block_size, coap_group, interface};
use crate::values::{socket_address, whole_seconds};

/// Address and port of one host.
pub(super) fn peer(text: &str) -> Result<SocketAddr, String> {
    address::peer(socket_address(text)?).map_err(|error| error.to_string())
}

/// An address with the length of its network's prefix, written like `fd77::5/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    /// The address.
    pub address: IpAddr,
    /// Bits of the prefix.
    pub prefix_bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "an address with its network is written like 192.0.2.5/24 or 2001:db8::5/64";
        let (address, bits) = text.split_once('/').ok_or(wanted)?;
        let address: IpAddr = address.parse().map_err(|_| wanted)?;
        address::peer(SocketAddr::new(address, 5683)).map_err(|error| error.to_string())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or(wanted)?;
        Ok(Self { address, prefix_bits })
    }
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

/// A class of devices as the operator names it: a UUID, or the model, whose UUIDv5 is in the vendor's name
/// space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class(String);

impl Class {
    /// The SUIT class identifier with this vendor.
    pub(super) fn of_vendor(&self, vendor: &Uuid) -> Uuid {
        Uuid::try_parse(&self.0).unwrap_or_else(|_| Uuid::new_v5(vendor, self.0.as_bytes()))
    }
}

impl FromStr for Class {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let printable = text.chars().all(|c| !c.is_control());
        if text.is_empty() || text.len() > 128 || !printable {
            return Err("a class is a model such as lamp-2, or a UUID".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
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
