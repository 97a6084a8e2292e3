//! Whether an answer is the recorded one: same status, same headers that clients rely on, the same
//! fields with the same types and, where nothing was drawn, timed or worded, the same values. A field
//! that only we have is a difference too: clients that check what they read stumble over it.

use std::fmt;

use serde_json::Value;

use crate::bindings::Bindings;
use crate::exchange::Message;

/// Headers that must be there or not be there, as recorded, and whether with the same value.
const HEADERS: [(&str, bool); 14] = [
    ("access-control-allow-origin", true),
    ("access-control-allow-methods", true),
    ("access-control-allow-headers", true),
    ("access-control-expose-headers", true),
    ("access-control-max-age", true),
    ("access-control-allow-credentials", true),
    ("api-version", false),
    ("content-type", true),
    ("content-disposition", true),
    ("digest", true),
    ("location", true),
    ("pryv-access-id", true),
    ("set-cookie", false),
    ("www-authenticate", false),
];

/// Fields whose texts are ours to word or to number.
const WORDED: [&str; 5] = ["message", "apiVersion", "version", "serial", "sid"];

/// Fields whose content is compared by type only: counters of calls that were not all recorded, and the
/// operands of validation rules, which the original itself tells in several ways.
const OPEN: [&str; 2] = ["calls", "params"];

/// The recording was made within this span; such a number is a time of its clock.
const CLOCK: std::ops::Range<f64> = 1_795_000_000.0..1_796_000_000.0;

/// One thing that is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// JSON pointer into `{"status", "headers", "body"}`.
    pub pointer: String,
    /// What was recorded, and what came.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.what)
    }
}

/// All differences of an answer from the recorded one.
#[must_use]
pub fn compare(recorded: &Message, ours: &Message, known: &Bindings) -> Vec<Difference> {
    let mut comparer = Comparer {
        known,
        found: Vec::new(),
    };
    if recorded.status != ours.status {
        let (recorded, ours) = (recorded.status, ours.status);
        comparer.report("/status", format!("expected {recorded}, got {ours}"));
    }
    comparer.headers(recorded, ours);
    comparer.value("/body", "", &recorded.body, &ours.body);
    comparer.found
}

#[derive(Debug)]
struct Comparer<'a> {
    known: &'a Bindings,
    found: Vec<Difference>,
}

impl Comparer<'_> {
    fn report(&mut self, pointer: &str, what: String) {
        self.found.push(Difference {
            pointer: pointer.to_owned(),
            what,
        });
    }

    fn headers(&mut self, recorded: &Message, ours: &Message) {
        for (name, same) in HEADERS {
            let pointer = format!("/headers/{name}");
            match (recorded.headers.get(name), ours.headers.get(name)) {
                (Some(recorded), Some(ours)) if same => {
                    let expected = self.known.translate(recorded);
                    // The character set of JSON is settled, that of texts not worth a difference.
                    let essence = |text: &str| match (name, text.split_once(';')) {
                        ("content-type", Some((kind, _))) => kind.to_owned(),
                        _ => text.to_owned(),
                    };
                    if essence(&expected) != essence(ours) {
                        self.report(&pointer, format!("expected {expected:?}, got {ours:?}"));
                    }
                }
                (Some(recorded), None) => {
                    self.report(&pointer, format!("expected {recorded:?}, got none"));
                }
                (None, Some(ours)) => self.report(&pointer, format!("expected none, got {ours:?}")),
                _ => {}
            }
        }
    }

    /// `name` is that of the field in which the value stands, also when it stands in a list.
    fn value(&mut self, pointer: &str, name: &str, recorded: &Value, ours: &Value) {
        if kind(recorded) != kind(ours) {
            let (recorded, ours) = (shown(recorded), shown(ours));
            self.report(pointer, format!("expected {recorded}, got {ours}"));
            return;
        }
        match (recorded, ours) {
            _ if OPEN.contains(&name) => {}
            (Value::Object(recorded), Value::Object(ours)) => {
                for (name, value) in recorded {
                    let pointer = format!("{pointer}/{}", escaped(name));
                    match ours.get(name) {
                        Some(our) => self.value(&pointer, name, value, our),
                        None => {
                            self.report(&pointer, format!("expected {}, is missing", shown(value)));
                        }
                    }
                }
                for (name, value) in ours
                    .iter()
                    .filter(|(name, _)| !recorded.contains_key(*name))
                {
                    let pointer = format!("{pointer}/{}", escaped(name));
                    self.report(&pointer, format!("expected none, got {}", shown(value)));
                }
            }
            (Value::Array(recorded), Value::Array(ours)) if recorded.len() != ours.len() => {
                let (count, our) = (recorded.len(), ours.len());
                let ours = shown(&Value::from(ours.as_slice()));
                self.report(
                    pointer,
                    format!("expected {count} items, got {our}: {ours}"),
                );
            }
            (Value::Array(recorded), Value::Array(ours)) => {
                for (index, (value, our)) in recorded.iter().zip(ours).enumerate() {
                    self.value(&format!("{pointer}/{index}"), name, value, our);
                }
            }
            _ if self.same(name, recorded, ours) => {}
            _ => {
                let expected = self.known.translate(&shown(recorded));
                self.report(pointer, format!("expected {expected}, got {}", shown(ours)));
            }
        }
    }

    fn same(&self, name: &str, recorded: &Value, ours: &Value) -> bool {
        match (recorded, ours) {
            (Value::String(recorded), Value::String(ours)) => {
                WORDED.contains(&name)
                    || self.known.translate(recorded) == *ours
                    || (name == "integrity" && same_hash_kind(recorded, ours))
            }
            (Value::Number(recorded), Value::Number(ours)) => {
                match (recorded.as_f64(), ours.as_f64()) {
                    (Some(recorded), Some(ours)) if CLOCK.contains(&recorded) => {
                        // Also that no milliseconds came for seconds.
                        (CLOCK.start / 2.0..CLOCK.start * 2.0).contains(&ours)
                    }
                    (recorded, ours) => recorded == ours,
                }
            }
            (recorded, ours) => recorded == ours,
        }
    }
}

/// Whether both are hashes of the same kind of item, `EVENT:0:sha256-…`: drawn ids and times are in
/// them. That of a file, `sha256-…`, hashes what was sent.
fn same_hash_kind(recorded: &str, ours: &str) -> bool {
    let of = |text: &str| {
        let (kind, hash) = text.split_once('-')?;
        Some((kind.to_owned(), hash.len()))
    };
    recorded.contains(':') && of(recorded) == of(ours)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The value, or its beginning.
fn shown(value: &Value) -> String {
    const CHARACTERS_MAX: usize = 160;
    let text = value.to_string();
    if text.chars().count() <= CHARACTERS_MAX {
        return text;
    }
    let start: String = text.chars().take(CHARACTERS_MAX).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests;
