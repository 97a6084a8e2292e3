//! Streams: the tree in which events live and on which permissions are granted.

use homecore_store::{Base, Document, Kind, PutError, StoreError, Transaction, Write};
use homecore_types::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::number::seconds;
use crate::permission::{Level, Rights};
use crate::reply::Reply;
use tree::Tree;

pub mod cache;
pub mod create;
pub mod delete;
pub mod deletion;
pub mod get;
pub mod schema;
pub mod store;
pub mod system;
pub mod tree;
pub mod update;

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

    /// Writes a version of a stream.
    ///
    /// # Errors
    /// As [`Transaction::put`].
    pub(crate) fn put(
        &self,
        tx: &mut Transaction<'_>,
        id: &str,
        base: Base,
    ) -> Result<(), PutError> {
        let body = serde_json::to_vec(self)
            .map_err(|error| StoreError::engine(format!("encoding stream {id}"), error))?;
        tx.put(Write {
            kind: Kind::Stream,
            id: id.to_owned(),
            base,
            body: body.into(),
            deleted: false,
            entries: Vec::new(),
            keep_previous: false,
        })?;
        Ok(())
    }

    /// Writes the next version of a stream that the same transaction has found.
    ///
    /// # Errors
    /// Of the store.
    pub(crate) fn replace(&self, tx: &mut Transaction<'_>, id: &str) -> Result<(), StoreError> {
        self.put(tx, id, Base::Any).map_err(|error| match error {
            PutError::Store(error) => error,
            PutError::Conflict { .. } => StoreError::Corrupted {
                what: format!("stream {id} changed while it was being changed"),
            },
        })
    }

    /// Who changed it when.
    pub(crate) fn touch(&mut self, at: Millis, author: String) {
        self.modified = at;
        self.modified_by = author;
    }

    /// The answer to a call that changed it: `{"stream": …}`. A parent that the caller does not see
    /// is not named.
    pub(crate) fn reply(&self, id: &str, tree: &Tree, rights: &Rights) -> Reply {
        let parent = self.parent_id.as_deref();
        let seen = parent.filter(|parent| rights.allows(tree, parent, Level::lists));
        let wire = Value::Object(self.to_wire(id, seen));
        Reply::of("stream", wire.to_string().as_bytes())
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

#[cfg(test)]
mod lifecycle;
