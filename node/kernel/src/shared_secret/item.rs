//! The event that shows a shared secret, and the states that it goes through: it is pending, then
//! consumed or discarded, and never comes back.

use homecore_store::{Base, Document, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::Millis;
use serde_json::{Map, Value, json};

use super::SharedSecretError;
use super::create::ProofKind;
use super::seal::{self, Key};
use crate::event::stored::{StoredEvent, decode};
use crate::event::update::{store, streams_of, touched};
use crate::integrity;
use crate::kernel::Context;
use crate::number::{float, seconds};
use crate::reply::Reply;
use crate::stream::store::SHARED_SECRETS;

/// The type of the event.
pub(super) const TYPE: &str = "shared-secret/item";
/// The class of types that only homecore writes.
const CLASS: &str = "shared-secret/";
/// Why one ended whose time was over.
pub(super) const EXPIRED: &str = "expired";
/// Who changes an item when its secret is asked for.
pub(super) const SYSTEM: &str = "system";

/// A state of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Pending,
    Consumed,
    Discarded,
}

impl Status {
    pub(super) const fn wire(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Consumed => "consumed",
            Self::Discarded => "discarded",
        }
    }
}

/// An item as it is stored.
#[derive(Debug)]
pub(super) struct Item {
    document: Document,
    event: Map<String, Value>,
}

/// Whether only homecore writes events of a type.
pub(crate) fn is_item_type(kind: &str) -> bool {
    kind.starts_with(CLASS)
}

/// Whether an event shows a shared secret.
fn is_item(event: &Map<String, Value>) -> bool {
    event.get("type").and_then(Value::as_str) == Some(TYPE)
        && streams_of(event).any(|id| id.starts_with(SHARED_SECRETS))
}

/// An item that is not pending is left to the caller; a pending one is discarded.
///
/// # Errors
/// Of the store.
pub(crate) fn discard_deleted(
    tx: &mut Transaction<'_>,
    context: &Context,
    document: &Document,
    event: &Map<String, Value>,
    author: &str,
) -> Result<Option<StoredEvent>, StoreError> {
    let item = Item {
        document: document.clone(),
        event: event.clone(),
    };
    if !is_item(event) || !item.is_pending() {
        return Ok(None);
    }
    item.end(tx, context, Status::Discarded, Some("deleted"), author)
        .map(|item| Some(StoredEvent::sealed(item.event)))
}

/// What of an item may come in from an archive: its secret stays behind, and with it its use. Whether
/// anything had to go.
pub(crate) fn after_import(event: &mut Map<String, Value>) -> bool {
    if event.get("type").and_then(Value::as_str) != Some(TYPE) {
        return false;
    }
    let at = event.get("modified").cloned().unwrap_or_else(|| json!(0));
    let Some(Value::Object(content)) = event.get_mut("content") else {
        return false;
    };
    let mut changed = content.shift_remove("secret").is_some();
    if let Some(Value::Object(signature)) = content.get_mut("signature") {
        changed |= signature.shift_remove("value").is_some();
    }
    if content.get("status").and_then(Value::as_str) == Some(Status::Pending.wire()) {
        pass_to(content, Status::Discarded, at, Some("imported"));
        event.insert("trashed".to_owned(), Value::Bool(true));
        changed = true;
    }
    if changed {
        event.shift_remove("integrity");
        let integrity = integrity::of_event(event);
        event.insert("integrity".to_owned(), Value::from(integrity));
    }
    changed
}

fn pass_to(content: &mut Map<String, Value>, status: Status, at: Value, info: Option<&str>) {
    content.insert("status".to_owned(), Value::from(status.wire()));
    let mut step = Map::new();
    step.insert("status".to_owned(), Value::from(status.wire()));
    step.insert("time".to_owned(), at);
    if let Some(info) = info {
        step.insert("info".to_owned(), Value::from(info));
    }
    if let Some(Value::Array(history)) = content.get_mut("statusHistory") {
        history.push(Value::Object(step));
    }
}

/// Removes what was to be handed over.
///
/// # Errors
/// Of the store.
pub(super) fn remove_secret(tx: &mut Transaction<'_>, id: &str) -> Result<(), StoreError> {
    let write = Write {
        kind: Kind::SharedSecret,
        id: id.to_owned(),
        base: Base::Any,
        body: Vec::new().into(),
        deleted: true,
        entries: Vec::new(),
        keep_previous: false,
    };
    match tx.put_dropping_history(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("shared secret {id}: conflict on any"),
        }),
    }
}

impl Item {
    /// The item that a key is of.
    ///
    /// # Errors
    /// [`SharedSecretError::Unknown`] whatever is wrong with the key; or of the store.
    pub(super) fn of_key(view: &dyn View, key: &Key) -> Result<Self, SharedSecretError> {
        let item = Self::find(view, &key.id)?.ok_or(SharedSecretError::Unknown)?;
        if seal::is_same(&item.text("keyHash"), &key.hash()) {
            Ok(item)
        } else {
            Err(SharedSecretError::Unknown)
        }
    }

    /// An item by its id.
    pub(super) fn find(view: &dyn View, id: &str) -> Result<Option<Self>, StoreError> {
        let document = view.get(Kind::Event, id)?;
        let Some(document) = document.filter(|document| !document.deleted) else {
            return Ok(None);
        };
        let event: Map<String, Value> = decode(&document)?;
        let item = Self { document, event };
        Ok(Some(item).filter(|item| is_item(&item.event)))
    }

    fn content(&self, name: &str) -> Option<&Value> {
        self.event.get("content")?.get(name)
    }

    fn text(&self, name: &str) -> String {
        let text = self.content(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    }

    /// What proof is asked for beside the key.
    pub(super) fn proof_kind(&self) -> Option<ProofKind> {
        let kind = self.content("signature")?.get("type")?.as_str()?;
        ProofKind::parse(kind)
    }

    pub(super) fn id(&self) -> &str {
        &self.document.id
    }

    pub(super) fn is_pending(&self) -> bool {
        self.content("status").and_then(Value::as_str) == Some(Status::Pending.wire())
    }

    /// Whether an access made it.
    pub(super) fn is_of(&self, access: &str) -> bool {
        streams_of(&self.event).any(|id| id.strip_prefix(SHARED_SECRETS) == Some(access))
    }

    /// When it ends, in seconds.
    fn expires(&self) -> f64 {
        let number = |name: &str| self.event.get(name).and_then(Value::as_f64);
        number("time").unwrap_or_default() + number("duration").unwrap_or_default()
    }

    pub(super) fn has_expired(&self, now: Millis) -> bool {
        now.as_seconds() > self.expires()
    }

    /// What is answered once it is gone.
    pub(super) fn unavailable(&self) -> SharedSecretError {
        let text = |name: &str| {
            let text = self.content("onConsumed")?.get(name)?.as_str()?;
            Some(text.to_owned())
        };
        SharedSecretError::Unavailable {
            message: text("message").unwrap_or_default(),
            return_url: text("returnUrl"),
        }
    }

    /// Ends it: the secret goes, what is left says why.
    ///
    /// # Errors
    /// Of the store.
    pub(super) fn end(
        mut self,
        tx: &mut Transaction<'_>,
        context: &Context,
        status: Status,
        info: Option<&str>,
        author: &str,
    ) -> Result<Self, StoreError> {
        if let Some(Value::Object(content)) = self.event.get_mut("content") {
            pass_to(content, status, seconds(tx.at()), info);
        }
        self.event.insert("trashed".to_owned(), Value::Bool(true));
        touched(&mut self.event, tx.at(), author);
        store(tx, context, &self.document, self.event.clone())?;
        remove_secret(tx, &self.document.id)?;
        Ok(self)
    }

    /// `{"sharedSecret": …}`.
    pub(super) fn reply(&self) -> Reply {
        let shown = Value::Object(shown(&self.event));
        Reply::of("sharedSecret", shown.to_string().as_bytes())
    }
}

/// What is told of an item, without its key.
pub(super) fn shown(event: &Map<String, Value>) -> Map<String, Value> {
    let mut map = Map::new();
    let content = event.get("content");
    let of_content = |name: &str| content.and_then(|content| content.get(name)).cloned();
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            map.insert(name.to_owned(), value);
        }
    };
    put("id", event.get("id").cloned());
    for name in ["title", "status", "statusHistory", "onConsumed"] {
        put(name, of_content(name));
    }
    let signature = of_content("signature");
    put(
        "signatureType",
        signature.and_then(|signature| signature.get("type").cloned()),
    );
    let number = |name: &str| event.get(name).and_then(Value::as_f64);
    let expires = number("time").zip(number("duration"));
    put("expires", expires.map(|(time, ttl)| float(time + ttl)));
    if has_ended_by_time(event) {
        put(EXPIRED, Some(Value::Bool(true)));
    }
    map
}

/// Whether nobody took it before its time was over.
fn has_ended_by_time(event: &Map<String, Value>) -> bool {
    let steps = event.get("content").and_then(|c| c.get("statusHistory"));
    let last = steps.and_then(Value::as_array).and_then(|s| s.last());
    last.and_then(|step| step.get("info"))
        .and_then(Value::as_str)
        == Some(EXPIRED)
}
