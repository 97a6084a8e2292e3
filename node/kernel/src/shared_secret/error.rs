//! Why a shared secret was not made, shown or handed over.

use homecore_store::StoreError;
use homecore_types::{ErrorId, limits};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::error::{InvalidParameters, Refusal};

/// What is wrong with the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// No life, or none that is a number above 0.
    Ttl,
    /// A longer life than there may be.
    TtlTooLong,
    /// No title, an empty or a long one.
    Title,
    /// Nothing to say once it is gone.
    OnConsumed,
    /// Somewhere to go then that is no web page.
    ReturnUrl,
    /// No secret.
    MissingSecret,
    /// A large one.
    TooLarge,
    /// No hash of a key where there must be one, or no SHA-256.
    KeyHash,
    /// A proof of an unknown kind, or none where one is needed.
    Signature,
}

impl Problem {
    /// `data.id` on the wire.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::Ttl => "shared-secret-invalid-ttl",
            Self::TtlTooLong => "shared-secret-ttl-too-long",
            Self::Title => "shared-secret-invalid-title",
            Self::OnConsumed => "shared-secret-invalid-on-consumed",
            Self::ReturnUrl => "shared-secret-invalid-return-url",
            Self::MissingSecret => "shared-secret-missing-secret",
            Self::TooLarge => "shared-secret-too-large",
            Self::KeyHash => "shared-secret-invalid-key-hash",
            Self::Signature => "shared-secret-invalid-signature",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Ttl => "\"ttl\" must be a number of seconds above 0",
            Self::TtlTooLong => "\"ttl\" is longer than it may be",
            Self::Title => "\"title\" must be a text of 1 to 255 characters",
            Self::OnConsumed => "\"onConsumed.message\" must be a text of 1 to 2000 characters",
            Self::ReturnUrl => {
                "\"onConsumed.returnUrl\" must be an address that begins with http(s)://"
            }
            Self::MissingSecret => "\"secret\" is missing",
            Self::TooLarge => "\"secret\" is larger than it may be",
            Self::KeyHash => {
                "\"keyHash\" must be a SHA-256 in lower-case hex; hmac-sha256 needs it"
            }
            Self::Signature => {
                "\"signature\" must have the type \"secret\" or \"hmac-sha256\" and its text"
            }
        }
    }
}

/// Why a shared secret was not made, shown or handed over.
#[derive(Debug, Error)]
pub enum SharedSecretError {
    /// The operator does not want any.
    #[error("Shared secrets are not available on this platform")]
    Inactive,
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// See [`Problem`].
    #[error("{}", .0.message())]
    Invalid(Problem),
    /// The access may make none, or has not made this one.
    #[error("The given access may not do this with shared secrets")]
    Forbidden,
    /// As many wait as may.
    #[error(
        "{} shared secrets of an access and {} of an account can be pending, not more",
        limits::SHARED_SECRETS_PER_ACCESS_MAX,
        limits::SHARED_SECRETS_PENDING_MAX
    )]
    TooMany,
    /// No such key. What is almost one is none.
    #[error("Unknown shared secret")]
    Unknown,
    /// It was there.
    #[error("{message}")]
    Unavailable {
        /// What its maker has to say.
        message: String,
        /// Where its maker wants people to go.
        return_url: Option<String>,
    },
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for SharedSecretError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Inactive => ErrorId::UnavailableMethod,
            Self::Parameters(invalid) => invalid.id(),
            Self::Invalid(_) => ErrorId::InvalidParametersFormat,
            Self::Forbidden | Self::Unavailable { .. } => ErrorId::Forbidden,
            Self::TooMany => ErrorId::InvalidOperation,
            Self::Unknown => ErrorId::UnknownResource,
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Invalid(problem) => Some(json!({ "id": problem.id() })),
            Self::Forbidden => Some(json!({ "id": "shared-secret-forbidden" })),
            Self::Unavailable { return_url, .. } => {
                let mut data = Map::new();
                data.insert("id".to_owned(), json!("shared-secret-unavailable"));
                if let Some(url) = return_url {
                    data.insert("returnUrl".to_owned(), json!(url));
                }
                Some(Value::Object(data))
            }
            Self::Inactive | Self::TooMany | Self::Unknown | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}
