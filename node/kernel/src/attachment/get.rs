//! `events.getAttachment`: which blob a file of an event is.

use homecore_store::{Kind, StoreError, View};
use homecore_types::ErrorId;
use serde::Deserialize;
use thiserror::Error;

use super::Attachment;
use crate::actor::Actor;
use crate::error::Refusal;
use crate::event::select;
use crate::stream::cache::Trees;

/// Why a file is not given out.
#[derive(Debug, Error)]
pub enum GetError {
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
    /// The access may not read the event.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for GetError {
    fn id(&self) -> ErrorId {
        match self {
            Self::UnknownEvent { .. } | Self::UnknownFile { .. } => ErrorId::UnknownResource,
            Self::Forbidden => ErrorId::Forbidden,
            Self::Store(error) => error.id(),
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

/// What of an event counts for its files.
#[derive(Debug, Deserialize)]
pub struct Files {
    #[serde(rename = "streamIds")]
    streams: Vec<String>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was last changed, in seconds.
    pub modified: f64,
    /// The files in order.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
}

/// A file of an event that the caller may read.
///
/// # Errors
/// See [`GetError`].
pub fn find(
    view: &dyn View,
    trees: &mut dyn Trees,
    actor: &Actor,
    event: &str,
    file: &str,
) -> Result<Attachment, GetError> {
    files(view, trees, actor, event)?
        .attachments
        .into_iter()
        .find(|attachment| attachment.id == file)
        .ok_or_else(|| GetError::UnknownFile {
            id: file.to_owned(),
        })
}

/// The files of an event that the caller may read: one readable stream suffices.
///
/// # Errors
/// See [`GetError`].
pub fn files(
    view: &dyn View,
    trees: &mut dyn Trees,
    actor: &Actor,
    event: &str,
) -> Result<Files, GetError> {
    let document = view
        .get(Kind::Event, event)?
        .filter(|document| !document.deleted)
        .ok_or_else(|| GetError::UnknownEvent {
            id: event.to_owned(),
        })?;
    let files: Files =
        serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
            what: format!("event {event}: {error}"),
        })?;
    let tree = trees.current(view)?;
    let rights = actor.access.rights();
    if !files
        .streams
        .iter()
        .any(|stream| select::may_read(&tree, rights, stream))
    {
        return Err(GetError::Forbidden);
    }
    Ok(files)
}
