//! Request bodies, with two bounds: how large one may be, and how many bytes all bodies in memory
//! may be together. The second is what keeps a core alive when many clients send large bodies at
//! once.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use bytes::{Bytes, BytesMut};
use homecore_types::ErrorId;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::context::{BUDGET_UNIT, Context};
use crate::error::ApiError;

/// A body in memory, with its share of the budget.
#[derive(Debug)]
pub struct Held {
    /// The bytes.
    pub bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// A JSON body. Null when there was none, or one of a content type that is not read here; the
/// route's schema then says what is missing.
#[derive(Debug)]
pub struct JsonBody {
    /// The value.
    pub value: Value,
    /// Held as long as the value.
    _held: Option<Held>,
}

impl JsonBody {
    /// The body as an object; nothing is an empty one.
    ///
    /// # Errors
    /// 400 `invalid-request-structure` for an array or a lone value.
    pub fn into_object(self) -> Result<Map<String, Value>, ApiError> {
        match self.value {
            Value::Object(map) => Ok(map),
            Value::Null => Ok(Map::new()),
            _ => Err(ApiError::unreadable("The body must be a JSON object")),
        }
    }
}

impl<S> FromRequest<S> for JsonBody
where
    S: Send + Sync,
    Arc<Context>: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        read_json(&Arc::from_ref(state), &parts.headers, body).await
    }
}

/// Reads a JSON body.
///
/// # Errors
/// 400 `invalid-request-structure` when it is too large, cut off or no JSON; 503 when too many
/// large bodies are in memory.
pub async fn read_json(
    context: &Context,
    headers: &HeaderMap,
    body: Body,
) -> Result<JsonBody, ApiError> {
    let is_json = media_type(headers)
        .is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"));
    if !is_json {
        return Ok(JsonBody {
            value: Value::Null,
            _held: None,
        });
    }
    let held = read(context, headers, body).await?;
    let value = if held.bytes.iter().all(u8::is_ascii_whitespace) {
        Value::Null
    } else {
        serde_json::from_slice(&held.bytes)
            .map_err(|error| ApiError::unreadable(format!("The body is not JSON: {error}")))?
    };
    Ok(JsonBody {
        value,
        _held: Some(held),
    })
}

/// Reads a body into memory.
///
/// # Errors
/// As [`read_json`].
pub async fn read(
    context: &Context,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Held, ApiError> {
    let encoded = headers
        .get(CONTENT_ENCODING)
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(ApiError::unreadable(
            "Bodies with a Content-Encoding are not read here",
        ));
    }
    let max = context.limits.body_bytes_max;
    let too_large = || ApiError::unreadable(format!("The body is larger than {max} bytes"));
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    if announced.is_some_and(|length| u64::try_from(max).is_ok_and(|max| length > max)) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    let mut share: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| ApiError::unreadable(format!("The body was cut off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len().saturating_add(data.len()) > max {
            return Err(too_large());
        }
        grow(&context.budget, &mut share, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok(Held {
        bytes: bytes.freeze(),
        _share: share,
    })
}

/// Makes a share as large as `bytes`, or refuses at once: waiting would hold what others wait for.
fn grow(
    budget: &Arc<Semaphore>,
    share: &mut Option<OwnedSemaphorePermit>,
    bytes: usize,
) -> Result<(), ApiError> {
    let wanted = bytes.div_ceil(BUDGET_UNIT);
    let missing =
        wanted.saturating_sub(share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
    if missing == 0 {
        return Ok(());
    }
    let more = u32::try_from(missing)
        .ok()
        .and_then(|missing| Arc::clone(budget).try_acquire_many_owned(missing).ok())
        .ok_or_else(|| {
            ApiError::new(
                ErrorId::ApiUnavailable,
                "Too many large bodies are being received",
            )
            .retry_after(Duration::from_secs(1))
        })?;
    match share {
        Some(share) => share.merge(more),
        None => *share = Some(more),
    }
    Ok(())
}

/// The content type in lower case, without parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim();
    (!kind.is_empty()).then(|| kind.to_ascii_lowercase())
}
