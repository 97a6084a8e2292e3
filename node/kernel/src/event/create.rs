//! `events.create` (spec/pryv-api §4.7). The checks come in the order of that table.

use std::sync::Arc;

use homecore_store::{Base, Kind, PutError, StoreError, Transaction, Write};
use homecore_types::{ErrorId, entropy};
use serde_json::{Map, Number, Value, json};
use thiserror::Error;

use super::check::{self, TypeError};
use super::stored::{Head, StoredEvent};
use super::{EVENT_STREAMS_MAX, TYPE_PATTERN, account, is_type};
use crate::account::AccountError;
use crate::account::change::Wanted;
use crate::actor::Actor;
use crate::attachment::{self, Attachment};
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::integrity;
use crate::kernel::Context;
use crate::number::{seconds, seconds_number};
use crate::permission::{Level, Parents};
use crate::stream::cache::Trees;
use crate::stream::schema::AccountStream;
use crate::stream::store::{Store, is_reserved_local, refusal_of};
use crate::stream::tree::Tree;
use crate::violation::Violation;

/// What an id chosen by a client looks like.
pub(crate) const ID_PATTERN: &str =
    "^(c[a-z0-9-]{24}|[a-z][a-z0-9]{23}|:[a-zA-Z0-9_-]+:[a-zA-Z0-9-]+)$";
/// Longest id.
const ID_BYTES_MAX: usize = 255;
/// Members of an event.
const MEMBERS_MAX: usize = 16;

/// Parameters of `events.create`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// As chosen by the client.
    pub id: Option<String>,
    /// Without duplicates, in the order given.
    pub streams: Vec<String>,
    /// As given; none: now.
    pub time: Option<Number>,
    /// As given; an inner none: running.
    pub duration: Option<Option<Number>>,
    /// `class/format`.
    pub kind: String,
    /// As given.
    pub content: Option<Value>,
    /// Free text.
    pub description: Option<String>,
    /// Free.
    pub client_data: Option<Map<String, Value>>,
    /// Make it in the trash.
    pub trashed: bool,
    /// Files that were received with it; no parameter of its own.
    pub attachments: Vec<Attachment>,
}

/// Why an event was not created.
#[derive(Debug, Error)]
pub enum CreateError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// Streams that are not there.
    #[error("Unknown referenced {} {}", if .ids.len() == 1 { "stream" } else { "streams" },
        .ids.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", "))]
    UnknownStreams {
        /// Which.
        ids: Vec<String>,
    },
    /// Streams in the trash.
    #[error("The referenced streams \"{}\" are trashed.", .ids.join(", "))]
    TrashedStreams {
        /// Which.
        ids: Vec<String>,
    },
    /// See [`TypeError`].
    #[error(transparent)]
    Type(#[from] TypeError),
    /// No right to create in one of the streams.
    #[error("The given token's access permissions do not allow this operation.")]
    Forbidden,
    /// An account stream together with others.
    #[error("An event in the account stream \"{id}\" can be in no other stream")]
    AccountStreamWithOthers {
        /// Which.
        id: String,
    },
    /// The field cannot be set by clients.
    #[error("The account field \"{id}\" cannot be edited")]
    AccountStreamReadOnly {
        /// Which.
        id: String,
    },
    /// All is well, but the field is to be taken at the platform first.
    #[error("The account field \"{}\" is changed through the account", stream.id)]
    AccountFieldOfPlatform {
        /// Which.
        stream: Arc<AccountStream>,
        /// What to set.
        changes: Wanted,
    },
    /// The content is no value for the field.
    #[error("The content does not fit the account field \"{id}\"")]
    AccountContent {
        /// Which.
        id: String,
    },
    /// Only homecore writes there.
    #[error("Events cannot be created in \"{id}\": it is reserved")]
    ReservedStream {
        /// Which.
        id: String,
    },
    /// A stream of shared secrets, whether there is one yet or not.
    #[error("Events cannot be created among the shared secrets")]
    SharedSecrets,
    /// Streams or id of more than one store.
    #[error("Events can be in streams of one store only")]
    SeveralStores,
    /// The id was used before, perhaps by an event that is deleted.
    #[error("An event with id \"{id}\" already exists")]
    IdTaken {
        /// As chosen.
        id: String,
    },
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for CreateError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::UnknownStreams { .. } => ErrorId::UnknownReferencedResource,
            Self::Type(error) => error.id(),
            Self::Forbidden | Self::SharedSecrets => ErrorId::Forbidden,
            Self::TrashedStreams { .. }
            | Self::AccountStreamWithOthers { .. }
            | Self::AccountStreamReadOnly { .. }
            | Self::AccountFieldOfPlatform { .. }
            | Self::AccountContent { .. }
            | Self::ReservedStream { .. } => ErrorId::InvalidOperation,
            Self::SeveralStores => ErrorId::InvalidRequestStructure,
            Self::IdTaken { .. } => ErrorId::ItemAlreadyExists,
            Self::Account(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::UnknownStreams { ids } => Some(json!({ "streamIds": ids })),
            Self::TrashedStreams { .. } => Some(json!({ "trashedReference": "streamIds" })),
            Self::Type(error) => error.data(),
            Self::AccountStreamWithOthers { id }
            | Self::AccountStreamReadOnly { id }
            | Self::AccountContent { id } => Some(json!({ "streamId": id })),
            Self::ReservedStream { id } => Some(match refusal_of(id) {
                Some(refusal) => json!({ "streamId": id, "id": refusal }),
                None => json!({ "streamId": id }),
            }),
            Self::AccountFieldOfPlatform { stream, .. } => Some(json!({ "streamId": stream.id })),
            Self::IdTaken { id } => Some(json!({ "id": id })),
            Self::SharedSecrets => Some(json!({ "id": "shared-secret-forbidden" })),
            Self::Forbidden | Self::SeveralStores | Self::Account(_) | Self::Store(_) => None,
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

impl NewEvent {
    /// Reads the parameters. What the server sets itself is accepted and not looked at.
    ///
    /// # Errors
    /// All violations.
    pub fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        const KNOWN: &[&str] = &[
            "id",
            "streamIds",
            "time",
            "duration",
            "type",
            "content",
            "description",
            "clientData",
            "trashed",
            "created",
            "createdBy",
            "modified",
            "modifiedBy",
            "integrity",
        ];
        let mut fields = Fields::strict(params, &["type", "streamIds"], KNOWN)?;
        let id = fields.text("id", Null::Refused);
        if id.is_some_and(|id| !is_event_id(id)) {
            fields.violated(Violation::pattern("#/id", ID_PATTERN));
        }
        let streams = fields.texts("streamIds", Null::Refused).unwrap_or_default();
        if fields
            .raw("streamIds")
            .is_some_and(|value| value.as_array().is_some_and(Vec::is_empty))
        {
            fields.violated(Violation::too_few("#/streamIds", 1));
        }
        if streams.len() > EVENT_STREAMS_MAX {
            fields.violated(Violation::too_many("#/streamIds", EVENT_STREAMS_MAX));
        }
        let kind = fields.text("type", Null::Refused).unwrap_or_default();
        if fields.raw("type").is_some_and(Value::is_string) && !is_type(kind) {
            fields.violated(Violation::pattern("#/type", TYPE_PATTERN));
        }
        let duration = match fields.raw("duration") {
            Some(Value::Null) => Some(None),
            _ => fields.number("duration", Null::Absent).cloned().map(Some),
        };
        let read = Self {
            id: id.map(str::to_owned),
            streams: without_duplicates(&streams),
            time: fields.number("time", Null::Refused).cloned(),
            duration,
            kind: kind.to_owned(),
            content: fields
                .raw("content")
                .filter(|content| !content.is_null())
                .cloned(),
            description: fields.text("description", Null::Absent).map(str::to_owned),
            client_data: fields.object("clientData", Null::Absent).cloned(),
            trashed: fields.flag("trashed", Null::Absent).unwrap_or(false),
            attachments: Vec::new(),
        };
        fields.finish()?;
        Ok(read)
    }

    /// The event as it is stored and sent. Null values and a duration of 0 are left out.
    fn to_wire(&self, id: &str, at: homecore_types::Millis, author: &str) -> Map<String, Value> {
        let mut map = Map::with_capacity(MEMBERS_MAX);
        map.insert("id".to_owned(), Value::from(id));
        map.insert("streamIds".to_owned(), Value::from(self.streams.clone()));
        let time = self.time.clone().unwrap_or_else(|| seconds_number(at));
        map.insert("time".to_owned(), Value::Number(time));
        match &self.duration {
            Some(Some(duration)) if duration.as_f64() != Some(0.0) => {
                map.insert("duration".to_owned(), Value::Number(duration.clone()));
            }
            Some(None) => {
                map.insert("duration".to_owned(), Value::Null);
            }
            Some(Some(_)) | None => {}
        }
        map.insert("type".to_owned(), Value::from(self.kind.as_str()));
        if let Some(content) = &self.content {
            map.insert("content".to_owned(), content.clone());
        }
        if let Some(description) = &self.description {
            map.insert("description".to_owned(), Value::from(description.as_str()));
        }
        if let Some(data) = &self.client_data {
            map.insert("clientData".to_owned(), Value::Object(data.clone()));
        }
        if self.trashed {
            map.insert("trashed".to_owned(), Value::Bool(true));
        }
        if !self.attachments.is_empty() {
            map.insert(
                "attachments".to_owned(),
                attachment::to_wire(&self.attachments),
            );
        }
        map.insert("created".to_owned(), seconds(at));
        map.insert("createdBy".to_owned(), Value::from(author));
        map.insert("modified".to_owned(), seconds(at));
        map.insert("modifiedBy".to_owned(), Value::from(author));
        let integrity = integrity::of_event(&map);
        map.insert("integrity".to_owned(), Value::from(integrity));
        map
    }

    /// What the event's keys are made from.
    fn head(&self, at: homecore_types::Millis) -> Head {
        let time = self.time.as_ref().and_then(Number::as_f64);
        Head {
            streams: self.streams.clone(),
            time: time.unwrap_or_else(|| at.as_seconds()),
            duration: self
                .duration
                .as_ref()
                .map(|d| d.as_ref().and_then(Number::as_f64)),
            kind: self.kind.clone(),
            trashed: self.trashed,
            modified: at.as_seconds(),
            attachments: self.attachments.iter().map(Into::into).collect(),
        }
    }
}

/// Creates an event and returns it.
///
/// # Errors
/// See [`CreateError`].
pub fn create(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    new: &NewEvent,
) -> Result<StoredEvent, CreateError> {
    let tree = trees.current(tx.view())?;
    check_streams(&tree, &new.streams)?;
    // The type of an account field's event is its stream's, whatever is given (spec/pryv-api §4.12).
    if !new.streams.iter().any(|id| Store::of(id) == Store::Account) {
        check::of_type(context, &new.kind, new.content.as_ref())?;
    }
    let rights = actor.access.rights();
    if !new
        .streams
        .iter()
        .all(|id| rights.allows(&*tree, id, Level::creates))
    {
        return Err(CreateError::Forbidden);
    }
    if let Some(stream) = account::target(tree.schema(), &new.streams)? {
        if !new.attachments.is_empty() {
            return Err(CreateError::AccountContent {
                id: stream.id.clone(),
            });
        }
        return account::set(&stream, new.content.as_ref());
    }
    check_stores(&new.streams, new.id.as_deref())?;
    let (id, base) = match &new.id {
        Some(id) if tx.get(Kind::Event, id)?.is_some() => {
            return Err(CreateError::IdTaken { id: id.clone() });
        }
        Some(id) => (id.clone(), Base::Absent),
        None => (
            entropy::ordered_id(tx.at(), tx.turn(), context.entropy.as_ref()),
            Base::New,
        ),
    };
    let wire = serde_json::to_vec(&new.to_wire(&id, tx.at(), &actor.author()))
        .map_err(|error| StoreError::engine("encoding an event", error))?;
    let event = StoredEvent { json: wire.into() };
    let write = Write {
        kind: Kind::Event,
        id: id.clone(),
        base,
        body: event.json.clone(),
        deleted: false,
        entries: new.head(tx.at()).entries(),
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(event),
        Err(PutError::Conflict { .. }) => Err(CreateError::IdTaken { id }),
        Err(PutError::Store(error)) => Err(error.into()),
    }
}

/// Every stream exists, and none is in the trash or for homecore alone.
///
/// # Errors
/// Which do not, or are.
pub(super) fn check_streams(tree: &Tree, streams: &[String]) -> Result<(), CreateError> {
    let those = |is: &dyn Fn(&str) -> bool| -> Vec<String> {
        streams.iter().filter(|id| is(id)).cloned().collect()
    };
    if streams
        .iter()
        .any(|id| Store::of(id) == Store::SharedSecrets)
    {
        return Err(CreateError::SharedSecrets);
    }
    let unknown = those(&|id| !tree.contains(id));
    if !unknown.is_empty() {
        return Err(CreateError::UnknownStreams { ids: unknown });
    }
    let trashed = those(&|id| tree.is_trashed(id));
    if !trashed.is_empty() {
        return Err(CreateError::TrashedStreams { ids: trashed });
    }
    Ok(())
}

/// Streams and id belong to the local store, to which clients may write.
///
/// # Errors
/// If they are of several stores, or of one that clients may not write to.
pub(super) fn check_stores(streams: &[String], id: Option<&str>) -> Result<(), CreateError> {
    if let Some(id) = streams.iter().find(|id| is_reserved_local(id)) {
        return Err(CreateError::ReservedStream { id: id.clone() });
    }
    let mut stores = streams.iter().map(String::as_str).chain(id).map(Store::of);
    let first = stores.next();
    if stores.any(|store| Some(store) != first) {
        return Err(CreateError::SeveralStores);
    }
    match (first, streams.first()) {
        (Some(Store::Local) | None, _) | (_, None) => Ok(()),
        (Some(_), Some(id)) => Err(CreateError::ReservedStream { id: id.clone() }),
    }
}

fn is_event_id(id: &str) -> bool {
    let rest_is = |rest: &str, dash: bool| {
        rest.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || (dash && b == b'-'))
    };
    match id.len() {
        25 if id.strip_prefix('c').is_some_and(|rest| rest_is(rest, true)) => true,
        24 if id.starts_with(|c: char| c.is_ascii_lowercase()) && rest_is(id, false) => true,
        0..=ID_BYTES_MAX => id
            .strip_prefix(':')
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(store, item)| {
                let is_word = |word: &str, more: fn(u8) -> bool| {
                    let mut bytes = word.bytes();
                    !word.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || more(b))
                };
                is_word(store, |b| matches!(b, b'-' | b'_')) && is_word(item, |b| b == b'-')
            }),
        _ => false,
    }
}

/// Ids in their order, each once.
pub(super) fn without_duplicates(ids: &[&str]) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    ids.iter()
        .filter(|id| seen.insert(**id))
        .map(|id| (*id).to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
