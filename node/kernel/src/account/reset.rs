//! `account.requestPasswordReset` and `account.resetPassword` (spec/pryv-api §2.5): who cannot log in
//! sets a new password with a token that comes by mail.
//!
//! Of a token only the hash is kept, with the account. Only [`LIVE_MAX`] live at once, and one more
//! request makes none: that bounds the mails that anybody can have sent to a person, and nobody can
//! push out the token that the person is about to use. A token that could not be sent is void and
//! counts no more. A reset uses all of them up and ends all sessions: whoever knew the former password
//! is out.

use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homecore_store::{Base, Kind, StoreError, Transaction};
use homecore_types::{ErrorId, Millis, Secret, UserId, entropy};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::passwords::{self, PasswordError, PasswordPolicy};
use super::{Account, AccountError};
use crate::actor::Owner;
use crate::audit::entry::Draft;
use crate::audit::{self, Source, page};
use crate::error::{Error as AnyError, InvalidParameters, Refusal};
use crate::fields::{Fields, Null};
use crate::kernel::{Context, Kernel};
use crate::password::PasswordHashText;
use crate::ports::{Mail, MailContent, MailsFull, Sender};
use crate::reply::Reply;
use crate::session;
use crate::trust::TrustedApps;

/// The method id of a request for a token.
const REQUEST: &str = "account.requestPasswordReset";
/// The method id of a reset.
const RESET: &str = "account.resetPassword";
/// Tokens of one account that work at once.
const LIVE_MAX: usize = 5;
/// Sessions read at once.
const PAGE: usize = 200;

/// A token that was sent and not used.
#[derive(Clone, Serialize, Deserialize)]
pub struct PendingReset {
    /// Standard base64 of its SHA-256.
    hash: String,
    /// From when on it does not work.
    expires: Millis,
}

impl std::fmt::Debug for PendingReset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PendingReset(until {:?})", self.expires)
    }
}

impl PendingReset {
    fn is_live(&self, now: Millis) -> bool {
        now < self.expires
    }
}

/// Why no password was reset.
#[derive(Debug, Error)]
pub enum ResetError {
    /// See [`InvalidParameters`].
    #[error(transparent)]
    Parameters(#[from] InvalidParameters),
    /// The app is not trusted at this origin.
    #[error("The app id (\"appId\") is either missing or not trusted.")]
    UntrustedApp,
    /// Unknown, expired, used, or another user's.
    #[error("The token is invalid or expired")]
    WrongToken,
    /// The new password is refused.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// See [`MailsFull`].
    #[error(transparent)]
    Mails(#[from] MailsFull),
    /// See [`AccountError`].
    #[error(transparent)]
    Account(#[from] AccountError),
    /// See [`StoreError`].
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for ResetError {
    fn id(&self) -> ErrorId {
        match self {
            Self::Parameters(invalid) => invalid.id(),
            Self::UntrustedApp => ErrorId::InvalidCredentials,
            // `invalid-access-token` with 401, as the contract has it.
            Self::WrongToken => ErrorId::MissingAccessToken,
            Self::Password(error) => error.id(),
            Self::Mails(_) => ErrorId::ApiUnavailable,
            Self::Account(error) => error.id(),
            Self::Store(error) => error.id(),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Parameters(invalid) => invalid.data(),
            Self::Password(error) => error.data(),
            Self::UntrustedApp
            | Self::WrongToken
            | Self::Mails(_)
            | Self::Account(_)
            | Self::Store(_) => None,
        }
    }

    fn client_message(&self) -> String {
        match self {
            Self::Password(error) => error.client_message(),
            Self::Account(error) => error.client_message(),
            Self::Store(error) => error.client_message(),
            other => other.to_string(),
        }
    }

    fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Password(error) => error.retry_after(),
            Self::Mails(full) => Some(full.retry_after),
            Self::Store(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// Parameters of `account.resetPassword`; other fields are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct ResetPassword {
    app_id: String,
    token: Secret,
    new: Secret,
}

impl ResetPassword {
    pub(crate) fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        let mut fields = Fields::lenient(params, &["appId", "resetToken", "newPassword"])?;
        let app_id = fields.text("appId", Null::Refused).unwrap_or_default();
        let token = fields.text("resetToken", Null::Refused).unwrap_or_default();
        let new = passwords::new_password(&mut fields);
        fields.finish()?;
        Ok(Self {
            app_id: app_id.to_owned(),
            token: Secret::new(token),
            new,
        })
    }
}

/// Parameters of `account.requestPasswordReset`; other fields are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct RequestReset {
    app_id: String,
}

impl RequestReset {
    pub(crate) fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        let mut fields = Fields::lenient(params, &["appId"])?;
        let app_id = fields.text("appId", Null::Refused).unwrap_or_default();
        fields.finish()?;
        Ok(Self {
            app_id: app_id.to_owned(),
        })
    }
}

pub(super) fn ensure_trusted(
    trusted: &TrustedApps,
    app_id: &str,
    origin: &str,
) -> Result<(), ResetError> {
    if trusted.trusts(app_id, origin) {
        Ok(())
    } else {
        Err(ResetError::UntrustedApp)
    }
}

/// Standard base64 of the SHA-256 of a token.
pub(super) fn hash_of(token: &Secret) -> String {
    STANDARD.encode(digest(&SHA256, token.expose().as_bytes()))
}

impl Account {
    /// Whether a token may set a new password.
    fn has_reset(&self, token: &Secret, now: Millis) -> bool {
        let hash = hash_of(token);
        let mut live = self.resets.iter().filter(|reset| reset.is_live(now));
        live.any(|reset| reset.hash == hash)
    }
}

/// A token that was made.
struct Opened {
    account: Account,
    token: Secret,
    expires: Millis,
}

/// Makes a token, unless enough of them are live already.
fn open(tx: &mut Transaction<'_>, context: &Context) -> Result<Option<Opened>, ResetError> {
    let (mut account, now) = (super::load(tx.view())?, tx.at());
    account.resets.retain(|reset| reset.is_live(now));
    if account.resets.len() >= LIVE_MAX {
        return Ok(None);
    }
    let token = Secret::new(entropy::wire_id(context.entropy.as_ref()));
    let expires = now + context.settings.reset_max_age;
    account.resets.push(PendingReset {
        hash: hash_of(&token),
        expires,
    });
    super::store(tx, &account, Base::Any)?;
    Ok(Some(Opened {
        account,
        token,
        expires,
    }))
}

/// Makes a token void.
fn withdraw(tx: &mut Transaction<'_>, hash: &str) -> Result<(), ResetError> {
    let mut account = super::load(tx.view())?;
    let before = account.resets.len();
    account.resets.retain(|reset| reset.hash != hash);
    if account.resets.len() < before {
        super::store(tx, &account, Base::Any)?;
    }
    Ok(())
}

/// Withdraws a token that nobody was sent: it would be in the way of others.
struct Withdrawal {
    kernel: Kernel,
    user: UserId,
    hash: String,
}

impl std::fmt::Debug for Withdrawal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Withdrawal(of {})", self.user)
    }
}

#[async_trait]
impl Sender for Withdrawal {
    async fn given_up(&self) {
        let hash = self.hash.clone();
        let withdrawn = self
            .kernel
            .write(&self.user, move |writer| {
                writer.attempt(|tx| withdraw(tx, &hash))
            })
            .await;
        if let Err(error) = withdrawn.map_err(ResetError::from).flatten() {
            tracing::warn!(user = %self.user, %error, "a token that was not sent stays until it ends");
        }
    }
}

/// Uses a token: sets the password and ends every session.
fn complete(
    tx: &mut Transaction<'_>,
    policy: &PasswordPolicy,
    token: &Secret,
    hash: PasswordHashText,
) -> Result<(), ResetError> {
    let (mut account, now) = (super::load(tx.view())?, tx.at());
    // Used, or made void by another new password, while this one was hashed.
    if !account.has_reset(token, now) {
        return Err(ResetError::WrongToken);
    }
    account.replace_password(policy, hash, now);
    super::store(tx, &account, Base::Any)?;
    end_sessions(tx)?;
    Ok(())
}

fn end_sessions(tx: &mut Transaction<'_>) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    loop {
        let page = tx.view().list(Kind::Session, after.as_deref(), PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.id.clone());
        for session in page.iter().filter(|session| !session.deleted) {
            session::end(tx, &session.id)?;
        }
    }
}

impl Kernel {
    /// Whether an app may ask for a reset at all, so that what is refused anyway uses up nothing of what
    /// the person may ask for.
    #[must_use]
    pub fn may_request_reset(&self, params: &Value, origin: &str) -> bool {
        RequestReset::parse(params).is_ok_and(|asked| {
            self.settings()
                .trusted_apps
                .get()
                .trusts(&asked.app_id, origin)
        })
    }

    /// `account.requestPasswordReset`: has a token sent to the person. The answer is the same whether
    /// a mail goes out or not. `origin` is that of the request, empty without one.
    ///
    /// # Errors
    /// As spec/pryv-api §2.5; if too many mails wait; or of the store.
    pub async fn request_password_reset(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        source: Source,
    ) -> Result<Reply, AnyError> {
        let draft = |access| Draft::anonymous(&source, access, REQUEST, self.now());
        match self
            .open_reset(owner, params, origin, draft(audit::RESET_REQUEST))
            .await
        {
            Ok(()) => Ok(Reply::empty()),
            Err(error) => {
                let draft = draft(audit::INVALID).refused(&error);
                self.note(&owner.id, draft).await;
                Err(error)
            }
        }
    }

    async fn open_reset(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        draft: Draft,
    ) -> Result<(), AnyError> {
        let asked = RequestReset::parse(params).map_err(ResetError::from)?;
        ensure_trusted(&self.settings().trusted_apps.get(), &asked.app_id, origin)?;
        let mails = self.mails().filter(|mails| mails.sends_resets());
        let Some(mails) = mails else {
            self.note(&owner.id, draft).await;
            return Ok(());
        };
        // Before the token is made: one that nobody is sent would be in the way of others.
        let envelope = mails.reserve().map_err(ResetError::from)?;
        let (context, in_commit) = (self.context(), draft.clone());
        let covered = self.settings().audit.covers(REQUEST);
        let opened = self
            .write(&owner.id, move |writer| {
                writer.attempt(|tx| {
                    let opened = open(tx, &context)?;
                    if covered && opened.is_some() {
                        page::append(tx, &context, &[in_commit.finish()])?;
                    }
                    Ok::<_, ResetError>(opened)
                })
            })
            .await??;
        match opened {
            Some(opened) => {
                self.tell(&owner.id, REQUEST, || draft);
                let sender = Arc::new(Withdrawal {
                    kernel: self.clone(),
                    user: owner.id.clone(),
                    hash: hash_of(&opened.token),
                });
                envelope.post(Mail {
                    to: opened.account.email,
                    username: opened.account.username,
                    language: opened.account.language,
                    content: MailContent::ResetPassword {
                        token: opened.token,
                        expires: opened.expires,
                        sender,
                    },
                });
            }
            None => self.note(&owner.id, draft).await,
        }
        Ok(())
    }

    /// `account.resetPassword`: sets a new password with a token that came by mail. All tokens and
    /// sessions of the person end with it.
    ///
    /// # Errors
    /// As spec/pryv-api §2.5, or of the store.
    pub async fn reset_password(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
        source: Source,
    ) -> Result<Reply, AnyError> {
        let draft = |access| Draft::anonymous(&source, access, RESET, self.now());
        let (token, hash) = match self.reset_hash(owner, params, origin).await {
            Ok(checked) => checked,
            Err(error) => {
                let error = AnyError::from(error);
                let draft = draft(audit::INVALID).refused(&error);
                self.note(&owner.id, draft).await;
                return Err(error);
            }
        };
        let policy = self.settings().passwords.clone();
        let (result, ()) = self
            .write_noted(&owner.id, draft(audit::RESET_TOKEN), move |writer| {
                let done = writer.attempt(|tx| complete(tx, &policy, &token, hash));
                (done.map(|()| Reply::empty()).map_err(AnyError::from), ())
            })
            .await?;
        result
    }

    /// The token and the hash of the new password, if it may be set. The token is looked at before
    /// the password: only who has it learns what the account's rules say of a password.
    async fn reset_hash(
        &self,
        owner: &Owner,
        params: &Value,
        origin: &str,
    ) -> Result<(Secret, PasswordHashText), ResetError> {
        let asked = ResetPassword::parse(params)?;
        ensure_trusted(&self.settings().trusted_apps.get(), &asked.app_id, origin)?;
        let account = self.read(&owner.id, |view, _| super::load(view)).await??;
        if !account.has_reset(&asked.token, self.now()) {
            return Err(ResetError::WrongToken);
        }
        let hash = self.checked_hash(&account, asked.new).await?;
        Ok((asked.token, hash))
    }
}

#[cfg(test)]
mod tests;
