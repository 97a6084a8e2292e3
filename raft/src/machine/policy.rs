//! What the platform's configuration says about registration, read once when it changes.
//!
//! Configuration arrives as JSON text. What cannot be understood is taken as the stricter choice
//! (nobody may register) or as absent (no tree of hostings), the same on every core.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::records::PlatformConfig;

/// Who may register where, as far as the configuration decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Tokens of which one must be given while there are no invitation rows; none: anybody may
    /// register.
    pub(crate) invitation_tokens: Option<BTreeSet<String>>,
    /// Hostings that there are; none: no tree is configured.
    pub(crate) hostings: Option<BTreeSet<String>>,
}

impl Policy {
    pub(crate) fn of(config: &PlatformConfig) -> Self {
        let section = |name: &str| {
            config
                .sections
                .get(name)
                .map(|text| serde_json::from_str(text).unwrap_or(UNREADABLE))
        };
        Self {
            invitation_tokens: section("invitationTokens").and_then(|value| tokens(&value)),
            hostings: section("hostings").and_then(|value| hostings(&value)),
        }
    }
}

/// Stands for text that is no JSON: of no use to either section.
const UNREADABLE: Value = Value::Bool(false);

/// `null`: open. A list: its members. Anything else: closed.
fn tokens(value: &Value) -> Option<BTreeSet<String>> {
    match value {
        Value::Null => None,
        Value::Array(tokens) => Some(
            tokens
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        _ => Some(BTreeSet::new()),
    }
}

/// The keys at the leaves of `{regions:{…:{zones:{…:{hostings:{key:…}}}}}}`.
fn hostings(value: &Value) -> Option<BTreeSet<String>> {
    let regions = value
        .get("regions")?
        .as_object()
        .filter(|regions| !regions.is_empty())?;
    let keys = regions
        .values()
        .filter_map(|region| region.get("zones")?.as_object())
        .flat_map(serde_json::Map::values)
        .filter_map(|zone| zone.get("hostings")?.as_object())
        .flat_map(serde_json::Map::keys)
        .cloned()
        .collect();
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(section: &str, text: &str) -> Policy {
        let sections = [(section.to_owned(), text.to_owned())].into();
        Policy::of(&PlatformConfig {
            version: 1,
            domain: None,
            sections,
            fields_version: 0,
        })
    }

    fn set(keys: &[&str]) -> Option<BTreeSet<String>> {
        Some(keys.iter().map(|key| (*key).to_owned()).collect())
    }

    #[test]
    fn invitation_tokens_are_open_closed_or_a_list() {
        for (text, expected) in [
            ("null", None),
            ("[]", set(&[])),
            (r#"["a","b"]"#, set(&["a", "b"])),
            (r#""a""#, set(&[])),
            ("[broken", set(&[])),
        ] {
            assert_eq!(
                policy("invitationTokens", text).invitation_tokens,
                expected,
                "{text}"
            );
        }
        assert_eq!(policy("other", "[]"), Policy::default());
    }

    #[test]
    fn hostings_are_the_leaves() {
        let tree = r#"{"regions":{"eu":{"name":"EU","zones":{"ch":{"hostings":{"a":{},"b":{}}},"x":{}}},
            "us":{"zones":{"east":{"hostings":{"c":{"name":"C"}}}}}}}"#;
        assert_eq!(policy("hostings", tree).hostings, set(&["a", "b", "c"]));
        for none in ["null", "{}", r#"{"regions":{}}"#, "[]", "[broken"] {
            assert_eq!(policy("hostings", none).hostings, None, "{none}");
        }
    }
}
