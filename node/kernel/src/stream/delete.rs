//! `streams.delete` (spec/pryv-api §5.5): first into the trash, then for good, with everything below
//! and with the events that are nowhere else.
//!
//! A stream may hold any number of events, so a deletion is made of steps of bounded size, each an
//! attempt of its own. A step works from the deepest streams upwards and deletes a stream once its
//! events are dealt with; the stream that was named goes last. Whatever ends a deletion early leaves
//! a sound tree with the named stream still in the trash, and asking again goes on. Most deletions
//! are one step.

use std::collections::BTreeSet;
use std::sync::Arc;

use homecore_store::{Base, Document, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::{ErrorId, limits};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::cache::Trees;
use super::store::{is_clients_own, refusal_data};
use super::tree::Tree;
use crate::actor::Actor;
use crate::error::{InvalidParameters, Refusal};
use crate::event::delete::erase;
use crate::event::stored::decode;
use crate::event::update::{self, streams_of, touched};
use crate::fields::{Fields, Null};
use crate::indexes::{self, EVENT_BY_STREAM, State};
use crate::kernel::Context;
use crate::number::seconds;
use crate::permission::{Level, Parents};
use crate::reply::{ObjectWriter, Reply};

/// Versions that a step writes before it stops. (Few in tests, so that several steps are taken.)
const STEP_WRITES: usize = if cfg!(test) { 5 } else { 512 };
/// Bytes of events that a step reads before it stops.
const STEP_BYTES: usize = 4 * 1024 * 1024;
/// Events read at once at first, and at most.
const FETCH_FIRST: usize = 4;
const FETCH_MAX: usize = 64;
/// Bytes of events that are read at once, about.
const FETCH_BYTES: usize = 512 * 1024;

/// Parameters of `streams.delete`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteStream {
    /// Which stream.
    pub id: String,
    /// Whether its events move to its parent; none: there must be no event that is not in the trash.
    pub merge: Option<bool>,
}

/// Why a stream was not deleted.
#[derive(Debug, Error)]
pub enum StreamsDeleteError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// There is no such stream.
    #[error("Unknown stream \"{id}\"")]
    Unknown {
        /// As given.
        id: String,
    },
    /// No right to manage it or a stream below it, or to put its events into its parent.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// Only homecore changes it.
    #[error("The stream \"{id}\" cannot be deleted: it is reserved")]
    Reserved {
        /// Which.
        id: String,
    },
    /// There are events, and nobody said what becomes of them.
    #[error(
        "There are events referring to the deleted items and the `mergeEventsWithParent` parameter \
         is missing."
    )]
    MergeNotSaid,
    /// A root has no parent to put events into.
    #[error("The stream \"{id}\" has no parent to merge events with")]
    NoParent {
        /// Which.
        id: String,
    },
    /// It was taken out of the trash while its events were being deleted.
    #[error("The stream \"{id}\" was restored while it was being deleted")]
    Restored {
        /// Which.
        id: String,
    },
    /// More events were changed than an answer that must be whole can name.
    #[error(
        "This deletion changes too many events (the limit is {}). What was done stays done: call \
         again to go on, or call the method directly, not in a batch.",
        limits::COLLECTED_ITEMS_MAX
    )]
    TooMany,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for StreamsDeleteError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::Unknown { .. } => ErrorId::UnknownResource,
            Self::Forbidden => ErrorId::Forbidden,
            Self::MergeNotSaid => ErrorId::InvalidParametersFormat,
            Self::Reserved { .. } | Self::NoParent { .. } | Self::Restored { .. } => {
                ErrorId::InvalidOperation
            }
            Self::TooMany => ErrorId::TooManyResults,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::NoParent { id } => Some(json!({ "streamId": id })),
            Self::TooMany => Some(json!({ "limit": limits::COLLECTED_ITEMS_MAX })),
            Self::Reserved { id } => refusal_data(id),
            Self::Unknown { .. }
            | Self::Forbidden
            | Self::MergeNotSaid
            | Self::Restored { .. }
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }
}

impl DeleteStream {
    /// Reads the parameters.
    ///
    /// # Errors
    /// All violations.
    pub fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        let mut fields = Fields::lenient(params, &["id"])?;
        let read = Self {
            id: fields
                .text("id", Null::Refused)
                .unwrap_or_default()
                .to_owned(),
            merge: fields.flag("mergeEventsWithParent", Null::Absent),
        };
        fields.finish()?;
        Ok(read)
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Merged,
    Narrowed,
    Deleted,
}

/// An event that was changed or deleted with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventChange {
    fate: Fate,
    id: String,
}

impl EventChange {
    /// As it stands in `updatedEvents`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let action = match self.fate {
            Fate::Merged => "mergedToParent",
            Fate::Narrowed => "updatedStreamIds",
            Fate::Deleted => "deleted",
        };
        json!({ "action": action, "id": self.id })
            .to_string()
            .into_bytes()
    }
}

/// How far a step came. The events are those that it changed and that were not in the trash.
#[derive(Debug)]
pub enum Step {
    /// The stream is in the trash: this is the answer.
    Trashed(Reply),
    /// There is more to do.
    Going(Vec<EventChange>),
    /// The stream is gone.
    Gone(Vec<EventChange>),
}

/// `{"updatedEvents": […], "streamDeletion": {"id": …}}`.
#[must_use]
pub fn reply_of(changes: &[EventChange], id: &str) -> Reply {
    let changes: Vec<Vec<u8>> = changes.iter().map(EventChange::to_json).collect();
    let mut reply = ObjectWriter::new();
    reply.array("updatedEvents", changes.iter().map(Vec::as_slice));
    reply.member("streamDeletion", deletion_of(id).as_bytes());
    reply.finish()
}

/// `{"id": …}`.
#[must_use]
pub fn deletion_of(id: &str) -> String {
    json!({ "id": id }).to_string()
}

/// A deletion in one step, or none at all.
///
/// # Errors
/// See [`StreamsDeleteError`].
pub fn at_once(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    asked: &DeleteStream,
) -> Result<Reply, StreamsDeleteError> {
    match step(tx, context, trees, actor, asked, true)? {
        Step::Trashed(reply) => Ok(reply),
        Step::Gone(changes) => Ok(reply_of(&changes, &asked.id)),
        Step::Going(_) => Err(StreamsDeleteError::TooMany),
    }
}

/// Does the next piece of a deletion; `first`: the first one. Everything is checked each time, for
/// other calls may come between two steps.
///
/// # Errors
/// See [`StreamsDeleteError`].
pub fn step(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    asked: &DeleteStream,
    first: bool,
) -> Result<Step, StreamsDeleteError> {
    let tree = trees.current(tx.view())?;
    let rights = actor.access.rights();
    let id = || asked.id.clone();
    if !tree.contains(&asked.id) {
        return Err(StreamsDeleteError::Unknown { id: id() });
    }
    if !rights.allows(&*tree, &asked.id, Level::manages) {
        return Err(StreamsDeleteError::Forbidden);
    }
    let stream = tree.get(&asked.id).filter(|_| is_clients_own(&asked.id));
    let stream = stream.ok_or_else(|| StreamsDeleteError::Reserved { id: id() })?;
    if !stream.trashed {
        if !first {
            return Err(StreamsDeleteError::Restored { id: id() });
        }
        let mut stream = stream.clone();
        stream.trashed = true;
        stream.touch(tx.at(), actor.author());
        stream.replace(tx, &asked.id)?;
        return Ok(Step::Trashed(stream.reply(&asked.id, &tree, rights)));
    }
    let parent = match (asked.merge, &stream.parent_id) {
        (Some(true), None) => return Err(StreamsDeleteError::NoParent { id: id() }),
        (Some(true), Some(parent)) => Some(parent.clone()),
        (Some(false) | None, _) => None,
    };
    let doomed = tree.branch(&asked.id);
    check_rights(&tree, actor, &doomed, parent.as_deref())?;
    let mut deletion = Deletion {
        context,
        author: actor.author(),
        merge: asked.merge,
        parent,
        doomed: doomed.iter().cloned().collect(),
        done: BTreeSet::new(),
        bytes: 0,
        changes: Vec::new(),
    };
    if first && asked.merge.is_none() && any_live(tx.view(), &doomed)? {
        return Err(StreamsDeleteError::MergeNotSaid);
    }
    // Each parent comes before its children in the list.
    for stream in doomed.iter().rev() {
        if deletion.is_full(tx) || !deletion.release_events(tx, stream)? {
            return Ok(Step::Going(deletion.changes));
        }
        bury(tx, stream)?;
    }
    Ok(Step::Gone(deletion.changes))
}

/// A branch of which a part is withheld from the caller is not the caller's to delete, and events do
/// not get into a parent that the caller could not put them into one by one.
fn check_rights(
    tree: &Tree,
    actor: &Actor,
    doomed: &[Arc<str>],
    parent: Option<&str>,
) -> Result<(), StreamsDeleteError> {
    let rights = actor.access.rights();
    let manages = |id: &Arc<str>| rights.allows(tree, id, Level::manages);
    let takes = |id: &str| rights.allows(tree, id, Level::updates);
    if doomed.iter().all(manages) && parent.is_none_or(takes) {
        Ok(())
    } else {
        Err(StreamsDeleteError::Forbidden)
    }
}

/// Whether an event that is not in the trash is in one of the streams.
fn any_live(view: &dyn View, streams: &[Arc<str>]) -> Result<bool, StoreError> {
    for stream in streams {
        if !view.scan(&events_of(stream, State::Live, 1))?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn events_of(stream: &str, state: State, limit: usize) -> homecore_store::Scan {
    let prefix = indexes::prefix_of_stream(stream, state);
    let (all, newest_first) = ((f64::NEG_INFINITY, f64::INFINITY), true);
    let mut scan = indexes::range(EVENT_BY_STREAM, &prefix, all.0, all.1, newest_first);
    scan.limit = limit;
    scan
}

/// Writes a stream's tombstone.
fn bury(tx: &mut Transaction<'_>, id: &str) -> Result<(), StoreError> {
    let at = tx.at();
    let body = json!({ "id": id, "deleted": seconds(at) }).to_string();
    let write = Write {
        kind: Kind::Stream,
        id: id.to_owned(),
        base: Base::Any,
        body: body.into(),
        deleted: true,
        entries: vec![indexes::stream_deleted_entry(at.as_seconds())],
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("stream {id} changed while it was being deleted"),
        }),
    }
}

/// One step at work.
struct Deletion<'a> {
    context: &'a Context,
    author: String,
    merge: Option<bool>,
    /// Where events go.
    parent: Option<String>,
    /// Every stream that goes.
    doomed: BTreeSet<Arc<str>>,
    /// Events that this step has dealt with: the indexes still show them where they were.
    done: BTreeSet<String>,
    bytes: usize,
    changes: Vec<EventChange>,
}

impl Deletion<'_> {
    fn is_full(&self, tx: &Transaction<'_>) -> bool {
        tx.written() >= STEP_WRITES || self.bytes >= STEP_BYTES
    }

    /// Takes a stream's events out of all that goes, newest first. False if some are left.
    fn release_events(
        &mut self,
        tx: &mut Transaction<'_>,
        stream: &str,
    ) -> Result<bool, StreamsDeleteError> {
        for state in [State::Live, State::Trashed] {
            let mut scan = events_of(stream, state, FETCH_FIRST);
            loop {
                let page = tx.view().scan(&scan)?;
                let mut bytes = 0;
                for (_, document) in &page {
                    if self.done.contains(&document.id) {
                        continue;
                    }
                    if self.is_full(tx) {
                        return Ok(false);
                    }
                    bytes += document.body.len();
                    self.release(tx, document, state)?;
                }
                match page.last() {
                    Some((key, last)) if page.len() == scan.limit => {
                        scan.after = Some((key.clone(), last.id.clone()));
                        scan.limit = next_fetch(page.len(), bytes);
                    }
                    _ => break,
                }
            }
        }
        Ok(true)
    }

    /// Takes an event out of all streams that go.
    fn release(
        &mut self,
        tx: &mut Transaction<'_>,
        document: &Document,
        state: State,
    ) -> Result<(), StreamsDeleteError> {
        if self.merge.is_none() && state == State::Live {
            return Err(StreamsDeleteError::MergeNotSaid);
        }
        self.bytes += document.body.len();
        self.done.insert(document.id.clone());
        let mut event: Map<String, Value> = decode(document)?;
        let mut left: Vec<String> = streams_of(&event)
            .filter(|id| !self.doomed.contains(*id))
            .map(str::to_owned)
            .collect();
        let fate = match &self.parent {
            Some(parent) => {
                if !left.contains(parent) {
                    left.push(parent.clone());
                }
                Fate::Merged
            }
            None if left.is_empty() => Fate::Deleted,
            None => Fate::Narrowed,
        };
        if fate == Fate::Deleted {
            erase(tx, self.context, document)?;
        } else {
            event.insert("streamIds".to_owned(), Value::from(left));
            touched(&mut event, tx.at(), &self.author);
            update::store(tx, self.context, document, event)?;
        }
        if state == State::Live {
            self.changes.push(EventChange {
                fate,
                id: document.id.clone(),
            });
        }
        Ok(())
    }
}

/// How many events to read at once after some of this size.
fn next_fetch(events: usize, bytes: usize) -> usize {
    let average = (bytes / events.max(1)).max(1);
    (FETCH_BYTES / average).clamp(1, FETCH_MAX)
}

#[cfg(test)]
mod tests;
