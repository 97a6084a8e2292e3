//! A request of an operation: as the document asks for it, or with a few things wrong.

use serde_json::Value;

use super::Chance;
use super::bodies;
use super::document::{Document, Operation};
use super::values::{Values, odd_text, odd_value};
use super::wire::Asked;
use super::world::{ORIGIN, World};

/// What is wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Path,
    Query,
    Member,
    Body,
    Type,
    Header,
    Verb,
}

const FAULTS: &[Fault] = &[
    Fault::Path,
    Fault::Query,
    Fault::Query,
    Fault::Member,
    Fault::Member,
    Fault::Member,
    Fault::Body,
    Fault::Type,
    Fault::Header,
    Fault::Verb,
];

/// Makes a request of an operation.
#[must_use]
pub fn generate(
    document: &Document,
    world: &World,
    operation: &Operation,
    chance: &mut Chance,
) -> Asked {
    let faults: Vec<Fault> = match chance.below(5) {
        0 | 1 => Vec::new(),
        2 | 3 => chance.pick(FAULTS).copied().into_iter().collect(),
        _ => (0..3)
            .filter_map(|_| chance.pick(FAULTS).copied())
            .collect(),
    };
    let mut asked = Asked {
        verb: operation.verb.clone(),
        ..Asked::default()
    };
    asked.header("Origin", ORIGIN);
    let mut query = Vec::new();
    world.sign(&mut asked, &mut query, chance, &operation.security);
    let values = |in_query| Values {
        document,
        world,
        in_query,
    };
    put_query(
        &values(true),
        operation,
        &mut query,
        chance,
        faults.contains(&Fault::Query),
    );
    let mut target = path(world, operation, chance);
    if faults.contains(&Fault::Path) {
        target = odd_path(&target, &mut asked, chance);
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(&query.join("&"));
    }
    asked.target = target;
    bodies::put(&values(false), operation, &mut asked, chance, &faults);
    // Of a read only the head: the one other verb that a described path has.
    if faults.contains(&Fault::Verb) && asked.verb == "GET" {
        "HEAD".clone_into(&mut asked.verb);
    }
    if faults.contains(&Fault::Header) {
        put_odd_header(&mut asked, chance);
    }
    asked
}

/// A text in an address.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The path with values of what there is.
fn path(world: &World, operation: &Operation, chance: &mut Chance) -> String {
    let (event, file) = world.file(chance);
    let has_file = operation.path.contains("{fileId}");
    let segments = operation.path.split('/').map(|segment| {
        let Some(name) = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) else {
            return segment.to_owned();
        };
        let value = match name {
            "username" => world.subject(chance),
            "fileId" => file.clone(),
            "id" if has_file => event.clone(),
            "id" if operation.path.contains("/streams/") => world.stream(chance),
            "id" if operation.path.contains("/events/") => world.event(chance),
            "id" if operation.path.contains("/accesses/") => world.access(chance),
            "key" => world.key(chance),
            "name" if operation.path.contains("mail") || operation.id.starts_with("lookup.u") => {
                world.email(chance)
            }
            "name" if operation.id == "auth.delete" && !chance.one_in(10) => {
                format!("fuzz-{}", chance.below(100_000))
            }
            "name" => world.username(chance),
            "subdomain" => chance.text(&["www", "_acme-challenge", "a.b", "fuzz-one"]),
            _ => odd_text(chance),
        };
        let value = if value.is_empty() {
            "x".to_owned()
        } else {
            value
        };
        escaped(&value)
    });
    segments.collect::<Vec<_>>().join("/")
}

/// A path with something strange in the place of one segment, never one of the fixed ones.
fn odd_path(path: &str, asked: &mut Asked, chance: &mut Chance) -> String {
    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
    let odd = match chance.below(10) {
        0 => "%zz".to_owned(),
        1 => "%ff%fe".to_owned(),
        2 => "%00".to_owned(),
        3 => "a%2Fb".to_owned(),
        4 => "%2e%2e".to_owned(),
        5 => "%25zz".to_owned(),
        6 => {
            // Longer than a head may be, or nearly.
            asked.is_malformed = true;
            "x".repeat(chance.below(70_000) + 1)
        }
        7 => {
            asked.is_malformed = true;
            "\u{e9}\u{65e5}".to_owned()
        }
        _ => {
            let text = odd_text(chance);
            let text: String = text.chars().take(500).collect();
            let is_empty = text.is_empty();
            if is_empty {
                "x".to_owned()
            } else {
                escaped(&text)
            }
        }
    };
    // The last segment that is a value: fixed ones lead to other operations.
    let last = segments.len().saturating_sub(1);
    let is_value = |s: &str| s.contains(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '%']);
    let at = segments.iter().rposition(|s| is_value(s));
    match at.filter(|at| *at > 1 || *at == last) {
        Some(at) => {
            if let Some(segment) = segments.get_mut(at) {
                *segment = odd;
            }
            segments.join("/")
        }
        None => path.to_owned(),
    }
}

fn put_query(
    values: &Values<'_>,
    operation: &Operation,
    query: &mut Vec<String>,
    chance: &mut Chance,
    is_wrong: bool,
) {
    let fields = operation.parameters.iter().filter(|p| !p.in_path);
    for field in fields {
        if !field.required && !chance.one_in(3) {
            continue;
        }
        let value = if is_wrong && chance.one_in(2) {
            odd_value(chance)
        } else {
            values.good(&field.name, &field.schema, chance)
        };
        let texts: Vec<String> = match &value {
            Value::Array(items) if !matches!(field.name.as_str(), "content" | "clientData") => {
                items.iter().map(shown).collect()
            }
            other => vec![shown(other)],
        };
        let name = if is_wrong && chance.one_in(8) {
            format!("{}[]", field.name)
        } else {
            field.name.clone()
        };
        for text in texts {
            let text: String = text.chars().take(3_000).collect();
            query.push(format!("{name}={}", escaped(&text)));
        }
        if is_wrong && chance.one_in(6) {
            query.extend(query.last().cloned());
        }
    }
    if is_wrong {
        match chance.below(6) {
            0 => query.push("nosuch=1".to_owned()),
            1 => query.push("%zz=%zz&&=&a=b=c".to_owned()),
            2 => query.push("streams[0][any][]=a".to_owned()),
            3 => query.push(format!(
                "limit={}",
                escaped(&shown(&odd_value(chance)))
                    .chars()
                    .take(2_000)
                    .collect::<String>()
            )),
            4 => query.push("%ff=%ff".to_owned()),
            _ => {}
        }
    }
}

/// A value as a query string has it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn put_odd_header(asked: &mut Asked, chance: &mut Chance) {
    let (name, value) = match chance.below(9) {
        0 => (
            "Range",
            chance.text(&["bytes=0-3", "bytes=-1", "bytes=9-1", "bytes=999999-", "x"]),
        ),
        1 => ("If-None-Match", chance.text(&["*", "\"x\"", "W/\"x\""])),
        2 => ("Content-Encoding", chance.text(&["gzip", "identity", "x"])),
        3 => (
            "Accept",
            chance.text(&["text/html", "application/xml", "*/*;q=0"]),
        ),
        4 => ("X-Forwarded-For", "1.2.3.4, x, ::1".to_owned()),
        5 => ("Accept-Encoding", "gzip, br".to_owned()),
        6 => ("X-HTTP-Method-Override", "DELETE".to_owned()),
        7 => ("Cookie", "sso=x".to_owned()),
        _ => ("X-Long", "x".repeat(chance.below(20_000))),
    };
    asked.is_malformed |= name == "X-Long";
    asked.header(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_in_addresses_are_escaped() {
        assert_eq!(escaped("a/é%"), "a%2F%C3%A9%25");
    }
}
