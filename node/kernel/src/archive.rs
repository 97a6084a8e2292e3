//! Users from archives and to archives: what the records of another server's archive
//! (spec/platform §9.2) become here, and back. Records are JSON objects; the format around them is
//! the matter of its own crate.
//!
//! Nothing that today's checks would refuse is refused here: an event of a type that nobody knows,
//! or in a stream that is gone, is kept as it is, with its hash. What a record lacks that is needed
//! to find it again is filled in, and said ([`Note`]). Only a record that could not be found or
//! read again at all is [`Unusable`].

pub mod access;
pub mod account;
pub mod audit;
pub mod event;
pub mod export;
pub mod import;
pub mod profile;
pub mod stream;
#[cfg(test)]
mod tests;

use homecore_types::Millis;
use serde_json::{Map, Value};
use thiserror::Error;

/// Longest id that is stored.
pub const ID_BYTES_MAX: usize = 255;
/// Longest stream id that fits an index key.
pub const STREAM_ID_BYTES_MAX: usize = 900;

/// Something to know of a record that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Of which field.
    pub field: &'static str,
    /// What.
    pub text: &'static str,
}

/// Why a record cannot be taken. Nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field}: {why}")]
pub struct Unusable {
    /// Which field.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: &'static str,
}

pub(crate) const fn unusable(field: &'static str, why: &'static str) -> Unusable {
    Unusable { field, why }
}

/// A record as it is taken, and what is to be known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken<T> {
    /// What it became.
    pub item: T,
    /// In the order of fields.
    pub notes: Vec<Note>,
}

/// The id of a record.
fn id_of(map: &Map<String, Value>) -> Result<String, Unusable> {
    match map.get("id") {
        Some(Value::String(id)) if (1..=ID_BYTES_MAX).contains(&id.len()) => Ok(id.clone()),
        Some(Value::String(_)) => Err(unusable("id", "must have 1 to 255 bytes")),
        _ => Err(unusable("id", "must be a text")),
    }
}

/// A text that may be absent.
fn text(map: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Unusable> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(unusable(field, "must be a text")),
    }
}

/// A time in seconds that may be absent.
fn time(map: &Map<String, Value>, field: &'static str) -> Result<Option<Millis>, Unusable> {
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|seconds| seconds.is_finite()) {
            Some(seconds) => Ok(Some(Millis::from_seconds(seconds))),
            None => Err(unusable(field, "must be a number")),
        },
    }
}

/// Who made and changed it when, in milliseconds; what is missing is filled in.
fn authorship(
    map: &Map<String, Value>,
    stored: &mut Map<String, Value>,
    notes: &mut Vec<Note>,
) -> Result<(), Unusable> {
    let created = time(map, "created")?;
    let modified = time(map, "modified")?;
    if created.is_none() || modified.is_none() {
        notes.push(Note {
            field: "created",
            text: "it does not say when it was made or changed; what it lacks was filled in",
        });
    }
    let made = created.or(modified).unwrap_or(Millis(0));
    stored.insert("created".to_owned(), Value::from(made.0));
    stored.insert(
        "modified".to_owned(),
        Value::from(modified.unwrap_or(made).0),
    );
    for (field, name) in [("createdBy", "createdBy"), ("modifiedBy", "modifiedBy")] {
        let by = text(map, field)?.unwrap_or_else(|| "system".to_owned());
        stored.insert(name.to_owned(), Value::from(by));
    }
    Ok(())
}
