//! Values that operators write, on the command line and in YAML: each is checked once, when it is read.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use provisioning::{Name, address};
use uuid::Uuid;

/// How fast multicast is sent, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub u64);

/// The slowest and fastest rate, in bits per second.
const RATE_RANGE: std::ops::RangeInclusive<u64> = 1_000..=10_000_000_000;
const RATE_UNITS: [(&str, u64); 4] =
    [("Gbit/s", 1_000_000_000), ("Mbit/s", 1_000_000), ("kbit/s", 1_000), ("bit/s", 1)];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "a rate is written like 500kbit/s or 2Mbit/s, from 1kbit/s to 10Gbit/s";
        let (number, unit) = RATE_UNITS
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), *unit)))
            .ok_or(wanted)?;
        // Two decimals are enough, and keep the result exact.
        let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
        if decimals.len() > 2 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(wanted.to_owned());
        }
        let hundredths: u64 = format!("{decimals:0<2}").parse().map_err(|_| wanted)?;
        let whole: u64 = whole.parse().map_err(|_| wanted)?;
        whole
            .checked_mul(unit)
            .and_then(|bits| bits.checked_add(hundredths * unit / 100))
            .filter(|bits| RATE_RANGE.contains(bits))
            .map(Self)
            .ok_or_else(|| wanted.to_owned())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, unit) =
            RATE_UNITS.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).unwrap_or(("bit/s", 1));
        write!(f, "{}{name}", self.0 / unit)
    }
}

/// Address and port of a CoAP group.
pub fn coap_group(text: &str) -> Result<SocketAddr, String> {
    address::coap_group(socket_address(text)?).map_err(|error| error.to_string())
}

/// Bytes per image block.
pub fn block_size(text: &str) -> Result<u16, String> {
    match text {
        "256" => Ok(256),
        "512" => Ok(512),
        "1024" => Ok(1024),
        _ => Err("a block has 256, 512 or 1024 bytes".to_owned()),
    }
}

/// A time span in whole seconds, from 1 s to `longest`; `None` for any other text.
pub fn whole_seconds(text: &str, longest: Duration) -> Option<u32> {
    let span = humantime::parse_duration(text).ok()?;
    let whole = span.subsec_nanos() == 0 && (Duration::from_secs(1)..=longest).contains(&span);
    u32::try_from(span.as_secs()).ok().filter(|_| whole)
}

/// What a shell would act upon, and what runs a command on the device does not.
const SHELL_SIGNS: [char; 10] = ['|', '&', ';', '<', '>', '$', '`', '*', '?', '~'];

/// The program and arguments of a command. One text is split as a shell does it; several words are taken as
/// they are.
pub fn command_words(given: &[String]) -> Result<Vec<String>, String> {
    let [text] = given else { return Ok(given.to_vec()) };
    if !text.contains(char::is_whitespace) {
        return Ok(given.to_vec());
    }
    let shown = text.escape_debug();
    let words = shlex::split(text).filter(|words| words.first().is_some_and(|first| !first.is_empty()));
    let words = words.ok_or_else(|| {
        format!("'{shown}' is no command: a quotation mark is open, or no program is there")
    })?;
    // A word with spaces was in quotation marks, and is for the program.
    let bare = words.iter().filter(|word| !word.contains(char::is_whitespace));
    if let Some(sign) = bare.flat_map(|word| word.chars()).find(|sign| SHELL_SIGNS.contains(sign)) {
        return Err(format!(
            "no shell runs '{shown}', so '{sign}' would mean nothing: put it into a script, or write \
             sh -c '...'"
        ));
    }
    Ok(words)
}

/// What the names have that operators give themselves.
pub const PLAIN_NAME: &str = "such a name has only the characters a-z, 0-9, '-' and '_'";

/// The name of a group.
pub fn plain_name(text: &str) -> Result<Name, String> {
    let name = Name::new(text).map_err(|error| error.to_string())?;
    if name.is_plain() { Ok(name) } else { Err(PLAIN_NAME.to_owned()) }
}

/// The name of a network interface, possibly on another machine.
pub fn interface(text: &str) -> Result<String, String> {
    let harmless = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    // Linux: IFNAMSIZ is 16, including the terminating zero.
    if text.is_empty() || text.len() > 15 || !harmless || matches!(text, "." | "..") {
        return Err("an interface is named like eth0, with at most 15 characters".to_owned());
    }
    Ok(text.to_owned())
}

/// Address and port of any host or group.
pub fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "an address is written with its port, like 239.192.0.1:5683 or [ff15::f00d]:5683".to_owned()
    })
}

/// An address with the length of its network's prefix, written like `fd77::5/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
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

/// A vendor as the operator names it: a UUID, or a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor(String);

impl Vendor {
    /// The SUIT vendor identifier: the UUID, or UUIDv5 of the domain (draft-ietf-suit-manifest-37 section
    /// 8.4.8.2).
    pub fn id(&self) -> Uuid {
        let of_domain = || Uuid::new_v5(&Uuid::NAMESPACE_DNS, self.0.to_ascii_lowercase().as_bytes());
        Uuid::try_parse(&self.0).unwrap_or_else(|_| of_domain())
    }

    /// The domain; `None` for a UUID.
    pub fn word(&self) -> Option<String> {
        word(&self.0)
    }
}

impl FromStr for Vendor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        let is_domain = text.contains('.') && text.len() <= 253 && text.bytes().all(allowed);
        if is_domain || Uuid::try_parse(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        Err("a vendor is a domain such as example.com, or a UUID".to_owned())
    }
}

/// What was typed, unless it is a UUID.
fn word(text: &str) -> Option<String> {
    Uuid::try_parse(text).is_err().then(|| text.to_owned())
}

/// A class of devices as the operator names it: a UUID, or a model, whose UUIDv5 is in the vendor's
/// namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class(String);

impl Class {
    /// The SUIT class identifier with this vendor.
    pub fn of_vendor(&self, vendor: &Uuid) -> Uuid {
        Uuid::try_parse(&self.0).unwrap_or_else(|_| Uuid::new_v5(vendor, self.0.as_bytes()))
    }

    /// The model; `None` for a UUID.
    pub fn word(&self) -> Option<String> {
        word(&self.0)
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
    fn a_command_is_one_text_or_its_words() {
        let words =
            |given: &[&str]| command_words(&given.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(words(&["/bin/check --fast"]).unwrap(), ["/bin/check", "--fast"]);
        assert_eq!(words(&["'/opt/my app/check' \"a b\" c"]).unwrap(), ["/opt/my app/check", "a b", "c"]);
        assert_eq!(words(&["/bin/true"]).unwrap(), ["/bin/true"]);
        assert_eq!(words(&["sh", "-c", "a | b"]).unwrap(), ["sh", "-c", "a | b"]);
        assert_eq!(words(&["sh -c 'a | b'"]).unwrap(), ["sh", "-c", "a | b"]);
        for text in
            ["a | b", "check $HOME", "check && true", "check >/dev/null 2", "'open quote x", "'' x", " "]
        {
            assert!(words(&[text]).is_err(), "{text}");
        }
    }

    #[test]
    fn vendor_and_class_are_uuids_of_version_5() {
        // draft-ietf-suit-manifest-37 section 8.4.8.2 names these identifiers of its examples.
        let id = |text: &str| text.parse::<Vendor>().map(|vendor| vendor.id());
        let vendor = id("acme.example").unwrap();
        assert_eq!(vendor.get_version_num(), 5);
        assert_eq!(vendor, Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"acme.example"));
        assert_eq!(id("ACME.example"), Ok(vendor));
        let class = "Acme AC100".parse::<Class>().unwrap().of_vendor(&vendor);
        assert_eq!(class, Uuid::new_v5(&vendor, b"Acme AC100"));
        let text = "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe";
        assert_eq!(id(text).unwrap().to_string(), text);
        assert_eq!(text.parse::<Class>().unwrap().of_vendor(&vendor).to_string(), text);
        assert!(id("acme").is_err() && id("a b.c").is_err());
        assert!("".parse::<Class>().is_err() && "a\u{1b}".parse::<Class>().is_err());
        assert_eq!(text.parse::<Vendor>().unwrap().word(), None);
        assert_eq!("Acme AC100".parse::<Class>().unwrap().word().as_deref(), Some("Acme AC100"));
    }

    #[test]
    fn rates_are_exact() {
        for (text, bits, shown) in [
            ("1Mbit/s", 1_000_000, "1Mbit/s"),
            ("1.5Mbit/s", 1_500_000, "1500kbit/s"),
            ("500kbit/s", 500_000, "500kbit/s"),
            ("20000bit/s", 20_000, "20kbit/s"),
            ("10Gbit/s", 10_000_000_000, "10Gbit/s"),
            ("1.05kbit/s", 1_050, "1050bit/s"),
        ] {
            let rate: Rate = text.parse().unwrap();
            assert_eq!((rate.0, rate.to_string().as_str()), (bits, shown));
        }
        for text in [
            "",
            "1",
            "1MB/s",
            "0Mbit/s",
            "-1Mbit/s",
            "999bit/s",
            "11Gbit/s",
            "1.234Mbit/s",
            "1e3kbit/s",
            "+1Mbit/s+",
            ".Mbit/s",
            "99999999999999999999Gbit/s",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_interface_is_harmless() {
        assert!(interface("eth0.100").is_ok());
        for text in ["", "..", "a/b", "a b", "0123456789abcdef"] {
            assert!(interface(text).is_err(), "{text}");
        }
    }
}
