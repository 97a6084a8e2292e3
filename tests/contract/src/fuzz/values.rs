//! Values: such that fit a schema, and such that fit little.

use serde_json::{Map, Value, json};

use super::Chance;
use super::document::Document;
use super::world::World;

/// Texts that are often taken wrongly.
const ODD_TEXTS: &[&str] = &[
    "",
    " ",
    "\0",
    "\n",
    "null",
    "undefined",
    "true",
    "NaN",
    "Infinity",
    "-1",
    "1e999",
    "0x1F",
    "..",
    "../../etc/passwd",
    "/",
    "\\",
    "%",
    "%00",
    "%zz",
    "'",
    "\"",
    "`",
    "<b>",
    "${x}",
    "{{x}}",
    "\u{feff}",
    "\u{200b}",
    "\u{202e}abc",
    "e\u{301}",
    "\u{1F468}\u{200d}\u{1F469}",
    "\u{fffd}",
    "\u{10ffff}",
    "Ⅷ",
    "ſ",
    "İ",
    "ß",
    "ﬀ",
    "日本語",
    ":",
    "::",
    ":_system:",
    ":_system:email",
    ":_system:account",
    ":_audit:",
    ":_audit:x",
    ":dummy:x",
    "*",
    "#",
    "!",
    "a!",
    ".*",
    "__proto__",
    "constructor",
    "series:a/b",
    "a/b",
    "picture/attached",
    "application/x",
    "2026-11-27T20:00:00Z",
    "SELECT 1; DROP TABLE events",
    "--",
    "a,b",
    "[\"a\"]",
    "{\"any\":[\"*\"]}",
    "[",
    "{",
    "c0000000000000000000000000",
    "ckf0000000000000000000001",
    "-",
    "a-",
    "-a",
    "A",
];

/// Numbers at edges, as JSON texts: not every one is a number that a program has.
const ODD_NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-0.0",
    "1",
    "-1",
    "0.1",
    "1e-400",
    "1e308",
    "-1e308",
    "1.797693134862315e308",
    "-1.797693134862315e308",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551615",
    "18446744073709551616",
    "1e19",
    "-1e19",
    "9e15",
    "9.3e15",
    "-9.3e15",
    "253402300800",
    "-62135596801",
    "1e13",
    "-1e13",
    "4294967296",
    "2147483648",
    "1e100",
    "123456789012345678901234567890",
    "1795369711.439",
];

/// An odd text; a long one now and then.
pub(crate) fn odd_text(chance: &mut Chance) -> String {
    match chance.below(24) {
        0 => "x".repeat(chance.below(400)),
        1 => "ä".repeat(chance.below(70_000)),
        2 => {
            let count = chance.below(12);
            (0..count).map(|_| random_char(chance)).collect()
        }
        _ => chance.text(ODD_TEXTS),
    }
}

fn random_char(chance: &mut Chance) -> char {
    let code = u32::try_from(chance.below(0x11_0000)).unwrap_or_default();
    char::from_u32(code).unwrap_or('\u{fffd}')
}

pub(crate) fn odd_number(chance: &mut Chance) -> Value {
    let text = chance.text(ODD_NUMBERS);
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Anything.
pub(crate) fn odd_value(chance: &mut Chance) -> Value {
    match chance.below(14) {
        0 => Value::Null,
        1 => Value::Bool(chance.one_in(2)),
        2..=4 => odd_number(chance),
        5..=8 => Value::from(odd_text(chance)),
        9 => json!([]),
        10 => json!({}),
        11 => json!([odd_text(chance), odd_number(chance), null_or_object(chance)]),
        12 => {
            let (name, text) = (odd_text(chance), odd_text(chance));
            Value::Object(Map::from_iter([(name, Value::from(text))]))
        }
        _ => nested(chance),
    }
}

fn null_or_object(chance: &mut Chance) -> Value {
    if chance.one_in(2) {
        Value::Null
    } else {
        json!({ "a": [1] })
    }
}

/// Lists in lists, as deep as they can be read again.
fn nested(chance: &mut Chance) -> Value {
    let depth = chance.below(110);
    (0..depth).fold(json!(1), |inner, level| {
        if level % 2 == 0 {
            json!([inner])
        } else {
            json!({ "a": inner })
        }
    })
}

/// Where values come from.
pub(crate) struct Values<'a> {
    pub(crate) document: &'a Document,
    pub(crate) world: &'a World,
    /// Whether they stand in a query string, where some names mean something else.
    pub(crate) in_query: bool,
}

impl Values<'_> {
    /// A value that fits a schema, of what there is where the name says what it means.
    pub(crate) fn good(&self, name: &str, schema: &Value, chance: &mut Chance) -> Value {
        let schema = self.document.resolved(schema);
        if let Some(value) = self.known(name, chance) {
            return value;
        }
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
            return chance.pick(allowed).cloned().unwrap_or_default();
        }
        if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
            let choice = chance.pick(choices).cloned().unwrap_or_default();
            return self.good(name, &choice, chance);
        }
        if let Some(examples) = schema.get("examples").and_then(Value::as_array) {
            return chance.pick(examples).cloned().unwrap_or_default();
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => chance.pick(kinds).and_then(Value::as_str),
            other => other.and_then(Value::as_str),
        };
        match kind {
            Some("string") => Value::from(good_text(schema, chance)),
            Some("integer") => json!(chance.below(20)),
            Some("number") => json!(chance.below(2_000_000_000)),
            Some("boolean") => Value::Bool(chance.one_in(2)),
            Some("null") => Value::Null,
            Some("array") => {
                let items = schema.get("items").cloned().unwrap_or_default();
                let count = 1 + chance.below(3);
                let name = if name == "streamIds" {
                    "streamId"
                } else {
                    name
                };
                (0..count)
                    .map(|_| self.good(name, &items, chance))
                    .collect()
            }
            Some("object") => self.object(schema, chance),
            _ => odd_value(chance),
        }
    }

    /// An object with what is required and some of what is not.
    fn object(&self, schema: &Value, chance: &mut Chance) -> Value {
        let properties = schema.get("properties").and_then(Value::as_object);
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| {
            required.is_some_and(|names| names.iter().any(|known| known.as_str() == Some(name)))
        };
        let mut members = Map::new();
        for (name, schema) in properties.into_iter().flatten() {
            let read_only = schema.get("readOnly").is_some();
            let wanted = if read_only { 40 } else { 2 };
            if !is_required(name) && !chance.one_in(wanted) {
                continue;
            }
            // An id is mostly left to the server.
            if name == "id" && !chance.one_in(6) {
                continue;
            }
            members.insert(name.clone(), self.good(name, schema, chance));
        }
        if properties.is_none() && chance.one_in(2) {
            members.insert(odd_text(chance), odd_value(chance));
        }
        if members.contains_key("content") {
            fit_content(&mut members, chance);
        }
        Value::Object(members)
    }

    /// A value for a name that means something here; not always.
    fn known(&self, name: &str, chance: &mut Chance) -> Option<Value> {
        if chance.one_in(8) {
            return None;
        }
        let world = self.world;
        let text = match name {
            "streamIds" => return Some(json!([world.stream(chance)])),
            "streams" => return Some(streams_query(world, chance)),
            "content" | "clientData" if self.in_query && !chance.one_in(3) => {
                return Some(conditions(chance));
            }
            "streamId" | "parentId" => world.stream(chance),
            "username" => world.username(chance),
            "email" => world.email(chance),
            "password" | "oldPassword" => world.password().to_owned(),
            "appId" | "requestingAppId" => "fuzz-app".to_owned(),
            "key" => world.key(chance),
            "invitationToken" | "invitationtoken" => world.invitation(chance),
            "ttl" => return Some(json!(1 + chance.below(1_000))),
            "records" => return Some(json!({ "txt": ["fuzz"], "a": ["192.0.2.1"] })),
            "subdomain" => chance.text(&["www", "_acme-challenge", "a.b"]),
            "hosting" => return Some(Value::Null),
            "keyHash" => "0123456789abcdef".repeat(4),
            "level" => chance.text(&["read", "create-only", "contribute", "manage"]),
            "count" => return Some(json!(chance.below(4))),
            "method" => world.method(chance),
            "redirectUrl" | "returnURL" => "https://example.com/".to_owned(),
            "newPassword" => return Some(Value::from(format!("fuzz-pass-{}", chance.below(3)))),
            "type" if !chance.one_in(4) => chance.text(&[
                "fuzz/free",
                "fuzz/free",
                "note/txt",
                "mass/kg",
                "picture/attached",
                "activity/plain",
                "numset/xy",
            ]),
            _ => return None,
        };
        Some(Value::from(text))
    }
}

/// Makes the content of an event what its type says, mostly.
fn fit_content(event: &mut Map<String, Value>, chance: &mut Chance) {
    if chance.one_in(6) {
        return;
    }
    let content = match event.get("type").and_then(Value::as_str) {
        Some("note/txt") => Some(Value::from(odd_text(chance))),
        Some("mass/kg") => Some(odd_number(chance)),
        Some("fuzz/free") => Some(odd_value(chance)),
        _ => None,
    };
    match content {
        Some(content) => event.insert("content".to_owned(), content),
        None => event.shift_remove("content"),
    };
}

fn good_text(schema: &Value, chance: &mut Chance) -> String {
    let bound = |name: &str| {
        let bound = schema.get(name).and_then(Value::as_u64);
        bound.and_then(|bound| usize::try_from(bound).ok())
    };
    let (min, max) = (
        bound("minLength").unwrap_or(0),
        bound("maxLength").unwrap_or(40),
    );
    let length = min + chance.below(max.saturating_sub(min).min(30) + 1);
    let letters = b"abcdefghijklmnopqrstuvwxyz0123456789 -";
    (0..length)
        .filter_map(|_| chance.pick(letters).copied().map(char::from))
        .collect()
}

fn streams_query(world: &World, chance: &mut Chance) -> Value {
    let (one, two) = (world.stream(chance), world.stream(chance));
    let query = match chance.below(8) {
        0 => return Value::from(one),
        1 => return json!([one, two]),
        2 => json!([{ "any": [one], "not": [two] }]),
        3 => json!({ "any": ["*"], "all": [one] }),
        4 => json!([{ "any": [one], "and": [{ "any": [two] }, { "not": [one] }] }]),
        5 => json!([{ "any": [odd_value(chance)] }]),
        6 => json!([{ "all": [one, two] }, two]),
        _ => json!([format!("{one}!"), ":_system:account", ":_audit:"]),
    };
    if chance.one_in(2) {
        Value::from(query.to_string())
    } else {
        query
    }
}

fn conditions(chance: &mut Chance) -> Value {
    let operator = chance.text(&[
        "eq", "neq", "gt", "gte", "lt", "lte", "in", "exists", "prefix",
    ]);
    let operand = match (operator.as_str(), chance.below(4)) {
        ("in", _) => json!([odd_value(chance), odd_number(chance)]),
        ("exists", _) => Value::Bool(chance.one_in(2)),
        (_, 0) => odd_value(chance),
        ("prefix" | "eq" | "gt", _) => Value::from(odd_text(chance)),
        _ => odd_number(chance),
    };
    let path = chance.text(&["$", "$", "a", "a", "a.b", "a-b.c:d", "..", ""]);
    let mut condition = json!({ "path": path });
    if let Value::Object(condition) = &mut condition {
        condition.insert(operator, operand);
    }
    json!([condition])
}
