//! What can go wrong: the wire said no ([`WireError`]), or there was no usable answer.

use std::fmt;

use homecore_types::ErrorId;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use url::Url;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The core answered with an error.
    #[error("{method} {url} was refused: {error}")]
    Wire {
        /// The request's method.
        method: Method,
        /// Where it was sent, without query and credentials.
        url: String,
        /// What the core said.
        error: Box<WireError>,
    },
    /// The core could not be reached, or the connection broke, or its time was up.
    #[error("{method} {url} got no answer")]
    Transport {
        /// The request's method.
        method: Method,
        /// Where it was sent, without query and credentials.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The answer is not what the API promises.
    #[error("{method} {url} was answered {status} with something unexpected: {what}")]
    UnexpectedAnswer {
        /// The request's method.
        method: Method,
        /// Where it was sent, without query and credentials.
        url: String,
        /// The answer's status.
        status: StatusCode,
        /// What is wrong with it.
        what: String,
    },
    /// The answer is longer than the client takes.
    #[error("the answer of {url} is longer than {max} bytes; ask for less at once")]
    AnswerTooLong {
        /// Where the request was sent, without query and credentials.
        url: String,
        /// The bound.
        max: usize,
    },
    /// A text that should be the address of a core is none.
    #[error(
        "{text:?} is no address of a core: http or https, without credentials, query and fragment"
    )]
    CoreUrl {
        /// The text.
        text: String,
    },
    /// A core over https named a home over http; nothing was sent there.
    #[error(
        "{core} says that the user lives at {home}, which is not https: nothing was sent there"
    )]
    InsecureHome {
        /// The core asked.
        core: String,
        /// The home it named.
        home: String,
    },
    /// A path that leaves the place it is relative to.
    #[error("{path:?} is no path below a core or a user")]
    Path {
        /// The path.
        path: String,
    },
    /// A body that cannot be written as JSON.
    #[error("the body is no JSON")]
    Body(#[source] serde_json::Error),
    /// More calls than a batch may have.
    #[error("a batch has at most {max} calls, not {count}")]
    TooManyCalls {
        /// How many there are.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up")]
    Setup(#[source] reqwest::Error),
}

impl ClientError {
    /// What the core said, if it was the core that refused.
    #[must_use]
    pub fn wire(&self) -> Option<&WireError> {
        match self {
            Self::Wire { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The wire's error id, if it was the core that refused and the id is a known one.
    #[must_use]
    pub fn id(&self) -> Option<ErrorId> {
        self.wire().and_then(WireError::known_id)
    }

    /// Whether the same request may be sent to another core although this one may have carried it
    /// out: it surely did not arrive, or doing it twice is doing it once.
    pub(crate) fn may_be_sent_elsewhere(&self) -> bool {
        match self {
            Self::Transport { method, source, .. } => source.is_connect() || method.is_idempotent(),
            _ => false,
        }
    }
}

/// An error as the wire tells it: `{"error":{"id","message","data"?}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct WireError {
    /// The HTTP status; none for an error inside a batch.
    pub status: Option<u16>,
    /// The error's id.
    pub id: String,
    /// For people.
    pub message: String,
    /// Details, by the kind of error.
    pub data: Option<Value>,
    /// Where the user lives, for `wrong-core`.
    pub core_url: Option<String>,
}

impl WireError {
    /// The id as one of the closed list, if it is in there.
    #[must_use]
    pub fn known_id(&self) -> Option<ErrorId> {
        // One id may have two statuses (a token that is missing, and one that is wrong).
        let all = || {
            ErrorId::ALL
                .iter()
                .copied()
                .filter(|known| known.wire() == self.id)
        };
        all()
            .find(|known| Some(known.status()) == self.status)
            .or_else(|| all().next())
    }

    /// Reads the `error` object of a body, if it has one.
    pub(crate) fn read(body: &[u8], status: Option<u16>) -> Option<Self> {
        let body: Body = serde_json::from_slice(body).ok()?;
        Some(body.error.into_error(status))
    }

    /// Reads an `error` object.
    pub(crate) fn from_value(error: Value) -> Result<Self, serde_json::Error> {
        Ok(serde_json::from_value::<Inner>(error)?.into_error(None))
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status} {}: {}", self.id, self.message),
            None => write!(f, "{}: {}", self.id, self.message),
        }
    }
}

impl std::error::Error for WireError {}

#[derive(Deserialize)]
struct Body {
    error: Inner,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inner {
    id: String,
    #[serde(default)]
    message: String,
    data: Option<Value>,
    core_url: Option<String>,
}

impl Inner {
    fn into_error(self, status: Option<u16>) -> WireError {
        let Self {
            id,
            message,
            data,
            core_url,
        } = self;
        WireError {
            status,
            id,
            message,
            data,
            core_url,
        }
    }
}

/// A URL as it may be shown: without credentials and query, which may hold a token.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
