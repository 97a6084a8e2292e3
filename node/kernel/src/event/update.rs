//! `events.update` (spec/pryv-api §4.9): fields that are named replace those that are there.

use std::sync::Arc;

use homecore_store::{Base, Document, Kind, PutError, StoreError, Transaction, Write};
use homecore_types::{ErrorId, Millis};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::check::{self, TypeError};
use super::create::{CreateError, check_stores, check_streams, without_duplicates};
use super::stored::{Head, StoredEvent, decode};
use super::{EVENT_STREAMS_MAX, TYPE_PATTERN, account, is_type};
use crate::account::AccountError;
use crate::actor::Actor;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::number::seconds;
use crate::patch::merge_keys;
use crate::permission::Level;
use crate::shared_secret;
use crate::stream::cache::Trees;
use crate::stream::schema::AccountStream;
use crate::stream::store::Store;
use crate::stream::tree::Tree;
use crate::violation::Violation;

/// Fields that only the server writes.
const PROTECTED: &[&str] = &[
    "id",
    "attachments",
    "integrity",
    "created",
    "createdBy",
    "modified",
    "modifiedBy",
];

/// Parameters of `events.update`.
#[derive(Clone, Debug, PartialEq)]
pub struct EventChanges {
    /// Which event.
    pub id: String,
    /// Its fields as they shall be, checked one by one; streams without duplicates.
    pub changes: Map<String, Value>,
}

/// Why an event was not changed.
#[derive(Debug, Error)]
pub enum UpdateError {
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
    /// There is no such event.
    #[error("Unknown event \"{id}\"")]
    Unknown {
        /// As given.
        id: String,
    },
    /// No right to change any of its streams' events, or those of a stream added or removed.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// What shows a shared secret: its secret ends with the item, and only by it.
    #[error("What is left of a shared secret cannot be changed")]
    SharedSecret,
    /// A series made of an event, or an event of a series.
    #[error("An event of type \"{from}\" cannot become one of type \"{to}\"")]
    SeriesAndNot {
        /// The type that it has.
        from: String,
        /// The type that it was to have.
        to: String,
    },
    /// Into an account stream or out of it.
    #[error("Events cannot be moved into or out of the account stream \"{id}\"")]
    AccountStreamChanged {
        /// Which.
        id: String,
    },
    /// The changed event is none that could have been created.
    #[error(transparent)]
    Event(#[from] CreateError),
    /// See [`TypeError`].
    #[error(transparent)]
    Type(#[from] TypeError),
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for UpdateError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Protected { .. } | Self::Forbidden | Self::SharedSecret => ErrorId::Forbidden,
            Self::Unknown { .. } => ErrorId::UnknownResource,
            Self::SeriesAndNot { .. } | Self::AccountStreamChanged { .. } => {
                ErrorId::InvalidOperation
            }
            Self::Event(error) => error.id(),
            Self::Type(error) => error.id(),
            Self::Account(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::AccountStreamChanged { id } => Some(json!({ "streamId": id })),
            Self::Event(error) => error.data(),
            Self::Type(error) => error.data(),
            Self::SharedSecret => Some(json!({ "id": "shared-secret-immutable" })),
            Self::Protected { .. }
            | Self::Unknown { .. }
            | Self::Forbidden
            | Self::SeriesAndNot { .. }
            | Self::Account(_)
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Event(error) => error.client_message(),
            Self::Account(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

impl EventChanges {
    /// Reads the parameters. With `ignore_protected`, fields that only the server writes are left
    /// out instead of refused.
    ///
    /// # Errors
    /// All violations; then the protected fields.
    pub fn parse(params: &Value, ignore_protected: bool) -> Result<Self, UpdateError> {
        const KNOWN: &[&str] = &[
            "streamIds",
            "time",
            "duration",
            "type",
            "content",
            "description",
            "clientData",
            "trashed",
            "id",
            "attachments",
            "integrity",
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
        let streams = fields.texts("streamIds", Null::Refused);
        if fields
            .raw("streamIds")
            .is_some_and(|value| value.as_array().is_some_and(Vec::is_empty))
        {
            fields.violated(Violation::too_few("#/update/streamIds", 1));
        }
        let streams = streams.unwrap_or_default();
        if streams.len() > EVENT_STREAMS_MAX {
            fields.violated(Violation::too_many("#/update/streamIds", EVENT_STREAMS_MAX));
        }
        if fields
            .text("type", Null::Refused)
            .is_some_and(|kind| !is_type(kind))
        {
            fields.violated(Violation::pattern("#/update/type", TYPE_PATTERN));
        }
        fields.number("time", Null::Refused);
        fields.number("duration", Null::Absent);
        fields.text("description", Null::Absent);
        fields.object("clientData", Null::Absent);
        fields.flag("trashed", Null::Absent);
        fields.finish()?;
        let mut changes = given.as_object().cloned().unwrap_or_default();
        let names: Vec<String> = PROTECTED
            .iter()
            .filter(|name| changes.shift_remove(**name).is_some())
            .map(|name| (*name).to_owned())
            .collect();
        if !names.is_empty() && !ignore_protected {
            return Err(UpdateError::Protected { names });
        }
        if let Some(given) = changes.get_mut("streamIds") {
            *given = Value::from(without_duplicates(&streams));
        }
        Ok(Self {
            id: id.to_owned(),
            changes,
        })
    }

    /// The streams as they shall be, if they are named.
    fn streams(&self) -> Option<Vec<String>> {
        let streams = self.changes.get("streamIds")?.as_array()?;
        let ids = streams.iter().filter_map(Value::as_str);
        Some(ids.map(str::to_owned).collect())
    }

    /// Brings the changes into an event.
    fn apply(&self, event: &mut Map<String, Value>) {
        for (name, value) in &self.changes {
            let gone = match name.as_str() {
                "clientData" => {
                    merge(event, value);
                    continue;
                }
                // Null is a duration: running.
                "duration" => value.as_f64() == Some(0.0),
                "trashed" => value != &Value::Bool(true),
                _ => value.is_null(),
            };
            if gone {
                event.shift_remove(name);
            } else {
                event.insert(name.clone(), value.clone());
            }
        }
    }
}

/// Merges `clientData` one level deep: a null takes its key away; null as a whole takes all.
fn merge(event: &mut Map<String, Value>, changes: &Value) {
    let Value::Object(changes) = changes else {
        event.shift_remove("clientData");
        return;
    };
    let present = event
        .entry("clientData")
        .or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(present) = present else {
        return;
    };
    merge_keys(present, changes);
}

/// Changes an event and returns it.
///
/// # Errors
/// See [`UpdateError`].
pub fn update(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    asked: &EventChanges,
) -> Result<StoredEvent, UpdateError> {
    let tree = trees.current(tx.view())?;
    let stream = tree.schema().get(&asked.id);
    if let Some(stream) = stream.filter(|stream| stream.field.is_some()) {
        return update_account(tx, &tree, actor, stream, asked);
    }
    let unknown = || UpdateError::Unknown {
        id: asked.id.clone(),
    };
    let document = tx.get(Kind::Event, &asked.id)?.ok_or_else(unknown)?;
    if document.deleted {
        return Err(unknown());
    }
    let mut event: Map<String, Value> = decode(&document)?;
    let former = Head::decode(&document)?;
    check_rights(&tree, actor, &former.streams)?;
    if shared_secret::is_item_type(&former.kind) {
        return Err(UpdateError::SharedSecret);
    }
    check_place(&tree, actor, &former.streams, asked)?;
    let content = event.get("content").cloned();
    asked.apply(&mut event);
    let kind = event
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if check::is_series(kind) != check::is_series(&former.kind) {
        return Err(UpdateError::SeriesAndNot {
            from: former.kind,
            to: kind.to_owned(),
        });
    }
    // One that came with an archive may be moved and described, but its type and content stay.
    let stays = kind == former.kind && event.get("content") == content.as_ref();
    if !(check::is_series(kind) && stays) {
        check::of_type(context, kind, event.get("content"))?;
    }
    touched(&mut event, tx.at(), &actor.author());
    Ok(store(tx, context, &document, event)?)
}

/// The right to change an event where it is.
fn check_rights(tree: &Tree, actor: &Actor, streams: &[String]) -> Result<(), UpdateError> {
    let rights = actor.access.rights();
    let may_update = |id: &String| rights.allows(tree, id, Level::updates);
    if streams.iter().any(may_update) {
        Ok(())
    } else {
        Err(UpdateError::Forbidden)
    }
}

/// The other checks that concern streams: that the event may be where it shall be, then the right on
/// each stream that is added or removed.
fn check_place(
    tree: &Tree,
    actor: &Actor,
    former: &[String],
    asked: &EventChanges,
) -> Result<(), UpdateError> {
    let rights = actor.access.rights();
    let may_update = |id: &String| rights.allows(tree, id, Level::updates);
    let streams = asked.streams().unwrap_or_else(|| former.to_vec());
    let without = |list: &[String], others: &[String]| -> Vec<String> {
        let rest = list.iter().filter(|id| !others.contains(id));
        rest.cloned().collect()
    };
    let added = without(&streams, former);
    check_streams(tree, &added)?;
    let removed = without(former, &streams);
    if !added.iter().chain(&removed).all(may_update) {
        return Err(UpdateError::Forbidden);
    }
    if let Some(id) = added.iter().find(|id| Store::of(id) == Store::Account) {
        return Err(UpdateError::AccountStreamChanged { id: id.clone() });
    }
    check_stores(&streams, Some(&asked.id))?;
    Ok(())
}

/// The event of an account stream: its content is the field, everything else is made.
fn update_account(
    tx: &mut Transaction<'_>,
    tree: &Tree,
    actor: &Actor,
    stream: &Arc<AccountStream>,
    asked: &EventChanges,
) -> Result<StoredEvent, UpdateError> {
    let id = || stream.id.clone();
    let rights = actor.access.rights();
    if !rights.allows(tree, &stream.id, Level::updates) {
        return Err(UpdateError::Forbidden);
    }
    if !stream.can_be_set() {
        return Err(CreateError::AccountStreamReadOnly { id: id() }.into());
    }
    if asked
        .streams()
        .is_some_and(|streams| streams != [stream.id.as_str()])
    {
        return Err(UpdateError::AccountStreamChanged { id: id() });
    }
    if let Some(content) = asked.changes.get("content") {
        return Ok(account::set(stream, Some(content))?);
    }
    let present = crate::account::load(tx.view())?;
    account::event(&present, stream, tx.at()).ok_or_else(|| UpdateError::Unknown { id: id() })
}

/// The streams of an event in its wire form.
pub(crate) fn streams_of(event: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let streams = event.get("streamIds").and_then(Value::as_array);
    streams.into_iter().flatten().filter_map(Value::as_str)
}

/// Writes into an event who changed it when.
pub(crate) fn touched(event: &mut Map<String, Value>, at: Millis, author: &str) {
    event.insert("modified".to_owned(), seconds(at));
    event.insert("modifiedBy".to_owned(), Value::from(author));
}

/// Stores the next version of an event, with its hash and under its keys.
///
/// # Errors
/// Of the store.
pub(crate) fn store(
    tx: &mut Transaction<'_>,
    context: &Context,
    former: &Document,
    event: Map<String, Value>,
) -> Result<StoredEvent, StoreError> {
    let event = StoredEvent::sealed(event);
    let head: Head =
        serde_json::from_slice(&event.json).map_err(|error| StoreError::Corrupted {
            what: format!("event {}: {error}", former.id),
        })?;
    let write = Write {
        kind: Kind::Event,
        id: former.id.clone(),
        base: Base::Exact(former.rev),
        body: event.json.clone(),
        deleted: false,
        entries: head.entries(),
        keep_previous: context.settings.keep_history,
    };
    tx.put(write)
        .map_err(|error| unexpected(error, &former.id))?;
    Ok(event)
}

/// A conflict with what was read in the same transaction cannot be.
pub(super) fn unexpected(error: PutError, id: &str) -> StoreError {
    match error {
        PutError::Store(error) => error,
        PutError::Conflict { .. } => StoreError::Corrupted {
            what: format!("event {id} changed while it was being changed"),
        },
    }
}

#[cfg(test)]
mod tests;
