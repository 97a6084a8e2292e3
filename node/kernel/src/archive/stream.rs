//! A stream's record.

use homecore_types::Millis;
use serde_json::{Map, Value};

use super::{Note, STREAM_ID_BYTES_MAX, Taken, Unusable, authorship, id_of, text, time, unusable};
use crate::slug;
use crate::stream::Stream;
use crate::stream::store::Store;

/// What a record of a stream is.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamRecord {
    /// A stream.
    Stream {
        /// Its id.
        id: String,
        /// As it is stored.
        stream: Box<Stream>,
    },
    /// What is left of a deleted one.
    Deletion {
        /// Its id.
        id: String,
        /// When.
        deleted: Millis,
    },
}

/// Members that are stored, or told otherwise.
const KNOWN: &[&str] = &[
    "id",
    "name",
    "parentId",
    "clientData",
    "trashed",
    "created",
    "createdBy",
    "modified",
    "modifiedBy",
    "deleted",
    "children",
    "childrenHidden",
    "path",
    "integrity",
    // Gone from the API long ago.
    "singleActivity",
];

/// Reads a record.
///
/// # Errors
/// If it could not be found or read again.
pub fn read(map: &Map<String, Value>) -> Result<Taken<StreamRecord>, Unusable> {
    let id = id_of(map)?;
    if id.len() > STREAM_ID_BYTES_MAX.min(super::ID_BYTES_MAX) {
        return Err(unusable("id", "is too long"));
    }
    // A stored stream with such an id would stand in for what is shown under it.
    if slug::is_reserved(&id) || id.starts_with(":_") || Store::of(&id) != Store::Local {
        return Err(unusable("id", "is reserved: no stream of a user has it"));
    }
    let mut notes = Vec::new();
    if let Some(deleted) = time(map, "deleted")? {
        let item = StreamRecord::Deletion { id, deleted };
        return Ok(Taken { item, notes });
    }
    let mut stored = Map::new();
    let name = text(map, "name")?.ok_or(unusable("name", "must be a text"))?;
    stored.insert("name".to_owned(), Value::from(name));
    let parent = text(map, "parentId")?.filter(|parent| !parent.is_empty());
    stored.insert("parentId".to_owned(), Value::from(parent));
    match map.get("clientData") {
        None | Some(Value::Null) => {}
        Some(data @ Value::Object(_)) => {
            stored.insert("clientData".to_owned(), data.clone());
        }
        Some(_) => return Err(unusable("clientData", "must be an object")),
    }
    if map.get("trashed") == Some(&Value::Bool(true)) {
        stored.insert("trashed".to_owned(), Value::Bool(true));
    }
    authorship(map, &mut stored, &mut notes)?;
    let unknown =
        |(name, value): (&String, &Value)| !KNOWN.contains(&name.as_str()) && !value.is_null();
    if map.iter().any(unknown) {
        notes.push(Note {
            field: "",
            text: "it has members that streams do not have; they are left out",
        });
    }
    let stream = serde_json::from_value(Value::Object(stored))
        .map_err(|_error| unusable("id", "is no stream"))?;
    let item = StreamRecord::Stream {
        id,
        stream: Box::new(stream),
    };
    Ok(Taken { item, notes })
}
