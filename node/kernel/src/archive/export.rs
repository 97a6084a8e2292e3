//! The records of a user, a page at a time. Each page is of one moment, all of them are not: what
//! changes meanwhile is in it or not. [`Exported::seq`] tells whether anything did.

use homecore_store::{Document, Kind, Rev, Seq, StoreError, View};
use homecore_types::UserId;
use serde_json::{Map, Value, json};

use super::{account, event, profile};
use crate::access::StoredAccess;
use crate::access::tracking::Uses;
use crate::account::AccountError;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::number::{float, seconds};
use crate::stream::Stream;

/// Documents read at once.
const DOCUMENTS: usize = 50;
/// Former versions read at once.
const VERSIONS: usize = 8;
/// Bytes after which a page ends.
const PAGE_BYTES: usize = 1024 * 1024;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    kind: Kind,
    after: Option<String>,
    /// Go on with the former versions of the document `after`.
    versions: Option<Rev>,
}

/// The kinds that are exported, in their order. The account is first and alone.
const KINDS: &[Kind] = &[
    Kind::Account,
    Kind::Stream,
    Kind::Access,
    Kind::Profile,
    Kind::Event,
];

impl Default for Cursor {
    fn default() -> Self {
        Self::at(Kind::Account)
    }
}

impl Cursor {
    const fn at(kind: Kind) -> Self {
        Self {
            kind,
            after: None,
            versions: None,
        }
    }
}

/// Some records, all of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// What they are.
    pub kind: Kind,
    /// As they stand in an archive.
    pub records: Vec<Map<String, Value>>,
    /// Where to go on.
    pub next: Option<Cursor>,
    /// The user's last change when this was read.
    pub seq: Seq,
}

impl Kernel {
    /// A page of a user's records.
    ///
    /// # Errors
    /// Of the store, or if what is stored cannot be read.
    pub async fn export_page(&self, user: &UserId, from: Cursor) -> Result<Exported, Error> {
        let page = self.read(user, move |view, _| page(view, from)).await?;
        page.map_err(Error::from)
    }
}

/// A page of a user's records.
///
/// # Errors
/// Of the store, or if what is stored cannot be read.
pub fn page(view: &dyn View, from: Cursor) -> Result<Exported, AccountError> {
    let kind = from.kind;
    let seq = view.last_seq()?;
    if kind == Kind::Account {
        let account = crate::account::load(view)?;
        return Ok(Exported {
            kind,
            records: vec![account::write(&account)],
            next: following(kind),
            seq,
        });
    }
    let mut page = Page::default();
    let next = page.fill(view, from)?;
    Ok(Exported {
        kind,
        records: page.records,
        next: next.or_else(|| following(kind)),
        seq,
    })
}

fn following(kind: Kind) -> Option<Cursor> {
    let place = KINDS.iter().position(|known| *known == kind)?;
    KINDS.get(place.saturating_add(1)).copied().map(Cursor::at)
}

#[derive(Default)]
struct Page {
    records: Vec<Map<String, Value>>,
    bytes: usize,
}

impl Page {
    /// Reads documents until the page is full; where to go on with the kind.
    fn fill(&mut self, view: &dyn View, from: Cursor) -> Result<Option<Cursor>, StoreError> {
        let kind = from.kind;
        let cut = |id: &str, versions| {
            Some(Cursor {
                kind,
                after: Some(id.to_owned()),
                versions,
            })
        };
        if let (Some(id), Some(versions)) = (&from.after, from.versions)
            && let Some(more) = self.versions(view, kind, id, versions)?
        {
            return Ok(cut(id, Some(more)));
        }
        let documents = view.list(kind, from.after.as_deref(), DOCUMENTS)?;
        for document in &documents {
            let mut record = record(document)?;
            if kind == Kind::Access && !document.deleted {
                add_uses(view, &document.id, &mut record)?;
            }
            self.records.push(record);
            self.bytes = self.bytes.saturating_add(document.body.len());
            if matches!(kind, Kind::Event | Kind::Access)
                && let Some(more) = self.versions(view, kind, &document.id, Rev(0))?
            {
                return Ok(cut(&document.id, Some(more)));
            }
            if self.bytes >= PAGE_BYTES {
                return Ok(cut(&document.id, None));
            }
        }
        Ok(documents
            .last()
            .filter(|_| documents.len() == DOCUMENTS)
            .and_then(|last| cut(&last.id, None)))
    }

    /// Former versions of a document; after which to go on if the page is full.
    fn versions(
        &mut self,
        view: &dyn View,
        kind: Kind,
        id: &str,
        mut after: Rev,
    ) -> Result<Option<Rev>, StoreError> {
        loop {
            let versions = view.history(kind, id, after, VERSIONS)?;
            for version in &versions {
                self.records.push(former(version)?);
                self.bytes = self.bytes.saturating_add(version.body.len());
                after = version.rev;
            }
            if versions.len() < VERSIONS {
                return Ok(None);
            }
            if self.bytes >= PAGE_BYTES {
                return Ok(Some(after));
            }
        }
    }
}

fn record(document: &Document) -> Result<Map<String, Value>, StoreError> {
    match document.kind {
        Kind::Stream => stream(document),
        Kind::Access => access(document),
        Kind::Profile => Ok(profile::write(&document.id, object(document)?)),
        _ => Ok(with_end(object(document)?)),
    }
}

fn object(document: &Document) -> Result<Map<String, Value>, StoreError> {
    serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
        what: format!("document {}: {error}", document.id),
    })
}

/// Adds the end that the storage of the other server finds events by. The duration stays, for it
/// cannot be told from the end exactly.
fn with_end(mut map: Map<String, Value>) -> Map<String, Value> {
    let Some(start) = map.get("time").cloned() else {
        return map;
    };
    let end = match map.get("duration") {
        None => start,
        Some(Value::Null) => Value::Null,
        Some(duration) => match (start.as_f64(), duration.as_f64()) {
            (Some(start), Some(duration)) => float(start + duration),
            _ => start,
        },
    };
    map.insert("endTime".to_owned(), end);
    map
}

fn former(version: &Document) -> Result<Map<String, Value>, StoreError> {
    let mut map = record(version)?;
    map.insert("headId".to_owned(), Value::from(version.id.as_str()));
    let id = event::former_id(&version.id, version.rev.0);
    map.insert("id".to_owned(), Value::from(id));
    Ok(map)
}

fn stream(document: &Document) -> Result<Map<String, Value>, StoreError> {
    if document.deleted {
        return Ok(deletion(document));
    }
    let stream = Stream::decode(document)?;
    Ok(stream.to_wire(&document.id, stream.parent_id.as_deref()))
}

/// `{id, deleted}`, as the tombstone says or as it was written.
fn deletion(document: &Document) -> Map<String, Value> {
    let said = object(document)
        .ok()
        .and_then(|body| body.get("deleted").filter(|at| at.is_number()).cloned());
    let deleted = said.unwrap_or_else(|| seconds(document.written_at));
    let mut map = Map::new();
    map.insert("id".to_owned(), Value::from(document.id.as_str()));
    map.insert("deleted".to_owned(), deleted);
    map
}

/// How an access was used, as far as it is written down.
fn add_uses(view: &dyn View, id: &str, record: &mut Map<String, Value>) -> Result<(), StoreError> {
    let Some(document) = view.get(Kind::AccessUses, id)?.filter(|uses| !uses.deleted) else {
        return Ok(());
    };
    let uses: Uses =
        serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
            what: format!("uses of access {id}: {error}"),
        })?;
    record.insert("lastUsed".to_owned(), seconds(uses.last_used));
    record.insert("calls".to_owned(), uses.calls_to_json());
    Ok(())
}

fn access(document: &Document) -> Result<Map<String, Value>, StoreError> {
    let access = StoredAccess::decode(document)?;
    let mut map = Map::new();
    map.insert("id".to_owned(), Value::from(document.id.as_str()));
    if let Value::Object(stored) = json!(access) {
        for (name, value) in stored {
            let is_time = matches!(
                name.as_str(),
                "created" | "modified" | "expires" | "deleted"
            );
            let value = match value.as_i64() {
                Some(at) if is_time => seconds(homecore_types::Millis(at)),
                _ => value,
            };
            map.insert(name, value);
        }
    }

    if let Some(integrity) = access.to_wire(&document.id).shift_remove("integrity") {
        map.insert("integrity".to_owned(), integrity);
    }
    Ok(map)
}
