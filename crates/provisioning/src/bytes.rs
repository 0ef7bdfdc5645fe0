//! Binary values as hexadecimal text, public and secret.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// A public binary value, written as lower-case hexadecimal text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hex(pub Vec<u8>);

/// A secret binary value, written as lower-case hexadecimal text in the file that holds it.
///
/// It is wiped when dropped, `Debug` shows only its length, and no error quotes it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Hex {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Secret {
    /// Takes over the bytes of a secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes. The caller keeps them out of logs and errors.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl<B: AsRef<[u8]>> From<B> for Hex {
    fn from(bytes: B) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(secret of {} bytes)", self.0.len())
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(&self.0))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = hex::encode(&self.0);
        let result = serializer.serialize_str(&text);
        text.zeroize();
        result
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor).map(Self)
    }
}

/// Reads hexadecimal text. Its errors never quote the value: it may be a secret.
struct HexVisitor;

const WANTED: &str = "quoted hexadecimal text with an even number of digits";

impl HexVisitor {
    fn not_text<T, E: Error>(self) -> Result<T, E> {
        Err(E::custom(format_args!("{WANTED} is expected here")))
    }
}

impl Visitor<'_> for HexVisitor {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
        hex::decode(text).or_else(|_| self.not_text())
    }

    fn visit_string<E: Error>(self, mut text: String) -> Result<Vec<u8>, E> {
        let bytes = self.visit_str(&text);
        text.zeroize();
        bytes
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Vec<u8>, E> {
        self.not_text()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Vec<u8>, E> {
        self.not_text()
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Vec<u8>, E> {
        self.not_text()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Vec<u8>, E> {
        self.not_text()
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Vec<u8>, E> {
        self.not_text()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Vec<u8>, E> {
        self.not_text()
    }
}
