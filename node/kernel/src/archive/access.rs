//! An access's record: an access, a former version of one, or a deleted one. Its token is kept, so
//! that apps go on working.

use homecore_types::{Millis, Username};
use serde_json::{Map, Value};

use super::{Note, Taken, Unusable, authorship, id_of, text, time, unusable};
use crate::access::StoredAccess;
use crate::access::id::{author_base, version};
use crate::access::tracking::Uses;
use crate::integrity;

pub mod lineage;

/// What a record of an access is.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRecord {
    /// Its id.
    pub id: String,
    /// As it is stored.
    pub access: Box<StoredAccess>,
    /// A former version of it, not the access itself.
    pub is_former: bool,
    /// How it was used, where that is known.
    pub uses: Option<Uses>,
}

/// Reads a record.
///
/// # Errors
/// If it could not be found or read again, or its rights cannot be expressed: it would have others.
pub fn read(map: &Map<String, Value>) -> Result<Taken<AccessRecord>, Unusable> {
    let mut notes = Vec::new();
    let head = match text(map, "headId")? {
        Some(head) => Some(head),
        None => text(map, "head_id")?,
    };
    let id = match &head {
        Some(id) if (1..=super::ID_BYTES_MAX).contains(&id.len()) => id.clone(),
        Some(_) => return Err(unusable("headId", "must have 1 to 255 bytes")),
        None => id_of(map)?,
    };
    let mut stored = Map::new();
    for name in ["token", "type", "name"] {
        let value = text(map, name)?.ok_or_else(|| unusable(name, "must be a text"))?;
        stored.insert(name.to_owned(), Value::from(value));
    }
    if let Some(device) = text(map, "deviceName")? {
        stored.insert("deviceName".to_owned(), Value::from(device));
    }
    match map.get("permissions") {
        None | Some(Value::Null) => {}
        Some(permissions) => {
            stored.insert("permissions".to_owned(), permissions.clone());
        }
    }
    match map.get("clientData") {
        None | Some(Value::Null) => {}
        Some(data @ Value::Object(_)) => {
            stored.insert("clientData".to_owned(), data.clone());
        }
        Some(_) => return Err(unusable("clientData", "must be an object")),
    }
    match text(map, "alias")? {
        Some(alias) if Username::is_alias(&alias) => {
            stored.insert("alias".to_owned(), Value::from(alias));
        }
        Some(_) => notes.push(Note {
            field: "alias",
            text: "it is no random alias; it is left out",
        }),
        None => {}
    }
    for name in ["expires", "deleted"] {
        if let Some(at) = time(map, name)? {
            stored.insert(name.to_owned(), Value::from(at.0));
        }
    }
    if let Some(serial) = map.get("serial").filter(|serial| serial.is_u64()) {
        stored.insert("serial".to_owned(), serial.clone());
    }
    authorship(map, &mut stored, &mut notes)?;
    add_versions_of_authors(map, &mut stored);
    let access: StoredAccess = serde_json::from_value(Value::Object(stored)).map_err(|_error| {
        unusable(
            "permissions",
            "type or permissions are of a kind that is not known here",
        )
    })?;
    check_hash(map, &id, &access, &mut notes);
    Ok(Taken {
        item: AccessRecord {
            id,
            access: Box::new(access),
            is_former: head.is_some(),
            uses: uses(map),
        },
        notes,
    })
}

/// The other server keeps beside an author which version of it that was; here it is part of the author,
/// as the API shows it.
fn add_versions_of_authors(map: &Map<String, Value>, stored: &mut Map<String, Value>) {
    for (name, serial) in [
        ("createdBy", "createdBySerial"),
        ("modifiedBy", "modifiedBySerial"),
    ] {
        let serial = map.get(serial).and_then(Value::as_u64);
        let serial = serial.and_then(|serial| u32::try_from(serial).ok());
        if let (Some(serial), Some(Value::String(author))) = (serial, stored.get_mut(name)) {
            let base = author_base(author);
            let rest = author.strip_prefix(base).unwrap_or_default();
            if !rest.starts_with(':') {
                *author = version(base, serial) + rest;
            }
        }
    }
}

/// When it was last used, and for what how often.
fn uses(map: &Map<String, Value>) -> Option<Uses> {
    let last_used = map.get("lastUsed").and_then(Value::as_f64)?;
    let calls = map.get("calls").and_then(Value::as_object);
    Some(Uses::from_wire(Millis::from_seconds(last_used), calls))
}

fn check_hash(map: &Map<String, Value>, id: &str, access: &StoredAccess, notes: &mut Vec<Note>) {
    let Some(stored) = map.get("integrity").and_then(Value::as_str) else {
        return;
    };
    let mut hashed = map.clone();
    if hashed
        .shift_remove("headId")
        .is_some_and(|head| !head.is_null())
    {
        hashed.insert("id".to_owned(), Value::from(id));
    }
    let text = if integrity::of_access(&hashed) != stored {
        "its content is not what its hash says; it gets a hash of what it is"
    } else if access.to_wire(id).get("integrity").and_then(Value::as_str) != Some(stored) {
        "it has parts that accesses do not have here; they are left out, and its hash is another"
    } else {
        return;
    };
    notes.push(Note {
        field: "integrity",
        text,
    });
}
