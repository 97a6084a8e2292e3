//! What an operation answers when it does not do what was asked.
//!
//! Every operation family has its own enum; each implements [`Refusal`] by an exhaustive match, and
//! [`Error`] is the one form in which they leave the kernel: an [`ErrorId`] for the wire, a message
//! and data for the client, and the cause for the operator's log. A cause never reaches a client.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use homecore_store::StoreError;
use homecore_types::ErrorId;
use serde_json::Value;

use crate::violation::Violation;

/// How long a client is asked to wait before it tries again what was refused for being too much.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// When to try again what a full disk refused: somebody has to make room first.
const FULL_RETRY: Duration = Duration::from_secs(30);
/// How the message begins where a stored document is damaged.
const DAMAGED: &str =
    "Something that is stored is damaged: the server's operator has to repair it or set it aside";

/// A refusal of one operation family.
pub trait Refusal: StdError + Send + Sync + 'static {
    /// As clients know it.
    fn id(&self) -> ErrorId;

    /// What goes with the id on the wire.
    fn data(&self) -> Option<Value> {
        None
    }

    /// What the client reads. The default is this error's own text; failures of ours say less.
    fn client_message(&self) -> String {
        self.to_string()
    }

    /// When it is worth trying again.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// A refusal or failure, ready for any protocol.
pub struct Error(Box<Parts>);

struct Parts {
    id: ErrorId,
    message: String,
    data: Option<Value>,
    retry_after: Option<Duration>,
    cause: Box<dyn StdError + Send + Sync>,
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("id", &self.0.id)
            .field("message", &self.0.message)
            .field("data", &self.0.data)
            .field("cause", &self.0.cause)
            .finish_non_exhaustive()
    }
}

impl Error {
    /// As clients know it.
    #[must_use]
    pub fn id(&self) -> ErrorId {
        self.0.id
    }

    /// For the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether it is that a stored document is damaged: the message then says what can be done.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        self.id() == ErrorId::UnexpectedError && self.message() == DAMAGED
    }

    /// For the client.
    #[must_use]
    pub fn data(&self) -> Option<&Value> {
        self.0.data.as_ref()
    }

    /// When it is worth trying again, if waiting can help.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The error as it was raised, with its own causes: for the log, never for a client.
    #[must_use]
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        self.0.cause.as_ref()
    }

    /// The body of `error` in an answer: `{"id", "message", "data"?}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut body = serde_json::Map::new();
        body.insert("id".to_owned(), Value::from(self.0.id.wire()));
        body.insert("message".to_owned(), Value::from(self.0.message.as_str()));
        if let Some(data) = &self.0.data {
            body.insert("data".to_owned(), data.clone());
        }
        Value::Object(body)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.id, self.0.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.0.cause.as_ref())
    }
}

impl<E: Refusal> From<E> for Error {
    fn from(refusal: E) -> Self {
        Self(Box::new(Parts {
            id: refusal.id(),
            message: refusal.client_message(),
            data: refusal.data(),
            retry_after: refusal.retry_after(),
            cause: Box::new(refusal),
        }))
    }
}

impl Refusal for StoreError {
    fn id(&self) -> ErrorId {
        match self {
            Self::UnknownUser { .. } => ErrorId::UnknownResource,
            Self::UserExists { .. } => ErrorId::ItemAlreadyExists,
            Self::Busy { .. } | Self::Full { .. } | Self::Stopped | Self::Poisoned { .. } => {
                ErrorId::ApiUnavailable
            }
            Self::Corrupted { .. }
            | Self::Damaged { .. }
            | Self::UnknownFormat { .. }
            | Self::Engine { .. } => ErrorId::UnexpectedError,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::UnknownUser { .. } => "Unknown user".to_owned(),
            Self::UserExists { .. } => "The user exists already".to_owned(),
            Self::Busy { .. } => "The server is busy, please try again".to_owned(),
            Self::Full { .. } => "The server has no room for more data. Reading goes on; \
                                  writing will when its operator has made room"
                .to_owned(),
            Self::Stopped | Self::Poisoned { .. } => {
                "The server cannot serve this user now, please try again".to_owned()
            }
            // Which it is, its id even, may be what the caller shall not know. The operator's log says it.
            Self::Damaged { .. } => DAMAGED.to_owned(),
            Self::Corrupted { .. } | Self::UnknownFormat { .. } | Self::Engine { .. } => {
                "Unexpected error".to_owned()
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { .. } | Self::Stopped | Self::Poisoned { .. } => Some(BUSY_RETRY),
            Self::Full { .. } => Some(FULL_RETRY),
            Self::UnknownUser { .. }
            | Self::UserExists { .. }
            | Self::Corrupted { .. }
            | Self::Damaged { .. }
            | Self::UnknownFormat { .. }
            | Self::Engine { .. } => None,
        }
    }
}

/// Parameters that have the wrong form: all violations at once (spec/pryv-api §1.8).
#[derive(Debug, thiserror::Error)]
#[error("The parameters' format is invalid.")]
pub struct InvalidParameters(pub Vec<Violation>);

impl Refusal for InvalidParameters {
    fn id(&self) -> ErrorId {
        ErrorId::InvalidParametersFormat
    }

    fn data(&self) -> Option<Value> {
        Some(Violation::list(&self.0))
    }
}

/// A request that cannot be read as a whole.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct InvalidStructure {
    /// What is wrong with it.
    pub reason: String,
}

impl Refusal for InvalidStructure {
    fn id(&self) -> ErrorId {
        ErrorId::InvalidRequestStructure
    }
}
