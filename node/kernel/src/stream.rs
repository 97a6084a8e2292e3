//! Streams: the tree in which events live and on which permissions are granted.

use homecore_store::Document;
use homecore_store::StoreError;
use homecore_types::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::number::seconds;

pub mod cache;
pub mod create;
pub mod get;
pub mod store;
pub mod system;
pub mod tree;

/// Deepest nesting of streams. The contract names no bound; without one a reader's stack would be.
/// A listing nests twice as deep, and common JSON readers stop at 128.
pub const STREAM_DEPTH_MAX: usize = 50;

/// A stream as it is stored; its id is the document's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stream {
    /// Shown to people; unique among siblings.
    pub name: String,
    /// None for a root.
    pub parent_id: Option<String>,
    /// Free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_data: Option<Map<String, Value>>,
    /// In the trash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trashed: bool,
    /// When it was made.
    pub created: Millis,
    /// By whom.
    pub created_by: String,
    /// When it was last changed.
    pub modified: Millis,
    /// By whom.
    pub modified_by: String,
}

impl Stream {
    /// Reads a live stream document.
    ///
    /// # Errors
    /// If the body is damaged.
    pub fn decode(document: &Document) -> Result<Self, StoreError> {
        serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
            what: format!("stream {}: {error}", document.id),
        })
    }

    /// The wire form without its children.
    #[must_use]
    pub fn to_wire(&self, id: &str, parent_id: Option<&str>) -> Map<String, Value> {
        let mut map = Map::new();
        map.insert("id".to_owned(), Value::from(id));
        map.insert("name".to_owned(), Value::from(self.name.as_str()));
        map.insert("parentId".to_owned(), Value::from(parent_id));
        if let Some(data) = &self.client_data {
            map.insert("clientData".to_owned(), Value::Object(data.clone()));
        }
        if self.trashed {
            map.insert("trashed".to_owned(), Value::Bool(true));
        }
        map.insert("created".to_owned(), seconds(self.created));
        map.insert(
            "createdBy".to_owned(),
            Value::from(self.created_by.as_str()),
        );
        map.insert("modified".to_owned(), seconds(self.modified));
        map.insert(
            "modifiedBy".to_owned(),
            Value::from(self.modified_by.as_str()),
        );
        map
    }
}
