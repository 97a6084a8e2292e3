//! `events.get` and `events.getOne` (spec/pryv-api §4.3 to §4.5).

use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use homecore_store::{Kind, Rev, StoreError, View};
use homecore_types::{ErrorId, Millis, limits};
use serde_json::{Value, json};
use thiserror::Error;

use super::conditions::Conditions;
use super::filter::{Filter, Wanted};
use super::merge::{Merge, Most, Progress};
use super::pages::EventsPart;
use super::query::StreamsQuery;
use super::select::{self, SelectError};
use super::stored::{Head, StoredEvent};
use super::{account, is_type_query, tombstone};
use crate::account::{self as accounts, AccountError};
use crate::actor::Actor;
use crate::attachment::token::ReadTokens;
use crate::audit::page;
use crate::audit::scan::AuditScan;
use crate::error::{InvalidParameters, InvalidStructure, Refusal};
use crate::fields::{Fields, Null};
use crate::indexes::{self, EVENT_DELETED, EVENTS_BY_TYPE};
use crate::kernel::Context;
use crate::permission::{Level, Rights};
use crate::reply::{ObjectWriter, Reply};
use crate::stream::cache::Trees;
use crate::stream::store::Store;
use crate::violation::Violation;
use beside::{Beside, Log};
use collected::COLLECTED_BYTES_MAX;
pub use collected::Collected;
pub(crate) use known::KnownEvents;
use known::Shape;
use taker::{PART_EVENTS, Part, Taker};

mod beside;
mod collected;
mod known;
mod taker;

/// Most of `skip` and of `limit`; a window in time without a limit has none.
const PAGING_MAX: u32 = 100_000;
/// Events of a query that names neither a time nor a limit.
const DEFAULT_LIMIT: usize = 20;
/// How far back a query reaches that names only its end.
const DEFAULT_WINDOW_SECONDS: f64 = 86_400.0;
/// With more types than this all events are looked at, instead of one range a type.
const TYPE_RANGES_MAX: usize = 32;
/// Most events that a short reading is asked for.
const SHORT_LIMIT: usize = 100;
/// Former versions that are answered with an event.
pub(super) const HISTORY_MAX: usize = 1_000;
/// Former versions read at once: each may be as large as a body.
pub(super) const HISTORY_PAGE: usize = 8;

const TYPES_PATTERN: &str = "^(series:)?[a-z0-9-]+/(\\*|[a-z0-9-]+)$";

/// Parameters of `events.get`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventsGet {
    /// None: everything readable.
    pub streams: Option<StreamsQuery>,
    /// None: every type.
    pub types: Option<Vec<String>>,
    /// Seconds.
    pub from_time: Option<f64>,
    /// Seconds.
    pub to_time: Option<f64>,
    /// Oldest first.
    pub sort_ascending: bool,
    /// Events to leave out at the beginning.
    pub skip: usize,
    /// Most events.
    pub limit: Option<usize>,
    /// As to the trash.
    pub wanted: Wanted,
    /// Only running ones.
    pub running: bool,
    /// As to what is inside.
    pub conditions: Conditions,
    /// Changed after this time, in seconds.
    pub modified_since: Option<f64>,
    /// With deletions since then.
    pub include_deletions: bool,
}

/// Why events were not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// See [`InvalidStructure`].
    #[error(transparent)]
    Structure(#[from] InvalidStructure),
    /// See [`SelectError`].
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A condition on what is inside of entries of the audit log.
    #[error("Events of the audit log cannot be selected by \"content\" or \"clientData\"")]
    NoContentQueries,
    /// There is no such event.
    #[error("Unknown event \"{id}\"")]
    Unknown {
        /// As given.
        id: String,
    },
    /// The access may not read it.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// More than may be collected.
    #[error(
        "Your request gave too many results (the limit is {}). Call the method directly, not in a \
         batch, to retrieve large amounts of data.",
        limits::COLLECTED_ITEMS_MAX
    )]
    TooMany,
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ReadError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Structure(invalid) => invalid.id(),
            Self::Select(error) => error.id(),
            Self::NoContentQueries => ErrorId::InvalidOperation,
            Self::Unknown { .. } => ErrorId::UnknownResource,
            Self::Forbidden => ErrorId::Forbidden,
            Self::TooMany => ErrorId::TooManyResults,
            Self::Account(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Select(error) => error.data(),
            Self::TooMany => Some(json!({ "limit": limits::COLLECTED_ITEMS_MAX })),
            Self::Structure(_)
            | Self::NoContentQueries
            | Self::Unknown { .. }
            | Self::Forbidden
            | Self::Account(_)
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Account(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

impl EventsGet {
    /// Reads the parameters.
    ///
    /// # Errors
    /// All violations; then what is wrong with `streams`.
    pub fn parse(params: &Value) -> Result<Self, ReadError> {
        const KNOWN: &[&str] = &[
            "streams",
            "types",
            "fromTime",
            "toTime",
            "sortAscending",
            "skip",
            "limit",
            "state",
            "running",
            "modifiedSince",
            "includeDeletions",
            "content",
            "clientData",
            "auth",
        ];
        let mut fields = Fields::strict(params, &[], KNOWN)?;
        let types = fields.texts("types", Null::Absent);
        for (i, text) in types.iter().flatten().enumerate() {
            if !is_type_query(text) {
                fields.violated(Violation::pattern(&format!("#/types/{i}"), TYPES_PATTERN));
            }
        }
        let read = Self {
            streams: None,
            types: types.map(|types| types.into_iter().map(str::to_owned).collect()),
            from_time: fields.float("fromTime"),
            to_time: fields.float("toTime"),
            sort_ascending: fields.flag("sortAscending", Null::Absent).unwrap_or(false),
            skip: fields.count_to("skip", PAGING_MAX).unwrap_or(0),
            limit: fields.count_to("limit", PAGING_MAX),
            wanted: match fields.choice("state", &["default", "trashed", "all"]) {
                Some("trashed") => Wanted::Trashed,
                Some("all") => Wanted::All,
                _ => Wanted::Live,
            },
            running: fields.flag("running", Null::Absent).unwrap_or(false),
            conditions: Conditions::parse(&mut fields),
            modified_since: fields.float("modifiedSince"),
            include_deletions: fields
                .flag("includeDeletions", Null::Absent)
                .unwrap_or(false),
        };
        let streams = fields.raw("streams").filter(|streams| !streams.is_null());
        fields.finish()?;
        let streams = streams.map(StreamsQuery::parse).transpose()?;
        Ok(Self { streams, ..read })
    }

    /// Whether the first part of the answer is a few documents, whatever the user has: then it need
    /// not examine more than [`Most::SHORT`].
    #[must_use]
    pub fn is_short(&self) -> bool {
        let names_audit = self.streams.as_ref().is_some_and(StreamsQuery::names_audit);
        self.limit
            .is_none_or(|limit| limit.saturating_add(self.skip) <= SHORT_LIMIT)
            && self.modified_since.is_none()
            && self.conditions.is_empty()
            && !names_audit
    }

    /// Start and end of the window, and the limit, with the defaults of spec/pryv-api §4.3.
    #[must_use]
    pub fn bounds(&self, now: f64) -> (Option<(f64, f64)>, Option<usize>) {
        match (self.from_time, self.to_time) {
            (Some(from), Some(to)) => (Some((from, to)), self.limit),
            (Some(from), None) => (Some((from, now)), self.limit),
            (None, Some(to)) => (Some((to - DEFAULT_WINDOW_SECONDS, to)), self.limit),
            (None, None) => (None, self.limit.or(Some(DEFAULT_LIMIT))),
        }
    }
}

/// A reading of events that was begun: what is left of it.
#[derive(Debug)]
pub struct Reading {
    filter: Filter,
    merge: Merge,
    now: Millis,
    ascending: bool,
    skip: usize,
    limit: Option<usize>,
    account: VecDeque<StoredEvent>,
    audit: Option<AuditScan>,
    /// An event that was read and must wait for entries of the audit log that come before it.
    held: Option<(f64, StoredEvent)>,
    phase: Phase,
    deletions: Option<Deletions>,
    tokens: ReadTokens,
    /// What is read, where the same will be the answer later if nothing changes.
    known: Option<KnownEvents>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Events,
    Deletions,
    Ended,
}

/// The tombstones that are listed after the events.
#[derive(Debug)]
struct Deletions {
    since: f64,
    after: Option<(Vec<u8>, String)>,
}

/// Checks a query and begins to read.
///
/// # Errors
/// See [`ReadError`].
pub fn open(
    view: &dyn View,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    query: EventsGet,
) -> Result<Reading, ReadError> {
    let tree = trees.current(view)?;
    let trashed_too = query.wanted.trashed_streams();
    let rights = actor.access.rights();
    let selection = select::select(&tree, rights, query.streams.as_ref(), trashed_too)?;
    let now = context.now();
    let (window, limit) = query.bounds(now.as_seconds());
    let account = trees.account(view)?;
    let everywhere = query.streams.is_none()
        && rights.star().is_some_and(Level::reads)
        && rights.forced().is_empty();
    let filter = Filter {
        selection,
        by_time: everywhere && withholds_nothing(rights) && !tree.has_trashed(),
        by_type: everywhere
            && account.event_indexes >= EVENTS_BY_TYPE
            && are_few(query.types.as_ref()),
        types: query.types,
        window,
        running: query.running,
        conditions: query.conditions,
        modified_since: query.modified_since,
        wanted: query.wanted,
        now: now.as_seconds(),
    };
    let chosen = account.chosen(&filter, now);
    let fields = beside::account_fields(&account, &chosen, now, query.sort_ascending);
    let deletions = query
        .modified_since
        .filter(|_| query.include_deletions)
        .map(|since| Deletions { since, after: None });
    let descending = !query.sort_ascending;
    let changes = match filter.modified_since {
        Some(since) => Merge::of_changes(view, &filter, since, descending)?,
        None => None,
    };
    let audit = AuditScan::open(&filter, descending);
    if audit.is_some() && !filter.conditions.is_empty() {
        return Err(ReadError::NoContentQueries);
    }
    let asked = limit.map(|limit| limit.saturating_add(query.skip));
    let tokens = ReadTokens::of(context, &actor.access);
    // What else is asked for depends on when, or is more than events; and without the secret of read
    // tokens, attachments would lack theirs for as long as the answer is kept.
    let lasting = tokens.has_key()
        && filter.window.is_none()
        && !filter.running
        && filter.modified_since.is_none()
        && audit.is_none();
    let known = lasting.then(|| {
        let shape = Shape {
            ascending: query.sort_ascending,
            skip: query.skip,
            limit,
        };
        KnownEvents::begin(account, chosen, shape)
    });
    Ok(Reading {
        merge: match changes {
            Some(changes) => changes,
            None => Merge::plan(view, &filter, descending, asked)?,
        },
        audit,
        held: None,
        filter,
        now,
        ascending: query.sort_ascending,
        skip: query.skip,
        limit,
        account: fields,
        phase: Phase::Events,
        deletions,
        tokens,
        known,
    })
}

/// Whether no entry keeps an access from reading local events. The time line has no others, so what
/// entries say of the account streams, as every access has one, does not matter here.
fn withholds_nothing(rights: &Rights) -> bool {
    let mut local = rights
        .named()
        .filter(|(stream_id, _)| Store::of(stream_id) == Store::Local);
    local.all(|(_, level)| level.reads())
}

/// Whether types can each be read from a range of their own.
fn are_few(types: Option<&Vec<String>>) -> bool {
    types.is_some_and(|types| {
        types.len() <= TYPE_RANGES_MAX && types.iter().all(|kind| !kind.ends_with('*'))
    })
}

impl Reading {
    /// Whether deletions follow the events (if only an empty list).
    #[must_use]
    pub fn has_deletions(&self) -> bool {
        self.deletions.is_some()
    }

    /// Whether nothing follows what was read.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.phase == Phase::Ended
    }

    /// What was read, to be answered again as long as nothing changes; none unless it is all of a
    /// short answer.
    pub(crate) fn take_known(&mut self) -> Option<KnownEvents> {
        let known = self.known.take();
        known.filter(|_| self.has_ended())
    }

    /// Reads the next part: a bounded piece of work. A part may be empty though others follow.
    ///
    /// # Errors
    /// Of the store.
    pub fn next(&mut self, view: &dyn View) -> Result<Option<EventsPart>, StoreError> {
        self.next_within(view, Most::LONG)
    }

    /// As [`Self::next`], looking at no more than `most`.
    ///
    /// # Errors
    /// Of the store.
    pub fn next_within(
        &mut self,
        view: &dyn View,
        most: Most,
    ) -> Result<Option<EventsPart>, StoreError> {
        match self.phase {
            Phase::Events => self.next_events(view, most).map(Some),
            Phase::Deletions => self.next_deletions(view).map(Some),
            Phase::Ended => Ok(None),
        }
    }

    fn next_events(&mut self, view: &dyn View, most: Most) -> Result<EventsPart, StoreError> {
        let mut part = Part::default();
        let Self {
            filter,
            merge,
            account,
            audit,
            held,
            skip,
            limit,
            tokens,
            known,
            ..
        } = self;
        let mut taker = Taker {
            part: &mut part,
            skip,
            limit,
        };
        let mut beside = Beside {
            now: self.now.as_seconds(),
            ascending: self.ascending,
            account,
            audit: audit.as_mut().map(|scan| Log { view, filter, scan }),
        };
        let mut progress = Progress::Stopped;
        let mut failure = None;
        if beside.place(held, &mut taker)? {
            progress = merge.run(view, most, &mut |head: Head, document| {
                if !filter.accepts(&head) || !filter.accepts_body(&document.body) {
                    return ControlFlow::Continue(());
                }
                let event = StoredEvent {
                    json: tokens.shown(&head, document.body),
                };
                known.take_if(|known| !known.add(head.time, &event));
                *held = Some((head.time, event));
                match beside.place(held, &mut taker) {
                    Ok(true) if !taker.is_full() => ControlFlow::Continue(()),
                    Ok(_) => ControlFlow::Break(()),
                    Err(error) => {
                        failure = Some(error);
                        ControlFlow::Break(())
                    }
                }
            })?;
            if let Some(error) = failure {
                return Err(error);
            }
        }
        if progress == Progress::Ended
            && let Some(known) = known
        {
            known.end();
        }
        let ended = progress == Progress::Ended && beside.rest(&mut taker)?;
        if ended || self.limit == Some(0) {
            let more = self.deletions.is_some();
            self.phase = if more { Phase::Deletions } else { Phase::Ended };
        }
        Ok(EventsPart::Events(part.events))
    }

    /// Newest first; neither `skip` nor `limit` applies to them.
    fn next_deletions(&mut self, view: &dyn View) -> Result<EventsPart, StoreError> {
        let mut found = Vec::new();
        let Some(deletions) = &mut self.deletions else {
            self.phase = Phase::Ended;
            return Ok(EventsPart::Deletions(found));
        };
        let mut scan = indexes::range(EVENT_DELETED, &[], deletions.since, f64::INFINITY, true);
        scan.limit = PART_EVENTS;
        scan.after = deletions.after.take();
        let page = view.scan(&scan)?;
        match page.last() {
            Some((key, last)) if page.len() == PART_EVENTS => {
                deletions.after = Some((key.clone(), last.id.clone()));
            }
            _ => self.phase = Phase::Ended,
        }
        for (_, document) in page {
            if document.written_at.as_seconds() > deletions.since {
                found.push(tombstone::listed(&document)?);
            }
        }
        Ok(EventsPart::Deletions(found))
    }
}

/// Reads everything from one state. [`super::pages::EventPages::collect`] does it in short steps.
///
/// # Errors
/// See [`ReadError`].
pub fn collect(
    view: &dyn View,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, ReadError> {
    let mut reading = open(view, context, trees, actor, EventsGet::parse(params)?)?;
    let mut collected = Collected::default();
    while let Some(part) = reading.next(view)? {
        collected.push(part)?;
    }
    Ok(collected.into_reply(reading.has_deletions()))
}

/// Answers `events.getOne`: `{"event": …, "history"?: […]}`.
///
/// # Errors
/// See [`ReadError`].
pub fn get_one(
    view: &dyn View,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, ReadError> {
    let mut fields = Fields::lenient(params, &["id"])?;
    let id = fields
        .text("id", Null::Refused)
        .unwrap_or_default()
        .to_owned();
    let with_history = fields.flag("includeHistory", Null::Absent).unwrap_or(false);
    fields.finish()?;

    let tree = trees.current(view)?;
    let rights = actor.access.rights();
    let stream = tree.schema().get(&id);
    if let Some(stream) = stream.filter(|stream| stream.field.is_some()) {
        if !select::may_read(&tree, rights, &id) {
            return Err(ReadError::Forbidden);
        }
        let event = account::event(&accounts::load(view)?, stream, context.now())
            .ok_or(ReadError::Unknown { id })?;
        return Ok(without_history(&event, with_history));
    }
    if Store::of(&id) == Store::Audit {
        let (entry, event) = page::find(view, &id)?.ok_or(ReadError::Unknown { id })?;
        let mut streams = entry.streams().into_iter();
        if !streams.any(|stream| select::may_read(&tree, rights, &stream)) {
            return Err(ReadError::Forbidden);
        }
        return Ok(without_history(&event, with_history));
    }
    let document = view
        .get(Kind::Event, &id)?
        .ok_or_else(|| ReadError::Unknown { id: id.clone() })?;
    let may_read = |stream: &str| select::may_read(&tree, rights, stream);
    let tokens = ReadTokens::of(context, &actor.access);
    let mut reply = ObjectWriter::new();
    let mut readable = true;
    if document.deleted {
        let shown = tombstone::shown(&document, may_read)?;
        reply.member("event", &shown.event.json);
        readable = shown.whole;
    } else {
        let head = Head::decode(&document)?;
        if !head.streams.iter().any(|stream| may_read(stream)) {
            return Err(ReadError::Forbidden);
        }
        reply.member("event", &tokens.shown(&head, document.body));
    }
    if with_history {
        let most = if readable { HISTORY_MAX } else { 0 };
        let history = read_history(view, &tokens, &id, most)?;
        reply.array("history", history.iter().map(AsRef::as_ref));
    }
    Ok(reply.finish())
}

/// The answer with an event of which no former versions are kept.
fn without_history(event: &StoredEvent, with_history: bool) -> Reply {
    let mut reply = ObjectWriter::new();
    reply.member("event", &event.json);
    if with_history {
        reply.array("history", std::iter::empty::<&[u8]>());
    }
    reply.finish()
}

/// The first kept versions of an event, oldest first, as long as they are not too large together.
fn read_history(
    view: &dyn View,
    tokens: &ReadTokens,
    id: &str,
    most: usize,
) -> Result<Vec<Bytes>, ReadError> {
    let mut history = Vec::new();
    let (mut after, mut bytes) = (Rev(0), 0_usize);
    while history.len() < most {
        let page = view.history(Kind::Event, id, after, HISTORY_PAGE)?;
        let Some(last) = page.last() else { break };
        after = last.rev;
        for version in page {
            let shown = tokens.shown_alone(version.body);
            bytes = bytes.saturating_add(shown.len());
            history.push(shown);
        }
        if bytes > COLLECTED_BYTES_MAX {
            return Err(ReadError::TooMany);
        }
    }
    history.truncate(most);
    Ok(history)
}

#[cfg(test)]
mod tests;
