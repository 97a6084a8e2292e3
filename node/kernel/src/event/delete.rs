//! `events.delete` (spec/pryv-api §4.10): first into the trash, then for good. The id of a deleted
//! event is never free again: its tombstone stays.

use homecore_store::{Base, Document, Kind, StoreError, Transaction, Write};
use homecore_types::ErrorId;
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::stored::{Head, StoredEvent, decode};
use super::tombstone;
use super::update::{self, streams_of, touched};
use crate::actor::Actor;
use crate::attachment;
use crate::attachment::token::ReadTokens;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::indexes;
use crate::kernel::Context;
use crate::permission::Level;
use crate::reply::Reply;
use crate::settings::DeletionMode;
use crate::shared_secret;
use crate::stream::cache::Trees;
use crate::stream::store::SHARED_SECRETS;

/// What became of the event.
#[derive(Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is in the trash.
    Trashed(StoredEvent),
    /// It is gone.
    Gone {
        /// Its id.
        id: String,
    },
}

impl Deleted {
    /// `{"event": …}` or `{"eventDeletion": …}`.
    #[must_use]
    pub fn into_reply(self, tokens: &ReadTokens) -> Reply {
        match self {
            Self::Trashed(event) => Reply::of("event", &tokens.shown_alone(event.json)),
            Self::Gone { id } => {
                let deletion = json!({ "id": id }).to_string();
                Reply::of("eventDeletion", deletion.as_bytes())
            }
        }
    }
}

/// Why an event was not deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// There is no such event.
    #[error("Unknown event \"{id}\"")]
    Unknown {
        /// As given.
        id: String,
    },
    /// No right to delete in any of its streams.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// Account fields have a value always.
    #[error("The account field \"{id}\" cannot be deleted")]
    AccountField {
        /// Which.
        id: String,
    },
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for DeleteError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Unknown { .. } => ErrorId::UnknownResource,
            Self::Forbidden => ErrorId::Forbidden,
            Self::AccountField { .. } => ErrorId::InvalidOperation,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::AccountField { id } => Some(json!({ "streamId": id })),
            Self::Unknown { .. } | Self::Forbidden | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

/// Reads the parameters: the event's id.
///
/// # Errors
/// All violations.
pub fn parse(params: &Value) -> Result<String, InvalidParameters> {
    let mut fields = Fields::lenient(params, &["id"])?;
    let id = fields.text("id", Null::Refused).unwrap_or_default();
    let id = id.to_owned();
    fields.finish()?;
    Ok(id)
}

/// Puts an event into the trash, or deletes it if it is there.
///
/// # Errors
/// See [`DeleteError`].
pub fn delete(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    id: &str,
) -> Result<Deleted, DeleteError> {
    let tree = trees.current(tx.view())?;
    let rights = actor.access.rights();
    // Nothing on `*` covers shared secrets, but who may delete everything may take back its own.
    let own_secrets = |stream: &str| {
        stream.strip_prefix(SHARED_SECRETS) == Some(actor.access.id.as_str())
            && rights.star().is_some_and(Level::updates)
    };
    let may_delete =
        |stream: &str| rights.allows(&*tree, stream, Level::updates) || own_secrets(stream);
    let stream = tree.schema().get(id);
    if let Some(stream) = stream.filter(|stream| stream.field.is_some()) {
        return Err(if stream.shown && may_delete(id) {
            DeleteError::AccountField { id: id.to_owned() }
        } else {
            DeleteError::Forbidden
        });
    }
    let unknown = || DeleteError::Unknown { id: id.to_owned() };
    let document = tx.get(Kind::Event, id)?.ok_or_else(unknown)?;
    if document.deleted {
        return Err(unknown());
    }
    let mut event: Map<String, Value> = decode(&document)?;
    if !streams_of(&event).any(may_delete) {
        return Err(DeleteError::Forbidden);
    }
    let author = actor.author();
    if let Some(item) = shared_secret::discard_deleted(tx, context, &document, &event, &author)? {
        return Ok(Deleted::Trashed(item));
    }
    if event.get("trashed") != Some(&Value::Bool(true)) {
        event.insert("trashed".to_owned(), Value::Bool(true));
        touched(&mut event, tx.at(), &author);
        return Ok(Deleted::Trashed(update::store(
            tx, context, &document, event,
        )?));
    }
    erase(tx, context, &document)?;
    Ok(Deleted::Gone { id: id.to_owned() })
}

/// Deletes an event for good, in the trash or not, whoever asked: writes the tombstone, and of the
/// history what the operator wants to keep, and lets the files go.
///
/// # Errors
/// Of the store.
pub(crate) fn erase(
    tx: &mut Transaction<'_>,
    context: &Context,
    document: &Document,
) -> Result<(), StoreError> {
    let event: Map<String, Value> = decode(document)?;
    let (at, mode) = (tx.at(), context.settings.deletion_mode);
    let tombstone = tombstone::of(&event, at, mode);
    let mut base = Base::Exact(document.rev);
    // A history is rewritten by dropping it and writing each version again. Nothing but the
    // tombstone is ever seen of that: it is one commit.
    let mut rewritten = false;
    if mode == DeletionMode::KeepAuthors {
        for version in tombstone::history_of_authors(tx, &document.id)? {
            let write = Write {
                kind: Kind::Event,
                id: document.id.clone(),
                base,
                body: version.json,
                deleted: false,
                entries: Vec::new(),
                keep_previous: rewritten,
            };
            let put = if rewritten {
                tx.put(write)
            } else {
                tx.put_dropping_history(write)
            };
            base = Base::Exact(put.map_err(|error| update::unexpected(error, &document.id))?);
            rewritten = true;
        }
    }
    let write = Write {
        kind: Kind::Event,
        id: document.id.clone(),
        base,
        body: tombstone.json,
        deleted: true,
        entries: vec![indexes::event_deleted_entry(at.as_seconds())],
        keep_previous: rewritten,
    };
    let put = if rewritten || mode == DeletionMode::KeepEverything {
        tx.put(write)
    } else {
        tx.put_dropping_history(write)
    };
    put.map_err(|error| update::unexpected(error, &document.id))?;
    attachment::let_go(context, tx.user(), &Head::decode(document)?, None);
    Ok(())
}

#[cfg(test)]
mod tests;
