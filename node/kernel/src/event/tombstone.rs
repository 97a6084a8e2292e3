//! What is left of deleted events (spec/pryv-api §4.5, `versioning.deletionMode`).
//!
//! A tombstone always has `id`, `deleted` and `integrity`; lists of deletions show these and nothing
//! else, for no stream says who may see more. What a mode keeps beside them only `events.getOne`
//! shows.

use std::collections::VecDeque;

use homecore_store::{Document, Kind, Rev, StoreError, Transaction};
use homecore_types::Millis;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::read::{HISTORY_MAX, HISTORY_PAGE};
use super::stored::{StoredEvent, decode};
use crate::number::seconds;
use crate::settings::DeletionMode;

/// The body of the tombstone of an event.
#[must_use]
pub fn of(event: &Map<String, Value>, deleted: Millis, mode: DeletionMode) -> StoredEvent {
    let mut left = match mode {
        DeletionMode::KeepNothing => only(event, &["id"]),
        DeletionMode::KeepAuthors => only(event, AUTHORS),
        DeletionMode::KeepEverything => event.clone(),
    };
    left.insert("deleted".to_owned(), seconds(deleted));
    StoredEvent::sealed(left)
}

/// What stays of an event and its versions where authors are kept.
const AUTHORS: &[&str] = &["id", "modified", "modifiedBy"];

fn only(event: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), event.get(*name)?.clone())))
        .collect()
}

/// The kept versions of an event, the last [`HISTORY_MAX`] of them, without all but their authors.
///
/// # Errors
/// Of the store.
pub fn history_of_authors(
    tx: &Transaction<'_>,
    id: &str,
) -> Result<VecDeque<StoredEvent>, StoreError> {
    let mut versions = VecDeque::new();
    let mut after = Rev(0);
    loop {
        let page = tx.view().history(Kind::Event, id, after, HISTORY_PAGE)?;
        for version in &page {
            let event: Map<String, Value> = decode(version)?;
            versions.push_back(StoredEvent::sealed(only(&event, AUTHORS)));
            if versions.len() > HISTORY_MAX {
                versions.pop_front();
            }
        }
        match page.last() {
            Some(last) if page.len() == HISTORY_PAGE => after = last.rev,
            _ => return Ok(versions),
        }
    }
}

/// What lists of deletions show.
#[derive(Deserialize, Serialize)]
struct Listed {
    id: String,
    deleted: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    integrity: Option<String>,
}

impl Listed {
    fn to_event(&self) -> Result<StoredEvent, StoreError> {
        let json = serde_json::to_vec(self)
            .map_err(|error| StoreError::engine(format!("encoding event {}", self.id), error))?;
        Ok(StoredEvent { json: json.into() })
    }
}

/// A tombstone as it stands in a list of deletions.
///
/// # Errors
/// If the body is damaged.
pub fn listed(document: &Document) -> Result<StoredEvent, StoreError> {
    decode::<Listed>(document)?.to_event()
}

/// A tombstone as it is answered alone.
#[derive(Debug)]
pub struct Shown {
    /// What is shown.
    pub event: StoredEvent,
    /// Whether it is all that was kept; the history may be shown then too.
    pub whole: bool,
}

/// A tombstone as it is answered alone: where little was kept without its hash, as the original server has
/// it. Where the streams were kept, what else was kept is for those who may read in one of them, with the
/// hash that it is checked with.
///
/// # Errors
/// If the body is damaged.
pub fn shown(document: &Document, may_read: impl Fn(&str) -> bool) -> Result<Shown, StoreError> {
    let mut event: Map<String, Value> = decode(document)?;
    let whole = match event.get("streamIds") {
        Some(Value::Array(streams)) => streams.iter().filter_map(Value::as_str).any(may_read),
        _ => {
            event.shift_remove("integrity");
            true
        }
    };
    let event = if whole {
        event
    } else {
        only(&event, &["id", "deleted"])
    };
    Ok(Shown {
        event: StoredEvent {
            json: Value::Object(event).to_string().into(),
        },
        whole,
    })
}
