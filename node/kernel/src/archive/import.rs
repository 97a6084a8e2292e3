//! Writing what an archive's records became. The user is not known to anybody yet.

use homecore_store::{Base, Document, Kind, PutError, Rev, StoreError, Transaction, View, Write};
use homecore_types::{ErrorId, Millis, Secret, UserId};
use serde_json::json;
use thiserror::Error;

use super::access::AccessRecord;
use super::access::lineage::{ACCESSES_MAX, Lineage, Standing};
use super::audit::AuditRecord;
use super::event::{FormerVersion, SealedEvent};
use super::profile::ProfileRecord;
use super::stream::StreamRecord;
use crate::access::{StoredAccess, lookup, token};
use crate::account::{self, Account};
use crate::audit::page::{self, PAGE_ENTRIES_MAX, PAGE_SPAN_MS};
use crate::error::{Error, Refusal};
use crate::event::stored::Head;
use crate::indexes::{EVENTS_BY_TYPE, event_deleted_entry, stream_deleted_entry};
use crate::kernel::Kernel;
use crate::number::seconds;

/// Most bytes of one event's former versions that are put in order at once.
const HISTORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Former versions read at once.
const HISTORY_PAGE: usize = 8;
/// Accesses read at once.
const ACCESSES_PAGE: usize = 200;

/// One record, ready to be written.
#[derive(Clone, Debug)]
pub enum Item {
    /// A stream, or what is left of it.
    Stream(StreamRecord),
    /// An access, be it deleted, or a former version of one.
    Access(AccessRecord),
    /// A profile.
    Profile(ProfileRecord),
    /// An event whose files are there.
    Event(SealedEvent),
    /// What is left of an event.
    EventDeletion {
        /// Its id.
        id: String,
        /// When, in seconds.
        deleted: f64,
        /// The tombstone.
        body: Vec<u8>,
    },
    /// Former versions of one event or access that is there.
    Former(Vec<FormerVersion>),
    /// Some of the audit log, in its order.
    Audit(Vec<AuditRecord>),
}

/// Why a record was not written.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The same id twice.
    #[error("{kind} \"{id}\" is there twice")]
    Twice {
        /// Of what.
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// Two accesses that would both be found by what only one can have.
    #[error("accesses \"{id}\" and \"{other}\" have the same {what}")]
    Shared {
        /// The later one.
        id: String,
        /// The one that is there.
        other: String,
        /// What they share. Not its value, which may be a secret.
        what: &'static str,
    },
    /// A former version of something that is not there.
    #[error("there are former versions of \"{id}\", but not itself")]
    NoHead {
        /// Which.
        id: String,
    },
    /// More than can be compared.
    #[error("there are more than {ACCESSES_MAX} accesses")]
    TooManyAccesses,
    /// Too much to be put in order.
    #[error("the former versions of \"{id}\" are too large together")]
    TooMuchHistory {
        /// Which.
        id: String,
    },
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ImportError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Store(error) => error.id(),
            Self::Twice { .. }
            | Self::Shared { .. }
            | Self::NoHead { .. }
            | Self::TooManyAccesses
            | Self::TooMuchHistory { .. } => ErrorId::InvalidOperation,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl Kernel {
    /// Makes a user with an account and nothing else. The names are reserved already.
    ///
    /// # Errors
    /// If the user exists, or of the store.
    pub async fn import_account(&self, user: &UserId, mut account: Account) -> Result<(), Error> {
        account.event_indexes = EVENTS_BY_TYPE;
        self.trees().forget(user);
        let created = self
            .users()
            .create(user, move |writer| {
                writer.attempt(|tx| account::store(tx, &account, Base::Absent))
            })
            .await?;
        Ok(created?)
    }

    /// Writes records; they are on disk when this returns. Of an error before, some are.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn import_items(&self, user: &UserId, items: Vec<Item>) -> Result<(), Error> {
        self.write(user, move |writer| {
            items
                .into_iter()
                .try_for_each(|item| writer.attempt(|tx| put(tx, item)))
        })
        .await?
        .map_err(Error::from)
    }

    /// Checks, when everything was written, that no token that was revoked lives on in an older version
    /// of its access. That two live ones share it was refused before.
    ///
    /// # Errors
    /// [`ImportError::Shared`], or of the store.
    pub async fn check_imported_accesses(&self, user: &UserId) -> Result<(), Error> {
        let checked = self.read(user, |view, _| check_lineage(view)).await?;
        checked.map_err(Error::from)
    }
}

/// # Errors
/// See [`ImportError`].
pub(crate) fn check_lineage(view: &dyn View) -> Result<(), ImportError> {
    let mut lineage = Lineage::default();
    let mut after: Option<String> = None;
    loop {
        let page = view.list(Kind::Access, after.as_deref(), ACCESSES_PAGE)?;
        for document in &page {
            lineage.add(&document.id, &StoredAccess::decode(document)?);
        }
        match page.into_iter().next_back() {
            Some(last) if lineage.len() <= ACCESSES_MAX => after = Some(last.id),
            Some(_) => return Err(ImportError::TooManyAccesses),
            None => break,
        }
    }
    match lineage.settle().into_iter().next() {
        Some((id, Standing::FormerOf(other) | Standing::Disputed(other))) => {
            let what = "token";
            Err(ImportError::Shared { id, other, what })
        }
        None => Ok(()),
    }
}

/// Writes one record.
///
/// # Errors
/// See [`ImportError`].
pub fn put(tx: &mut Transaction<'_>, item: Item) -> Result<(), ImportError> {
    match item {
        Item::Stream(StreamRecord::Stream { id, stream }) => {
            let body = serde_json::to_vec(&stream)
                .map_err(|error| StoreError::engine("encoding a stream", error))?;
            put_new(tx, "stream", new(Kind::Stream, id, body))
        }
        Item::Stream(StreamRecord::Deletion { id, deleted }) => {
            let body = json!({ "id": id, "deleted": seconds(deleted) }).to_string();
            let write = Write {
                deleted: true,
                entries: vec![stream_deleted_entry(deleted.as_seconds())],
                ..new(Kind::Stream, id, body.into_bytes())
            };
            put_new(tx, "stream", write)
        }
        Item::Access(AccessRecord {
            id,
            access,
            is_former: true,
            ..
        }) => {
            let version = FormerVersion {
                kind: Kind::Access,
                id,
                order: f64::from(access.serial),
                body: access.encode()?,
            };
            put_former(tx, vec![version])
        }
        Item::Access(AccessRecord {
            id, access, uses, ..
        }) => {
            let is_deleted = access.deleted.is_some();
            if !is_deleted {
                check_sole(tx, &id, &access)?;
            }
            let write = Write {
                deleted: is_deleted,
                entries: access.entries(),
                ..new(Kind::Access, id.clone(), access.encode()?)
            };
            put_new(tx, "access", write)?;
            match uses.filter(|_| !is_deleted) {
                Some(uses) => {
                    let body = serde_json::to_vec(&uses)
                        .map_err(|error| StoreError::engine("encoding uses", error))?;
                    put_new(tx, "access", new(Kind::AccessUses, id, body))
                }
                None => Ok(()),
            }
        }
        Item::Profile(ProfileRecord { id, body }) => {
            put_new(tx, "profile", new(Kind::Profile, id, body))
        }
        Item::Event(SealedEvent { id, body, entries }) => {
            let write = Write {
                entries,
                ..new(Kind::Event, id, body)
            };
            put_new(tx, "event", write)
        }
        Item::EventDeletion { id, deleted, body } => {
            let write = Write {
                deleted: true,
                entries: vec![event_deleted_entry(deleted)],
                ..new(Kind::Event, id, body)
            };
            put_new(tx, "event", write)
        }
        Item::Former(versions) => put_former(tx, versions),
        Item::Audit(records) => put_audit(tx, records),
    }
}

/// Whatever the archive says: a token leads to one live access, and so do type, name and device.
fn check_sole(tx: &Transaction<'_>, id: &str, access: &StoredAccess) -> Result<(), ImportError> {
    let by_token = token::by_token(tx.view(), &Secret::new(access.token.as_str()))?;
    let device = access.device_name.as_deref();
    let by_name = lookup::named(tx.view(), access.kind, &access.name, device)?;
    let shared = [(by_token, "token"), (by_name, "type and name")]
        .into_iter()
        .find_map(|(found, what)| Some((found?.0, what)))
        // The same id twice is told as that.
        .filter(|(other, _)| other != id);
    match shared {
        Some((other, what)) => Err(ImportError::Shared {
            id: id.to_owned(),
            other,
            what,
        }),
        None => Ok(()),
    }
}

/// Writes entries of the audit log: our own in the pages that they were in, others in as few as they
/// fit into.
fn put_audit(tx: &mut Transaction<'_>, records: Vec<AuditRecord>) -> Result<(), ImportError> {
    let mut records = records.into_iter().peekable();
    while let Some(first) = records.next() {
        let mut entries = vec![first.entry];
        let fits = |next: &AuditRecord, count: usize, since: Millis, last: Millis| {
            if first.is_own {
                return next.page == first.page && next.place == first.place.saturating_add(count);
            }
            let within = since.0.saturating_add(PAGE_SPAN_MS);
            !next.is_own && (last..Millis(within)).contains(&next.entry.at)
        };
        loop {
            let since = entries.first().map_or(Millis(0), |entry| entry.at);
            let last = entries.last().map_or(Millis(0), |entry| entry.at);
            let count = entries.len();
            let next =
                records.next_if(|next| count < PAGE_ENTRIES_MAX && fits(next, count, since, last));
            match next {
                Some(next) => entries.push(next.entry),
                None => break,
            }
        }
        // A page may come in two parts.
        let mut page = match tx.get(Kind::Audit, &first.page)? {
            Some(document) => page::decode(&document)?,
            None => Vec::new(),
        };
        if page.len() != first.place {
            let (kind, id) = ("audit record", first.page);
            return Err(ImportError::Twice { kind, id });
        }
        page.append(&mut entries);
        page::put_as(tx, first.page, Base::Any, &page)?;
    }
    Ok(())
}

fn new(kind: Kind, id: String, body: Vec<u8>) -> Write {
    Write {
        kind,
        id,
        base: Base::Absent,
        body: body.into(),
        deleted: false,
        entries: Vec::new(),
        keep_previous: false,
    }
}

fn put_new(tx: &mut Transaction<'_>, kind: &'static str, write: Write) -> Result<(), ImportError> {
    // A tombstone counts as absent, but here it was just imported.
    if tx.get(write.kind, &write.id)?.is_some() {
        return Err(ImportError::Twice { kind, id: write.id });
    }
    tx.put(write).map(drop).map_err(unexpected)
}

fn unexpected(error: PutError) -> ImportError {
    match error {
        PutError::Store(error) => error.into(),
        PutError::Conflict { .. } => StoreError::Corrupted {
            what: "a record changed while it was being imported".to_owned(),
        }
        .into(),
    }
}

/// Puts former versions beneath an event or an access. Where they are all later than those that are there, these
/// stay; where not, the whole history is written anew. It is one commit, so nothing in between is
/// ever seen.
fn put_former(
    tx: &mut Transaction<'_>,
    mut versions: Vec<FormerVersion>,
) -> Result<(), ImportError> {
    versions.sort_by(|a, b| a.order.total_cmp(&b.order));
    let Some(first) = versions.first() else {
        return Ok(());
    };
    let (kind, id) = (first.kind, first.id.clone());
    let head = tx
        .get(kind, &id)?
        .ok_or_else(|| ImportError::NoHead { id: id.clone() })?;
    let is_later =
        last_former(tx, &head)?.is_none_or(|last| first.order.total_cmp(&last.order).is_ge());
    if !is_later {
        let mut all = present_history(tx, &head)?;
        all.append(&mut versions);
        all.sort_by(|a, b| a.order.total_cmp(&b.order));
        versions = all;
    }
    let entries = entries_of(&head)?;
    for (i, version) in versions.into_iter().enumerate() {
        let write = Write {
            base: Base::Any,
            // What the first one replaces is the event itself, which comes again at the end.
            keep_previous: i > 0,
            ..new(kind, id.clone(), version.body)
        };
        let put = if i == 0 && !is_later {
            tx.put_dropping_history(write)
        } else {
            tx.put(write)
        };
        put.map_err(unexpected)?;
    }
    let write = Write {
        base: Base::Any,
        deleted: head.deleted,
        entries,
        keep_previous: true,
        ..new(kind, id, head.body.to_vec())
    };
    tx.put(write).map(drop).map_err(unexpected)
}

fn entries_of(head: &Document) -> Result<Vec<homecore_store::Entry>, StoreError> {
    if head.kind == Kind::Access {
        return Ok(StoredAccess::decode(head)?.entries());
    }
    if head.deleted {
        return Ok(vec![event_deleted_entry(time_in(&head.body, "deleted"))]);
    }
    Ok(Head::decode(head)?.entries())
}

fn time_in(body: &[u8], name: &str) -> f64 {
    serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|item| item.get(name)?.as_f64())
        .unwrap_or(0.0)
}

fn former(document: Document) -> FormerVersion {
    let field = match document.kind {
        Kind::Access => "serial",
        _ => "modified",
    };
    FormerVersion {
        kind: document.kind,
        order: time_in(&document.body, field),
        id: document.id,
        body: document.body.to_vec(),
    }
}

/// The latest former version; they have consecutive numbers up to the one below the event's.
fn last_former(tx: &Transaction<'_>, head: &Document) -> Result<Option<FormerVersion>, StoreError> {
    let below = Rev(head.rev.0.saturating_sub(2));
    let mut last = tx.view().history(head.kind, &head.id, below, 1)?;
    Ok(last.pop().map(former))
}

fn present_history(
    tx: &Transaction<'_>,
    head: &Document,
) -> Result<Vec<FormerVersion>, ImportError> {
    let (mut all, mut after, mut bytes) = (Vec::new(), Rev(0), 0_usize);
    loop {
        let page = tx
            .view()
            .history(head.kind, &head.id, after, HISTORY_PAGE)?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        after = last.rev;
        for document in page {
            bytes = bytes.saturating_add(document.body.len());
            all.push(former(document));
        }
        if bytes > HISTORY_BYTES_MAX {
            return Err(ImportError::TooMuchHistory {
                id: head.id.clone(),
            });
        }
    }
}
