//! `streams.create` (spec/pryv-api §5.3).

use homecore_store::{Base, PutError, StoreError, Transaction};
use homecore_types::{ErrorId, entropy, limits};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::cache::Trees;
use super::store::{Store, is_reserved_local, refusal_data};
use super::tree::Tree;
use super::{STREAM_DEPTH_MAX, Stream};
use crate::actor::Actor;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::permission::{Level, Parents};
use crate::reply::Reply;
use crate::slug;

/// Parameters of `streams.create`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewStream {
    /// As chosen by the client.
    pub id: Option<String>,
    /// Shown to people.
    pub name: String,
    /// None for a root.
    pub parent_id: Option<String>,
    /// Free.
    pub client_data: Option<Map<String, Value>>,
    /// Make it in the trash.
    pub trashed: bool,
}

/// Why a stream was not created.
#[derive(Debug, Error)]
pub enum StreamsCreateError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// The chosen id means something else.
    #[error("The specified id \"{id}\" is not allowed")]
    ReservedId {
        /// As chosen.
        id: String,
    },
    /// Only homecore makes streams there.
    #[error("Streams cannot be created under \"{id}\": it is reserved")]
    ReservedPlace {
        /// The stream or its parent.
        id: String,
    },
    /// No right to manage the parent.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// There is no such parent.
    #[error("Unknown referenced stream \"{id}\"")]
    UnknownParent {
        /// As given.
        id: String,
    },
    /// The parent is in the trash.
    #[error("Parent stream \"{id}\" is trashed: restore it first")]
    TrashedParent {
        /// Which.
        id: String,
    },
    /// The id is taken.
    #[error("A stream with id \"{id}\" already exists")]
    IdTaken {
        /// In its stored form.
        id: String,
    },
    /// A sibling has this name.
    #[error("A stream with name \"{name}\" already exists")]
    NameTaken {
        /// As given.
        name: String,
    },
    /// Nested too deep.
    #[error("Streams can be nested {STREAM_DEPTH_MAX} deep, not deeper")]
    TooDeep,
    /// The user has as many as there may be.
    #[error("A user can have {} streams, not more", limits::STREAMS_PER_USER_MAX)]
    TooMany,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for StreamsCreateError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::ReservedId { .. } => ErrorId::InvalidItemId,
            Self::ReservedPlace { .. }
            | Self::TrashedParent { .. }
            | Self::TooDeep
            | Self::TooMany => ErrorId::InvalidOperation,
            Self::Forbidden => ErrorId::Forbidden,
            Self::UnknownParent { .. } => ErrorId::UnknownReferencedResource,
            Self::IdTaken { .. } | Self::NameTaken { .. } => ErrorId::ItemAlreadyExists,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::UnknownParent { id } => Some(json!({ "parentId": id })),
            Self::TrashedParent { .. } => Some(json!({ "trashedReference": "parentId" })),
            Self::IdTaken { id } => Some(json!({ "id": id })),
            Self::NameTaken { name } => Some(json!({ "name": name })),
            Self::ReservedPlace { id } => refusal_data(id),
            Self::ReservedId { .. }
            | Self::Forbidden
            | Self::TooDeep
            | Self::TooMany
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

impl NewStream {
    /// Reads the parameters. What the server sets itself is accepted and not looked at.
    ///
    /// # Errors
    /// All violations.
    pub fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        const KNOWN: &[&str] = &[
            "id",
            "name",
            "parentId",
            "clientData",
            "trashed",
            "children",
            "created",
            "createdBy",
            "modified",
            "modifiedBy",
        ];
        let mut fields = Fields::strict(params, &["name"], KNOWN)?;
        let read = Self {
            id: fields
                .text_not_empty("id", Null::Refused)
                .map(str::to_owned),
            name: fields
                .text_not_empty("name", Null::Refused)
                .unwrap_or_default()
                .to_owned(),
            parent_id: fields
                .text_not_empty("parentId", Null::Absent)
                .map(str::to_owned),
            client_data: fields.object("clientData", Null::Absent).cloned(),
            trashed: fields.flag("trashed", Null::Absent).unwrap_or(false),
        };
        fields.finish()?;
        Ok(read)
    }
}

/// Creates a stream: `{"stream": …}`.
///
/// # Errors
/// See [`StreamsCreateError`].
pub fn create(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    new: NewStream,
) -> Result<Reply, StreamsCreateError> {
    let tree = trees.current(tx.view())?;
    let id = chosen_id(&new)?;
    check_place(&tree, actor, id.as_deref(), &new)?;
    let id = id.unwrap_or_else(|| entropy::wire_id(context.entropy.as_ref()));
    let author = actor.author();
    let stream = Stream {
        name: new.name,
        parent_id: new.parent_id,
        client_data: new.client_data,
        trashed: new.trashed,
        created: tx.at(),
        created_by: author.clone(),
        modified: tx.at(),
        modified_by: author,
    };
    match stream.put(tx, &id, Base::Absent) {
        Ok(()) => {}
        Err(PutError::Conflict { .. }) => return Err(StreamsCreateError::IdTaken { id }),
        Err(PutError::Store(error)) => return Err(error.into()),
    }
    let wire = Value::Object(stream.to_wire(&id, stream.parent_id.as_deref()));
    Ok(Reply::of("stream", wire.to_string().as_bytes()))
}

/// The id in its stored form, if the client chose one.
fn chosen_id(new: &NewStream) -> Result<Option<String>, StreamsCreateError> {
    let Some(chosen) = &new.id else {
        return Ok(None);
    };
    let id = slug::slugify(chosen);
    // The end of an id tells a store's root apart from a stream in it.
    if slug::is_reserved(&id) || slug::is_reserved(chosen) || id.len() > 255 {
        return Err(StreamsCreateError::ReservedId { id: chosen.clone() });
    }
    Ok(Some(id))
}

/// The checks that concern the place, in the order in which the contract has them.
fn check_place(
    tree: &Tree,
    actor: &Actor,
    id: Option<&str>,
    new: &NewStream,
) -> Result<(), StreamsCreateError> {
    let parent = new.parent_id.as_deref();
    if !actor
        .access
        .rights()
        .allows(tree, parent.unwrap_or("*"), Level::manages)
    {
        return Err(StreamsCreateError::Forbidden);
    }
    for place in [id, parent].into_iter().flatten() {
        match Store::of(place) {
            Store::Local if !is_reserved_local(place) => {}
            Store::Local | Store::Account | Store::Audit | Store::SharedSecrets => {
                return Err(StreamsCreateError::ReservedPlace {
                    id: place.to_owned(),
                });
            }
            Store::Other(_) if Some(place) == parent => {}
            Store::Other(_) => {
                return Err(StreamsCreateError::ReservedId {
                    id: place.to_owned(),
                });
            }
        }
    }
    if let Some(parent) = parent {
        if !tree.contains(parent) {
            return Err(StreamsCreateError::UnknownParent {
                id: parent.to_owned(),
            });
        }
        if tree.is_trashed(parent) {
            return Err(StreamsCreateError::TrashedParent {
                id: parent.to_owned(),
            });
        }
        if tree.depth_of(parent) >= STREAM_DEPTH_MAX {
            return Err(StreamsCreateError::TooDeep);
        }
    }
    if let Some(id) = id.filter(|id| tree.contains(id)) {
        return Err(StreamsCreateError::IdTaken { id: id.to_owned() });
    }
    if tree.child_named(parent, &new.name).is_some() {
        return Err(StreamsCreateError::NameTaken {
            name: new.name.clone(),
        });
    }
    if tree.len() >= limits::STREAMS_PER_USER_MAX {
        return Err(StreamsCreateError::TooMany);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
