//! Sizes in human notation.

use std::str::FromStr;

/// A number of bytes, read from `500`, `64KiB` or `1MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let units = [("MiB", 1024 * 1024), ("KiB", 1024), ("", 1)];
        units
            .iter()
            .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
            .and_then(|(number, unit)| number.parse::<u64>().ok()?.checked_mul(*unit))
            .map(Self)
            .ok_or_else(|| "a size is written like 500, 64KiB or 1MiB".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("0", 0), ("500", 500), ("64KiB", 65_536), ("1MiB", 1_048_576)] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "KiB", "1MB", "1.5MiB", "-1", "99999999999999MiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
