//! Query parameters: parsed once, coerced as the route documents (spec/pryv-api §1.6).
//!
//! A query string only has texts. A route names the parameters that are numbers, booleans or
//! lists; what cannot be coerced stays a text and is then refused by the route's own schema, which
//! knows how to name it. Brackets mean lists: `streams[]=a`, or with places `streams[0]=a`, which are
//! in the order in which they come. Deeper brackets are kept in the name, so that a schema refuses
//! them.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Map, Number, Value};
use std::convert::Infallible;

use crate::form;

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text; of several the first.
    Text,
    /// A number as JavaScript's `Number()` reads it.
    Number,
    /// `true` or `false`, in any case.
    Boolean,
    /// A list of texts; one value is a list of one, or a list as JSON.
    Texts,
    /// One text as it is, or the list of a repeated parameter.
    TextOrTexts,
}

/// The parameters of a request, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query string. Anything is a query string.
    #[must_use]
    pub fn parse(raw: Option<&str>) -> Self {
        Self(form::parse(raw.unwrap_or_default().as_bytes()))
    }

    /// The first value of a parameter, written `name`, `name[]` or `name[0]`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| base(key) == name)
            .map(|(_, value)| value.as_str())
    }

    /// The names of all parameters, without the brackets of a list.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| base(key))
    }

    /// Every parameter as it was sent, as JSON: texts, and lists of texts of repeated ones. `auth` is
    /// left out.
    #[must_use]
    pub fn sent(&self) -> Map<String, Value> {
        let names: Vec<(&str, Kind)> = self.names().map(|name| (name, Kind::TextOrTexts)).collect();
        self.coerce(&names)
    }

    /// Every parameter as JSON: known ones coerced, unknown ones as texts. `auth` is left out, it
    /// is allowed everywhere.
    #[must_use]
    pub fn coerce(&self, known: &[(&str, Kind)]) -> Map<String, Value> {
        let mut out = Map::new();
        for (key, value) in &self.0 {
            let name = base(key);
            if name == "auth" {
                continue;
            }
            let kind = known
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, kind)| *kind);
            let listed = name.len() < key.len();
            match kind.unwrap_or(Kind::Text) {
                Kind::Texts => match listed_in(value) {
                    Some(texts) => {
                        let none = || Value::Array(Vec::new());
                        out.entry(name).or_insert_with(none);
                        for text in texts {
                            push(&mut out, name, &text);
                        }
                    }
                    None => push(&mut out, name, value),
                },
                Kind::TextOrTexts if listed || out.contains_key(name) => {
                    push(&mut out, name, value);
                }
                kind => {
                    if !out.contains_key(name) {
                        out.insert(name.to_owned(), scalar(kind, value));
                    }
                }
            }
        }
        out
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query()))
    }
}

fn base(key: &str) -> &str {
    if let Some(name) = key.strip_suffix("[]") {
        return name;
    }
    let listed = key.strip_suffix(']').and_then(|key| key.split_once('['));
    match listed {
        Some((name, place)) if place.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => key,
    }
}

/// The texts of a JSON list of nothing else.
fn listed_in(value: &str) -> Option<Vec<String>> {
    let is_list = value.trim_start().starts_with('[');
    is_list.then(|| serde_json::from_str(value).ok()).flatten()
}

fn push(out: &mut Map<String, Value>, name: &str, value: &str) {
    let entry = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = entry {
        list.push(Value::from(value));
    } else {
        let first = entry.take();
        *entry = Value::Array(vec![first, Value::from(value)]);
    }
}

fn scalar(kind: Kind, value: &str) -> Value {
    let coerced = match kind {
        Kind::Number => number(value).map(Value::Number),
        Kind::Boolean if value.eq_ignore_ascii_case("true") => Some(Value::Bool(true)),
        Kind::Boolean if value.eq_ignore_ascii_case("false") => Some(Value::Bool(false)),
        Kind::Boolean | Kind::Text | Kind::Texts | Kind::TextOrTexts => None,
    };
    coerced.unwrap_or_else(|| Value::from(value))
}

/// A number as JavaScript's `Number()` reads it, where JSON has it: blank is 0, `0x`, `0o` and `0b`
/// are known, `NaN` and infinities are not numbers here.
///
/// ```
/// # use homecore_http::query::number;
/// assert_eq!(number("1e3").unwrap().as_f64(), Some(1000.0));
/// assert_eq!(number("abc"), None);
/// ```
#[must_use]
pub fn number(text: &str) -> Option<Number> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Number::from(0));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        let digits = text.get(..2).filter(|p| p.eq_ignore_ascii_case(prefix));
        if digits.is_some() {
            let digits = text.get(2..)?;
            return if digits.starts_with('+') {
                None
            } else {
                u64::from_str_radix(digits, radix).ok().map(Number::from)
            };
        }
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Number::from(whole));
    }
    // Rust also reads `inf`, `infinity` and `nan`; JavaScript's Infinity has no JSON.
    if !text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'))
    {
        return None;
    }
    text.parse::<f64>().ok().and_then(Number::from_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[(&str, Kind)] = &[
        ("limit", Kind::Number),
        ("sortAscending", Kind::Boolean),
        ("types", Kind::Texts),
        ("streams", Kind::TextOrTexts),
        ("state", Kind::Text),
    ];

    #[test]
    fn parameters_become_what_the_route_says() {
        for (query, expected) in [
            ("limit=5", json!({ "limit": 5 })),
            ("limit=1e3", json!({ "limit": 1000.0 })),
            (
                "limit=-1.7976931348623157e%2B308",
                json!({ "limit": f64::MIN }),
            ),
            ("limit=abc", json!({ "limit": "abc" })),
            ("limit=Infinity", json!({ "limit": "Infinity" })),
            ("limit=nan", json!({ "limit": "nan" })),
            ("limit=", json!({ "limit": 0 })),
            ("limit=0x10", json!({ "limit": 16 })),
            ("limit=1&limit=2", json!({ "limit": 1 })),
            ("sortAscending=TRUE", json!({ "sortAscending": true })),
            ("sortAscending=yes", json!({ "sortAscending": "yes" })),
            ("types=a%2Fb", json!({ "types": ["a/b"] })),
            ("types[]=a&types%5B%5D=b", json!({ "types": ["a", "b"] })),
            ("types=[]", json!({ "types": [] })),
            (
                "types=%5B%22a/b%22,%22c/*%22%5D&types=d/e",
                json!({ "types": ["a/b", "c/*", "d/e"] }),
            ),
            ("types=[1]", json!({ "types": ["[1]"] })),
            ("types=[\"a/b\"", json!({ "types": ["[\"a/b\""] })),
            ("streams=weight", json!({ "streams": "weight" })),
            (
                "streams=a&streams=b&streams=c",
                json!({ "streams": ["a", "b", "c"] }),
            ),
            ("streams[]=a", json!({ "streams": ["a"] })),
            ("streams[]=a&streams[]=b", json!({ "streams": ["a", "b"] })),
            ("streams[0]=a", json!({ "streams": ["a"] })),
            (
                "streams[0]=a&streams%5B1%5D=b&types[0]=c/d",
                json!({ "streams": ["a", "b"], "types": ["c/d"] }),
            ),
            ("streams[any]=a", json!({ "streams[any]": "a" })),
            ("streams[0][]=a", json!({ "streams[0]": "a" })),
            ("streams=%5B%22a%22%5D", json!({ "streams": "[\"a\"]" })),
            ("streams[0][any][]=a", json!({ "streams[0][any]": "a" })),
            ("state=all&auth=secret", json!({ "state": "all" })),
            ("nosuch=1&a=b+c", json!({ "nosuch": "1", "a": "b c" })),
            ("", json!({})),
            ("&&=&", json!({})),
        ] {
            assert_eq!(
                Value::Object(Query::parse(Some(query)).coerce(KNOWN)),
                expected,
                "{query}"
            );
        }
    }

    #[test]
    fn what_was_sent_stays_text() {
        let query = "limit=1e3&running=TRUE&streams[]=a&types=a/b&types=c/d&state=all&auth=secret";
        assert_eq!(
            Value::Object(Query::parse(Some(query)).sent()),
            json!({ "limit": "1e3", "running": "TRUE", "streams": ["a"],
                "types": ["a/b", "c/d"], "state": "all" })
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_query(raw in ".{0,200}") {
            proptest::prop_assert!(!Query::parse(Some(&raw)).coerce(KNOWN).contains_key("auth"));
        }
    }
}
