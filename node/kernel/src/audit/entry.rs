//! One entry: what is kept of a call, and how it is shown.

use std::net::IpAddr;

use bytes::Bytes;
use homecore_types::{ErrorId, Millis};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::actor::Actor;
use crate::error::Error;
use crate::event::stored::{Head, StoredEvent};
use crate::method::Method;
use crate::number::seconds;
use crate::reply::Reply;
use crate::stream::store::{
    AUDIT_ACCESS_PREFIX, AUDIT_ACCESSES, AUDIT_ACTION_PREFIX, AUDIT_ACTIONS, AUDIT_ROOT,
};

/// The type of the entry of a call that succeeded.
const TYPE_DONE: &str = "audit-log/pryv-api";
/// The type of the entry of a call that was refused or failed.
const TYPE_REFUSED: &str = "audit-log/pryv-api-error";
/// Longest parameters that are kept; longer ones are left out as a whole.
const QUERY_BYTES_MAX: usize = 2_048;
/// Longest message that is kept.
const MESSAGE_CHARS_MAX: usize = 500;
/// Most streams that an entry names as those that were asked for.
const SCOPE_MAX: usize = 32;

/// From where a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The way in: `http`, later `socket.io`.
    pub name: &'static str,
    /// The client's address, if it is known.
    pub ip: Option<IpAddr>,
}

impl Source {
    /// A request over HTTP.
    #[must_use]
    pub const fn http(ip: IpAddr) -> Self {
        Self {
            name: "http",
            ip: Some(ip),
        }
    }
}

impl Default for Source {
    /// The core itself.
    fn default() -> Self {
        Self {
            name: "internal",
            ip: None,
        }
    }
}

/// A call as it ended, in the form in which it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    #[serde(rename = "t")]
    pub at: Millis,
    /// Base id of the access, or the name of a pseudo access.
    #[serde(rename = "a")]
    pub access: String,
    /// The method's id.
    #[serde(rename = "m")]
    pub action: String,
    /// Whether it was refused or failed.
    #[serde(rename = "e", default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The content of the event, JSON.
    #[serde(rename = "c")]
    content: Box<RawValue>,
}

/// An entry that is being put together. Every call makes one, so its content is written as text at once.
#[derive(Clone, Debug)]
pub struct Draft {
    at: Millis,
    access: String,
    action: String,
    refused: bool,
    /// Of the person, who is shown everything that is not asked for less.
    personal: bool,
    source: Source,
    /// What was asked for, JSON; empty: nothing that is kept.
    query: String,
    /// Further members of the content, JSON, each with a comma before it.
    members: String,
}

impl Draft {
    /// A call of an access.
    #[must_use]
    pub fn of(actor: &Actor, action: &str, at: Millis) -> Self {
        let mut draft = Self::anonymous(&actor.source, &actor.access.id, action, at);
        draft.personal = actor.is_personal();
        match &actor.caller {
            Some(caller) => draft.with("callerId", &json_of(caller.as_str())),
            None => draft,
        }
    }

    /// A call without an access: `access` names what stood in for it.
    #[must_use]
    pub fn anonymous(source: &Source, access: &str, action: &str, at: Millis) -> Self {
        Self {
            at,
            access: access.to_owned(),
            action: action.to_owned(),
            refused: false,
            personal: false,
            source: *source,
            query: String::new(),
            members: String::new(),
        }
    }

    /// With one more member, which it does not have yet; its value is JSON.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.members.push_str(",\"");
        self.members.push_str(name);
        self.members.push_str("\":");
        self.members.push_str(value);
        self
    }

    /// The method's id.
    #[must_use]
    pub fn action(&self) -> &str {
        &self.action
    }

    /// With the parameters of a call that reads. They say what was asked for, and are left out where
    /// they are long.
    #[must_use]
    pub fn asking(mut self, params: &Value) -> Self {
        let Value::Object(query) = params else {
            return self;
        };
        if query.contains_key("auth") {
            let mut query = query.clone();
            query.shift_remove("auth");
            return self.asking(&Value::Object(query));
        }
        let everything = || {
            let all = self.personal && self.action == Method::EventsGet.id();
            (all && !query.contains_key("streams")).then(|| vec![Value::from("*")])
        };
        if let Some(scope) = scope_of(query).or_else(everything) {
            self = self.with("scopedStreamCount", &scope.len().to_string());
            self = self.with("scopedStreamIds", &json_of(&scope));
        }
        let text = json_of(params);
        if text.len() <= QUERY_BYTES_MAX {
            self.query = text;
        }
        self
    }

    /// With how it ended; of what was written, which version.
    #[must_use]
    pub fn ended(self, result: &Result<Reply, Error>) -> Self {
        match result {
            // The one item that it shows.
            Ok(reply) if self.action == Method::EventsGetOne.id() => {
                self.wrote(reply).counted(1, true)
            }
            Ok(reply) => self.wrote(reply),
            Err(error) => self.refused(error),
        }
    }

    /// With the version that a reply shows as written.
    #[must_use]
    pub fn wrote(self, reply: &Reply) -> Self {
        match record_of(reply) {
            Some(record) => self.with("record", &record),
            None => self,
        }
    }

    /// With the error.
    #[must_use]
    pub fn refused(self, error: &Error) -> Self {
        self.refused_with(error.id(), error.message())
    }

    /// With what the error says.
    #[must_use]
    pub fn refused_with(mut self, id: ErrorId, message: &str) -> Self {
        self.refused = true;
        let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
        self.with("id", &json_of(id.wire()))
            .with("message", &json_of(&message))
    }

    /// With the number of items that were sent, and whether the answer was cut off before its end.
    #[must_use]
    pub fn counted(self, items: usize, complete: bool) -> Self {
        let counted = self.with("recordCount", &items.to_string());
        if complete {
            return counted;
        }
        counted.with("recordCountIncomplete", "true")
    }

    /// The entry.
    #[must_use]
    pub fn finish(self) -> Entry {
        let Self { query, members, .. } = self;
        let name = self.source.name;
        let ip = self.source.ip;
        let ip = ip.map_or_else(String::new, |ip| format!(",\"ip\":\"{ip}\""));
        let action = json_of(&self.action);
        let query = if query.is_empty() { "{}" } else { &query };
        let text = format!(
            "{{\"source\":{{\"name\":\"{name}\"{ip}}},\"action\":{action},\"query\":{query}{members}}}"
        );
        Entry::of(self.at, &self.access, self.action, self.refused, text)
    }
}

/// A value as JSON; null for what cannot be one.
fn json_of(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_else(|_error| "null".to_owned())
}

/// An access's id without its version.
fn base_id(id: &str) -> &str {
    id.split_once(':').map_or(id, |(base, _)| base)
}

/// The streams that a query asks for, if it names them simply.
fn scope_of(query: &Map<String, Value>) -> Option<Vec<Value>> {
    let ids = match query.get("streams")? {
        Value::Array(ids) => ids.clone(),
        one @ Value::String(text) if !text.trim_start().starts_with(['[', '{']) => {
            vec![one.clone()]
        }
        _ => return None,
    };
    let simple = ids.len() <= SCOPE_MAX && ids.iter().all(Value::is_string);
    simple.then_some(ids)
}

/// What a reply shows of the one item that it is about.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    event: Option<Version<'a>>,
    #[serde(borrow)]
    access: Option<Version<'a>>,
}

#[derive(Deserialize)]
struct Version<'a> {
    id: &'a str,
    modified: Option<serde_json::Number>,
    deleted: Option<serde_json::Number>,
    integrity: Option<&'a str>,
}

/// `{key, integrity}` of the written version (spec/pryv-api §1.12), JSON.
fn record_of(reply: &Reply) -> Option<String> {
    let shown: Shown<'_> = serde_json::from_slice(reply.as_bytes()).ok()?;
    let (kind, version) = match (shown.event, shown.access) {
        (Some(event), _) => ("EVENT", event),
        (None, Some(access)) => ("ACCESS", access),
        (None, None) => return None,
    };
    let integrity = version.integrity?;
    let time = version.deleted.or(version.modified)?;
    // What a text of JSON can lend as it is needs no escapes.
    Some(format!(
        "{{\"key\":\"{kind}:0:{}:{time}\",\"integrity\":\"{integrity}\"}}",
        version.id
    ))
}

impl Entry {
    /// An entry that was kept elsewhere.
    #[must_use]
    pub fn archived(
        at: Millis,
        access: String,
        action: String,
        refused: bool,
        content: Map<String, Value>,
    ) -> Self {
        let text = Value::Object(content).to_string();
        Self::of(at, &access, action, refused, text)
    }

    fn of(at: Millis, access: &str, action: String, refused: bool, content: String) -> Self {
        Self {
            at,
            access: base_id(access).to_owned(),
            action,
            refused,
            // The text of a value always is JSON.
            content: RawValue::from_string(content).unwrap_or_else(|_| RawValue::NULL.to_owned()),
        }
    }

    /// The two streams that it is shown in.
    #[must_use]
    pub fn streams(&self) -> [String; 2] {
        [
            format!("{AUDIT_ACCESS_PREFIX}{}", self.access),
            format!("{AUDIT_ACTION_PREFIX}{}", self.action),
        ]
    }

    /// What a query decides by. The streams above the entry's own count too.
    #[must_use]
    pub fn head(&self) -> Head {
        let mut streams = self.streams().to_vec();
        streams.extend([AUDIT_ACCESSES, AUDIT_ACTIONS, AUDIT_ROOT].map(str::to_owned));
        Head {
            streams,
            time: self.at.as_seconds(),
            duration: None,
            kind: self.kind().to_owned(),
            trashed: false,
            attachments: Vec::new(),
            modified: self.at.as_seconds(),
        }
    }

    /// The content of the event, JSON.
    #[must_use]
    pub fn content(&self) -> &str {
        self.content.get()
    }

    /// The type of the event.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.refused {
            TYPE_REFUSED
        } else {
            TYPE_DONE
        }
    }

    /// The event as it is sent.
    #[must_use]
    pub fn to_event(&self, id: &str) -> StoredEvent {
        let time = seconds(self.at);
        let streams = Value::from(self.streams().to_vec());
        let content = self.content.get();
        let kind = self.kind();
        let id = Value::from(id);
        let text = format!(
            "{{\"id\":{id},\"streamIds\":{streams},\"time\":{time},\"type\":\"{kind}\",\"content\":{content},\
             \"created\":{time},\"createdBy\":\"system\",\"modified\":{time},\"modifiedBy\":\"system\"}}"
        );
        StoredEvent {
            json: Bytes::from(text),
        }
    }
}
