//! Reading a [`Node`] with `serde`.

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::walk::{Inner, Node};

/// The error of reading: one sentence.
pub(super) type ReadError = serde::de::value::Error;

/// What a plain word is taken for if nothing says what is expected.
enum Plain {
    Nothing,
    Truth(bool),
    Natural(u64),
    Negative(i64),
    Fraction(f64),
    Text,
}

impl Node {
    /// Whether the value is empty or `null`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.inner, Inner::Scalar { text, plain: true } if matches!(plain(text), Plain::Nothing))
    }
}

/// The core schema of YAML 1.2.2 section 10.3, except that digits after a leading zero are text.
fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Nothing,
        "true" | "True" | "TRUE" => return Plain::Truth(true),
        "false" | "False" | "FALSE" => return Plain::Truth(false),
        _ => {}
    }
    let Ok(number) = text.parse::<serde_yaml::Number>() else { return Plain::Text };
    number
        .as_u64()
        .map(Plain::Natural)
        .or_else(|| number.as_i64().map(Plain::Negative))
        .or_else(|| number.as_f64().map(Plain::Fraction))
        .unwrap_or(Plain::Text)
}

impl<'de> IntoDeserializer<'de, ReadError> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.inner {
            Inner::Scalar { text, plain: false } => visitor.visit_borrowed_str(text),
            Inner::Scalar { text, plain: true } => match plain(text) {
                Plain::Nothing => visitor.visit_unit(),
                Plain::Truth(truth) => visitor.visit_bool(truth),
                Plain::Natural(number) => visitor.visit_u64(number),
                Plain::Negative(number) => visitor.visit_i64(number),
                Plain::Fraction(number) => visitor.visit_f64(number),
                Plain::Text => visitor.visit_borrowed_str(text),
            },
            Inner::List(elements) => SeqDeserializer::new(elements.iter()).deserialize_any(visitor),
            Inner::Map(entries) => {
                MapDeserializer::new(entries.iter().map(|(key, _, node)| (key.as_str(), node)))
                    .deserialize_any(visitor)
            }
        }
    }

    /// A plain word is the text as written, even if it looks like a number.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.inner {
            Inner::Scalar { text, .. } if !self.is_null() => visitor.visit_borrowed_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    /// An enumeration value is one word.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let word: StrDeserializer<'_, ReadError> = match &self.inner {
            Inner::Scalar { text, .. } if !self.is_null() => text.as_str().into_deserializer(),
            Inner::Scalar { .. } => return Err(Error::invalid_type(Unexpected::Unit, &"one word")),
            Inner::List(_) => return Err(Error::invalid_type(Unexpected::Seq, &"one word")),
            Inner::Map(_) => return Err(Error::invalid_type(Unexpected::Map, &"one word")),
        };
        visitor.visit_enum(word)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}
