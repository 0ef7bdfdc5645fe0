//! Columns to values and back. A column that does not read as written is a
//! [`StoreError::Content`](super::StoreError::Content), never a guess.

use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use super::super::{Answer, StoreError};
use super::SqliteStore;

/// One row, column after column.
pub(super) struct Columns<'r> {
    store: &'r SqliteStore,
    row: &'r SqliteRow,
    next: usize,
    /// What an error calls a row of this table.
    what: &'static str,
}

impl<'r> Columns<'r> {
    pub(super) fn new(store: &'r SqliteStore, row: &'r SqliteRow, what: &'static str) -> Self {
        Self { store, row, next: 0, what }
    }

    /// The next column as it is.
    pub(super) fn get<T: Decode<'r, Sqlite> + Type<Sqlite>>(&mut self) -> Answer<T> {
        let value = self.row.try_get(self.next).map_err(|error| self.wrong(&error));
        self.next += 1;
        value
    }

    /// The next column, an integer in the range of `T`.
    pub(super) fn number<T: TryFrom<i64>>(&mut self) -> Answer<T> {
        let number: i64 = self.get()?;
        T::try_from(number).map_err(|_| self.wrong(&format!("{number} is out of range")))
    }

    /// The next column, an unsigned 64-bit integer.
    pub(super) fn bits(&mut self) -> Answer<u64> {
        Ok(self.get::<i64>()?.cast_unsigned())
    }

    /// The next column, text that `T` parses.
    pub(super) fn parse<T: FromStr>(&mut self) -> Answer<T> {
        let text: &str = self.get()?;
        text.parse().map_err(|_| self.wrong(&format!("'{}'", text.escape_debug())))
    }

    /// The next column, text that `T` parses, or nothing.
    pub(super) fn parse_some<T: FromStr>(&mut self) -> Answer<Option<T>> {
        let Some(text) = self.get::<Option<&str>>()? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.wrong(&format!("'{}'", text.escape_debug())))
    }

    /// The next column, a word that serde knows.
    pub(super) fn word<T: DeserializeOwned>(&mut self) -> Answer<T> {
        let text: &str = self.get()?;
        self.read_word(text)
    }

    /// The next column, a word that serde knows, or nothing.
    pub(super) fn word_some<T: DeserializeOwned>(&mut self) -> Answer<Option<T>> {
        self.get::<Option<&str>>()?.map(|text| self.read_word(text)).transpose()
    }

    /// The next column, JSON.
    pub(super) fn json<T: DeserializeOwned>(&mut self) -> Answer<T> {
        let text: &str = self.get()?;
        serde_json::from_str(text).map_err(|error| self.wrong(&error))
    }

    /// The next column, an optional moment.
    pub(super) fn moment(&mut self) -> Answer<Option<Timestamp>> {
        self.parse_some()
    }

    fn read_word<T: DeserializeOwned>(&self, text: &str) -> Answer<T> {
        let deserializer: StrDeserializer<'_, serde::de::value::Error> = text.into_deserializer();
        T::deserialize(deserializer).map_err(|error| self.wrong(&error))
    }

    fn wrong(&self, why: &dyn ToString) -> StoreError {
        StoreError::Content { path: self.store.path.clone(), what: self.what, why: why.to_string() }
    }
}

/// A value that serde writes as one word.
pub(super) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        // A unit variant is always a word.
        _ => String::new(),
    }
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(store: &SqliteStore, what: &'static str, value: &T) -> Answer<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Content {
        path: store.path.clone(),
        what,
        why: error.to_string(),
    })
}
