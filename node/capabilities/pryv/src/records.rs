//! DNS records set at run time: `/reg/records` (spec/platform §3.1, §7.4).

use axum::extract::{self, Path};
use axum::response::Response;
use homecore_http::context::plain_reply;
use homecore_http::error::shorten;
use homecore_http::{ApiError, Unread};
use homecore_kernel::describe::{Field, Record, Type};
use homecore_kernel::ports::{Records, RecordsError};
use homecore_types::ErrorId;
use homecore_types::id::is_label;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use std::str::FromStr;

use crate::state::State;

/// Records of one kind.
const RECORDS_MAX: usize = 50;
/// Characters of a TXT or CAA value.
const TEXT_MAX: usize = 2_000;
/// Bytes of a name.
const NAME_MAX: usize = 200;

/// What [`put`] takes.
pub(crate) const RECORDS: Record = Record::open(&[
    Field::new("subdomain", Type::SOME_TEXT).required(),
    Field::new("records", Type::Object).required(),
]);

/// `POST /reg/records` with `{subdomain, records}`.
pub(crate) async fn put(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    body: Unread,
) -> Result<Response, ApiError> {
    ensure_admin(&state, &headers).map_err(ApiError::plain)?;
    let body = body.json(&state.context).await?;
    let put = async {
        let body = body.into_object()?;
        let label = body
            .get("subdomain")
            .and_then(Value::as_str)
            .ok_or_else(|| invalid("subdomain"))?;
        let label = parse_label(label)?;
        let shown = body
            .get("records")
            .and_then(Value::as_object)
            .ok_or_else(|| invalid("records"))?;
        let records = parse_records(shown)?;
        state
            .platform
            .put_records(&label, records)
            .await
            .map_err(refused)?;
        plain_reply(
            StatusCode::OK,
            &json!({ "subdomain": label, "records": shown, "status": "ok" }),
        )
    };
    put.await.map_err(ApiError::plain)
}

/// `DELETE /reg/records/{subdomain}`.
pub(crate) async fn delete(
    extract::State(state): extract::State<State>,
    headers: HeaderMap,
    Path(label): Path<String>,
) -> Result<Response, ApiError> {
    let delete = async {
        ensure_admin(&state, &headers)?;
        let label = parse_label(&label)?;
        state
            .platform
            .delete_records(&label)
            .await
            .map_err(refused)?;
        plain_reply(
            StatusCode::OK,
            &json!({ "subdomain": label, "status": "deleted" }),
        )
    };
    delete.await.map_err(ApiError::plain)
}

/// Unlike the other administrators' routes these are known to exist.
fn ensure_admin(state: &State, headers: &HeaderMap) -> Result<(), ApiError> {
    if state.settings().is_admin(headers) {
        Ok(())
    } else {
        Err(ApiError::new(
            ErrorId::Forbidden,
            "The administrator's key is needed",
        ))
    }
}

/// A name below the zone: labels with dots, a label may begin with `_`.
fn parse_label(text: &str) -> Result<String, ApiError> {
    let text = text.to_ascii_lowercase();
    let good = !text.is_empty()
        && text.len() <= NAME_MAX
        && text
            .split('.')
            .all(|label| is_label(label.strip_prefix('_').unwrap_or(label)));
    if good {
        Ok(text)
    } else {
        Err(invalid("subdomain"))
    }
}

fn parse_records(map: &Map<String, Value>) -> Result<Records, ApiError> {
    let mut records = Records::default();
    for (kind, value) in map {
        match kind.to_ascii_lowercase().as_str() {
            "a" => records.a = parse_addresses(kind, value)?,
            "aaaa" => records.aaaa = parse_addresses(kind, value)?,
            "txt" => records.txt = texts(kind, value)?,
            "cname" => {
                let name = value.as_str().ok_or_else(|| invalid_record(kind))?;
                let bare = name.strip_suffix('.').unwrap_or(name);
                parse_label(bare).map_err(|_| invalid_record(kind))?;
                records.cname = Some(name.to_ascii_lowercase());
            }
            "caa" => records.caa = parse_caa(kind, value)?,
            _ => return Err(invalid_record(kind)),
        }
    }
    let others = records.a.len() + records.aaaa.len() + records.txt.len() + records.caa.len();
    match (&records.cname, others) {
        (None, 0) => Err(invalid("records")),
        (Some(_), 1..) => Err(invalid_record("cname")),
        _ => Ok(records),
    }
}

/// One text or a list of texts.
fn texts(kind: &str, value: &Value) -> Result<Vec<String>, ApiError> {
    let list = match value {
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts: Option<Vec<String>> = list
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect();
    texts
        .filter(|texts| texts.len() <= RECORDS_MAX && texts.iter().all(|t| t.len() <= TEXT_MAX))
        .ok_or_else(|| invalid_record(kind))
}

fn parse_addresses<A: FromStr>(kind: &str, value: &Value) -> Result<Vec<A>, ApiError> {
    texts(kind, value)?
        .iter()
        .map(|text| text.parse().map_err(|_| invalid_record(kind)))
        .collect()
}

/// `[{flags,tag,value}]`.
fn parse_caa(kind: &str, value: &Value) -> Result<Vec<(u8, String, String)>, ApiError> {
    let entry = |item: &Value| {
        let flags = match item.get("flags") {
            None => 0,
            Some(flags) => u8::try_from(flags.as_u64()?).ok()?,
        };
        let tag = item.get("tag")?.as_str().filter(|tag| {
            !tag.is_empty() && tag.len() <= 15 && tag.bytes().all(|b| b.is_ascii_alphanumeric())
        })?;
        let value = item
            .get("value")?
            .as_str()
            .filter(|value| value.len() <= TEXT_MAX)?;
        Some((flags, tag.to_ascii_lowercase(), value.to_owned()))
    };
    value
        .as_array()
        .filter(|list| list.len() <= RECORDS_MAX)
        .and_then(|list| list.iter().map(entry).collect())
        .ok_or_else(|| invalid_record(kind))
}

fn invalid(name: &str) -> ApiError {
    ApiError::new(
        ErrorId::InvalidParameters,
        format!("Missing or invalid {name}"),
    )
    .with_data(json!({ "param": name }))
}

fn invalid_record(kind: &str) -> ApiError {
    invalid(&format!("records.{}", shorten(kind)))
}

fn refused(error: RecordsError) -> ApiError {
    match error {
        RecordsError::Taken { ref label, .. } => {
            ApiError::new(ErrorId::ItemAlreadyExists, error.to_string())
                .with_data(json!({ "subdomain": label }))
        }
        RecordsError::Unknown(_) => ApiError::new(ErrorId::UnknownResource, error.to_string()),
        RecordsError::Unavailable(unavailable) => unavailable.into(),
    }
}
