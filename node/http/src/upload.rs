//! Forms with files, as they come from a client: neither endless nor slow, and never whole in
//! memory.
//!
//! A body that says nothing for a while is cut off as any other; one that goes on, but so slowly
//! that it would never end, is cut off too ([`UPLOAD_RATE_MIN`]).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use homecore_types::ErrorId;
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::body::{self, Collecting};
use crate::context::{Context, Limits};
use crate::error::ApiError;
use crate::multipart::{Event, MultipartError, Parser};

/// Bytes a second that an upload must come at, on the average.
pub const UPLOAD_RATE_MIN: u64 = 16 * 1024;
/// What a form may take beside its parts.
const FRAMING_BYTES_MAX: u64 = 256 * 1024;
/// So many parts as large as a part may be have room in a form: ten files, as many as the original server
/// takes at once, and the text. A form of more files is one of smaller ones.
const FULL_PARTS_MAX: u64 = 11;

/// Whether a request carries a form with files.
#[must_use]
pub fn is_multipart(headers: &HeaderMap) -> bool {
    body::media_type(headers).is_some_and(|kind| kind == "multipart/form-data")
}

/// How long a request may take: one with files as long as its body may, at the slowest allowed.
pub(crate) fn time_allowed(limits: &Limits, headers: &HeaderMap) -> Duration {
    if !is_multipart(headers) {
        return limits.request_timeout;
    }
    let announced = content_length(headers).unwrap_or(u64::MAX);
    let seconds = announced.min(most(limits)) / UPLOAD_RATE_MIN;
    limits
        .request_timeout
        .saturating_mul(2)
        .saturating_add(Duration::from_secs(seconds))
}

/// Bytes of a whole form.
pub(crate) fn most(limits: &Limits) -> u64 {
    limits
        .upload_bytes_max
        .saturating_mul(FULL_PARTS_MAX)
        .saturating_add(FRAMING_BYTES_MAX)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl From<MultipartError> for ApiError {
    fn from(error: MultipartError) -> Self {
        Self::unreadable(format!("The form cannot be read: {error}"))
    }
}

/// A form on its way in.
#[derive(Debug)]
pub struct Form {
    body: Body,
    parser: Parser,
    most: u64,
    received: u64,
    /// The same of the part that is being read.
    part_most: u64,
    part_received: u64,
    started: Instant,
    grace: Duration,
    patience: Duration,
    text: Collecting,
}

impl Form {
    /// Begins to read a request whose caller is known.
    ///
    /// # Errors
    /// 400 `invalid-request-structure` if it is no form; 413 `payload-too-large`.
    pub fn of(context: &Arc<Context>, request: Request) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let limits = &context.limits;
        let form = Self {
            body,
            parser: Parser::new(kind)?,
            most: most(limits),
            received: 0,
            part_most: limits.upload_bytes_max,
            part_received: 0,
            started: Instant::now(),
            grace: limits.request_timeout,
            patience: limits.body_stall_timeout,
            text: Collecting::new(context, &parts.extensions),
        };
        if content_length(&parts.headers).unwrap_or(0) > form.most {
            return Err(too_large("The form", form.most));
        }
        Ok(form)
    }

    /// What comes next; none at the end.
    ///
    /// # Errors
    /// 400 `invalid-request-structure` if it is no form, stalls, is slow or is cut off; 413
    /// `payload-too-large`.
    pub async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.parser.advance()? {
                self.count(&event)?;
                return Ok(Some(event));
            }
            match self.frame().await? {
                Some(bytes) => self.parser.feed(&bytes),
                None => {
                    self.parser.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    /// Each part has a limit of its own.
    fn count(&mut self, event: &Event) -> Result<(), ApiError> {
        match event {
            Event::Begin(_) => self.part_received = 0,
            Event::Data(data) => {
                let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                self.part_received = self.part_received.saturating_add(length);
            }
            Event::End => {}
        }
        if self.part_received > self.part_most {
            return Err(too_large("A part of the form", self.part_most));
        }
        Ok(())
    }

    /// Keeps a piece of the part that is text.
    ///
    /// # Errors
    /// 413 `payload-too-large`; 503 when too many large bodies are in memory.
    pub fn keep_text(&mut self, bytes: &[u8]) -> Result<(), ApiError> {
        if self.text.would_exceed(bytes) {
            return Err(too_large("A part of the form", self.text.most()));
        }
        self.text.push(bytes)
    }

    /// Reads what was kept as JSON; null if there was nothing.
    ///
    /// # Errors
    /// 400 `invalid-request-structure` if it is no JSON.
    pub async fn into_json(self) -> Result<Value, ApiError> {
        self.text.parse().await
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, ApiError> {
        // What came with the piece that was too much is looked at first.
        if self.received > self.most {
            return Err(too_large("The form", self.most));
        }
        let deadline = Instant::now() + self.patience;
        loop {
            let Ok(frame) = timeout_at(deadline, self.body.frame()).await else {
                return Err(ApiError::unreadable(format!(
                    "The body is not complete and nothing more came for {} s",
                    self.patience.as_secs_f64()
                )));
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame
                .map_err(|error| ApiError::unreadable(format!("The body was cut off: {error}")))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if data.is_empty() {
                continue;
            }
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            self.received = self.received.saturating_add(length);
            let allowed = Duration::from_secs(self.received / UPLOAD_RATE_MIN);
            if self.started.elapsed() > self.grace.saturating_add(allowed) {
                return Err(ApiError::unreadable(
                    "The body comes too slowly to be waited for",
                ));
            }
            return Ok(Some(data));
        }
    }
}

fn too_large(what: &str, most: u64) -> ApiError {
    ApiError::new(
        ErrorId::PayloadTooLarge,
        format!("{what} is larger than {most} bytes"),
    )
    .with_data(json!({ "limitMb": most / (1024 * 1024) }))
}
