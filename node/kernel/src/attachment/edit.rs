//! Files added to an event, and taken from it (spec/pryv-api §4.11).

use homecore_store::{Document, Kind, StoreError, Transaction, View};
use homecore_types::{ErrorId, limits};
use serde_json::{Map, Value};
use thiserror::Error;

use super::{Attachment, let_go};
use crate::actor::Actor;
use crate::error::{InvalidParameters, Refusal};
use crate::event::stored::{Head, StoredEvent};
use crate::event::update;
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::permission::Level;
use crate::stream::cache::Trees;

/// Why an event's files were not changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// There is no such event.
    #[error("Unknown event \"{id}\"")]
    UnknownEvent {
        /// As given.
        id: String,
    },
    /// The event has no such file.
    #[error("Unknown attachment \"{id}\"")]
    UnknownFile {
        /// As given.
        id: String,
    },
    /// The access may not change the event.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// More than one event may have.
    #[error(
        "An event has at most {} attachments",
        limits::ATTACHMENTS_PER_EVENT_MAX
    )]
    TooMany,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for EditError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::UnknownEvent { .. } | Self::UnknownFile { .. } => ErrorId::UnknownResource,
            Self::Forbidden => ErrorId::Forbidden,
            Self::TooMany => ErrorId::InvalidOperation,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::UnknownEvent { .. }
            | Self::UnknownFile { .. }
            | Self::Forbidden
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

/// Parameters of `events.deleteAttachment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteAttachment {
    /// The event.
    pub event: String,
    /// Its file.
    pub file: String,
}

impl DeleteAttachment {
    /// Reads the parameters.
    ///
    /// # Errors
    /// All violations.
    pub fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        let mut fields = Fields::lenient(params, &["id", "fileId"])?;
        let mut text = |name| {
            fields
                .text(name, Null::Refused)
                .unwrap_or_default()
                .to_owned()
        };
        let read = Self {
            event: text("id"),
            file: text("fileId"),
        };
        fields.finish()?;
        Ok(read)
    }
}

/// An event as it is stored now.
struct Present {
    document: Document,
    head: Head,
    map: Map<String, Value>,
}

/// Whether the caller may change the event: before it is asked to send files.
///
/// # Errors
/// See [`EditError`].
pub fn check(
    view: &dyn View,
    trees: &mut dyn Trees,
    actor: &Actor,
    event: &str,
) -> Result<(), EditError> {
    load(view, trees, actor, event).map(|_| ())
}

/// Adds files at the end; returns the event, without read tokens.
///
/// # Errors
/// See [`EditError`].
pub fn add(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    event: &str,
    files: &[Attachment],
) -> Result<StoredEvent, EditError> {
    let mut present = load(tx.view(), trees, actor, event)?;
    let attached = present
        .map
        .entry("attachments")
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(attached) = attached {
        if attached.len().saturating_add(files.len()) > limits::ATTACHMENTS_PER_EVENT_MAX {
            return Err(EditError::TooMany);
        }
        attached.extend(files.iter().map(Attachment::to_wire));
    }
    write(tx, context, actor, present)
}

/// Takes a file away; returns the event, without read tokens. Its bytes go after the commit.
///
/// # Errors
/// See [`EditError`].
pub fn remove(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &DeleteAttachment,
) -> Result<StoredEvent, EditError> {
    let mut present = load(tx.view(), trees, actor, &params.event)?;
    let before = present.head.clone();
    let unknown = || EditError::UnknownFile {
        id: params.file.clone(),
    };
    let Some(Value::Array(attached)) = present.map.get_mut("attachments") else {
        return Err(unknown());
    };
    let place = attached
        .iter()
        .position(|a| a.get("id").and_then(Value::as_str) == Some(params.file.as_str()))
        .ok_or_else(unknown)?;
    attached.remove(place);
    if attached.is_empty() {
        present.map.shift_remove("attachments");
    }
    let changed = write(tx, context, actor, present)?;
    let after = serde_json::from_slice(&changed.json).map_err(|error| StoreError::Corrupted {
        what: format!("event {}: {error}", params.event),
    })?;
    let_go(context, tx.user(), &before, Some(&after));
    Ok(changed)
}

/// A live event that the caller may change: the right in one of its streams suffices.
fn load(
    view: &dyn View,
    trees: &mut dyn Trees,
    actor: &Actor,
    event: &str,
) -> Result<Present, EditError> {
    let document = view
        .get(Kind::Event, event)?
        .filter(|document| !document.deleted)
        .ok_or_else(|| EditError::UnknownEvent {
            id: event.to_owned(),
        })?;
    let head = Head::decode(&document)?;
    let tree = trees.current(view)?;
    let rights = actor.access.rights();
    if !head
        .streams
        .iter()
        .any(|id| rights.allows(&*tree, id, Level::updates))
    {
        return Err(EditError::Forbidden);
    }
    let map = serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
        what: format!("event {event}: {error}"),
    })?;
    Ok(Present {
        document,
        head,
        map,
    })
}

fn write(
    tx: &mut Transaction<'_>,
    context: &Context,
    actor: &Actor,
    present: Present,
) -> Result<StoredEvent, EditError> {
    let Present {
        document, mut map, ..
    } = present;
    update::touched(&mut map, tx.at(), &actor.author());
    Ok(update::store(tx, context, &document, map)?)
}
