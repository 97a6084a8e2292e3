//! The error envelope, made in one place.
//!
//! Handlers return [`ApiError`]; as a response it carries itself in the response's extensions, and
//! [`crate::App`] renders it at the very end, where clock and serial for `meta` are at hand. So no
//! route can answer an error in another form.

use std::error::Error;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use homecore_kernel::ports::Unavailable;
use homecore_types::ErrorId;
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::Value;

use crate::context::{Context, Meta, json_response};

/// What a client is told when something failed (spec/pryv-api §1.7).
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The stable id; it brings the status.
    pub id: ErrorId,
    /// For people; without secrets.
    pub message: String,
    /// For programs.
    pub data: Option<Box<Value>>,
    /// When it is worth trying again.
    pub retry_after: Option<Duration>,
    /// Base URL of the core that would answer (421).
    pub core_url: Option<Box<str>>,
    /// Whether `meta` is left out (spec/platform §3.0).
    pub plain: bool,
}

impl ApiError {
    /// An error of this kind.
    ///
    /// ```
    /// # use homecore_http::ApiError;
    /// # use homecore_types::ErrorId;
    /// let error = ApiError::new(ErrorId::UnknownResource, "Unknown event \"x\"");
    /// assert_eq!(error.status(), 404);
    /// ```
    #[must_use]
    pub fn new(id: ErrorId, message: impl Into<String>) -> Self {
        Self {
            id,
            message: message.into(),
            data: None,
            retry_after: None,
            core_url: None,
            plain: false,
        }
    }

    /// With `error.data`.
    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }

    /// With a `Retry-After` header.
    #[must_use]
    pub fn retry_after(mut self, span: Duration) -> Self {
        self.retry_after = Some(span);
        self
    }

    /// In the form without `meta`.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// A defect of ours: logged here with its causes, told to the client without them.
    #[must_use]
    pub fn internal(cause: &dyn Error) -> Self {
        let mut chain = cause.to_string();
        let mut source = cause.source();
        while let Some(deeper) = source {
            chain.push_str(": ");
            chain.push_str(&deeper.to_string());
            source = deeper.source();
        }
        Self::unexpected(&chain)
    }

    /// A defect of ours that has no error value: logged here, told to the client without detail.
    #[must_use]
    pub fn unexpected(detail: &str) -> Self {
        tracing::error!(detail, "a request failed unexpectedly");
        Self::new(
            ErrorId::UnexpectedError,
            "Something went wrong on our side; it was recorded. Please try again later",
        )
    }

    /// The path leads nowhere.
    #[must_use]
    pub fn unknown_route() -> Self {
        Self::new(ErrorId::UnknownResource, "Unknown resource")
    }

    /// Nobody has this name.
    #[must_use]
    pub fn unknown_user(username: &str) -> Self {
        Self::new(
            ErrorId::UnknownResource,
            format!("Unknown user \"{}\"", shorten(username)),
        )
    }

    /// The request cannot be read at all.
    #[must_use]
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(ErrorId::InvalidRequestStructure, message)
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.id.status()
    }

    /// `{"id":…,"message":…,"data":…}`, as it stands in `error` and in the results of a batch.
    #[must_use]
    pub fn body(&self) -> ErrorBody<'_> {
        ErrorBody {
            id: self.id.wire(),
            message: &self.message,
            core_url: self.core_url.as_deref(),
            data: self.data.as_deref(),
        }
    }

    /// The whole response.
    #[must_use]
    pub fn render(&self, context: &Context) -> Response {
        self.render_with((!self.plain).then(|| context.meta()))
    }

    fn render_with(&self, meta: Option<Meta>) -> Response {
        let bytes = serde_json::to_vec(&Envelope {
            error: self.body(),
            meta,
        })
        .unwrap_or_default();
        let status = StatusCode::from_u16(self.status()).unwrap_or_default();
        let mut response = json_response(status, bytes.into());
        if let Some(span) = self.retry_after {
            let seconds = span.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::try_from(seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        response
    }
}

impl From<Unavailable> for ApiError {
    /// The reason may name cores and their inner addresses, and anybody may be asking: it is for the
    /// log only.
    fn from(unavailable: Unavailable) -> Self {
        let Unavailable {
            reason,
            retry_after,
        } = unavailable;
        tracing::debug!(reason, "the platform cannot answer");
        Self::new(
            ErrorId::ApiUnavailable,
            "The platform cannot answer now; try again",
        )
        .retry_after(retry_after)
    }
}

impl From<homecore_kernel::Error> for ApiError {
    fn from(error: homecore_kernel::Error) -> Self {
        if error.id() == ErrorId::UnexpectedError {
            let told = Self::internal(error.cause());
            // A list without what is damaged would be a lie: instead, it is named, and who can help.
            if error.is_damage() {
                return Self::new(error.id(), error.message());
            }
            return told;
        }
        Self {
            data: error.data().cloned().map(Box::new),
            retry_after: error.retry_after(),
            ..Self::new(error.id(), error.message())
        }
    }
}

impl IntoResponse for ApiError {
    /// The form without `meta`, with the error itself aboard for [`crate::App`] to render.
    fn into_response(self) -> Response {
        let mut response = self.render_with(None);
        response.extensions_mut().insert(self);
        response
    }
}

/// See [`ApiError::body`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody<'a> {
    id: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    core_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: ErrorBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

/// What a client sent, short enough to send it back.
#[must_use]
pub fn shorten(text: &str) -> String {
    const MAX: usize = 100;
    let mut short: String = text.chars().take(MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
