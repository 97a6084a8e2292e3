//! An event's record: an event, a former version of one, or a deletion.
//!
//! The other server's records have the form of its storage: an end instead of a duration, members
//! that are null, and, of one of its engines, names of columns. They become the wire form, which has
//! the same hash (spec/platform §9.4).

use homecore_store::{BlobHash, Entry, Kind};
use serde_json::{Map, Value};

use super::{ID_BYTES_MAX, Note, STREAM_ID_BYTES_MAX, Taken, Unusable, id_of, unusable};
use crate::attachment::integrity_of;
use crate::event::stored::Head;
use crate::integrity;
use crate::number::float;
use crate::shared_secret;

const NO_HASH: &str = "it had no hash and was given one";
const OTHER_HASH: &str = "its content is not what its hash says; both are kept as they are";
const SECRET_LEFT: &str = "a shared secret is not taken over; it counts as discarded";

/// What a record of an event is.
#[derive(Clone, Debug, PartialEq)]
pub enum EventRecord {
    /// An event as it stands.
    Event(ArchivedEvent),
    /// A former version.
    Former(FormerVersion),
    /// What is left of a deleted one.
    Deletion {
        /// Its id.
        id: String,
        /// When it was deleted, in seconds.
        deleted: f64,
        /// The tombstone.
        body: Vec<u8>,
    },
}

/// A former version of an event, or of an access.
#[derive(Clone, Debug, PartialEq)]
pub struct FormerVersion {
    /// Of which of them.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What orders it among the others: when it was made, in seconds, or its number.
    pub order: f64,
    /// The version.
    pub body: Vec<u8>,
}

/// An event as it stands; its files are still to be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct ArchivedEvent {
    /// Its id.
    pub id: String,
    map: Map<String, Value>,
}

/// A file that an event names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Its id, the name of its bytes in the archive.
    pub id: String,
    /// Its bytes by their hash, where the event says it.
    pub hash: Option<BlobHash>,
    /// How many bytes it has, where the event says it.
    pub size: Option<u64>,
}

/// An event that can be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SealedEvent {
    /// Its id.
    pub id: String,
    /// The wire form.
    pub body: Vec<u8>,
    /// The keys to find it under.
    pub entries: Vec<Entry>,
}

/// Reads a record.
///
/// # Errors
/// If it could not be found or read again.
pub fn read(record: Map<String, Value>) -> Result<Taken<EventRecord>, Unusable> {
    let mut map = with_wire_names(record);
    let mut notes = Vec::new();
    let head_id = match map.shift_remove("headId") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if (1..=ID_BYTES_MAX).contains(&id.len()) => Some(id),
        Some(_) => return Err(unusable("headId", "must be a text of 1 to 255 bytes")),
    };
    if let Some(head) = &head_id {
        map.insert("id".to_owned(), Value::from(head.as_str()));
    }
    let id = id_of(&map)?;
    to_wire_form(&mut map);
    check_hash(&mut map, &mut notes);
    if shared_secret::after_import(&mut map) {
        notes.push(Note {
            field: "content",
            text: SECRET_LEFT,
        });
    }
    if head_id.is_some() {
        let modified = ["modified", "deleted", "created"]
            .iter()
            .find_map(|name| map.get(*name).and_then(Value::as_f64));
        let item = EventRecord::Former(FormerVersion {
            kind: Kind::Event,
            id,
            order: modified.unwrap_or(0.0),
            body: encode(&map),
        });
        return Ok(Taken { item, notes });
    }
    if let Some(deleted) = map.get("deleted") {
        let deleted = deleted
            .as_f64()
            .ok_or(unusable("deleted", "must be a number"))?;
        let item = EventRecord::Deletion {
            id,
            deleted,
            body: encode(&map),
        };
        return Ok(Taken { item, notes });
    }
    check_head(&mut map, &mut notes)?;
    let item = EventRecord::Event(ArchivedEvent { id, map });
    Ok(Taken { item, notes })
}

/// Whether a record is a former version of an event, whichever way it is named.
#[must_use]
pub fn is_former(record: &Map<String, Value>) -> bool {
    let names = ["headId", "head_id"].iter();
    names
        .filter_map(|name| record.get(*name))
        .any(|head| !head.is_null())
}

/// Names of columns become those of the wire.
fn with_wire_names(record: Map<String, Value>) -> Map<String, Value> {
    const COLUMNS: &[(&str, &str)] = &[
        ("stream_ids", "streamIds"),
        ("end_time", "endTime"),
        ("head_id", "headId"),
        ("client_data", "clientData"),
        ("created_by", "createdBy"),
        ("modified_by", "modifiedBy"),
    ];
    if !COLUMNS
        .iter()
        .any(|(column, _)| record.contains_key(*column))
    {
        return record;
    }
    record
        .into_iter()
        .map(|(name, value)| {
            let known = COLUMNS.iter().find(|(column, _)| *column == name);
            (known.map_or(name, |(_, wire)| (*wire).to_owned()), value)
        })
        .collect()
}

/// Brings an event from the form of a storage to that of the wire. One that has it already is not
/// changed.
fn to_wire_form(map: &mut Map<String, Value>) {
    if let Some(stream) = map.shift_remove("streamId").filter(|s| !s.is_null()) {
        map.entry("streamIds")
            .or_insert_with(|| Value::Array(vec![stream]));
    }
    let end = map.shift_remove("endTime");
    if !map.contains_key("duration") {
        let duration = match end {
            // Running; what is deleted does not run.
            Some(Value::Null) if !map.get("deleted").is_some_and(Value::is_number) => {
                Some(Value::Null)
            }
            Some(end) => {
                let start = map.get("time").and_then(Value::as_f64).unwrap_or(0.0);
                end.as_f64().map(|end| float(end - start))
            }
            None => None,
        };
        if let Some(duration) = duration {
            map.insert("duration".to_owned(), duration);
        }
    }
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    map.retain(|name, value| match name.as_str() {
        // Null is a duration: running.
        "duration" => value.is_null() || value.as_f64() != Some(0.0),
        "trashed" => *value != Value::Bool(false) && !value.is_null(),
        "tags" | "attachments" => !value.is_null() && !is_empty(value),
        _ => !value.is_null(),
    });
    if let Some(Value::Array(files)) = map.get_mut("attachments") {
        for file in files {
            if let Value::Object(file) = file {
                file.shift_remove("readToken");
            }
        }
    }
}

fn check_hash(map: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    let computed = integrity::of_event(map);
    let text = match map.get("integrity") {
        Some(Value::String(stored)) if *stored == computed => return,
        Some(_) => OTHER_HASH,
        None => {
            map.insert("integrity".to_owned(), Value::from(computed));
            NO_HASH
        }
    };
    notes.push(Note {
        field: "integrity",
        text,
    });
}

fn reseal(map: &mut Map<String, Value>) {
    map.shift_remove("integrity");
    let integrity = integrity::of_event(map);
    map.insert("integrity".to_owned(), Value::from(integrity));
}

/// What an event is found by.
fn check_head(map: &mut Map<String, Value>, notes: &mut Vec<Note>) -> Result<(), Unusable> {
    let is_number = |value: Option<&Value>| value.and_then(Value::as_f64).is_some();
    match map.get("streamIds") {
        Some(Value::Array(ids)) if !ids.is_empty() => {
            let fits = |id: &Value| {
                id.as_str()
                    .is_some_and(|id| (1..=STREAM_ID_BYTES_MAX).contains(&id.len()))
            };
            if !ids.iter().all(fits) {
                return Err(unusable("streamIds", "must be texts of 1 to 900 bytes"));
            }
        }
        _ => return Err(unusable("streamIds", "must be a list that is not empty")),
    }
    if !is_number(map.get("time")) {
        return Err(unusable("time", "must be a number"));
    }
    if !map.get("type").is_some_and(Value::is_string) {
        return Err(unusable("type", "must be a text"));
    }
    if !is_number(map.get("modified")) {
        let known = ["created", "time"]
            .iter()
            .filter_map(|name| map.get(*name))
            .find(|value| value.is_number())
            .cloned();
        map.insert(
            "modified".to_owned(),
            known.unwrap_or_else(|| Value::from(0)),
        );
        reseal(map);
        notes.push(Note {
            field: "modified",
            text: "it does not say when it was changed; that was filled in, and its hash made anew",
        });
    }
    if !map
        .get("duration")
        .is_none_or(|duration| duration.is_null() || duration.is_number())
    {
        return Err(unusable("duration", "must be a number or null"));
    }
    if !map.get("trashed").is_none_or(Value::is_boolean) {
        return Err(unusable("trashed", "must be true or false"));
    }
    check_files(map)
}

fn check_files(map: &Map<String, Value>) -> Result<(), Unusable> {
    let bad = |why| Err(unusable("attachments", why));
    let files = match map.get("attachments") {
        None => return Ok(()),
        Some(Value::Array(files)) => files,
        Some(_) => return bad("must be a list"),
    };
    for file in files {
        if !file.get("id").is_some_and(Value::is_string) {
            return bad("each must have an id");
        }
        let is_text = |name: &str| file.get(name).is_none_or(Value::is_string);
        if !is_text("fileName") || !is_text("type") || !is_text("integrity") {
            return bad("name, type and hash must be texts");
        }
        if !file.get("size").is_none_or(Value::is_u64) {
            return bad("sizes must be whole numbers");
        }
    }
    Ok(())
}

impl ArchivedEvent {
    /// Its streams.
    pub fn streams(&self) -> impl Iterator<Item = &str> {
        let streams = self.map.get("streamIds").and_then(Value::as_array);
        streams.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Its files.
    #[must_use]
    pub fn files(&self) -> Vec<NamedFile> {
        let files = self.map.get("attachments").and_then(Value::as_array);
        files
            .into_iter()
            .flatten()
            .filter_map(|file| {
                let integrity = file.get("integrity").and_then(Value::as_str);
                Some(NamedFile {
                    id: file.get("id")?.as_str()?.to_owned(),
                    hash: integrity.and_then(crate::attachment::hash_of),
                    size: file.get("size").and_then(Value::as_u64),
                })
            })
            .collect()
    }

    /// What its bytes say of a file that the event does not say: hash, size and names. True if
    /// something was filled in, and the event's hash made anew.
    pub fn complete_file(&mut self, id: &str, hash: &BlobHash, size: u64) -> bool {
        let integrity = integrity_of(hash);
        let Some(Value::Array(files)) = self.map.get_mut("attachments") else {
            return false;
        };
        let mut changed = false;
        for file in files.iter_mut().filter_map(Value::as_object_mut) {
            if file.get("id").and_then(Value::as_str) != Some(id) {
                continue;
            }
            let unknown = file
                .get("integrity")
                .and_then(Value::as_str)
                .and_then(crate::attachment::hash_of)
                .is_none();
            if unknown {
                file.insert("integrity".to_owned(), Value::from(integrity.as_str()));
                changed = true;
            }
            for (name, value) in [
                ("fileName", Value::from(id)),
                ("type", Value::from("application/octet-stream")),
                ("size", Value::from(size)),
            ] {
                if !file.contains_key(name) {
                    file.insert(name.to_owned(), value);
                    changed = true;
                }
            }
        }
        if changed {
            reseal(&mut self.map);
        }
        changed
    }

    /// The event as it is stored.
    ///
    /// # Errors
    /// If its head cannot be read after all.
    pub fn seal(self) -> Result<SealedEvent, Unusable> {
        let body = encode(&self.map);
        let head: Head = serde_json::from_slice(&body)
            .map_err(|_error| unusable("attachments", "cannot be read"))?;
        Ok(SealedEvent {
            id: self.id,
            body,
            entries: head.entries(),
        })
    }
}

/// An id for a former version, which has none of its own here.
#[must_use]
pub fn former_id(id: &str, rev: u64) -> String {
    const DIGITS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let hash = BlobHash::of(format!("{id}:{rev}").as_bytes());
    let digit = |byte: &u8| {
        let digit = DIGITS.get(usize::from(byte % 36)).copied();
        char::from(digit.unwrap_or(b'a'))
    };
    std::iter::once('h')
        .chain(hash.as_bytes().iter().take(23).map(digit))
        .collect()
}

fn encode(map: &Map<String, Value>) -> Vec<u8> {
    // The encoder cannot fail for JSON values.
    serde_json::to_vec(map).unwrap_or_default()
}
