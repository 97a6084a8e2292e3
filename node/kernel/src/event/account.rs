//! Account fields as events (spec/pryv-api §4.4, §4.12): made from the account when they are asked
//! for, stored nowhere else.

use homecore_types::Millis;
use serde_json::{Map, Value, json};

use super::create::CreateError;
use super::filter::Filter;
use super::stored::{Head, StoredEvent};
use crate::account::Account;
use crate::account::change::{self, Wanted};
use crate::integrity;
use crate::number::seconds;
use crate::stream::store::Store;
use crate::stream::system::{ACCOUNT_EVENT_ORDER, AccountStream, Field, account_stream, stream_of};

/// The event of an account stream; none where there is nothing to show.
#[must_use]
pub fn event(account: &Account, stream: &AccountStream, now: Millis) -> Option<StoredEvent> {
    let (field, kind) = stream.field?;
    let content = account.field(field)?;
    let now = seconds(now);
    let mut map = Map::new();
    map.insert("id".to_owned(), Value::from(stream.id));
    map.insert("streamIds".to_owned(), json!([stream.id]));
    map.insert("time".to_owned(), now.clone());
    map.insert("type".to_owned(), Value::from(kind));
    map.insert("content".to_owned(), content);
    map.insert("created".to_owned(), now.clone());
    map.insert("createdBy".to_owned(), Value::from("system"));
    map.insert("modified".to_owned(), now);
    map.insert("modifiedBy".to_owned(), Value::from("system"));
    let integrity = integrity::of_event(&map);
    map.insert("integrity".to_owned(), Value::from(integrity));
    Some(StoredEvent {
        json: Value::Object(map).to_string().into(),
    })
}

/// The account events that a filter accepts, latest first as the original server has them.
#[must_use]
pub fn selected(account: &Account, filter: &Filter, now: Millis) -> Vec<StoredEvent> {
    ACCOUNT_EVENT_ORDER
        .iter()
        .filter_map(|field| stream_of(*field))
        .filter(|stream| {
            stream.field.is_some_and(|(_, kind)| {
                filter.accepts(&Head {
                    streams: vec![stream.id.to_owned()],
                    time: now.as_seconds(),
                    duration: None,
                    kind: kind.to_owned(),
                    trashed: false,
                    modified: now.as_seconds(),
                    attachments: Vec::new(),
                })
            })
        })
        .filter_map(|stream| event(account, stream, now))
        .collect()
}

/// The one account stream that a new event names, if it names any.
///
/// # Errors
/// If it names another stream beside it, or the field cannot be set.
pub fn target(streams: &[String]) -> Result<Option<&'static AccountStream>, CreateError> {
    let Some(id) = streams.iter().find(|id| Store::of(id) == Store::Account) else {
        return Ok(None);
    };
    if streams.len() > 1 {
        return Err(CreateError::AccountStreamWithOthers { id: id.clone() });
    }
    match account_stream(id) {
        Some(stream) if stream.editable => Ok(Some(stream)),
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
    stream: &'static AccountStream,
    content: Option<&Value>,
) -> Result<StoredEvent, CreateError> {
    let text = match content {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let changes = text.and_then(|text| match stream.field {
        Some((Field::Language, _)) => Some(Wanted {
            language: Some(change::language(&text)?),
            ..Wanted::default()
        }),
        Some((Field::Email, _)) => Some(Wanted {
            email: Some(change::email(&text)?),
            ..Wanted::default()
        }),
        _ => None,
    });
    Err(match changes {
        Some(changes) => CreateError::AccountFieldOfPlatform { stream, changes },
        None => CreateError::AccountContent {
            id: stream.id.to_owned(),
        },
    })
}

/// Whether the parameters of `events.create` or `events.update` may come to [`set`].
#[must_use]
pub fn names_field(params: &Value) -> bool {
    let editable = |id: &Value| {
        let stream = id.as_str().and_then(account_stream);
        stream.is_some_and(|stream| stream.editable)
    };
    let streams = params.get("streamIds").and_then(Value::as_array);
    params.get("id").is_some_and(editable) || streams.is_some_and(|ids| ids.iter().any(editable))
}
