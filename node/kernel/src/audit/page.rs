//! Pages: how entries are stored. A page is a document with up to [`PAGE_ENTRIES_MAX`] entries of a
//! short span of time; it is found by each stream that one of them is shown in, and by time.

use std::collections::BTreeSet;

use homecore_store::{
    Base, Document, Entry as IndexEntry, Kind, PutError, StoreError, Transaction, View, Write,
};
use homecore_types::Millis;

use super::entry::Entry;
use crate::event::stored::StoredEvent;
use crate::indexes::audit_entry;
use crate::kernel::Context;

/// Most entries of a page.
pub const PAGE_ENTRIES_MAX: usize = 256;
/// No entry of a page is this much older than its last one.
pub const PAGE_SPAN_MS: i64 = 10_000;

/// Writes entries, which come in the order of their times, as pages.
///
/// # Errors
/// Of the store.
pub fn append(
    tx: &mut Transaction<'_>,
    context: &Context,
    entries: &[Entry],
) -> Result<(), StoreError> {
    let mut rest = entries;
    while let Some(first) = rest.first() {
        let fits = |entry: &&Entry| entry.at.0.saturating_sub(first.at.0) < PAGE_SPAN_MS;
        let count = rest.iter().take(PAGE_ENTRIES_MAX).take_while(fits).count();
        let (page, later) = rest.split_at(count.max(1));
        put(tx, context, page)?;
        rest = later;
    }
    Ok(())
}

fn put(tx: &mut Transaction<'_>, context: &Context, page: &[Entry]) -> Result<(), StoreError> {
    let id = context.ordered_id(tx.at());
    put_as(tx, id, Base::New, page)
}

/// Writes entries as a page of this id.
///
/// # Errors
/// Of the store.
pub(crate) fn put_as(
    tx: &mut Transaction<'_>,
    id: String,
    base: Base,
    page: &[Entry],
) -> Result<(), StoreError> {
    let body = serde_json::to_vec(page)
        .map_err(|error| StoreError::engine("encoding audit entries", error))?;
    let write = Write {
        kind: Kind::Audit,
        id,
        base,
        body: body.into(),
        deleted: false,
        entries: keys(page),
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: "an audit page of a fresh id is there already".to_owned(),
        }),
    }
}

/// The keys of a page: all streams of its entries, and that of the whole log, with its last time.
fn keys(page: &[Entry]) -> Vec<IndexEntry> {
    let last = page.iter().map(|entry| entry.at).max().unwrap_or(Millis(0));
    let streams: BTreeSet<String> = page.iter().flat_map(Entry::streams).collect();
    std::iter::once(audit_entry("", last.as_seconds()))
        .chain(
            streams
                .iter()
                .map(|stream| audit_entry(stream, last.as_seconds())),
        )
        .collect()
}

/// Reads a page's entries.
///
/// # Errors
/// If the body is damaged.
pub fn decode(document: &Document) -> Result<Vec<Entry>, StoreError> {
    serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
        what: format!("audit page {}: {error}", document.id),
    })
}

/// Looks up the entry that is shown under an id.
///
/// # Errors
/// Of the store.
pub fn find(view: &dyn View, id: &str) -> Result<Option<(Entry, StoredEvent)>, StoreError> {
    let Some((page, place)) = place_of(id) else {
        return Ok(None);
    };
    let Some(document) = view.get(Kind::Audit, page)? else {
        return Ok(None);
    };
    let entry = decode(&document)?.into_iter().nth(place);
    Ok(entry.map(|entry| {
        let event = entry.to_event(id);
        (entry, event)
    }))
}

/// The id under which an entry of a page is shown.
#[must_use]
pub fn event_id(page: &str, place: usize) -> String {
    if place == 0 {
        format!(":_audit:{page}")
    } else {
        format!(":_audit:{page}-{place}")
    }
}

/// The page and place of an id that [`event_id`] made.
pub(crate) fn place_of(id: &str) -> Option<(&str, usize)> {
    let rest = id.strip_prefix(":_audit:")?;
    match rest.split_once('-') {
        None => Some((rest, 0)),
        Some((page, place)) => Some((page, place.parse().ok()?)),
    }
}
