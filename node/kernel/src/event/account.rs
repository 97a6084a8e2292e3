//! Account fields as events (spec/pryv-api §4.4, §4.12): made from the account when they are asked
//! for, with the time of the request, and stored nowhere else.

use std::collections::VecDeque;
use std::sync::Arc;

use homecore_types::Millis;
use serde_json::Value;

use super::create::CreateError;
use super::filter::Filter;
use super::stored::{Head, StoredEvent};
use crate::account::Account;
use crate::account::change::{self, Wanted};
use crate::integrity;
use crate::number::{javascript, seconds_number};
use crate::stream::schema::{AccountStream, Field, Schema};
use crate::stream::store::Store;

/// The event of an account stream; none where there is nothing to show.
#[must_use]
pub fn event(account: &Account, stream: &AccountStream, now: Millis) -> Option<StoredEvent> {
    let prepared = Prepared::of(account, stream)?;
    Some(prepared.at(&Moment::of(now)))
}

/// What events show of an account, prepared for any number of answers, since it seldom changes: what
/// is missing is the time, which is that of the answer, and the hash of the whole.
#[derive(Debug)]
pub struct AccountEvents {
    /// The set of indexes that all the account's events are in.
    pub(crate) event_indexes: u8,
    /// Latest first as the original server has them.
    events: Vec<Prepared>,
}

impl AccountEvents {
    /// Those of an account with these streams.
    #[must_use]
    pub fn of(account: &Account, schema: &Schema) -> Self {
        let events = schema
            .in_order_of_events()
            .filter_map(|stream| Prepared::of(account, stream))
            .collect();
        Self {
            event_indexes: account.event_indexes,
            events,
        }
    }

    /// Those of no account.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self {
            event_indexes: 0,
            events: Vec::new(),
        }
    }

    /// Those that a filter accepts, latest first.
    #[must_use]
    pub(crate) fn chosen(&self, filter: &Filter, now: Millis) -> Chosen {
        let moment = Moment::of(now);
        let accepted = |event: &Prepared| {
            filter.accepts(&event.head_at(now))
                && (filter.conditions.is_empty() || filter.accepts_body(&event.at(&moment).json))
        };
        let places = self.events.iter().enumerate();
        Chosen(
            places
                .filter(|(_, event)| accepted(event))
                .map(|(place, _)| place)
                .collect(),
        )
    }

    /// What was chosen of them, as it is at a time.
    #[must_use]
    pub(crate) fn at(&self, chosen: &Chosen, now: Millis) -> VecDeque<StoredEvent> {
        if chosen.0.is_empty() {
            return VecDeque::new();
        }
        let moment = Moment::of(now);
        let events = chosen.0.iter().filter_map(|place| self.events.get(*place));
        events.map(|event| event.at(&moment)).collect()
    }
}

/// Some of an account's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chosen(Vec<usize>);

/// A time as it stands in an event and in the text that is hashed.
struct Moment {
    wire: String,
    canonical: String,
}

impl Moment {
    fn of(now: Millis) -> Self {
        let number = seconds_number(now);
        Self {
            wire: number.to_string(),
            canonical: javascript(&number),
        }
    }
}

/// An event that lacks only its time, which is in it three times.
#[derive(Debug)]
struct Prepared {
    id: String,
    kind: String,
    wire: [String; 4],
    canonical: [String; 4],
}

impl Prepared {
    fn of(account: &Account, stream: &AccountStream) -> Option<Self> {
        let (field, kind) = stream.field.as_ref()?;
        let content = account.field(field)?;
        let (id, kind_text) = (Value::from(stream.id.as_str()), Value::from(kind.as_str()));
        let by = "\"system\"";
        let wire = [
            format!("{{\"id\":{id},\"streamIds\":[{id}],\"time\":"),
            format!(",\"type\":{kind_text},\"content\":{content},\"created\":"),
            format!(",\"createdBy\":{by},\"modified\":"),
            format!(",\"modifiedBy\":{by},\"integrity\":\""),
        ];
        // As `integrity` writes it: keys in order.
        let [id, kind_text, content] = [&id, &kind_text, &content].map(integrity::canonical);
        let canonical = [
            format!("{{\"content\":{content},\"created\":"),
            format!(",\"createdBy\":{by},\"id\":{id},\"modified\":"),
            format!(",\"modifiedBy\":{by},\"streamIds\":[{id}],\"time\":"),
            format!(",\"type\":{kind_text}}}"),
        ];
        Some(Self {
            id: stream.id.clone(),
            kind: kind.clone(),
            wire,
            canonical,
        })
    }

    /// What a query decides by.
    fn head_at(&self, now: Millis) -> Head {
        Head {
            streams: vec![self.id.clone()],
            time: now.as_seconds(),
            duration: None,
            kind: self.kind.clone(),
            trashed: false,
            modified: now.as_seconds(),
            attachments: Vec::new(),
        }
    }

    fn at(&self, moment: &Moment) -> StoredEvent {
        let canonical = self.canonical.join(&moment.canonical);
        let mut json = self.wire.join(&moment.wire);
        json.push_str(&integrity::of_event_text(&canonical));
        json.push_str("\"}");
        StoredEvent { json: json.into() }
    }
}

/// The one account stream that a new event names, if it names any.
///
/// # Errors
/// If it names another stream beside it, or the field cannot be set.
pub fn target(
    schema: &Schema,
    streams: &[String],
) -> Result<Option<Arc<AccountStream>>, CreateError> {
    let Some(id) = streams.iter().find(|id| Store::of(id) == Store::Account) else {
        return Ok(None);
    };
    if streams.len() > 1 {
        return Err(CreateError::AccountStreamWithOthers { id: id.clone() });
    }
    match schema.get(id) {
        Some(stream) if stream.can_be_set() => Ok(Some(Arc::clone(stream))),
        _ => Err(CreateError::AccountStreamReadOnly { id: id.clone() }),
    }
}

/// Creating or changing the event of an account stream sets the field. That begins at the platform,
/// which has it too: what is to be set is handed to the caller as the reason why nothing was done here
/// ([`CreateError::AccountFieldOfPlatform`]).
///
/// # Errors
/// Always: that one, or why the content does not fit.
pub fn set(
    stream: &Arc<AccountStream>,
    content: Option<&Value>,
) -> Result<StoredEvent, CreateError> {
    let text = match content {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let changes = text.and_then(|text| match &stream.field {
        Some((Field::Language, _)) => Some(Wanted {
            language: Some(change::language(&text)?),
            ..Wanted::default()
        }),
        Some((Field::Email, _)) => Some(Wanted {
            email: Some(change::email(&text)?),
            ..Wanted::default()
        }),
        Some((Field::Custom(name), _)) => {
            stream.rules.check(name, &text).ok()?;
            Some(Wanted {
                declared: [(name.clone(), stream.rules.value(text))].into(),
                ..Wanted::default()
            })
        }
        _ => None,
    });
    Err(match changes {
        Some(changes) => CreateError::AccountFieldOfPlatform {
            stream: Arc::clone(stream),
            changes,
        },
        None => CreateError::AccountContent {
            id: stream.id.clone(),
        },
    })
}

/// Whether the parameters of `events.create` or `events.update` may come to [`set`]: also of a field that this core
/// does not know yet.
#[must_use]
pub fn names_field(params: &Value) -> bool {
    let is_field = |id: &Value| {
        id.as_str()
            .is_some_and(|id| Store::of(id) == Store::Account)
    };
    let streams = params.get("streamIds").and_then(Value::as_array);
    params.get("id").is_some_and(is_field) || streams.is_some_and(|ids| ids.iter().any(is_field))
}

#[cfg(test)]
mod tests;
