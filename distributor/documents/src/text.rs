//! Values written as a word or a number. Each is checked once, when it is read.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use provisioning::{Name, address};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::values::{self, Rate};
use rollout_engine::plan::{Percent, Unavailable};

/// A value that is written as one word.
pub(super) trait Text: Sized {
    /// Parses a text of the file. The error is a sentence.
    fn read(text: &str) -> Result<Self, String>;

    /// Parses what YAML takes for a number or a boolean, as displayed.
    fn read_bare(shown: &str) -> Result<Self, String> {
        Self::read(shown)
    }
}

/// Reads a [`Text`].
pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Text>(deserializer: D) -> Result<T, D::Error> {
    struct Reader<T>(PhantomData<T>);

    impl<T: Text> Visitor<'_> for Reader<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("one word")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            T::read(text).map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            T::read_bare(&number.to_string()).map_err(E::custom)
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            T::read_bare(&number.to_string()).map_err(E::custom)
        }

        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            T::read_bare(&number.to_string()).map_err(E::custom)
        }

        fn visit_bool<E: Error>(self, truth: bool) -> Result<T, E> {
            T::read_bare(&truth.to_string()).map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Reader(PhantomData))
}

/// Reads the name of a document, which operators give.
pub(super) fn plain_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let name = Name::deserialize(deserializer)?;
    if name.is_plain() { Ok(name) } else { Err(D::Error::custom(values::PLAIN_NAME)) }
}

/// Reads a [`Text`] that may be left out.
pub(super) fn option<'de, D: Deserializer<'de>, T: Text>(deserializer: D) -> Result<Option<T>, D::Error> {
    deserialize(deserializer).map(Some)
}

/// Reading, writing and the schema of a type that is a [`Text`].
macro_rules! text_type {
    ($type:ty, $name:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::text::deserialize(deserializer)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}
pub(super) use text_type;

/// A time span in whole seconds, written like `90s`, `30m` or `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u32);

/// The version of an image for people: always text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(String);

/// SHA-256 of a signed SUIT manifest, written `sha256:` and 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(pub update_core::digest::Digest);

/// Address and port of a CoAP group, written `coap://[ff35:30:2001:db8::f00d]:5683`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CoapGroup(pub SocketAddr);

/// A network interface of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface(pub String);

/// A moment, with its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

/// A reference to an image: the `name` of an Image, its digest, or its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// The name of an Image.
    Name(Name),
    /// The digest of its SUIT manifest.
    Digest(Digest),
    /// The image file. Its SUIT envelope is beside it, with `.suit` appended to the name.
    File(PathBuf),
}

/// How many agents of one place may be on trial at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxUnavailable(pub Unavailable);

/// How many agents a wave has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaveSize {
    /// This many.
    Count(u32),
    /// This percentage of all agents of the rollout.
    Percent(Percent),
    /// All agents that no other wave has.
    Rest,
}

impl Span {
    /// The longest time span.
    const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

    /// From seconds, which must be at least 1.
    pub const fn from_seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// In seconds.
    pub const fn seconds(self) -> u32 {
        self.0
    }
}

impl Text for Span {
    fn read(text: &str) -> Result<Self, String> {
        let seconds = values::whole_seconds(text, Self::LONGEST);
        seconds.map(Self).ok_or_else(|| {
            format!(
                "a time is written like 90s, 30m or 24h, from 1s to 366days, not '{}'",
                text.escape_debug()
            )
        })
    }
}

impl Text for Version {
    fn read(text: &str) -> Result<Self, String> {
        let printable = text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if text.is_empty() || text.len() > 64 || !printable {
            return Err("a version has 1 to 64 letters, digits and signs".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    fn read_bare(shown: &str) -> Result<Self, String> {
        Err(format!(
            "YAML reads this version as {shown}, and so 1.10 as 1.1: write it in quotes, like \"1.10\""
        ))
    }
}

impl Text for Digest {
    fn read(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("sha256:");
        match digits.map(|digits| hex::decode_to_slice(digits, &mut bytes)) {
            Some(Ok(())) => Ok(Self(update_core::digest::Digest(bytes))),
            _ => Err("a digest is written as sha256: and the 64 hexadecimal digits that `fwcast image \
                      inspect` prints as digest"
                .to_owned()),
        }
    }
}

impl Text for CoapGroup {
    fn read(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!(
                "a CoAP group is written with its address and port, like coap://[ff15::f00d]:5683 or \
                 coap://239.192.0.1:5683, not '{}'",
                text.escape_debug()
            )
        };
        let address = text.strip_prefix("coap://").ok_or_else(wanted)?.parse().map_err(|_| wanted())?;
        address::coap_group(address).map(Self).map_err(|error| error.to_string())
    }
}

impl Text for Interface {
    fn read(text: &str) -> Result<Self, String> {
        values::interface(text).map(Self)
    }
}

impl Text for Moment {
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            format!(
                "a moment is written with date, time and offset, like 2026-12-01T03:00:00+01:00, not '{}'",
                text.escape_debug()
            )
        })
    }
}

impl Text for ImageRef {
    fn read(text: &str) -> Result<Self, String> {
        if text.starts_with("sha256:") {
            return Digest::read(text).map(Self::Digest);
        }
        if let Some(name) = Name::new(text).ok().filter(Name::is_plain) {
            return Ok(Self::Name(name));
        }
        if text.contains(['.', '/']) && !text.contains('\0') {
            return Ok(Self::File(text.into()));
        }
        Err("an image is the name of an Image, a digest sha256:..., or a file like ./firmware.bin".to_owned())
    }
}

impl Text for WaveSize {
    fn read(text: &str) -> Result<Self, String> {
        let wanted = "a wave's size is a number of agents like 5, a percentage like \"20%\", or rest";
        if text == "rest" {
            return Ok(Self::Rest);
        }
        if text.ends_with('%') {
            let percent: Percent = text.parse()?;
            return if percent.of(1) == 0 { Err(wanted.to_owned()) } else { Ok(Self::Percent(percent)) };
        }
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(Self::Count).ok_or_else(|| wanted.to_owned())
    }
}

impl Text for MaxUnavailable {
    fn read(text: &str) -> Result<Self, String> {
        let wanted = "write how many agents of one place may be on trial at once: at least 1, or a part \
                      above 0%: \
                      with none, no wave could ever activate";
        if text.ends_with('%') {
            let percent: Percent = text.parse()?;
            return if percent.of(1) == 0 {
                Err(wanted.to_owned())
            } else {
                Ok(Self(Unavailable::Share(percent)))
            };
        }
        let count = text.parse().ok().filter(|count| *count > 0);
        count.map(|count| Self(Unavailable::Count(count))).ok_or_else(|| wanted.to_owned())
    }
}

impl Text for Percent {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl Text for Rate {
    fn read(text: &str) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let written = humantime::format_duration(Duration::from_secs(self.0.into())).to_string();
        f.write_str(&written.replace(' ', ""))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0.0))
    }
}

impl fmt::Display for CoapGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "coap://{}", self.0)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for MaxUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for WaveSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => percent.fmt(f),
            Self::Rest => f.write_str("rest"),
        }
    }
}

text_type!(Span, "Span", {
    "type": "string",
    "description": "A time span in whole seconds, such as 90s, 30m or 24h.",
    "pattern": "^[0-9]+ ?[a-z]+( ?[0-9]+ ?[a-z]+)*$",
    "examples": ["90s", "30m", "24h"]
});
text_type!(Version, "Version", {
    "type": "string",
    "description": "A version, always in quotes: YAML reads a bare 1.10 as 1.1.",
    "minLength": 1,
    "maxLength": 64,
    "examples": ["1.10"]
});
text_type!(Digest, "Digest", {
    "type": "string",
    "description": "SHA-256 of the signed SUIT manifest, as `fwcast image inspect` prints it.",
    "pattern": "^sha256:[0-9a-fA-F]{64}$"
});
text_type!(CoapGroup, "CoapGroup", {
    "type": "string",
    "description": "Multicast address and port of a CoAP group.",
    "pattern": "^coap://",
    "examples": ["coap://[ff15::f00d]:5683", "coap://239.192.0.1:5683"]
});
text_type!(Interface, "Interface", {
    "type": "string",
    "description": "A network interface of this machine.",
    "minLength": 1,
    "maxLength": 15,
    "examples": ["eth0"]
});
text_type!(Moment, "Moment", {
    "type": "string",
    "format": "date-time",
    "description": "A moment with its offset from UTC (RFC 3339).",
    "examples": ["2026-12-01T03:00:00+01:00"]
});
text_type!(ImageRef, "ImageRef", {
    "type": "string",
    "description": "The name of an Image, a digest sha256:..., or an image file like ./firmware.bin.",
    "minLength": 1
});
text_type!(Rate, "Rate", {
    "type": "string",
    "description": "How fast multicast is sent, in bits per second on the link.",
    "pattern": "^[0-9]+(\\.[0-9]{1,2})? ?(bit|kbit|Mbit|Gbit)/s$",
    "examples": ["500kbit/s", "2Mbit/s"]
});

impl<'de> Deserialize<'de> for MaxUnavailable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer)
    }
}

impl Serialize for MaxUnavailable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Unavailable::Count(count) => serializer.serialize_u32(count),
            Unavailable::Share(share) => serializer.collect_str(&share),
        }
    }
}

impl JsonSchema for MaxUnavailable {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "MaxUnavailable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many agents of one place: a number, or a percentage of the place.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^[0-9]{1,3}(\\.[0-9]{1,2})?%$" }
            ],
            "examples": [2, "10%"]
        })
    }
}

impl<'de> Deserialize<'de> for WaveSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer)
    }
}

impl Serialize for WaveSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            other => serializer.collect_str(other),
        }
    }
}

impl JsonSchema for WaveSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WaveSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "How many agents: a number, a percentage of all agents of the rollout, or rest.",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^[0-9]{1,3}(\\.[0-9]{1,2})?%$" },
                { "const": "rest" }
            ],
            "examples": [5, "20%", "rest"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<T: Text + fmt::Display>(text: &str) {
        let value = T::read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(value.to_string(), text);
    }

    #[test]
    fn what_is_read_is_written_alike() {
        for text in ["1s", "30m", "1h30m", "1day"] {
            round_trip::<Span>(text);
        }
        round_trip::<CoapGroup>("coap://[ff15::f00d]:5683");
        round_trip::<CoapGroup>("coap://239.192.0.1:5683");
        round_trip::<Digest>(&format!("sha256:{}", "0f".repeat(32)));
        for text in ["lamp-fw", "./firmware.bin", "images/lamp"] {
            round_trip::<ImageRef>(text);
        }
        for text in ["5", "20%", "rest"] {
            round_trip::<WaveSize>(text);
        }
        assert_eq!(Moment::read("2026-12-01T03:00:00+01:00").unwrap().to_string(), "2026-12-01T02:00:00Z");
    }

    #[test]
    fn what_is_wrong_is_said_in_a_sentence() {
        fn refused<T: Text>(text: &str, said: &str) {
            let error = T::read_bare(text).err().unwrap_or_else(|| panic!("{text}"));
            assert!(error.contains(said), "{text}: {error}");
        }
        for text in ["", "30", "0s", "400days", "1500ms", "-5m", "5M m", "99999999999999y"] {
            refused::<Span>(text, "like 90s");
        }
        refused::<Version>("1.1", "in quotes");
        refused::<Digest>("sha256:00", "64 hexadecimal");
        refused::<Digest>(&"00".repeat(32), "written as sha256:");
        refused::<CoapGroup>("coaps://[ff15::f00d]:5684", "like coap://");
        refused::<CoapGroup>("coap://hall.example:5683", "like coap://");
        refused::<CoapGroup>("coap://192.0.2.1:5683", "multicast");
        refused::<Moment>("2026-12-01 03:00", "offset");
        refused::<ImageRef>("Lamp", "name of an Image");
        for text in ["0", "-1", "1.5", "0%", "101%", "Rest", "5 %", "4294967296"] {
            assert!(WaveSize::read(text).is_err(), "{text}");
        }
    }
}
