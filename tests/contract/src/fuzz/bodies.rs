//! Bodies: JSON, forms with files, and what is neither.

use serde_json::{Value, json};

use super::Chance;
use super::document::Operation;
use super::requests::{Fault, escaped};
use super::values::{Values, odd_text, odd_value};
use super::wire::Asked;

const JSON: &str = "application/json";
const BOUNDARY: &str = "fuzz-boundary";
/// The content type of forms.
pub(super) const FORM: &str = "multipart/form-data; boundary=fuzz-boundary";

/// Calls in one batch.
const CALLS_MAX: usize = 40;

/// Bodies that are no JSON, or barely.
const ODD_BODIES: &[&str] = &[
    "",
    " ",
    "null",
    "true",
    "1",
    "\"x\"",
    "[]",
    "{}",
    "[[]]",
    "{",
    "}",
    "[1,",
    "{\"a\":}",
    "{\"a\" 1}",
    "{a:1}",
    "{'a':1}",
    "NaN",
    "{\"time\":NaN}",
    "{\"time\":1e999}",
    "[1e999]",
    "{\"a\":1,\"a\":2}",
    "\u{feff}{}",
    "{} {}",
    "{\"a\":\"\\ud800\"}",
    "{\"a\":\"\\x\"}",
    "{\"\":null}",
    "<xml/>",
    "a=1&b=2",
    "{\"a\":\"\u{0}\"}",
    "{\"a\":01}",
    "{\"a\":+1}",
    "[,]",
    "{\"__proto__\":{\"x\":1}}",
];

const ODD_TYPES: &[&str] = &[
    "text/plain",
    "application/xml",
    "application/json; charset=utf-16",
    "application/ld+json",
    "",
    "APPLICATION/JSON",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "json",
    ";;;",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "*/*",
];

/// Gives a request a body.
pub(super) fn put(
    values: &Values<'_>,
    operation: &Operation,
    asked: &mut Asked,
    chance: &mut Chance,
    faults: &[Fault],
) {
    let kinds: Vec<&String> = operation.bodies.keys().collect();
    let kind = chance.pick(&kinds).map(|kind| kind.as_str());
    let mut value = match (kind, kind.and_then(|kind| operation.bodies.get(kind))) {
        (Some("multipart/form-data"), Some(schema)) => {
            let event = schema.pointer("/properties/event");
            event.map_or(Value::Null, |event| values.good("event", event, chance))
        }
        (Some(_), Some(schema)) => values.good("", schema, chance),
        _ if faults.contains(&Fault::Body) => {
            // Small: nobody reads it, and what is unread when a connection ends may break it.
            asked.header("Content-Type", JSON);
            asked.body = chance.text(ODD_BODIES).into_bytes();
            return;
        }
        _ => return,
    };
    if operation.id == "callBatch" {
        value = calls(values, &value, chance);
    }
    if faults.contains(&Fault::Member) {
        for _ in 0..=chance.below(2) {
            spoil(&mut value, chance, 0);
        }
    }
    if let (Value::Array(calls), "callBatch") = (&mut value, operation.id.as_str()) {
        // Each may be a command of the platform, which is synced: hundreds take their time.
        calls.truncate(CALLS_MAX);
    }
    let (mut kind, mut body) = match kind {
        Some("multipart/form-data") => (
            FORM.to_owned(),
            form(&value, chance, faults.contains(&Fault::Body)),
        ),
        _ => (JSON.to_owned(), value.to_string().into_bytes()),
    };
    if faults.contains(&Fault::Body) {
        body = odd_body(body, chance);
    }
    if faults.contains(&Fault::Type) {
        kind = chance.text(ODD_TYPES);
        // A form may say that it is another request.
        if kind.contains("urlencoded") {
            body = format!("a=1&_auth=nosuch&_json={}", escaped("{\"a\":1}")).into_bytes();
        }
    }
    if !(faults.contains(&Fault::Type) && chance.one_in(5)) {
        asked.header("Content-Type", kind);
    }
    asked.body = body;
}

/// Calls of methods, each with what some operation's body might be.
fn calls(values: &Values<'_>, plain: &Value, chance: &mut Chance) -> Value {
    let Value::Array(calls) = plain else {
        return plain.clone();
    };
    let methods = values.document.operations();
    let with_params = |call: &Value, chance: &mut Chance| {
        let id = call
            .get("method")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let found = methods.iter().find(|operation| operation.id == id);
        let schema = found.and_then(|operation| operation.bodies.get(JSON));
        let mut params = match schema {
            Some(schema) => values.good("", schema, chance),
            None => json!({}),
        };
        let is_update = id.ends_with("update") || id.ends_with("updateApp");
        if is_update {
            params = json!({ "update": params });
        }
        if let Value::Object(params) = &mut params {
            if id.starts_with("events.") && id != "events.get" && id != "events.create" {
                params.insert("id".to_owned(), values.world.event(chance).into());
            } else if id.starts_with("streams.") && (is_update || id.ends_with("delete")) {
                params.insert("id".to_owned(), values.world.stream(chance).into());
            } else if id.starts_with("accesses.") && (is_update || id.ends_with("delete")) {
                params.insert("id".to_owned(), values.world.access(chance).into());
            }
        }
        json!({ "method": id, "params": params })
    };
    calls.iter().map(|call| with_params(call, chance)).collect()
}

/// Changes something somewhere inside of a value.
fn spoil(value: &mut Value, chance: &mut Chance, depth: usize) {
    if depth < 6 && !chance.one_in(3) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                let at = chance.below(members.len());
                if let Some((_, member)) = members.iter_mut().nth(at) {
                    spoil(member, chance, depth + 1);
                    return;
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let at = chance.below(items.len());
                if let Some(item) = items.get_mut(at) {
                    spoil(item, chance, depth + 1);
                    return;
                }
            }
            _ => {}
        }
    }
    match (value, chance.below(4)) {
        (Value::Object(members), 0) => {
            let at = chance.below(members.len());
            let name = members.keys().nth(at).cloned();
            if let Some(name) = name {
                members.shift_remove(&name);
            }
        }
        (Value::Object(members), 1) => {
            members.insert(odd_text(chance), odd_value(chance));
        }
        (Value::Array(items), 0) => items.clear(),
        (Value::Array(items), 1) => items.push(odd_value(chance)),
        (Value::Array(items), 2) => {
            let item = items.first().cloned().unwrap_or_default();
            items.extend(std::iter::repeat_n(item, 300));
        }
        (value, _) => *value = odd_value(chance),
    }
}

fn odd_body(mut body: Vec<u8>, chance: &mut Chance) -> Vec<u8> {
    match chance.below(7) {
        0 => body.truncate(chance.below(body.len())),
        1 => {
            let at = chance.below(body.len());
            if let Some(byte) = body.get_mut(at) {
                *byte = u8::try_from(chance.below(256)).unwrap_or_default();
            }
        }
        2 => {
            let depth = 1 + chance.below(100_000);
            body = "[".repeat(depth).into_bytes();
            if chance.one_in(2) {
                body.extend("]".repeat(depth).bytes());
            }
        }
        3 => body = vec![0xff; 1 + chance.below(300)],
        4 => {
            let text = "x".repeat(chance.below(600_000));
            body = json!({ "name": text, "streamIds": ["diary"], "type": "note/txt" })
                .to_string()
                .into_bytes();
        }
        _ => body = chance.text(ODD_BODIES).into_bytes(),
    }
    body
}

/// A form with a file, perhaps two, and the value as its text.
fn form(value: &Value, chance: &mut Chance, is_wrong: bool) -> Vec<u8> {
    let mut texts = Vec::new();
    if !value.is_null() {
        texts.push(value);
        if is_wrong && chance.one_in(4) {
            texts.push(value);
        }
    }
    let mut file = |index: usize| {
        let name = if is_wrong {
            odd_text(chance).replace(['\r', '\n'], "")
        } else {
            format!("file-{index}.txt")
        };
        let kind = chance.text(&["text/plain", "image/png", "x", "text/plain; charset=utf-8"]);
        (name, kind, "bytes ".repeat(chance.below(2_000)))
    };
    let mut files = vec![file(0)];
    if files.iter().any(|(_, _, bytes)| bytes.len() < 6_000) {
        files.push(file(1));
    }
    form_of(&texts, &files)
}

/// A form of these texts, and of files with their names and types.
pub(super) fn form_of(texts: &[&Value], files: &[(String, String, String)]) -> Vec<u8> {
    let mut form = String::new();
    let mut part = |head: &str, body: &str| {
        form.push_str(&format!("--{BOUNDARY}\r\n{head}\r\n\r\n{body}\r\n"));
    };
    let disposition = "Content-Disposition: form-data; name=";
    for text in texts {
        let head = format!("{disposition}\"event\"\r\nContent-Type: {JSON}");
        part(&head, &text.to_string());
    }
    for (name, kind, bytes) in files {
        let head = format!("{disposition}\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}");
        part(&head, bytes);
    }
    form.push_str(&format!("--{BOUNDARY}--\r\n"));
    form.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoiling_ends_and_changes() {
        let whole = json!({ "a": [1, { "b": "c" }], "d": null });
        let changed = (0..200).filter(|index| {
            let mut value = whole.clone();
            spoil(&mut value, &mut Chance::of(1, *index), 0);
            value != whole
        });
        assert!(changed.count() > 150);
    }
}
