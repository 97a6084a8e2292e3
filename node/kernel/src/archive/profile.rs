//! A profile's record: its name (`public`, `private`, or that of an app) and what it holds.

use serde_json::{Map, Value};

use super::{Unusable, id_of, unusable};
use crate::profile::id_of_app;

/// Ids under which profiles are stored, other than those of the person.
const APP: &str = "app:";
const LONG_APP: &str = "app-sha256:";

/// A profile as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileRecord {
    /// The id that it is stored under.
    pub id: String,
    /// What it holds.
    pub body: Vec<u8>,
}

/// Reads a record.
///
/// # Errors
/// If it could not be found or read again.
pub fn read(map: &Map<String, Value>) -> Result<ProfileRecord, Unusable> {
    let name = id_of(map)?;
    let id = match name.as_str() {
        "public" | "private" => name,
        id if id.starts_with(APP) || id.starts_with(LONG_APP) => name,
        app => id_of_app(app),
    };
    let data = match map.get("data") {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(data @ Value::Object(_)) => data.clone(),
        Some(_) => return Err(unusable("data", "must be an object")),
    };
    Ok(ProfileRecord {
        id,
        body: data.to_string().into_bytes(),
    })
}

/// The record of a stored profile. The name of an app stands as it is, unless it would be read as
/// something else.
#[must_use]
pub fn write(id: &str, data: Map<String, Value>) -> Map<String, Value> {
    let is_plain = |name: &&str| {
        !matches!(*name, "public" | "private")
            && !name.starts_with(APP)
            && !name.starts_with(LONG_APP)
    };
    let name = id.strip_prefix(APP).filter(is_plain).unwrap_or(id);
    let mut map = Map::new();
    map.insert("id".to_owned(), Value::from(name));
    map.insert("data".to_owned(), Value::Object(data));
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        let long = id_of_app(&"x".repeat(300));
        for id in [
            "public",
            "private",
            "app:a",
            "app:public",
            "app:app:x",
            "app:app-sha256:y",
            &long,
        ] {
            let record = write(id, Map::new());
            assert_eq!(read(&record).unwrap().id, id);
        }
        let of = |id: &str| {
            let mut record = write("app:x", Map::new());
            record.insert("id".to_owned(), Value::from(id));
            read(&record).unwrap().id
        };
        assert_eq!(of("sample-app"), "app:sample-app");
        assert_eq!(of(&"y".repeat(250)), id_of_app(&"y".repeat(250)));
        let mut bad = write("public", Map::new());
        bad.insert("data".to_owned(), Value::from(1));
        assert_eq!(read(&bad).unwrap_err().field, "data");
    }
}
