//! Counted nouns in sentences.

use core::fmt;

/// A number with its noun: "1 agent", "2 agents". The noun is regular, and given in the singular.
#[derive(Debug, Clone, Copy)]
pub struct Many<'a, T>(pub T, pub &'a str);

impl<T: fmt::Display + PartialEq + From<u8>> fmt::Display for Many<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.0 == T::from(1) { "" } else { "s" };
        write!(f, "{} {}{s}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::Many;
    use alloc::string::ToString;

    #[test]
    fn one_is_alone() {
        assert_eq!(Many(1_usize, "agent").to_string(), "1 agent");
        assert_eq!(Many(0_u32, "agent").to_string(), "0 agents");
        assert_eq!(Many(2_u64, "block").to_string(), "2 blocks");
    }
}
