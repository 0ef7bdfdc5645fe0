//! JSON objects with hexadecimal values, and counted comparisons.

use serde_json::Value;
use std::cell::Cell;

/// An object whose members are accessed by name.
#[derive(Clone, Copy)]
pub(super) struct Object<'v>(&'v Value);

impl<'v> Object<'v> {
    pub(super) const fn new(value: &'v Value) -> Self {
        Self(value)
    }

    /// A member that may be missing or null.
    pub(super) fn member(self, name: &str) -> Option<&'v Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn object(self, name: &str) -> Result<Self, String> {
        self.member(name).map(Self).ok_or_else(|| format!("{name} is missing"))
    }

    /// The elements of an array; none if it is missing.
    pub(super) fn array(self, name: &str) -> impl Iterator<Item = Self> {
        self.member(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice).iter().map(Self)
    }

    /// The members of this object.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'v str, Self)> {
        self.0.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), Self(value)))
    }

    pub(super) fn integer(self, name: &str) -> Result<i64, String> {
        self.member(name).and_then(Value::as_i64).ok_or_else(|| format!("{name} is not an integer"))
    }

    pub(super) fn text(self, name: &str) -> Option<&'v str> {
        self.member(name).and_then(Value::as_str)
    }

    pub(super) fn required_text(self, name: &str) -> Result<&'v str, String> {
        self.text(name).ok_or_else(|| format!("{name} is missing"))
    }

    /// A hexadecimal value that may be missing.
    pub(super) fn bytes(self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let decoded = self.text(name).map(hex::decode).transpose();
        decoded.map_err(|error| format!("{name} is not hexadecimal: {error}"))
    }

    pub(super) fn required_bytes(self, name: &str) -> Result<Vec<u8>, String> {
        self.bytes(name)?.ok_or_else(|| format!("{name} is missing"))
    }

    pub(super) fn fixed_bytes<const N: usize>(self, name: &str) -> Result<[u8; N], String> {
        self.required_bytes(name)?.try_into().map_err(|_| format!("{name} does not have {N} bytes"))
    }
}

/// Compares values with those of an object and counts them.
pub(super) struct Comparison<'v> {
    object: Object<'v>,
    count: Cell<usize>,
}

impl<'v> Comparison<'v> {
    pub(super) const fn with(object: Object<'v>) -> Self {
        Self { object, count: Cell::new(0) }
    }

    /// Checks that `actual` is the value with this name, if there is one.
    pub(super) fn equal(&self, name: &str, actual: &[u8]) -> Result<(), String> {
        match self.object.bytes(name)? {
            Some(expected) if expected != actual => {
                Err(format!("{name} is {}, expected {}", hex::encode(actual), hex::encode(expected)))
            }
            Some(_) => {
                self.count.set(self.count.get() + 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn count(self) -> usize {
        self.count.get()
    }
}

/// Calls a function that writes into a buffer.
pub(super) fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Result<Vec<u8>, String> {
    let mut out = vec![0; 4096];
    let length = write(&mut out).ok_or("a value has too many bytes")?;
    out.truncate(length);
    Ok(out)
}
