//! Conditions on what is inside of events: `content` and `clientData` of `events.get`
//! (spec/pryv-api §4.6). They narrow nothing down by an index; they are looked at last, event by event,
//! while the narrowest range is read.

use std::cmp::Ordering;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::value;
use crate::fields::Fields;
use crate::violation::Violation;

/// Conditions of one parameter.
const CONDITIONS_MAX: usize = 10;
/// Values of one `in`.
const VALUES_MAX: usize = 100;
/// Segments of a path: parsed JSON is not deeper.
const SEGMENTS_MAX: usize = 128;
/// The path of the whole value.
const WHOLE: &str = "$";
const PATH_PATTERN: &str = "^(\\$|[A-Za-z0-9_:-]+(\\.[A-Za-z0-9_:-]+)*)$";
/// Every operator, one of which a condition has.
const OPERATORS: [&str; 9] = [
    "eq", "neq", "in", "exists", "gt", "gte", "lt", "lte", "prefix",
];

/// What must hold of an event's content and client data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    content: Vec<Condition>,
    client_data: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq)]
struct Condition {
    /// Names of members, from the outside in; none: the whole.
    path: Vec<String>,
    test: Test,
}

/// What leads nowhere has no value: only `exists: false` holds of it.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Equal(Value),
    Different(Value),
    In(Vec<Value>),
    Exists(bool),
    /// Only of two numbers or two texts.
    Ordered(&'static [Ordering], Value),
    Prefix(String),
}

/// A part of a condition, or what is wrong with it.
type Checked<T> = Result<T, Box<Violation>>;

impl Conditions {
    /// Reads the two parameters; what is wrong with them is recorded.
    pub(super) fn parse(fields: &mut Fields<'_>) -> Self {
        let mut violations = Vec::new();
        let mut read = |name: &str| match fields.raw(name) {
            None | Some(Value::Null) => Vec::new(),
            Some(value) => parse_list(value, &format!("#/{name}"), &mut violations),
        };
        let read = Self {
            content: read("content"),
            client_data: read("clientData"),
        };
        for violation in violations {
            fields.violated(violation);
        }
        read
    }

    /// Whether there is no condition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.content.is_empty() && self.client_data.is_empty()
    }

    /// Whether all hold of an event, as it is stored. Of the rest of the event nothing is read.
    #[must_use]
    pub fn accept(&self, event: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct Inside<'a> {
            #[serde(borrow)]
            content: Option<&'a RawValue>,
            #[serde(borrow, rename = "clientData")]
            client_data: Option<&'a RawValue>,
        }
        if self.is_empty() {
            return true;
        }
        let Ok(inside) = serde_json::from_slice::<Inside<'_>>(event) else {
            return false;
        };
        hold(&self.content, inside.content) && hold(&self.client_data, inside.client_data)
    }
}

fn hold(conditions: &[Condition], raw: Option<&RawValue>) -> bool {
    if conditions.is_empty() {
        return true;
    }
    let whole: Option<Value> = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
    conditions.iter().all(|condition| {
        let mut at = whole.as_ref();
        for name in &condition.path {
            at = at.and_then(|value| value.as_object()?.get(name));
        }
        condition.test.holds(at)
    })
}

impl Test {
    fn holds(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else {
            return *self == Self::Exists(false);
        };
        match self {
            Self::Equal(other) => value::equal(value, other),
            Self::Different(other) => !value::equal(value, other),
            Self::In(others) => others.iter().any(|other| value::equal(value, other)),
            Self::Exists(wanted) => *wanted,
            Self::Ordered(orders, other) => {
                let alike = (value.is_number() && other.is_number())
                    || (value.is_string() && other.is_string());
                alike && orders.contains(&value::compare(value, other))
            }
            Self::Prefix(prefix) => value.as_str().is_some_and(|text| text.starts_with(prefix)),
        }
    }

    fn parse(operator: &str, operand: &Value, path: &str) -> Checked<Self> {
        use Ordering::{Equal, Greater, Less};
        let ordered = |orders: &'static [Ordering]| match operand {
            Value::Number(_) | Value::String(_) => Ok(Self::Ordered(orders, operand.clone())),
            _ => Err(Violation::wrong_type(path, &["number", "string"]).into()),
        };
        match operator {
            "eq" => Ok(Self::Equal(operand.clone())),
            "neq" => Ok(Self::Different(operand.clone())),
            "gt" => ordered(&[Greater]),
            "gte" => ordered(&[Greater, Equal]),
            "lt" => ordered(&[Less]),
            "lte" => ordered(&[Less, Equal]),
            "in" => match operand {
                Value::Array(values) if values.is_empty() => {
                    Err(Violation::too_few(path, 1).into())
                }
                Value::Array(values) if values.len() > VALUES_MAX => {
                    Err(Violation::too_many(path, VALUES_MAX).into())
                }
                Value::Array(values) => Ok(Self::In(values.clone())),
                _ => Err(Violation::wrong_type(path, &["array"]).into()),
            },
            "exists" => operand
                .as_bool()
                .map(Self::Exists)
                .ok_or_else(|| Violation::wrong_type(path, &["boolean"]).into()),
            _ => operand
                .as_str()
                .map(|prefix| Self::Prefix(prefix.to_owned()))
                .ok_or_else(|| Violation::wrong_type(path, &["string"]).into()),
        }
    }
}

/// An array of conditions, or its JSON as text, as query strings have it.
fn parse_list(value: &Value, path: &str, violations: &mut Vec<Violation>) -> Vec<Condition> {
    let parsed;
    let value = match value {
        Value::String(text) => {
            parsed = serde_json::from_str(text).unwrap_or(Value::Null);
            &parsed
        }
        value => value,
    };
    let found = match value {
        Value::Array(items) if items.is_empty() => Err(Violation::too_few(path, 1)),
        Value::Array(items) if items.len() > CONDITIONS_MAX => {
            Err(Violation::too_many(path, CONDITIONS_MAX))
        }
        Value::Array(items) => {
            let mut conditions = Vec::new();
            for (i, item) in items.iter().enumerate() {
                match parse_one(item, &format!("{path}/{i}")) {
                    Ok(condition) => conditions.push(condition),
                    Err(violation) => violations.push(*violation),
                }
            }
            Ok(conditions)
        }
        _ => Err(Violation::wrong_type(path, &["array"])),
    };
    found.unwrap_or_else(|violation| {
        violations.push(violation);
        Vec::new()
    })
}

fn parse_one(item: &Value, path: &str) -> Checked<Condition> {
    let Value::Object(item) = item else {
        return Err(Violation::wrong_type(path, &["object"]).into());
    };
    let Some(at) = item.get("path") else {
        return Err(Violation::missing(path, "path").into());
    };
    let at = parse_path(at, &format!("{path}/path"))?;
    let (operator, operand) = operator_of(item, path)?;
    let test = Test::parse(operator, operand, &format!("{path}/{operator}"))?;
    Ok(Condition { path: at, test })
}

/// The one member beside the path.
fn operator_of<'a>(item: &'a Map<String, Value>, path: &str) -> Checked<(&'a str, &'a Value)> {
    let mut rest = item.iter().filter(|(name, _)| *name != "path");
    let Some((name, operand)) = rest.next() else {
        return Err(Violation::item(
            "ONE_OF_MISSING",
            Value::from(OPERATORS.to_vec()),
            "must have one operator".to_owned(),
            path,
        )
        .into());
    };
    let unknown = [Some(name), rest.next().map(|(name, _)| name)]
        .into_iter()
        .flatten()
        .enumerate()
        .find(|(i, name)| *i > 0 || !OPERATORS.contains(&name.as_str()));
    match unknown {
        Some((_, name)) => Err(Violation::additional(path, name).into()),
        None => Ok((name, operand)),
    }
}

fn parse_path(value: &Value, path: &str) -> Checked<Vec<String>> {
    let Value::String(text) = value else {
        return Err(Violation::wrong_type(path, &["string"]).into());
    };
    if text == WHOLE {
        return Ok(Vec::new());
    }
    let is_segment = |segment: &str| {
        !segment.is_empty()
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'-'))
    };
    let segments: Vec<String> = text
        .split('.')
        .take(SEGMENTS_MAX + 1)
        .map(str::to_owned)
        .collect();
    if segments.len() > SEGMENTS_MAX || !segments.iter().all(|segment| is_segment(segment)) {
        return Err(Violation::pattern(path, PATH_PATTERN).into());
    }
    Ok(segments)
}

#[cfg(test)]
mod tests;
