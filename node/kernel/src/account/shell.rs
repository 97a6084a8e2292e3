//! The asynchronous side of an account: passwords are hashed on threads of their own, and what the platform
//! keeps, too, is taken there before it is written here ([`super::taking`]).

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use homecore_types::{Millis, Secret, UserId};
use serde_json::Value;

use super::Account;
use super::change::{self, ChangeError};
use super::passwords::{self, ChangePassword, PasswordError};
use super::taking::Asked;
use crate::access::alias;
use crate::actor::Actor;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::event::account as account_event;
use crate::kernel::Kernel;
use crate::method::Method;
use crate::password::PasswordHashText;
use crate::ports::{FieldChanges, Registry};
use crate::reply::Reply;

/// Whether a call cannot run on the store's threads alone.
pub(crate) fn is_alone(method: Method, params: &Value) -> bool {
    match method {
        Method::AccountGet
        | Method::AccountUpdate
        | Method::AccountChangePassword
        | Method::AccountChangeUsername
        // It may have an alias, which is the platform's.
        | Method::AccessesDelete => true,
        Method::AccessesCreate => alias::is_asked(params),
        Method::EventsCreate | Method::EventsUpdate => account_event::names_field(params),
        _ => false,
    }
}

/// When this core last looked whether fields are declared anew. Whoever may call it can have something refused as often
/// as they like, ten thousand times in one batch; what the platform is asked does not grow with it.
#[derive(Debug)]
pub(crate) struct Looks {
    last: AtomicI64,
}

/// Milliseconds until another refusal is a reason to look again.
const LOOK_AGAIN_MS: i64 = 250;

impl Default for Looks {
    fn default() -> Self {
        Self {
            last: AtomicI64::new(i64::MIN),
        }
    }
}

impl Looks {
    fn may_look(&self, now: Millis) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        // A clock that was set back is no reason never to look again.
        let is_due = now.0 < last || now.0.saturating_sub(last) >= LOOK_AGAIN_MS;
        let taken = is_due.then(|| {
            self.last
                .compare_exchange(last, now.0, Ordering::Relaxed, Ordering::Relaxed)
        });
        matches!(taken, Some(Ok(_)))
    }
}

impl Kernel {
    /// Where fields of accounts are taken before they change. Until then, and when it is gone, they
    /// do not change.
    pub fn connect(&self, registry: &Arc<dyn Registry>) {
        self.set_registry(Arc::downgrade(registry));
    }

    /// Whether the platform declares other fields than in this version, which something was refused by: this core may
    /// lag behind. Where the platform does not answer, what this core knows holds.
    pub async fn fields_changed_since(&self, version: u64) -> bool {
        if self.schema().version() != version {
            return true;
        }
        let registry = self.registry().as_ref().and_then(Weak::upgrade);
        let Some(registry) = registry.filter(|_| self.looks().may_look(self.now())) else {
            return false;
        };
        if let Err(error) = registry.ensure_current().await {
            tracing::debug!(%error, "a refusal was not checked by the platform's present declaration of fields");
        }
        self.schema().version() != version
    }

    /// Brings an account's fields up to what the platform has.
    ///
    /// # Errors
    /// Of the store.
    pub async fn adopt_fields(&self, user: &UserId, changes: FieldChanges) -> Result<(), Error> {
        let written = self.write(user, move |writer| {
            writer
                .attempt(|tx| change::write(tx, &changes, &[]))
                .map(drop)
        });
        Ok(written.await??)
    }

    /// A call for which [`is_alone`] is true.
    pub(crate) async fn call_alone(
        &self,
        actor: &Actor,
        method: Method,
        params: Value,
    ) -> Result<Reply, Error> {
        let draft = self.draft(actor, method);
        match method {
            Method::AccountGet => {
                let result = self.account_get(actor).await;
                self.note(&actor.owner.id, draft.ended(&result)).await;
                result
            }
            Method::AccountUpdate => self.account_update(actor, params, draft).await,
            Method::AccountChangePassword => self.change_password(actor, &params, draft).await,
            Method::AccountChangeUsername => self.change_username(actor, params, draft).await,
            Method::AccessesCreate => self.create_aliased(actor, params, draft).await,
            Method::AccessesDelete => self.delete_access(actor, params, draft).await,
            // An event of a field of the account.
            _ => {
                self.change(actor, Asked::Event(method, params), draft)
                    .await
            }
        }
    }

    /// `account.get`.
    pub(super) async fn account_get(&self, actor: &Actor) -> Result<Reply, Error> {
        if !actor.is_personal() {
            return Err(ChangeError::PersonOnly.into());
        }
        let usage = self.usage(&actor.owner.id).await?;
        let account = self
            .read(&actor.owner.id, |view, _| super::load(view))
            .await??;
        Ok(account.shown(&self.schema(), usage))
    }

    async fn account_update(
        &self,
        actor: &Actor,
        params: Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        self.change(actor, Asked::Update(params), draft).await?;
        self.account_get(actor).await
    }

    async fn change_password(
        &self,
        actor: &Actor,
        params: &Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        let (expected, hash) = match self.new_hash(actor, params).await {
            Ok(hashes) => hashes,
            Err(error) => return Err(self.refused(actor, draft, error.into()).await),
        };
        let policy = self.settings().passwords.clone();
        let (result, ()) = self
            .write_noted(&actor.owner.id, draft, move |writer| {
                let set = writer.attempt(|tx| passwords::set(tx, &policy, &expected, hash));
                (set.map(|()| Reply::empty()).map_err(Error::from), ())
            })
            .await?;
        result
    }

    /// The hash of the present password and that of the new one, if it may be set.
    async fn new_hash(
        &self,
        actor: &Actor,
        params: &Value,
    ) -> Result<(String, String), PasswordError> {
        if !actor.is_personal() {
            return Err(PasswordError::PersonOnly);
        }
        let asked = ChangePassword::parse(params)?;
        // It tells whether a password is right, as a log-in does.
        if let Some(limits) = self.call_limits() {
            let taken = limits.try_password(&actor.owner.username);
            taken.map_err(|wait| PasswordError::TooMany { wait })?;
        }
        let account = self
            .read(&actor.owner.id, |view, _| super::load(view))
            .await??;
        let present = account.password_hash.clone();
        let known = Some(present.clone());
        if !self.hasher().verify(asked.old, known).await? {
            return Err(PasswordError::WrongOld);
        }
        Ok((present, self.checked_hash(&account, asked.new).await?))
    }

    /// The hash of a new password that the policy lets an account have now.
    pub(super) async fn checked_hash(
        &self,
        account: &Account,
        new: Secret,
    ) -> Result<PasswordHashText, PasswordError> {
        let (hasher, policy) = (self.hasher(), &self.settings().passwords);
        policy.check(&new)?;
        policy.check_age(account, self.now())?;
        policy.check_history(hasher, account, &new).await?;
        Ok(hasher.hash(new).await?)
    }
}

#[cfg(test)]
mod tests;
