//! `streams.update` (spec/pryv-api §5.4): fields that are named replace those that are there; with
//! another parent a stream moves, and everything below moves along.

use homecore_store::{StoreError, Transaction};
use homecore_types::ErrorId;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::cache::Trees;
use super::store::{is_clients_own, refusal_data};
use super::tree::Tree;
use super::{STREAM_DEPTH_MAX, Stream};
use crate::actor::Actor;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::patch::merge_keys;
use crate::permission::{Level, Parents};
use crate::reply::Reply;

/// Fields that only the server writes.
const PROTECTED: &[&str] = &[
    "id",
    "children",
    "created",
    "createdBy",
    "modified",
    "modifiedBy",
];

/// Parameters of `streams.update`. Fields that are none stay as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamChanges {
    /// Which stream.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its parent; inside none: a root.
    pub parent_id: Option<Option<String>>,
    /// Keys to change; inside none: all data goes.
    pub client_data: Option<Option<Map<String, Value>>>,
    /// Into the trash, or out of it.
    pub trashed: Option<bool>,
}

/// Why a stream was not changed.
#[derive(Debug, Error)]
pub enum StreamsUpdateError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// Fields that only the server writes.
    #[error("Forbidden update was attempted on the following protected field(s): [{}].",
        .names.join(","))]
    Protected {
        /// Which.
        names: Vec<String>,
    },
    /// There is no such stream.
    #[error("Unknown stream \"{id}\"")]
    Unknown {
        /// As given.
        id: String,
    },
    /// No right to manage it, or its new parent.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// Only homecore changes it, or what is below it.
    #[error("The stream \"{id}\" cannot be changed: it is reserved")]
    Reserved {
        /// Which.
        id: String,
    },
    /// The new parent is the stream itself or lies below it.
    #[error("The stream \"{id}\" cannot be its own parent, nor lie below itself")]
    BelowItself {
        /// Which.
        id: String,
        /// The new parent.
        parent: String,
    },
    /// There is no such parent.
    #[error("Unknown referenced stream \"{id}\"")]
    UnknownParent {
        /// As given.
        id: String,
    },
    /// The new parent is in the trash.
    #[error("Parent stream \"{id}\" is trashed: restore it first")]
    TrashedParent {
        /// Which.
        id: String,
    },
    /// A sibling has this name.
    #[error("A stream with name \"{name}\" already exists")]
    NameTaken {
        /// Which name.
        name: String,
    },
    /// Nested too deep.
    #[error("Streams can be nested {STREAM_DEPTH_MAX} deep, not deeper")]
    TooDeep,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for StreamsUpdateError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Protected { .. } | Self::Forbidden => ErrorId::Forbidden,
            Self::Unknown { .. } => ErrorId::UnknownResource,
            Self::Reserved { .. }
            | Self::BelowItself { .. }
            | Self::TrashedParent { .. }
            | Self::TooDeep => ErrorId::InvalidOperation,
            Self::UnknownParent { .. } => ErrorId::UnknownReferencedResource,
            Self::NameTaken { .. } => ErrorId::ItemAlreadyExists,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::UnknownParent { id } | Self::BelowItself { parent: id, .. } => {
                Some(json!({ "parentId": id }))
            }
            Self::TrashedParent { .. } => Some(json!({ "trashedReference": "parentId" })),
            Self::NameTaken { name } => Some(json!({ "name": name })),
            Self::Reserved { id } => refusal_data(id),
            Self::Protected { .. }
            | Self::Unknown { .. }
            | Self::Forbidden
            | Self::TooDeep
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

impl StreamChanges {
    /// Reads the parameters. With `ignore_protected`, fields that only the server writes are left
    /// out instead of refused.
    ///
    /// # Errors
    /// All violations; then the protected fields.
    pub fn parse(params: &Value, ignore_protected: bool) -> Result<Self, StreamsUpdateError> {
        const KNOWN: &[&str] = &[
            "name",
            "parentId",
            "clientData",
            "trashed",
            "id",
            "children",
            "created",
            "createdBy",
            "modified",
            "modifiedBy",
        ];
        let mut outer = Fields::lenient(params, &["id", "update"])?;
        let id = outer.text("id", Null::Refused).unwrap_or_default();
        let update = outer.raw("update");
        outer.finish()?;
        let given = update.unwrap_or(&Value::Null);
        let mut fields = Fields::strict_at("#/update", given, &[], KNOWN)?;
        let is_given = |name: &str| given.get(name).is_some();
        let name = fields.text_not_empty("name", Null::Refused);
        let parent = fields.text_not_empty("parentId", Null::Absent);
        let data = fields.object("clientData", Null::Absent);
        let trashed = fields.flag("trashed", Null::Absent);
        let read = Self {
            id: id.to_owned(),
            name: name.map(str::to_owned),
            parent_id: is_given("parentId").then(|| parent.map(str::to_owned)),
            client_data: is_given("clientData").then(|| data.cloned()),
            trashed: is_given("trashed").then(|| trashed.unwrap_or(false)),
        };
        fields.finish()?;
        let names: Vec<String> = PROTECTED
            .iter()
            .filter(|name| is_given(name))
            .map(|name| (*name).to_owned())
            .collect();
        if !names.is_empty() && !ignore_protected {
            return Err(StreamsUpdateError::Protected { names });
        }
        Ok(read)
    }

    /// Brings the changes into a stream.
    fn apply(&self, stream: &mut Stream) {
        if let Some(name) = &self.name {
            stream.name.clone_from(name);
        }
        if let Some(parent) = &self.parent_id {
            stream.parent_id.clone_from(parent);
        }
        match &self.client_data {
            Some(Some(changes)) => {
                merge_keys(stream.client_data.get_or_insert_default(), changes);
            }
            Some(None) => stream.client_data = None,
            None => {}
        }
        if let Some(trashed) = self.trashed {
            stream.trashed = trashed;
        }
    }
}

/// Changes a stream: `{"stream": …}`.
///
/// # Errors
/// See [`StreamsUpdateError`].
pub fn update(
    tx: &mut Transaction<'_>,
    trees: &mut dyn Trees,
    actor: &Actor,
    asked: &StreamChanges,
) -> Result<Reply, StreamsUpdateError> {
    let tree = trees.current(tx.view())?;
    let rights = actor.access.rights();
    let id = asked.id.as_str();
    let unknown = || StreamsUpdateError::Unknown { id: id.to_owned() };
    if !tree.contains(id) {
        return Err(unknown());
    }
    if !rights.allows(&*tree, id, Level::manages) {
        return Err(StreamsUpdateError::Forbidden);
    }
    if !is_clients_own(id) {
        return Err(StreamsUpdateError::Reserved { id: id.to_owned() });
    }
    let mut stream = tree.get(id).ok_or_else(unknown)?.clone();
    let moves_to = asked
        .parent_id
        .as_ref()
        .filter(|parent| **parent != stream.parent_id);
    if let Some(parent) = moves_to {
        check_parent(&tree, actor, id, parent.as_deref())?;
    }
    asked.apply(&mut stream);
    let namesake = tree.child_named(stream.parent_id.as_deref(), &stream.name);
    if namesake.is_some_and(|found| **found != *id) {
        return Err(StreamsUpdateError::NameTaken { name: stream.name });
    }
    stream.touch(tx.at(), actor.author());
    stream.replace(tx, id)?;
    Ok(stream.reply(id, &tree, rights))
}

/// Whether a stream may move below a parent, or become a root.
fn check_parent(
    tree: &Tree,
    actor: &Actor,
    id: &str,
    parent: Option<&str>,
) -> Result<(), StreamsUpdateError> {
    let rights = actor.access.rights();
    if !rights.allows(tree, parent.unwrap_or("*"), Level::manages) {
        return Err(StreamsUpdateError::Forbidden);
    }
    let Some(parent) = parent else {
        return Ok(());
    };
    let named = || parent.to_owned();
    if !tree.contains(parent) {
        return Err(StreamsUpdateError::UnknownParent { id: named() });
    }
    if tree.ancestry(parent).any(|above| above == id) {
        return Err(StreamsUpdateError::BelowItself {
            id: id.to_owned(),
            parent: named(),
        });
    }
    if !is_clients_own(parent) {
        return Err(StreamsUpdateError::Reserved { id: named() });
    }
    if tree.is_trashed(parent) {
        return Err(StreamsUpdateError::TrashedParent { id: named() });
    }
    let above = tree.depth_of(id);
    let branch = tree.branch(id);
    let deepest = branch.iter().map(|below| tree.depth_of(below)).max();
    let height = deepest.unwrap_or(above).saturating_sub(above) + 1;
    if tree.depth_of(parent) + height > STREAM_DEPTH_MAX {
        return Err(StreamsUpdateError::TooDeep);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
