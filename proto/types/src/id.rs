//! Ids as types. Each is parsed once, at the edge, and shows its wire form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entropy::{Entropy, plain_letters, wire_id};

/// Why a text is not an id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// See [`Username`].
    #[error(
        "a username has 5 to 60 characters, lower-case letters, digits or dashes, with a letter or digit at both ends"
    )]
    Username,
    /// See [`CoreId`].
    #[error(
        "a core id has 1 to 40 characters, lower-case letters, digits or dashes, with a letter or digit at both ends, and is not a reserved name"
    )]
    CoreId,
    /// See [`Email`].
    #[error(
        "an e-mail address has one @ with a name before it and a domain after it, and at most 300 characters"
    )]
    Email,
    /// See [`UserId`] and [`ClusterId`].
    #[error(
        "an id has 24 characters, first a lower-case letter, then lower-case letters or digits"
    )]
    WireId,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $error:expr, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks and wraps a text.
            ///
            /// # Errors
            /// When the text breaks the rules of this kind of id.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err($error) }
            }

            /// The wire form.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

text_id! {
    /// The name of a user, unique over the platform: `^[a-z0-9][a-z0-9-]{3,58}[a-z0-9]$`
    /// (spec/pryv-api §1.1).
    Username, IdError::Username, |text| (5..=60).contains(&text.len()) && is_label(text)
}

text_id! {
    /// The name of a core, a DNS label below the platform's domain. Names that the zone or the
    /// router use themselves are refused.
    CoreId, IdError::CoreId,
    |text| (1..=40).contains(&text.len()) && is_label(text) && !RESERVED_LABELS.contains(&text)
}

text_id! {
    /// An e-mail address as homecore compares it: trimmed and lower-case.
    Email, IdError::Email, is_email
}

text_id! {
    /// The internal id of a user: never shown in an address, never re-used, the name of the
    /// user's folder.
    UserId, IdError::WireId, is_wire_id
}

text_id! {
    /// The id of a cluster, drawn when it is founded. Cores of another cluster are refused.
    ClusterId, IdError::WireId, is_wire_id
}

/// What every random alias begins with.
const ALIAS_PREFIX: &str = "r-";
/// Characters of a random alias behind that.
const ALIAS_CHARS: usize = 8;

impl Username {
    /// Draws a name that says nothing of its user: an alias (spec/platform §2.7).
    #[must_use]
    pub fn random_alias(entropy: &dyn Entropy) -> Self {
        Self(format!(
            "{ALIAS_PREFIX}{}",
            plain_letters(entropy, ALIAS_CHARS)
        ))
    }

    /// Whether a name has the form of aliases, which no other name may have.
    #[must_use]
    pub fn is_alias(name: &str) -> bool {
        name.strip_prefix(ALIAS_PREFIX).is_some_and(|rest| {
            rest.len() == ALIAS_CHARS
                && rest
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
    }
}

impl UserId {
    /// Draws a new id.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(wire_id(entropy))
    }
}

impl ClusterId {
    /// Draws a new id.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(wire_id(entropy))
    }
}

impl Email {
    /// Trims, lower-cases and checks an address as a person typed it.
    ///
    /// # Errors
    /// When it is no address.
    pub fn normalise(text: &str) -> Result<Self, IdError> {
        Self::parse(text.trim().to_lowercase())
    }
}

/// The number of a core in the consensus group. Drawn from the log, never re-used.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Labels of the zone and first path segments of the router that no core or user may take
/// (spec/platform §3.6, §7.2).
pub const RESERVED_LABELS: &[&str] = &[
    "reg", "access", "mfa", "lsc", "www", "system", "users", "apps", "service", "events",
    "streams", "accesses", "socket", "oauth2", "healthz", "livez", "readyz", "metrics", "register",
    "admin", "account", "profile", "webhooks", "backloop", "previews",
];

/// A DNS label in lower case: letters, digits, dashes, no dash at the ends, at most 63 characters.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.first().is_some_and(inner)
        && bytes.last().is_some_and(inner)
        && bytes.iter().all(|b| inner(b) || *b == b'-')
}

fn is_wire_id(text: &str) -> bool {
    text.len() == 24
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn is_email(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else {
        return false;
    };
    let clean = |part: &str| {
        !part.is_empty() && part.chars().all(|c| !c.is_whitespace() && !c.is_control())
    };
    text.len() <= 300
        && clean(name)
        && clean(domain)
        && !domain.contains('@')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !domain.contains("..")
        && text == text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usernames_follow_the_grammar() {
        for good in ["alice", "a1b2c", "bob-the-builder", &"a".repeat(60)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "bob",
            "Alice",
            "-alice",
            "alice-",
            "al_ce",
            "a.b.c.d",
            &"a".repeat(61),
        ] {
            assert_eq!(Username::parse(bad), Err(IdError::Username), "{bad}");
        }
    }

    #[test]
    fn core_ids_leave_the_zone_its_own_names() {
        assert!(CoreId::parse("core-a").is_ok());
        for bad in ["reg", "access", "www", "", "core_a", "Core"] {
            assert_eq!(CoreId::parse(bad), Err(IdError::CoreId), "{bad}");
        }
    }

    #[test]
    fn emails_are_compared_in_one_form() {
        assert_eq!(
            Email::normalise(" Bob@Example.COM ").unwrap().as_str(),
            "bob@example.com"
        );
        for bad in [
            "notanemail",
            "@x",
            "a@",
            "a@b@c",
            "a b@c",
            "a@.b",
            "a@b..c",
            "",
        ] {
            assert_eq!(Email::normalise(bad), Err(IdError::Email), "{bad}");
        }
    }

    #[test]
    fn serde_checks_too() {
        assert!(serde_json_like::<Username>("x").is_err());
    }

    fn serde_json_like<T: TryFrom<String>>(text: &str) -> Result<T, T::Error> {
        T::try_from(text.to_owned())
    }
}
