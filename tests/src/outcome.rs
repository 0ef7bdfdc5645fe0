//! The result of a `cargo xtask` command: figures, and whether they are within their limits.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// The figures of a command, in the order in which they are shown, and whether everything is right.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    ok: bool,
    figures: Vec<(String, Value)>,
}

impl Outcome {
    /// No figures yet.
    #[must_use]
    pub const fn new(ok: bool) -> Self {
        Self { ok, figures: Vec::new() }
    }

    /// Whether everything is right.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.ok
    }

    /// Adds a figure.
    #[must_use]
    pub fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.figures.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a figure with its upper limit.
    #[must_use]
    pub fn at_most(self, name: &str, value: f64, limit: f64) -> Self {
        self.limited(name, value, "at_most", limit, value <= limit)
    }

    /// Adds a figure with its lower limit.
    #[must_use]
    pub fn at_least(self, name: &str, value: f64, limit: f64) -> Self {
        self.limited(name, value, "at_least", limit, value >= limit)
    }

    fn limited(mut self, name: &str, value: f64, way: &str, limit: f64, holds: bool) -> Self {
        self.ok &= holds;
        self.figure(name, rounded(value)).figure(&format!("{name}_{way}"), rounded(limit))
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.figures.len() + 1))?;
        map.serialize_entry("ok", &self.ok)?;
        for (name, value) in &self.figures {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Three decimals: nothing here is known more precisely.
#[must_use]
pub fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(outcome: &Outcome) -> String {
        serde_json::to_string(outcome).unwrap()
    }

    #[test]
    fn figures_keep_their_order_after_ok() {
        let outcome = Outcome::new(true).figure("zeta", 3).figure("alpha", "x");
        assert_eq!(line(&outcome), r#"{"ok":true,"zeta":3,"alpha":"x"}"#);
    }

    #[test]
    fn a_limit_that_does_not_hold_is_not_ok() {
        let at = Outcome::new(true).at_most("bytes", 1.75, 1.75).at_least("ratio", 0.9, 0.9);
        assert!(at.is_ok());
        assert!(!at.clone().at_most("x", 1.001, 1.0).at_most("y", 0.0, 1.0).is_ok());
        assert!(!at.at_least("x", f64::NAN, 1.0).is_ok());
        let shown = line(&Outcome::new(true).at_most("x", 2.0 / 3.0, 1.0));
        assert_eq!(shown, r#"{"ok":true,"x":0.667,"x_at_most":1.0}"#);
    }
}
