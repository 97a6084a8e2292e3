//! The records of a user, a page at a time. Each page is of one moment, all of them are not: what
//! changes meanwhile is in it or not. [`Exported::seq`] tells whether anything did.
//!
//! What is damaged ends the export, or is left out and named if that is asked for.

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
    /// The document `after` was left out: its former versions cannot stand in an archive without it.
    is_headless: bool,
    leaves_out_damaged: bool,
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
        Self {
            kind: Kind::Account,
            after: None,
            versions: None,
            is_headless: false,
            leaves_out_damaged: false,
        }
    }
}

impl Cursor {
    /// As [`Cursor::default`]; what is damaged is left out, but for the account.
    #[must_use]
    pub fn leaving_out_damaged() -> Self {
        Self {
            leaves_out_damaged: true,
            ..Self::default()
        }
    }

    fn cut(&self, after: &str, versions: Option<Rev>) -> Self {
        Self {
            after: Some(after.to_owned()),
            versions,
            is_headless: self.is_headless && versions.is_some(),
            ..*self
        }
    }

    /// The beginning of the next kind.
    fn following(&self) -> Option<Self> {
        let place = KINDS.iter().position(|known| *known == self.kind)?;
        let kind = *KINDS.get(place.saturating_add(1))?;
        Some(Self {
            kind,
            after: None,
            versions: None,
            is_headless: false,
            ..*self
        })
    }
}

/// Some records, all of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// What they are.
    pub kind: Kind,
    /// As they stand in an archive.
    pub records: Vec<Map<String, Value>>,
    /// What of them was left out because it is damaged, in words.
    pub left_out: Vec<String>,
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

    /// How much of a user was set aside as damaged earlier: it is in no export.
    ///
    /// # Errors
    /// Of the store.
    pub async fn count_set_aside(&self, user: &UserId) -> Result<u64, Error> {
        let count = self.read(user, |view, _| view.count_set_aside()).await?;
        Ok(count?)
    }

    /// Whether an event names a file now: it may have changed since it was exported.
    ///
    /// # Errors
    /// Of the store, or if the event cannot be read.
    pub async fn names_file(&self, user: &UserId, event: &str, file: &str) -> Result<bool, Error> {
        let (event, file) = (event.to_owned(), file.to_owned());
        let named = self.read_short(user, move |view, _| -> Result<bool, StoreError> {
            let event = view.get(Kind::Event, &event)?;
            let Some(event) = event.filter(|event| !event.deleted) else {
                return Ok(false);
            };
            let map = object(&event)?;
            let files = map.get("attachments").and_then(Value::as_array);
            let mut ids = files.into_iter().flatten().map(|file| file.get("id"));
            Ok(ids.any(|id| id.and_then(Value::as_str) == Some(file.as_str())))
        });
        Ok(named.await??)
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
            left_out: Vec::new(),
            next: from.following(),
            seq,
        });
    }
    let mut page = Page::default();
    let next = page.fill(view, &from)?;
    Ok(Exported {
        kind,
        records: page.records,
        left_out: page.left_out,
        next: next.or_else(|| from.following()),
        seq,
    })
}

/// Documents of a kind with their ids, in the order of ids, without their content where they are damaged and
/// that is to be passed over.
pub(crate) fn list(
    view: &dyn View,
    kind: Kind,
    after: Option<&str>,
    most: usize,
    passes_over_damaged: bool,
) -> Result<Vec<(String, Option<Document>)>, StoreError> {
    let found = view.list(kind, after, most);
    if !passes_over_damaged || !matches!(found, Err(StoreError::Damaged { .. })) {
        let found = found?.into_iter();
        return Ok(found.map(|found| (found.id.clone(), Some(found))).collect());
    }
    let mut found: Vec<(String, Option<Document>)> = Vec::new();
    while found.len() < most {
        let last = found.last().map(|(id, _)| id.as_str()).or(after);
        match view.list(kind, last, 1) {
            Ok(one) => match one.into_iter().next() {
                Some(one) => found.push((one.id.clone(), Some(one))),
                None => break,
            },
            // One whose id is damaged may be anywhere.
            Err(StoreError::Damaged { id, .. }) if last.is_none_or(|last| last < id.as_str()) => {
                found.push((id, None));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Former versions of a document, as in [`list`].
fn history(
    view: &dyn View,
    (kind, id): (Kind, &str),
    after: Rev,
    passes_over_damaged: bool,
) -> Result<Vec<(Rev, Option<Document>)>, StoreError> {
    let found = view.history(kind, id, after, VERSIONS);
    if !passes_over_damaged || !matches!(found, Err(StoreError::Damaged { .. })) {
        let found = found?.into_iter();
        return Ok(found.map(|found| (found.rev, Some(found))).collect());
    }
    let mut found: Vec<(Rev, Option<Document>)> = Vec::new();
    while found.len() < VERSIONS {
        let last = found.last().map_or(after, |(rev, _)| *rev);
        match view.history(kind, id, last, 1) {
            Ok(one) => match one.into_iter().next() {
                Some(one) => found.push((one.rev, Some(one))),
                None => break,
            },
            Err(StoreError::Damaged { rev, .. }) if rev > last => found.push((rev, None)),
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// How something that was left out is named.
pub(crate) fn noun(kind: Kind, id: &str) -> String {
    let kind = match kind {
        Kind::Event => "event",
        Kind::Stream => "stream",
        Kind::Access => "access",
        Kind::Profile => "profile",
        Kind::Audit => "page of the audit log",
        Kind::AccessUses => "uses of access",
        Kind::Account | Kind::Session | Kind::Webhook | Kind::SharedSecret => "document",
    };
    format!("{kind} {id}")
}

#[derive(Default)]
struct Page {
    records: Vec<Map<String, Value>>,
    left_out: Vec<String>,
    bytes: usize,
}

impl Page {
    /// Reads documents until the page is full; where to go on with the kind.
    fn fill(&mut self, view: &dyn View, from: &Cursor) -> Result<Option<Cursor>, StoreError> {
        if let (Some(id), Some(versions)) = (&from.after, from.versions)
            && let Some(more) = self.versions(view, from, id, versions)?
        {
            return Ok(Some(from.cut(id, Some(more))));
        }
        let (kind, passes_over) = (from.kind, from.leaves_out_damaged);
        let documents = list(view, kind, from.after.as_deref(), DOCUMENTS, passes_over)?;
        for (id, document) in &documents {
            let record = self.readable(document.as_ref(), from, || noun(kind, id), record)?;
            let from = Cursor {
                after: None,
                versions: None,
                is_headless: record.is_none(),
                ..*from
            };
            self.records.extend(record);
            let body = document.as_ref().map_or(0, |document| document.body.len());
            self.bytes = self.bytes.saturating_add(body);
            let is_live = !from.is_headless && document.as_ref().is_some_and(|it| !it.deleted);
            if kind == Kind::Access && is_live {
                self.add_uses(view, &from, id)?;
            }
            if matches!(kind, Kind::Event | Kind::Access)
                && let Some(more) = self.versions(view, &from, id, Rev(0))?
            {
                return Ok(Some(from.cut(id, Some(more))));
            }
            if self.bytes >= PAGE_BYTES {
                return Ok(Some(from.cut(id, None)));
            }
        }
        Ok(documents
            .last()
            .filter(|_| documents.len() == DOCUMENTS)
            .map(|(last, _)| from.cut(last, None)))
    }

    /// Former versions of a document; after which to go on if the page is full.
    fn versions(
        &mut self,
        view: &dyn View,
        from: &Cursor,
        id: &str,
        mut after: Rev,
    ) -> Result<Option<Rev>, StoreError> {
        loop {
            let versions = history(view, (from.kind, id), after, from.leaves_out_damaged)?;
            for (rev, version) in &versions {
                let what = || format!("version {} of {}", rev.0, noun(from.kind, id));
                let whole = version.as_ref().filter(|_| !from.is_headless);
                let record = self.readable(whole, from, what, former)?;
                self.records.extend(record);
                let body = version.as_ref().map_or(0, |version| version.body.len());
                self.bytes = self.bytes.saturating_add(body);
                after = *rev;
            }
            if versions.len() < VERSIONS {
                return Ok(None);
            }
            if self.bytes >= PAGE_BYTES {
                return Ok(Some(after));
            }
        }
    }

    /// A record of a document; none if it is left out.
    fn readable(
        &mut self,
        document: Option<&Document>,
        from: &Cursor,
        what: impl FnOnce() -> String,
        record: impl FnOnce(&Document) -> Result<Map<String, Value>, StoreError>,
    ) -> Result<Option<Map<String, Value>>, StoreError> {
        match document.map(record) {
            Some(Ok(record)) => return Ok(Some(record)),
            Some(Err(StoreError::Corrupted { .. })) if from.leaves_out_damaged => {}
            Some(Err(error)) => return Err(error),
            None => {}
        }
        self.left_out.push(what());
        Ok(None)
    }

    /// Adds to the last record, an access, how it was used.
    fn add_uses(&mut self, view: &dyn View, from: &Cursor, id: &str) -> Result<(), StoreError> {
        let Some(record) = self.records.last_mut() else {
            return Ok(());
        };
        match add_uses(view, id, record) {
            Err(StoreError::Damaged { .. } | StoreError::Corrupted { .. })
                if from.leaves_out_damaged =>
            {
                self.left_out.push(noun(Kind::AccessUses, id));
                Ok(())
            }
            added => added,
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
