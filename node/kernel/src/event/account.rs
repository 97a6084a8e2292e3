//! Account fields as events (spec/pryv-api §4.4, §4.12): made from the account when they are asked
//! for, stored nowhere else.

use homecore_store::{Base, StoreError, Transaction};
use homecore_types::Millis;
use serde_json::{Map, Value, json};

use super::create::CreateError;
use super::filter::Filter;
use super::stored::{Head, StoredEvent};
use crate::account::{self, Account};
use crate::integrity;
use crate::number::seconds;
use crate::stream::store::Store;
use crate::stream::system::{ACCOUNT_EVENT_ORDER, AccountStream, Field, account_stream, stream_of};

/// Longest language code.
const LANGUAGE_CHARS_MAX: usize = 5;

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

/// Creating or changing the event of an account stream sets the field.
///
/// # Errors
/// If the content does not fit, or of the store.
pub fn set(
    tx: &mut Transaction<'_>,
    stream: &AccountStream,
    content: Option<&Value>,
) -> Result<StoredEvent, CreateError> {
    let content = match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => {
            return Err(CreateError::AccountContent {
                id: stream.id.to_owned(),
            });
        }
    };
    let mut account = account::load(tx.view())?;
    match stream.field {
        Some((Field::Language, _)) => {
            if content.is_empty() || content.chars().count() > LANGUAGE_CHARS_MAX {
                return Err(CreateError::AccountContent {
                    id: stream.id.to_owned(),
                });
            }
            account.language = content;
        }
        // Unique over the platform: reserved there first, so never set from inside a user's data.
        _ => {
            return Err(CreateError::AccountFieldOfPlatform {
                id: stream.id.to_owned(),
            });
        }
    }
    account::store(tx, &account, Base::Any)?;
    event(&account, stream, tx.at()).ok_or_else(|| {
        CreateError::Store(StoreError::Corrupted {
            what: format!("account field {}", stream.id),
        })
    })
}
