//! Checks of the addresses that operators enter.

use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// The port of CoAP over DTLS (RFC 7252 section 12.8). fwcast uses only Group OSCORE and refuses it.
pub const PORT_COAPS: u16 = 5684;

/// Why an address was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// A CoAP group needs a multicast address.
    NotMulticast,
    /// A peer needs a unicast address that others can send to.
    NotUnicast,
    /// Port 5684 belongs to CoAP over DTLS.
    PortOfDtls,
    /// Port 0 is not a valid port.
    PortZero,
    /// A zone (`%eth0`, `%2`) is valid on one machine only; the interface has its own field.
    Zone,
    /// An IPv4-mapped IPv6 address (`::ffff:a.b.c.d`).
    Mapped,
}

/// Checks the address of a CoAP group (RFC 10020 section 2.1): multicast, no zone, and a valid port.
pub fn coap_group(address: SocketAddr) -> Result<SocketAddr, AddressError> {
    port_and_zone(address)?;
    if !address.ip().is_multicast() {
        return Err(AddressError::NotMulticast);
    }
    Ok(address)
}

/// Checks the address of one peer: unicast, no zone, and a valid port.
pub fn peer(address: SocketAddr) -> Result<SocketAddr, AddressError> {
    port_and_zone(address)?;
    let ip = address.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_multicast() || ip.is_unspecified() || broadcast {
        return Err(AddressError::NotUnicast);
    }
    Ok(address)
}

/// Whether both are IPv4 or both IPv6, as a CoAP group and its members must be.
pub fn same_family(one: SocketAddr, other: SocketAddr) -> bool {
    one.is_ipv4() == other.is_ipv4()
}

fn port_and_zone(address: SocketAddr) -> Result<(), AddressError> {
    match address.port() {
        0 => return Err(AddressError::PortZero),
        PORT_COAPS => return Err(AddressError::PortOfDtls),
        _ => {}
    }
    if let SocketAddr::V6(v6) = address {
        if v6.scope_id() != 0 {
            return Err(AddressError::Zone);
        }
        if v6.ip().to_ipv4_mapped().is_some() {
            return Err(AddressError::Mapped);
        }
    }
    Ok(())
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotMulticast => "a CoAP group needs a multicast address, such as 239.192.0.1 or ff15::f00d",
            Self::NotUnicast => "the address must be that of one host that others can send to",
            Self::PortOfDtls => {
                "port 5684 belongs to CoAP over DTLS, which fwcast does not support; use 5683 or another"
            }
            Self::PortZero => "port 0 is not valid; use one from 1 to 65535",
            Self::Zone => "leave out the zone (after %); the interface has its own field",
            Self::Mapped => "write an IPv4 address without the prefix ::ffff:",
        })
    }
}

impl core::error::Error for AddressError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coap_group_is_multicast() {
        for good in ["239.192.0.1:5683", "[ff15::f00d]:61616"] {
            let address = good.parse().unwrap();
            assert_eq!(coap_group(address), Ok(address));
        }
        for (bad, reason) in [
            ("192.0.2.1:5683", AddressError::NotMulticast),
            ("0.0.0.0:5683", AddressError::NotMulticast),
            ("[2001:db8::1]:5683", AddressError::NotMulticast),
            ("239.192.0.1:5684", AddressError::PortOfDtls),
            ("[ff15::f00d]:5684", AddressError::PortOfDtls),
            ("[ff15::f00d]:0", AddressError::PortZero),
            ("[ff12::f00d%2]:5683", AddressError::Zone),
            ("[::ffff:239.192.0.1]:5683", AddressError::Mapped),
        ] {
            assert_eq!(coap_group(bad.parse().unwrap()), Err(reason), "{bad}");
        }
    }

    #[test]
    fn a_peer_is_one_host() {
        for good in ["127.0.0.1:5683", "[fe80::1]:5683", "192.0.2.1:1"] {
            let address = good.parse().unwrap();
            assert_eq!(peer(address), Ok(address));
        }
        for (bad, reason) in [
            ("239.192.0.1:5683", AddressError::NotUnicast),
            ("255.255.255.255:5683", AddressError::NotUnicast),
            ("0.0.0.0:5683", AddressError::NotUnicast),
            ("[::]:5683", AddressError::NotUnicast),
            ("192.0.2.1:5684", AddressError::PortOfDtls),
        ] {
            assert_eq!(peer(bad.parse().unwrap()), Err(reason), "{bad}");
        }
    }
}
