//! Why a second factor was not set, asked for, taken or removed.

use std::time::Duration;

use homecore_store::StoreError;
use homecore_types::{ErrorId, limits};
use serde_json::{Value, json};
use thiserror::Error;

use crate::account::AccountError;
use crate::account::login::LoginError;
use crate::error::{InvalidParameters, Refusal};
use crate::ports::CodeProviderError;
use crate::profile::ProfileError;

/// Why a call of `mfa.*` was refused.
#[derive(Debug, Error)]
pub enum MfaError {
    /// The operator sends no codes.
    #[error("Multi-factor authentication is not available on this platform")]
    Disabled,
    /// Only the person may.
    #[error("You cannot access this resource using the given access token.")]
    PersonOnly,
    /// Unknown, ended, used, tried too often, or of something else.
    #[error("The MFA token is invalid or expired")]
    UnknownToken,
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// What codes are to be sent with is too long.
    #[error(
        "The content can have {} bytes, not more",
        limits::MFA_CONTENT_BYTES_MAX
    )]
    TooLarge,
    /// See [`CodeProviderError`].
    #[error("The code could not be sent or was not accepted")]
    Provider(#[source] CodeProviderError),
    /// Another code was sent.
    #[error("The given code is invalid")]
    WrongCode,
    /// None of the recovery codes.
    #[error("The given recovery code is invalid")]
    WrongRecoveryCode,
    /// The person has no second factor.
    #[error("Multi-factor authentication is not active")]
    NotActive,
    /// Too many wait for a code.
    #[error("too many log-ins wait for a code, please try again")]
    Busy,
    /// As of a log-in.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`ProfileError`].
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for MfaError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Disabled | Self::Busy => ErrorId::ApiUnavailable,
            Self::PersonOnly => ErrorId::Forbidden,
            // `invalid-access-token` with 401, as the contract has it.
            Self::UnknownToken => ErrorId::MissingAccessToken,
            Self::Parameters(invalid) => invalid.id(),
            Self::Provider(_) | Self::NotActive => ErrorId::InvalidOperation,
            Self::TooLarge | Self::WrongCode | Self::WrongRecoveryCode => {
                ErrorId::InvalidParametersFormat
            }
            Self::Login(error) => error.id(),
            Self::Account(error) => error.id(),
            Self::Profile(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Provider(_) => Some(json!({ "id": "mfa-sms-provider-error" })),
            Self::WrongCode => Some(json!({ "id": "invalid-mfa-code" })),
            Self::Login(error) => error.data(),
            _ => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Login(error) => error.client_message(),
            Self::Account(error) => error.client_message(),
            Self::Profile(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            // The operator may turn it on; soon is not worth asking.
            Self::Disabled => Some(Duration::from_secs(3_600)),
            Self::Busy => Some(Duration::from_secs(10)),
            Self::Login(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}
