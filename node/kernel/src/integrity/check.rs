//! Recomputes the hashes of a user's items and compares them with those that are stored.
//!
//! Events and their tombstones carry their hash. That of an access is made when it is asked for, so
//! of an access only a hash that it carries, if it does, and its readability can be checked.

use homecore_store::{Document, Kind, Rev, StoreError, Users, View};
use homecore_types::UserId;
use serde_json::{Map, Value};

use super::{of_access, of_event};
use crate::access::StoredAccess;

/// Documents looked at in one read: each may be as large as a body.
const PAGE: usize = 50;
/// Former versions looked at at once.
const HISTORY_PAGE: usize = 8;

/// What was checked of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Events.
    pub events: u64,
    /// Tombstones of events.
    pub event_deletions: u64,
    /// Former versions of events.
    pub event_versions: u64,
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
    /// Which version of it.
    pub rev: Rev,
    /// Whether it is a former one.
    pub is_former: bool,
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
                .read(user, move |view| check_page(view, kind, from.as_deref()))
                .await??;
            checked.add(&page.checked);
            page.mismatches.into_iter().for_each(&mut *each);
            match page.next {
                Some(last) => after = Some(last),
                None => break,
            }
        }
    }
    Ok(checked)
}

/// What one read gave.
#[derive(Debug, Default)]
struct Page {
    checked: Checked,
    mismatches: Vec<Mismatch>,
    /// Where to go on.
    next: Option<String>,
}

fn check_page(view: &dyn View, kind: Kind, after: Option<&str>) -> Result<Page, StoreError> {
    let mut page = Page::default();
    let documents = view.list(kind, after, PAGE)?;
    for document in &documents {
        page.look_at(document, false);
        if kind == Kind::Event {
            page.check_history(view, &document.id)?;
        }
    }
    if documents.len() == PAGE {
        page.next = documents.last().map(|last| last.id.clone());
    }
    Ok(page)
}

impl Page {
    fn check_history(&mut self, view: &dyn View, id: &str) -> Result<(), StoreError> {
        let mut after = Rev(0);
        loop {
            let versions = view.history(Kind::Event, id, after, HISTORY_PAGE)?;
            for version in &versions {
                self.look_at(version, true);
            }
            match versions.last() {
                Some(last) if versions.len() == HISTORY_PAGE => after = last.rev,
                _ => return Ok(()),
            }
        }
    }

    fn look_at(&mut self, document: &Document, is_former: bool) {
        self.checked.count(document, is_former);
        if let Err(fault) = verify(document) {
            self.mismatches.push(Mismatch {
                kind: document.kind,
                id: document.id.clone(),
                rev: document.rev,
                is_former,
                fault,
            });
        }
    }
}

impl Checked {
    fn count(&mut self, document: &Document, is_former: bool) {
        let counter = match (document.kind, document.deleted) {
            (Kind::Event, _) if is_former => &mut self.event_versions,
            (Kind::Event, false) => &mut self.events,
            (Kind::Event, true) => &mut self.event_deletions,
            _ => &mut self.accesses,
        };
        *counter = counter.saturating_add(1);
    }

    fn add(&mut self, other: &Self) {
        let sum = u64::saturating_add;
        self.events = sum(self.events, other.events);
        self.event_deletions = sum(self.event_deletions, other.event_deletions);
        self.event_versions = sum(self.event_versions, other.event_versions);
        self.accesses = sum(self.accesses, other.accesses);
    }
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
