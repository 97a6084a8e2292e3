//! JSON Schema draft-04, as far as event types use it: what a content must look like.
//!
//! A schema is compiled once, when its catalogue is read, into rules without texts for people;
//! whatever cannot be compiled makes the catalogue bad. `$ref` and `dependencies` are not supported
//! and refused; annotations and unknown words are ignored, as the draft asks (adr/0006).

use regex_lite::Regex;
use serde_json::{Map, Number, Value, json};

use super::super::value;
use crate::violation::Violation;

mod compile;

pub use compile::{Compiler, SchemaError};

/// Violations reported of one content.
const VIOLATIONS_MAX: usize = 20;

/// The names of JSON types.
const TYPE_NAMES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    /// JSON types that are allowed; empty: all.
    types: Vec<&'static str>,
    rules: Vec<Rule>,
}

/// One condition. Those on another JSON type than the value's hold.
#[derive(Debug)]
enum Rule {
    Minimum {
        limit: Number,
        exclusive: bool,
    },
    Maximum {
        limit: Number,
        exclusive: bool,
    },
    MultipleOf(Number),
    MinLength(usize),
    MaxLength(usize),
    Pattern(Box<Regex>),
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
    Items(Box<Schema>),
    /// One schema for each of the first items, and what holds for the rest.
    Tuple(Vec<Schema>, Rest),
    MinProperties(usize),
    MaxProperties(usize),
    Required(Vec<String>),
    Properties(Box<Properties>),
    Enum(Vec<Value>),
    Not(Box<Schema>),
    AnyOf(Vec<Schema>),
    OneOf(Vec<Schema>),
    AllOf(Vec<Schema>),
}

/// What holds for items or properties that nothing else speaks of.
#[derive(Debug, Default)]
enum Rest {
    #[default]
    Free,
    None,
    Each(Box<Schema>),
}

#[derive(Debug, Default)]
struct Properties {
    named: Vec<(String, Schema)>,
    patterns: Vec<(Regex, Schema)>,
    rest: Rest,
}

/// Where in a content one is.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Root,
    Name(&'a Self, &'a str),
    Item(&'a Self, usize),
}

impl Place<'_> {
    /// `#` and a JSON pointer.
    fn path(&self) -> String {
        match self {
            Self::Root => "#".to_owned(),
            Self::Name(parent, name) => {
                let name = name.replace('~', "~0").replace('/', "~1");
                format!("{}/{name}", parent.path())
            }
            Self::Item(parent, item) => format!("{}/{item}", parent.path()),
        }
    }
}

/// What was found to be wrong.
#[derive(Debug)]
struct Found {
    violations: Vec<Violation>,
    most: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.violations.len() >= self.most
    }

    fn push(&mut self, violation: Violation) {
        if !self.is_full() {
            self.violations.push(violation);
        }
    }
}

impl Schema {
    /// What is wrong with a content; nothing if it fits. Of much that is wrong, the first.
    #[must_use]
    pub fn violations(&self, content: &Value) -> Vec<Violation> {
        let mut found = Found {
            violations: Vec::new(),
            most: VIOLATIONS_MAX,
        };
        self.check(content, Place::Root, &mut found);
        found.violations
    }

    fn accepts(&self, content: &Value) -> bool {
        let mut found = Found {
            violations: Vec::new(),
            most: 1,
        };
        self.check(content, Place::Root, &mut found);
        found.violations.is_empty()
    }

    fn check(&self, content: &Value, place: Place<'_>, found: &mut Found) {
        if !self.types.is_empty() && !self.types.iter().any(|name| is_of_type(content, name)) {
            found.push(Violation::wrong_type(&place.path(), &self.types));
            return;
        }
        for rule in &self.rules {
            if found.is_full() {
                return;
            }
            match content {
                Value::Number(number) => rule.check_number(number, place, found),
                Value::String(text) => rule.check_text(text, place, found),
                Value::Array(items) => rule.check_items(items, place, found),
                Value::Object(object) => rule.check_object(object, place, found),
                Value::Null | Value::Bool(_) => {}
            }
            rule.check_any(content, place, found);
        }
    }
}

impl Rule {
    fn check_number(&self, number: &Number, place: Place<'_>, found: &mut Found) {
        let float = |number: &Number| number.as_f64().unwrap_or_default();
        let is = float(number);
        let (code, text, limit) = match self {
            Self::Minimum {
                limit,
                exclusive: false,
            } if is < float(limit) => ("MINIMUM", format!("must be >= {limit}"), limit),
            Self::Minimum {
                limit,
                exclusive: true,
            } if is <= float(limit) => ("MINIMUM_EXCLUSIVE", format!("must be > {limit}"), limit),
            Self::Maximum {
                limit,
                exclusive: false,
            } if is > float(limit) => ("MAXIMUM", format!("must be <= {limit}"), limit),
            Self::Maximum {
                limit,
                exclusive: true,
            } if is >= float(limit) => ("MAXIMUM_EXCLUSIVE", format!("must be < {limit}"), limit),
            Self::MultipleOf(limit) if (is / float(limit)).fract() != 0.0 => {
                ("MULTIPLE_OF", format!("must be multiple of {limit}"), limit)
            }
            _ => return,
        };
        found.push(Violation::item(code, json!(limit), text, &place.path()));
    }

    fn check_text(&self, text: &str, place: Place<'_>, found: &mut Found) {
        // A text of n bytes has n characters at most: few need counting.
        let violation = match self {
            Self::MinLength(min) if text.chars().take(*min).count() < *min => {
                Violation::too_short(&place.path(), *min)
            }
            Self::MaxLength(max) if text.len() > *max && text.chars().count() > *max => {
                Violation::too_long(&place.path(), *max)
            }
            Self::Pattern(pattern) if !pattern.is_match(text) => {
                Violation::pattern(&place.path(), pattern.as_str())
            }
            _ => return,
        };
        found.push(violation);
    }

    fn check_items(&self, items: &[Value], place: Place<'_>, found: &mut Found) {
        let mut each = |schema: &Schema, i: usize, item: &Value| {
            if !found.is_full() {
                schema.check(item, Place::Item(&place, i), found);
            }
        };
        let violation = match self {
            Self::Items(schema) => {
                for (i, item) in items.iter().enumerate() {
                    each(schema, i, item);
                }
                return;
            }
            Self::Tuple(schemas, rest) => {
                for (i, item) in items.iter().enumerate() {
                    match (schemas.get(i), rest) {
                        (Some(schema), _) => each(schema, i, item),
                        (None, Rest::Each(schema)) => each(schema, i, item),
                        (None, Rest::Free | Rest::None) => break,
                    }
                }
                if !matches!(rest, Rest::None) || items.len() <= schemas.len() {
                    return;
                }
                Violation::item(
                    "ARRAY_ADDITIONAL_ITEMS",
                    json!(schemas.len()),
                    format!("must NOT have more than {} items", schemas.len()),
                    &place.path(),
                )
            }
            Self::MinItems(min) if items.len() < *min => Violation::too_few(&place.path(), *min),
            Self::MaxItems(max) if items.len() > *max => Violation::too_many(&place.path(), *max),
            Self::UniqueItems if has_duplicates(items) => Violation::item(
                "ARRAY_UNIQUE",
                json!(true),
                "must NOT have duplicate items".to_owned(),
                &place.path(),
            ),
            _ => return,
        };
        found.push(violation);
    }

    fn check_object(&self, object: &Map<String, Value>, place: Place<'_>, found: &mut Found) {
        let size = object.len();
        let count = |code, few: bool, limit: usize| {
            let than = if few { "fewer" } else { "more" };
            let text = format!("must NOT have {than} than {limit} properties");
            Violation::item(code, json!(limit), text, &place.path())
        };
        match self {
            Self::MinProperties(min) if size < *min => {
                found.push(count("OBJECT_PROPERTIES_MINIMUM", true, *min));
            }
            Self::MaxProperties(max) if size > *max => {
                found.push(count("OBJECT_PROPERTIES_MAXIMUM", false, *max));
            }
            Self::Required(names) => {
                for name in names.iter().filter(|name| !object.contains_key(*name)) {
                    found.push(Violation::missing(&place.path(), name));
                }
            }
            Self::Properties(properties) => properties.check(object, place, found),
            _ => {}
        }
    }

    fn check_any(&self, content: &Value, place: Place<'_>, found: &mut Found) {
        let (code, text) = match self {
            Self::Enum(allowed) if !allowed.iter().any(|one| value::equal(one, content)) => {
                found.push(Violation::item(
                    "ENUM_MISMATCH",
                    json!(allowed),
                    "must be equal to one of the allowed values".to_owned(),
                    &place.path(),
                ));
                return;
            }
            Self::AllOf(schemas) => {
                for schema in schemas {
                    schema.check(content, place, found);
                }
                return;
            }
            Self::Not(schema) if schema.accepts(content) => ("NOT_PASSED", "must NOT be valid"),
            Self::AnyOf(schemas) if !schemas.iter().any(|schema| schema.accepts(content)) => {
                ("ANY_OF_MISSING", "must match a schema in anyOf")
            }
            Self::OneOf(schemas) if count_accepting(schemas, content) != 1 => {
                ("ONE_OF_MISSING", "must match exactly one schema in oneOf")
            }
            _ => return,
        };
        found.push(Violation {
            params: Some(json!([])),
            ..Violation::item(code, Value::Null, text.to_owned(), &place.path())
        });
    }
}

impl Properties {
    fn check(&self, object: &Map<String, Value>, place: Place<'_>, found: &mut Found) {
        for (name, content) in object {
            let at = Place::Name(&place, name);
            let named = self
                .named
                .iter()
                .filter(|(known, _)| known == name)
                .map(|(_, schema)| schema);
            let matched = self
                .patterns
                .iter()
                .filter(|(pattern, _)| pattern.is_match(name))
                .map(|(_, schema)| schema);
            let mut spoken_of = false;
            for schema in named.chain(matched) {
                spoken_of = true;
                schema.check(content, at, found);
            }
            match &self.rest {
                Rest::None if !spoken_of => {
                    found.push(Violation::additional(&place.path(), name));
                }
                Rest::Each(schema) if !spoken_of => schema.check(content, at, found),
                Rest::None | Rest::Each(_) | Rest::Free => {}
            }
            if found.is_full() {
                return;
            }
        }
    }
}

fn is_of_type(content: &Value, name: &str) -> bool {
    match content {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
        Value::Number(number) => {
            let whole = || number.as_f64().is_some_and(|float| float.fract() == 0.0);
            name == "number" || (name == "integer" && whole())
        }
    }
}

fn has_duplicates(items: &[Value]) -> bool {
    let mut sorted: Vec<&Value> = items.iter().collect();
    sorted.sort_unstable_by(|a, b| value::compare(a, b));
    sorted
        .windows(2)
        .any(|pair| matches!(pair, [a, b] if value::equal(a, b)))
}

/// Two are as good as more.
fn count_accepting(schemas: &[Schema], content: &Value) -> usize {
    let accepting = schemas.iter().filter(|schema| schema.accepts(content));
    accepting.take(2).count()
}

#[cfg(test)]
mod tests;
