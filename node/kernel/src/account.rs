//! Accounts: one document a user, made with the first personal access.

use std::collections::BTreeMap;

use homecore_store::{Base, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::{Email, ErrorId, Millis, Secret, Username};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::error::Refusal;
use crate::indexes::EVENTS_BY_TYPE;
use crate::kernel::Context;
use crate::password::NewPassword;
use crate::ports::{Registration, all_of};
use crate::stream::Stream;
use crate::stream::schema::{Field, Schema};

pub mod change;
pub mod declared;
pub mod emails;
mod enter;
pub mod login;
mod make;
pub mod name;
pub mod passwords;
pub mod rehash;
pub mod reset;
pub(crate) mod shell;
mod step;
mod taking;
pub mod usage;
pub mod verify;

use emails::{Address, Origin};
use reset::PendingReset;

/// Who makes what nobody asked for.
const SYSTEM: &str = "system";
/// The id of the one document.
const ACCOUNT_ID: &str = "account";

/// What an account begins with.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// The name.
    pub username: Username,
    /// To log in with.
    pub password: NewPassword,
    /// The address.
    pub email: Email,
    /// ISO language code.
    pub language: String,
    /// The app that registered; names the first personal access, if there is to be one.
    pub app: String,
    /// The invitation that was used.
    pub invitation: Option<String>,
    /// Where the user came from.
    pub referer: Option<String>,
    /// Fields that the platform declares, by name.
    pub declared: BTreeMap<String, String>,
}

impl From<Registration> for NewAccount {
    fn from(registration: Registration) -> Self {
        Self {
            username: registration.username,
            password: registration.password.into(),
            email: registration.email,
            language: registration.language,
            app: registration.app,
            invitation: registration.invitation,
            referer: registration.referer,
            declared: all_of(&registration.declared),
        }
    }
}

/// An account as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The name.
    pub username: Username,
    /// Names that it had before, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_usernames: Vec<Username>,
    /// How often the name was changed.
    #[serde(default)]
    pub username_changes: u32,
    /// A PHC string.
    pub password_hash: String,
    /// When the password was set.
    pub password_set: Millis,
    /// The address.
    pub email: Email,
    /// How the address came.
    #[serde(default)]
    pub email_origin: Origin,
    /// When the address was proved, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<Millis>,
    /// Addresses beside it, in the order in which they are shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<Address>,
    /// How often the addresses changed.
    #[serde(default)]
    pub email_changes: u32,
    /// Hashes of the passwords before this one, latest first; only as many as the operator wants
    /// not to be used again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_passwords: Vec<String>,
    /// Tokens with which a new password can be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resets: Vec<PendingReset>,
    /// ISO language code.
    pub language: String,
    /// The app that registered.
    pub app_id: String,
    /// The invitation that was used.
    pub invitation_token: String,
    /// Where the user came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub referer: Option<String>,
    /// Fields that the platform declares, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub declared: BTreeMap<String, String>,
    /// When it was made.
    pub created: Millis,
    /// The set of indexes that all its events are in; zero before there was [`EVENTS_BY_TYPE`].
    #[serde(default)]
    pub event_indexes: u8,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// What the original server stores where no invitation was given.
pub const NO_INVITATION: &str = "no-token";

/// Why an account operation failed.
#[derive(Debug, Error)]
pub enum AccountError {
    /// The user's data holds no account: it was not made by [`create`].
    #[error("the user's data holds no account document")]
    Missing,
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for AccountError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Missing => ErrorId::UnexpectedError,
            Self::Store(error) => error.id(),
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Missing => "Unexpected error".to_owned(),
            Self::Store(error) => error.client_message(),
        }
    }
}

impl Account {
    /// A field as the content of its account event; none where there is nothing to show.
    #[must_use]
    pub fn field(&self, field: &Field) -> Option<Value> {
        match field {
            Field::Language => Some(Value::from(self.language.as_str())),
            Field::AppId => Some(Value::from(self.app_id.as_str())),
            Field::InvitationToken => Some(Value::from(self.invitation_token.as_str())),
            Field::Referer => self.referer.as_deref().map(Value::from),
            Field::Custom(name) => self
                .declared
                .get(name)
                .map(|text| Value::from(text.as_str())),
            Field::Email => Some(Value::from(self.email.as_str())),
            // Measured on demand (`usage`); nothing is recorded with the account.
            Field::DbDocuments | Field::AttachedFiles => Some(Value::from(0)),
        }
    }

    fn encode(&self) -> Result<Vec<u8>, StoreError> {
        serde_json::to_vec(self).map_err(|error| StoreError::engine("encoding an account", error))
    }
}

/// Writes a new account, its first personal access and a session on it; returns the token.
///
/// # Errors
/// Of the store.
pub fn create(
    tx: &mut Transaction<'_>,
    context: &Context,
    new: &NewAccount,
    password_hash: String,
) -> Result<Secret, AccountError> {
    place(
        tx,
        &context.settings.account_schema.get(),
        new,
        password_hash,
    )?;
    let opened = login::open_session(tx, context, &new.app)?;
    Ok(Secret::new(opened.token))
}

/// Writes a new account that nobody is logged in to.
///
/// # Errors
/// Of the store.
pub fn place(
    tx: &mut Transaction<'_>,
    schema: &Schema,
    new: &NewAccount,
    password_hash: String,
) -> Result<(), AccountError> {
    let account = Account {
        username: new.username.clone(),
        former_usernames: Vec::new(),
        username_changes: 0,
        password_hash,
        password_set: tx.at(),
        email: new.email.clone(),
        email_origin: Origin::Registration,
        email_verified: None,
        emails: Vec::new(),
        email_changes: 0,
        former_passwords: Vec::new(),
        resets: Vec::new(),
        language: new.language.clone(),
        app_id: new.app.clone(),
        invitation_token: new
            .invitation
            .clone()
            .unwrap_or_else(|| NO_INVITATION.to_owned()),
        referer: new.referer.clone(),
        declared: new.declared.clone(),
        created: tx.at(),
        event_indexes: EVENTS_BY_TYPE,
    };
    store(tx, &account, Base::Absent)?;
    Ok(place_first_streams(tx, schema)?)
}

/// Writes the streams that the platform has every account begin with.
fn place_first_streams(tx: &mut Transaction<'_>, schema: &Schema) -> Result<(), StoreError> {
    let at = tx.at();
    for first in schema.first_streams() {
        let stream = Stream {
            name: first.name.clone(),
            parent_id: first.parent.clone(),
            client_data: None,
            trashed: false,
            created: at,
            created_by: SYSTEM.to_owned(),
            modified: at,
            modified_by: SYSTEM.to_owned(),
        };
        stream.replace(tx, &first.id)?;
    }
    Ok(())
}

/// Reads the account.
///
/// # Errors
/// If there is none, or of the store.
pub fn load(view: &dyn View) -> Result<Account, AccountError> {
    let document = view
        .get(Kind::Account, ACCOUNT_ID)?
        .filter(|document| !document.deleted)
        .ok_or(AccountError::Missing)?;
    let account =
        serde_json::from_slice(&document.body).map_err(|error| StoreError::Corrupted {
            what: format!("the account document: {error}"),
        })?;
    Ok(account)
}

/// Writes the account.
///
/// # Errors
/// If the base does not hold, or of the store.
pub fn store(tx: &mut Transaction<'_>, account: &Account, base: Base) -> Result<(), StoreError> {
    let write = Write {
        kind: Kind::Account,
        id: ACCOUNT_ID.to_owned(),
        base,
        body: account.encode()?.into(),
        deleted: false,
        entries: Vec::new(),
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::UserExists {
            user: tx.user().clone(),
        }),
    }
}
