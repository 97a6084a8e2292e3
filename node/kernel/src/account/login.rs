//! `auth.login`: from a password to a token (spec/pryv-api §2.3).
//!
//! There is one personal access and one session for each app of a user: logging in again with the
//! same app answers the same token while its session lives, and gives the same access a new token
//! once it has ended.

use homecore_store::{StoreError, Transaction};
use homecore_types::{ErrorId, Millis, Secret, entropy};
use serde_json::{Map, Value, json};
use thiserror::Error;

use super::passwords::{PasswordPolicy, PasswordTimes};
use super::{Account, AccountError};
use crate::access::{self, AccessType, Former, StoredAccess, lookup};
use crate::actor::Owner;
use crate::error::{InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::password::{HashError, Hasher};
use crate::session;
use crate::trust::TrustedApps;

/// Parameters of `auth.login`.
#[derive(Clone, Debug)]
pub struct LoginParams {
    /// As typed.
    pub username: String,
    /// As typed.
    pub password: Secret,
    /// Which app asks.
    pub app_id: String,
}

/// Who is now logged in.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// Of the personal access.
    pub token: Secret,
    /// Of the personal access.
    pub access_id: String,
    /// ISO language code.
    pub preferred_language: String,
    /// Of the password, as far as the operator limits it.
    pub password: PasswordTimes,
}

/// How far a log-in came.
#[derive(Clone, Debug)]
pub enum Login {
    /// To its end.
    Done(LoggedIn),
    /// The password is right; with this token a second factor is asked for and given.
    SecondFactor(Secret),
}

/// Why nobody was logged in.
#[derive(Debug, Error)]
pub enum LoginError {
    /// Something is missing.
    #[error("Missing parameters: username, password and appId are required.")]
    Incomplete,
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// The app is not trusted at this origin.
    #[error("The app id (\"appId\") is either missing or not trusted.")]
    UntrustedApp,
    /// The body names another user than the path.
    #[error("The username in the path does not match the one in the request.")]
    OtherUser,
    /// Wrong password.
    #[error("The given username/password pair is invalid.")]
    WrongPassword,
    /// The password is right and too old.
    #[error("The password has expired.")]
    ExpiredPassword {
        /// When it ended.
        expired: Millis,
    },
    /// See [`HashError`].
    #[error(transparent)]
    Hash(#[from] HashError),
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for LoginError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Incomplete | Self::OtherUser => ErrorId::InvalidOperation,
            Self::Parameters(invalid) => invalid.id(),
            Self::UntrustedApp | Self::WrongPassword | Self::ExpiredPassword { .. } => {
                ErrorId::InvalidCredentials
            }
            Self::Hash(error) => error.id(),
            Self::Account(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::ExpiredPassword { expired } => {
                Some(json!({ "expiredTime": expired.as_seconds() }))
            }
            Self::Incomplete
            | Self::OtherUser
            | Self::UntrustedApp
            | Self::WrongPassword
            | Self::Hash(_)
            | Self::Account(_)
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Hash(error) => error.client_message(),
            Self::Account(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Hash(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

impl LoginParams {
    /// Reads the parameters; other fields are not looked at.
    ///
    /// # Errors
    /// If one is missing, or of another type.
    pub fn parse(params: &Value) -> Result<Self, LoginError> {
        const REQUIRED: [&str; 3] = ["username", "password", "appId"];
        let absent = |map: &Map<String, Value>, name: &&str| {
            map.get(*name)
                .is_none_or(|value| value.is_null() || value == "")
        };
        if let Value::Object(map) = params
            && REQUIRED.iter().any(|name| absent(map, name))
        {
            return Err(LoginError::Incomplete);
        }
        let mut fields = Fields::lenient(params, &REQUIRED)?;
        let read = Self {
            username: fields
                .text("username", Null::Refused)
                .unwrap_or_default()
                .to_owned(),
            password: Secret::new(fields.text("password", Null::Refused).unwrap_or_default()),
            app_id: fields
                .text("appId", Null::Refused)
                .unwrap_or_default()
                .to_owned(),
        };
        fields.finish()?;
        Ok(read)
    }

    /// Whether the app may ask for passwords.
    ///
    /// # Errors
    /// If it is not trusted.
    pub fn check_app(&self, trusted: &TrustedApps, origin: &str) -> Result<(), LoginError> {
        if trusted.trusts(&self.app_id, origin) {
            Ok(())
        } else {
            Err(LoginError::UntrustedApp)
        }
    }

    /// Whether the name is the user's, or was before.
    ///
    /// # Errors
    /// If another user is named.
    pub fn check_name(&self, owner: &Owner, account: &Account) -> Result<(), LoginError> {
        if account.is_meant(owner, &self.username) {
            Ok(())
        } else {
            Err(LoginError::OtherUser)
        }
    }
}

/// Checks the password. Only who knows it is told that it has expired.
///
/// # Errors
/// If it is wrong, expired, or could not be checked now.
pub async fn verify(
    hasher: &Hasher,
    policy: &PasswordPolicy,
    account: &Account,
    password: Secret,
    now: Millis,
) -> Result<(), LoginError> {
    let hash = Some(account.password_hash.clone());
    if !hasher.verify(password, hash).await? {
        return Err(LoginError::WrongPassword);
    }
    match policy.times(account).expires {
        Some(expired) if expired <= now => Err(LoginError::ExpiredPassword { expired }),
        _ => Ok(()),
    }
}

/// Opens a session for an app, or goes on with its live one. `password_set` is of the account whose password
/// was verified.
///
/// # Errors
/// If the password is another one by now, or of the store.
pub fn open(
    tx: &mut Transaction<'_>,
    context: &Context,
    app_id: &str,
    password_set: Millis,
) -> Result<LoggedIn, LoginError> {
    let account = super::load(tx.view())?;
    if account.password_set != password_set {
        return Err(LoginError::WrongPassword);
    }
    let opened = open_session(tx, context, app_id)?;
    let password = context.settings.passwords.times(&account);
    Ok(LoggedIn {
        token: Secret::new(opened.token),
        access_id: opened.access_id,
        preferred_language: account.language,
        password,
    })
}

/// A personal access with its session.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) access_id: String,
    pub(super) token: String,
}

/// Creates or updates the personal access of an app, with a live session.
pub(super) fn open_session(
    tx: &mut Transaction<'_>,
    context: &Context,
    app_id: &str,
) -> Result<Opened, StoreError> {
    let now = tx.at();
    let present = lookup::named(tx.view(), AccessType::Personal, app_id, None)?;
    let (access_id, access) = match present {
        Some((id, mut access)) => {
            let alive = session::load(tx.view(), &id)?
                .is_some_and(|session| session.is_alive(now, context.settings.session_max_age));
            if !alive {
                access.token = entropy::wire_id(context.entropy.as_ref());
            }
            access.modified = now;
            access.modified_by = "system".to_owned();
            (id, access)
        }
        None => {
            let access = StoredAccess {
                token: entropy::wire_id(context.entropy.as_ref()),
                kind: AccessType::Personal,
                name: app_id.to_owned(),
                device_name: None,
                permissions: None,
                expires: None,
                client_data: None,
                created: now,
                created_by: "system".to_owned(),
                modified: now,
                modified_by: "system".to_owned(),
                alias: None,
                serial: 0,
                deleted: None,
            };
            (entropy::wire_id(context.entropy.as_ref()), access)
        }
    };
    access::put(tx, &access_id, &access, Former::Replaced)?;
    session::open(tx, context, &access_id)?;
    Ok(Opened {
        access_id,
        token: access.token,
    })
}

#[cfg(test)]
mod tests;
