//! Recomputes the hashes of a user's items and compares them with those that are stored.
//!
//! Events and their tombstones carry their hash. That of an access is made when it is asked for, so
//! of an access only a hash that it carries, if it does, and its readability can be checked.

use homecore_store::{Document, Kind, StoreError, Users};
use homecore_types::UserId;
use serde_json::{Map, Value};

use super::{of_access, of_event};
use crate::access::StoredAccess;

/// Documents looked at in one read: each may be as large as a body.
const PAGE: usize = 50;

/// What was checked of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Events.
    pub events: u64,
    /// Tombstones of events.
    pub event_deletions: u64,
    /// Accesses.
    pub accesses: u64,
}

/// An item that is not what its hash says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: String,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with an item.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Another hash.
    #[error("has {stored}, its content gives {computed}")]
    Differs {
        /// As it is stored.
        stored: String,
        /// Of what is there.
        computed: String,
    },
    /// No hash where there must be one.
    #[error("has no hash")]
    Missing,
    /// No JSON object, or not one of its kind.
    #[error("cannot be read: {why}")]
    Unreadable {
        /// What the reader said. Nothing of the content.
        why: String,
    },
}

/// Checks everything of a user, in short reads. `each` gets every mismatch.
///
/// # Errors
/// Of the store.
pub async fn check(
    users: &Users,
    user: &UserId,
    each: &mut dyn FnMut(Mismatch),
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    for kind in [Kind::Event, Kind::Access] {
        let mut after: Option<String> = None;
        loop {
            let from = after.take();
            let page = users
                .read(user, move |view| view.list(kind, from.as_deref(), PAGE))
                .await??;
            for document in &page {
                count(&mut checked, document);
                if let Err(fault) = verify(document) {
                    each(Mismatch {
                        kind,
                        id: document.id.clone(),
                        fault,
                    });
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
                _ => break,
            }
        }
    }
    Ok(checked)
}

fn count(checked: &mut Checked, document: &Document) {
    let counter = match (document.kind, document.deleted) {
        (Kind::Event, false) => &mut checked.events,
        (Kind::Event, true) => &mut checked.event_deletions,
        _ => &mut checked.accesses,
    };
    *counter = counter.saturating_add(1);
}

/// Compares the hash of an event, a tombstone of one, or an access.
///
/// # Errors
/// See [`Fault`].
pub fn verify(document: &Document) -> Result<(), Fault> {
    let item: Map<String, Value> = serde_json::from_slice(&document.body).map_err(|error| {
        // Not the error's own text: it may quote.
        Fault::Unreadable {
            why: format!("no JSON object, column {}", error.column()),
        }
    })?;
    let is_event = document.kind == Kind::Event;
    if !is_event && !document.deleted && StoredAccess::decode(document).is_err() {
        return Err(Fault::Unreadable {
            why: "no access".to_owned(),
        });
    }
    let Some(stored) = item.get("integrity").and_then(Value::as_str) else {
        return if is_event {
            Err(Fault::Missing)
        } else {
            Ok(())
        };
    };
    let computed = if is_event {
        of_event(&item)
    } else {
        of_access(&item)
    };
    if stored == computed {
        Ok(())
    } else {
        Err(Fault::Differs {
            stored: stored.to_owned(),
            computed,
        })
    }
}

#[cfg(test)]
mod tests;
