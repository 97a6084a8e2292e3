//! What every capability is given: names, the directory of users, time, bounds; and the `meta`
//! block that goes into every body.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use homecore_kernel::ports::Directory;
use homecore_types::{Clock, limits};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::error::ApiError;
use crate::metrics::HttpMetrics;
use crate::rate::RateLimits;
use crate::site::Site;

/// The version of the API that is spoken, in headers and in `meta`.
pub const API_VERSION: &str = "2.0.0";

/// Bytes counted by one permit of the body budget.
pub(crate) const BUDGET_UNIT: usize = 1024;

/// The bounds of the HTTP side. [`Limits::default`] takes them from `types::limits`.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections open at once on all listeners of a server.
    pub connections_max: usize,
    /// Requests being answered at once.
    pub in_flight_max: usize,
    /// A client must have sent its header within this time; also how long a connection idles.
    pub header_read_timeout: Duration,
    /// Bytes of request line and headers.
    pub header_bytes_max: usize,
    /// A body that is not complete must go on within this time.
    pub body_stall_timeout: Duration,
    /// Until the head of the response.
    pub request_timeout: Duration,
    /// Bytes of one body of a known caller; see [`crate::body::ANONYMOUS_BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// Bytes of one file in a form; its text may be no longer either.
    pub upload_bytes_max: u64,
    /// Bytes of all bodies, and of what is read from them, that are held in memory at once.
    pub buffered_bytes_max: usize,
    /// How long connections may go on after the server was told to stop.
    pub drain_timeout: Duration,
    /// HTTP/2 without TLS, for proxies that speak it.
    pub h2c: bool,
    /// How many proxies in front of this core append to `X-Forwarded-For`; 0 believes none.
    pub forwarded_hops: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            in_flight_max: limits::REQUESTS_IN_FLIGHT_MAX,
            header_read_timeout: limits::HEADER_READ_TIMEOUT,
            header_bytes_max: limits::HEADER_BYTES_MAX,
            body_stall_timeout: Duration::from_secs(10),
            request_timeout: limits::REQUEST_TIMEOUT,
            body_bytes_max: limits::BODY_BYTES_MAX,
            upload_bytes_max: limits::UPLOAD_BYTES_MAX,
            buffered_bytes_max: 8 * limits::BODY_BYTES_MAX,
            drain_timeout: Duration::from_secs(20),
            h2c: false,
            forwarded_hops: 0,
        }
    }
}

/// Shared by all routes of a core.
#[derive(Clone, Debug)]
pub struct Context {
    /// The platform's names.
    pub site: Arc<dyn Site>,
    /// Where users live.
    pub directory: Arc<dyn Directory>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Bounds.
    pub limits: Limits,
    /// How often somebody may do what.
    pub rates: Arc<RateLimits>,
    /// Counters.
    pub metrics: Arc<HttpMetrics>,
    pub(crate) budget: Arc<Semaphore>,
}

impl Context {
    /// Puts a context together.
    #[must_use]
    pub fn new(
        site: Arc<dyn Site>,
        directory: Arc<dyn Directory>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        rates: RateLimits,
    ) -> Self {
        let units = (limits.buffered_bytes_max / BUDGET_UNIT).min(Semaphore::MAX_PERMITS);
        Self {
            site,
            directory,
            clock,
            limits,
            rates: Arc::new(rates),
            metrics: Arc::default(),
            budget: Arc::new(Semaphore::new(units)),
        }
    }

    /// The `meta` block (spec/pryv-api §1.4).
    #[must_use]
    pub fn meta(&self) -> Meta {
        Meta {
            api_version: API_VERSION,
            server_time: self.clock.now().as_seconds(),
            serial: self.site.facts().serial.clone(),
        }
    }

    /// A JSON object as a response, with `meta` added.
    ///
    /// # Errors
    /// When `body` cannot be serialised or is no object: a defect of the caller.
    pub fn reply(&self, status: StatusCode, body: &impl Serialize) -> Result<Response, ApiError> {
        let text = serde_json::to_vec(body).map_err(|e| ApiError::internal(&e))?;
        self.reply_text(status, &text)
    }

    /// The text of a JSON object as a response, with `meta` before its members: clients look for the
    /// literal `{"meta":`.
    ///
    /// # Errors
    /// When `text` is no object: a defect of the caller.
    pub fn reply_text(&self, status: StatusCode, text: &[u8]) -> Result<Response, ApiError> {
        let members = text
            .strip_prefix(b"{")
            .ok_or_else(|| ApiError::unexpected("a reply is not a JSON object"))?;
        let meta = serde_json::to_vec(&self.meta()).map_err(|e| ApiError::internal(&e))?;
        let mut bytes = Vec::with_capacity(text.len() + meta.len() + 8);
        bytes.extend_from_slice(b"{\"meta\":");
        bytes.extend_from_slice(&meta);
        if members != b"}" {
            bytes.push(b',');
        }
        bytes.extend_from_slice(members);
        Ok(json_response(status, bytes.into()))
    }
}

/// A JSON value as a response, without `meta` (spec/platform §3.0, plain routes).
///
/// # Errors
/// When `body` cannot be serialised: a defect of the caller.
pub fn plain_reply(status: StatusCode, body: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(body).map_err(|e| ApiError::internal(&e))?;
    Ok(json_response(status, bytes.into()))
}

/// A response that carries JSON text.
#[must_use]
pub fn json_response(status: StatusCode, bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    response
}

/// See [`Context::meta`].
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Version of the API.
    pub api_version: &'static str,
    /// Time at the server, in seconds.
    pub server_time: f64,
    /// Serial of the service info.
    pub serial: String,
}

/// Who asks, as far as the network tells. [`crate::App`] puts it into every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl Default for ClientAddress {
    fn default() -> Self {
        Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }
}
