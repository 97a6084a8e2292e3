//! Request bodies and what they may cost.
//!
//! Four bounds, because each alone leaves a way to exhaust a core:
//!
//! - how large one body may be, inflated if it came compressed: little ([`ANONYMOUS_BODY_BYTES_MAX`]) until a capability knows who
//!   calls and says so with [`KnownCaller`];
//! - how many bytes all requests in progress hold together. A JSON value takes far more memory than
//!   its text (`[0,0,…]` forty times as much), so what a text will become is charged before it is
//!   parsed, and the charge stays until the request is answered, whoever has the value by then; a text
//!   that would become too much ([`JSON_VALUE_BYTES_MAX`]) is not parsed at all;
//! - how long a body may say nothing, so that one that stalls gives back what it holds;
//! - how long a worker of the runtime parses: larger texts are parsed on a blocking thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use bytes::{Bytes, BytesMut};
use homecore_types::ErrorId;
use homecore_types::json::{ITEM_BYTES, value_bytes};
use homecore_types::limits::JSON_VALUE_BYTES_MAX;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{Extensions, HeaderMap};
use http_body_util::BodyExt;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::context::{BUDGET_UNIT, Context};
use crate::error::ApiError;
use crate::form::WasForm;
use crate::inflate::{Coding, inflate};
use crate::json_text;

/// Bytes of a body that is read before it is known who sends it: routes at the root, log-in, and
/// forms, whose token stands in the body. A registration needs a few hundred.
pub const ANONYMOUS_BODY_BYTES_MAX: usize = 256 * 1024;

/// Bytes of JSON text that are parsed at once; a larger text would keep others waiting.
const INLINE_PARSE_BYTES_MAX: usize = ANONYMOUS_BODY_BYTES_MAX;

/// Put into a request's extensions by a capability that knows who calls. Only then may a body be as
/// large as [`crate::Limits::body_bytes_max`].
#[derive(Clone, Copy, Debug)]
pub struct KnownCaller;

/// What one request holds of the budget of all bodies. [`crate::App`] puts it into the request and
/// keeps it until there is an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share(Arc<Mutex<Part>>);

#[derive(Debug, Default)]
struct Part {
    bytes: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// The share of the request; one of its own where no [`crate::App`] is in front.
    fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// Takes more, or refuses at once: waiting would hold what others wait for.
    fn take(&self, budget: &Arc<Semaphore>, bytes: usize) -> Result<(), ApiError> {
        let mut part = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        part.bytes = part.bytes.saturating_add(bytes);
        let wanted = part.bytes.div_ceil(BUDGET_UNIT);
        let held = part
            .permits
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = wanted.saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let more = acquire(budget, missing).ok_or_else(|| {
            ApiError::new(
                ErrorId::ApiUnavailable,
                "Too many large bodies are being received",
            )
            .retry_after(Duration::from_secs(1))
        })?;
        match &mut part.permits {
            Some(permits) => permits.merge(more),
            None => part.permits = Some(more),
        }
        Ok(())
    }

    /// Takes what a text will become. It is bounded, so that one body that is allowed always fits,
    /// and below the whole budget, so that beside it small ones still do.
    fn take_structure(&self, context: &Context, bytes: usize) -> Result<(), ApiError> {
        let most = context.limits.buffered_bytes_max / 8 * 7;
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        self.take(&context.budget, bytes.min(most.saturating_sub(held)))
    }
}

fn acquire(budget: &Arc<Semaphore>, permits: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(permits).ok()?;
    Arc::clone(budget).try_acquire_many_owned(permits).ok()
}

/// A JSON body. Null when there was none, or one of a content type that is not read here; the
/// route's schema then says what is missing.
#[derive(Debug)]
pub struct JsonBody {
    /// The value.
    pub value: Value,
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
        Unread(request).json(&Arc::from_ref(state)).await
    }
}

/// A body that nobody has read yet, for handlers that first ask whether they should.
#[derive(Debug)]
pub struct Unread(Request);

impl Unread {
    /// The request.
    #[must_use]
    pub fn into_request(self) -> Request {
        self.0
    }

    /// Whether it is a form with files.
    #[must_use]
    pub fn is_multipart(&self) -> bool {
        crate::upload::is_multipart(self.0.headers())
    }

    /// Whether it was sent as JSON, and not as a form that stands for it.
    #[must_use]
    pub fn is_json(&self) -> bool {
        is_json(self.0.headers()) && self.0.extensions().get::<WasForm>().is_none()
    }

    /// Reads it as JSON.
    ///
    /// # Errors
    /// As [`read_json`].
    pub async fn json(self, context: &Context) -> Result<JsonBody, ApiError> {
        let (parts, body) = self.0.into_parts();
        read_json(context, &parts, body).await
    }
}

impl<S: Sync> FromRequest<S> for Unread {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(request))
    }
}

/// Reads a JSON body.
///
/// # Errors
/// 400 `invalid-request-structure` when it is too large, stalls, is cut off or is no JSON object or array;
/// 503 when too many large bodies are in memory.
pub async fn read_json(context: &Context, parts: &Parts, body: Body) -> Result<JsonBody, ApiError> {
    if !is_json(&parts.headers) {
        return Ok(JsonBody { value: Value::Null });
    }
    let max = if parts.extensions.get::<KnownCaller>().is_some() {
        context.limits.body_bytes_max
    } else {
        context.limits.body_bytes_max.min(ANONYMOUS_BODY_BYTES_MAX)
    };
    let share = Share::of(&parts.extensions);
    let read = read(context, &parts.headers, &share, body, max, value_bytes).await?;
    let value = parse_read(context, share, read).await?;
    Ok(JsonBody { value })
}

/// Charges what a text will become, and parses it.
async fn parse_read(context: &Context, share: Share, read: Read) -> Result<Value, ApiError> {
    if read.structure > JSON_VALUE_BYTES_MAX {
        return Err(ApiError::unreadable("The body has too many values"));
    }
    share.take_structure(context, read.structure)?;
    let parsed = if read.bytes.len() <= INLINE_PARSE_BYTES_MAX {
        json_text::parse(read.bytes)
    } else {
        // Of those there are never many at once: each holds its share, also when nobody waits for
        // the answer any more.
        let parsing = tokio::task::spawn_blocking(move || {
            let parsed = json_text::parse(read.bytes);
            drop(share);
            parsed
        });
        parsing.await.map_err(|error| ApiError::internal(&error))?
    };
    match parsed {
        Ok(None) => Ok(Value::Null),
        Ok(Some(value @ (Value::Object(_) | Value::Array(_)))) => Ok(value),
        Ok(Some(_)) => Err(ApiError::unreadable(
            "The body must be a JSON object or array",
        )),
        Err(error) => Err(ApiError::unreadable(format!(
            "The body is not JSON: {error}"
        ))),
    }
}

/// A JSON text that comes in pieces, as a part of a form.
#[derive(Debug)]
pub(crate) struct Collecting {
    context: Arc<Context>,
    share: Share,
    bytes: BytesMut,
    structure: usize,
}

impl Collecting {
    pub(crate) fn new(context: &Arc<Context>, extensions: &Extensions) -> Self {
        Self {
            context: Arc::clone(context),
            share: Share::of(extensions),
            bytes: BytesMut::new(),
            structure: 0,
        }
    }

    /// Most bytes of it.
    pub(crate) fn most(&self) -> u64 {
        u64::try_from(self.context.limits.body_bytes_max).unwrap_or(u64::MAX)
    }

    /// Whether it would be larger than a body may be.
    pub(crate) fn would_exceed(&self, bytes: &[u8]) -> bool {
        self.bytes.len().saturating_add(bytes.len()) > self.context.limits.body_bytes_max
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        if self.would_exceed(bytes) {
            return Err(too_large(self.context.limits.body_bytes_max));
        }
        self.share.take(&self.context.budget, bytes.len())?;
        self.structure = self.structure.saturating_add(value_bytes(bytes));
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(crate) async fn parse(self) -> Result<Value, ApiError> {
        let read = Read {
            bytes: self.bytes.freeze(),
            structure: self.structure,
        };
        parse_read(&self.context, self.share, read).await
    }
}

/// The same for a form.
fn form_bytes(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'&').count() * 2 * ITEM_BYTES
}

/// Reads a form, whose token may stand in it: it is always small.
///
/// # Errors
/// As [`read_json`].
pub(crate) async fn read_form(
    context: &Context,
    parts: &Parts,
    body: Body,
) -> Result<Bytes, ApiError> {
    let max = context.limits.body_bytes_max.min(ANONYMOUS_BODY_BYTES_MAX);
    let share = Share::of(&parts.extensions);
    let read = read(context, &parts.headers, &share, body, max, form_bytes).await?;
    share.take_structure(context, read.structure)?;
    Ok(read.bytes)
}

pub(crate) fn too_large(max: usize) -> ApiError {
    ApiError::unreadable(format!("The body is larger than {max} bytes"))
}

/// A body in memory.
struct Read {
    bytes: Bytes,
    /// What it will become when it is parsed.
    structure: usize,
}

/// Reads a body into memory and charges its bytes as they come.
async fn read(
    context: &Context,
    headers: &HeaderMap,
    share: &Share,
    mut body: Body,
    max: usize,
    weigh: fn(&[u8]) -> usize,
) -> Result<Read, ApiError> {
    let coding = Coding::of(headers)?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    let patience = context.limits.body_stall_timeout;
    let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > max) {
        return Err(too_large(max));
    }
    let mut deadline = Instant::now() + patience;
    let mut bytes = BytesMut::new();
    let mut structure = 0_usize;
    loop {
        let Ok(frame) = timeout_at(deadline, body.frame()).await else {
            return Err(ApiError::unreadable(format!(
                "The body is not complete and nothing more came for {} s",
                patience.as_secs_f64()
            )));
        };
        let Some(frame) = frame else { break };
        let frame = frame
            .map_err(|error| ApiError::unreadable(format!("The body was cut off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if data.is_empty() {
            continue;
        }
        if bytes.len().saturating_add(data.len()) > max {
            return Err(too_large(max));
        }
        share.take(&context.budget, data.len())?;
        if coding.is_none() {
            structure = structure.saturating_add(weigh(&data));
        }
        bytes.extend_from_slice(&data);
        deadline = Instant::now() + patience;
    }
    let bytes = bytes.freeze();
    let Some(coding) = coding.filter(|_| !bytes.is_empty()) else {
        return Ok(Read { bytes, structure });
    };
    let (share, budget) = (share.clone(), Arc::clone(&context.budget));
    let work = move || {
        let bytes = inflate(coding, &bytes, max, |more| share.take(&budget, more))?;
        let structure = weigh(&bytes);
        Ok(Read { bytes, structure })
    };
    if max <= INLINE_PARSE_BYTES_MAX {
        return work();
    }
    let inflating = tokio::task::spawn_blocking(work);
    inflating
        .await
        .map_err(|error| ApiError::internal(&error))?
}

fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind == "application/json" || kind.ends_with("+json"))
}

/// The content type in lower case, without parameters.
#[must_use]
pub fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default().trim();
    (!kind.is_empty()).then(|| kind.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use homecore_types::json::CONTAINER_BYTES;

    use super::*;

    #[test]
    fn the_estimate_is_above_what_values_take() {
        let value = size_of::<Value>();
        // A vector may have just doubled; an entry of a map has its key and hash beside the value.
        assert!(2 * value <= ITEM_BYTES, "{value}");
        let entry = value + size_of::<String>() + size_of::<usize>();
        assert!(2 * entry <= 2 * ITEM_BYTES, "an entry is two items");
        assert!(4 * entry + 64 <= CONTAINER_BYTES);
        assert_eq!(value_bytes(b"[0,0]"), CONTAINER_BYTES + ITEM_BYTES);
        assert_eq!(
            value_bytes(br#"{"a":1,"b":2}"#),
            CONTAINER_BYTES + 3 * ITEM_BYTES
        );
        assert_eq!(form_bytes(b"a=1&b=2&"), 4 * ITEM_BYTES);
    }
}
