//! Strings that must not reach a log, and how two of them are compared.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A password, token or key. `Debug` never shows it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself. Each caller is a place to look at in a review.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is this secret, in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, given: &str) -> bool {
        let (a, b) = (self.0.as_bytes(), given.as_bytes());
        let mut different = u8::from(a.len() != b.len());
        for (i, byte) in b.iter().enumerate() {
            different |= byte ^ a.get(i).copied().unwrap_or(0xA5);
        }
        std::hint::black_box(different) == 0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_whole_strings_and_hides_itself() {
        let key = Secret::new("abc");
        assert!(key.matches("abc"));
        for wrong in ["", "ab", "abd", "abcd", "Abc"] {
            assert!(!key.matches(wrong), "{wrong}");
        }
        assert!(!Secret::new("").matches("x"));
        assert_eq!(format!("{key:?}"), "\"***\"");
    }
}
