//! The asynchronous side of an account: passwords are hashed on threads of their own, and fields that
//! the platform keeps are taken there before they are written here (adr/0008).

use std::sync::{Arc, Weak};

use homecore_types::{Secret, UserId};
use serde_json::Value;

use super::change::{self, ChangeError, Wanted};
use super::emails::EmailError;
use super::passwords::{self, ChangePassword, PasswordError};
use super::step::Step;
use super::verify::Letter;
use super::{Account, AccountError};
use crate::access::alias;
use crate::actor::Actor;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::event::account as account_event;
use crate::event::create::CreateError;
use crate::event::update::UpdateError;
use crate::kernel::{Context, Kernel};
use crate::method::{self, Method};
use crate::password::PasswordHashText;
use crate::ports::{FieldChanges, Registry};
use crate::reply::Reply;
use crate::stream::cache::Trees;
use crate::stream::schema::{AccountStream, Schema};

/// Whether a call cannot run on the store's threads alone.
pub(crate) fn is_alone(schema: &Schema, method: Method, params: &Value) -> bool {
    match method {
        Method::AccountGet
        | Method::AccountUpdate
        | Method::AccountChangePassword
        | Method::AccountChangeUsername
        // It may have an alias, which is the platform's.
        | Method::AccessesDelete => true,
        Method::AccessesCreate => alias::is_asked(params),
        Method::EventsCreate | Method::EventsUpdate => account_event::names_field(schema, params),
        _ => false,
    }
}

impl Kernel {
    /// Where fields of accounts are taken before they change. Until then, and when it is gone, they
    /// do not change.
    pub fn connect(&self, registry: &Arc<dyn Registry>) {
        self.set_registry(Arc::downgrade(registry));
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
            Method::AccountUpdate => match parse(&self.schema(), actor, &params) {
                Ok(changes) if changes.is_empty() => {
                    let result = self.account_get(actor).await;
                    self.note(&actor.owner.id, draft.ended(&result)).await;
                    result
                }
                Ok(changes) => self.account_update(actor, changes, draft).await,
                Err(error) => Err(self.refused(actor, draft, error.into()).await),
            },
            Method::AccountChangePassword => self.change_password(actor, &params, draft).await,
            Method::AccountChangeUsername => self.change_username(actor, &params, draft).await,
            Method::AccessesCreate => self.create_aliased(actor, params, draft).await,
            Method::AccessesDelete => self.delete_access(actor, params, draft).await,
            _ => self.set_by_event(actor, method, params, draft).await,
        }
    }

    async fn account_get(&self, actor: &Actor) -> Result<Reply, Error> {
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
        wanted: Wanted,
        draft: Draft,
    ) -> Result<Reply, Error> {
        let (changes, letters) = match self.prepare(actor, &wanted).await {
            Ok(prepared) => prepared,
            Err(error) => return Err(self.refused(actor, draft, error).await),
        };
        let links: Vec<_> = letters.iter().map(|letter| letter.link.clone()).collect();
        if changes.is_empty() && links.is_empty() {
            let result = self.account_get(actor).await;
            self.note(&actor.owner.id, draft.ended(&result)).await;
            return result;
        }
        let step = Step::Fields(changes, links);
        self.take_and_write(actor, step, draft, |account, _| {
            for letter in letters {
                letter.post(account);
            }
            Ok(Reply::empty())
        })
        .await?;
        self.account_get(actor).await
    }

    /// What a change of fields comes to, and the mails that go with it.
    async fn prepare(
        &self,
        actor: &Actor,
        wanted: &Wanted,
    ) -> Result<(FieldChanges, Vec<Letter>), Error> {
        let account = self
            .read(&actor.owner.id, |view, _| super::load(view))
            .await??;
        let most = self.settings().emails_max;
        let plan = account.plan(wanted, most, self.now());
        let plan = plan.map_err(ChangeError::from)?;
        let letters = self.letters(&plan.send).map_err(EmailError::from);
        Ok((plan.fields, letters.map_err(ChangeError::from)?))
    }

    /// Takes something on the platform, then writes it with the call's entry of the audit log.
    pub(super) async fn take_and_write(
        &self,
        actor: &Actor,
        step: Step,
        draft: Draft,
        reply: impl FnOnce(&Account, &Context) -> Result<Reply, Error> + Send + 'static,
    ) -> Result<Reply, Error> {
        let limits = self.call_limits();
        let taken = limits.map_or(Ok(()), |limits| limits.change_account(&actor.owner.id));
        if let Err(wait) = taken {
            let error = ChangeError::TooMany { wait }.into();
            return Err(self.refused(actor, draft, error).await);
        }
        let (kernel, actor) = (self.clone(), actor.clone());
        // A task of its own: a client that goes away leaves nothing half done.
        let changing = tokio::spawn(async move {
            let taken = match kernel.registry().as_ref().and_then(Weak::upgrade) {
                Some(registry) => step.take(&*registry, &actor.owner.id).await,
                None => {
                    let error = ChangeError::NoRegistry.into();
                    return Err(kernel.refused(&actor, draft, error).await);
                }
            };
            let (taken, claim) = match taken {
                Ok(taken) => taken,
                Err(error) => {
                    let error = ChangeError::Take(error).into();
                    return Err(kernel.refused(&actor, draft, error).await);
                }
            };
            let context = kernel.context();
            let (result, ()) = kernel
                .write_noted(&actor.owner.id, draft, move |writer| {
                    let written = writer.attempt(|tx| taken.write(tx));
                    let written = written.map_err(Error::from);
                    (written.and_then(|account| reply(&account, &context)), ())
                })
                .await?;
            if result.is_ok() {
                claim.settled().await;
            }
            result
        });
        match changing.await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a change of an account ended early");
                Err(ChangeError::Interrupted.into())
            }
        }
    }

    /// Creating or changing the event of an account field.
    async fn set_by_event(
        &self,
        actor: &Actor,
        method: Method,
        params: Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        // Everything is checked as for other events; what comes to setting a field ends with it.
        let (context, actor_there) = (self.context(), actor.clone());
        let result = self
            .write(&actor.owner.id, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let trees: &mut dyn Trees = &mut trees;
                method::write(writer, &context, trees, &actor_there, method, &params)
            })
            .await?;
        let error = match result {
            Ok(reply) => {
                self.note(&actor.owner.id, draft.wrote(&reply)).await;
                return Ok(reply);
            }
            Err(error) => error,
        };
        let Some((stream, changes)) = to_take(&error) else {
            return Err(self.refused(actor, draft, error).await);
        };
        let changes = match self.prepare(actor, &changes).await {
            Ok((changes, _)) => changes,
            Err(error) => return Err(self.refused(actor, draft, error).await),
        };
        let step = Step::Fields(changes, Vec::new());
        self.take_and_write(actor, step, draft, move |account, context| {
            let event = account_event::event(account, &stream, context.now());
            match event {
                Some(event) => Ok(Reply::of("event", &event.json)),
                None => Err(AccountError::Missing.into()),
            }
        })
        .await
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

fn parse(schema: &Schema, actor: &Actor, params: &Value) -> Result<Wanted, ChangeError> {
    if !actor.is_personal() {
        return Err(ChangeError::PersonOnly);
    }
    change::parse(schema, params)
}

/// The field that an event would set, if that is why it was refused.
fn to_take(error: &Error) -> Option<(Arc<AccountStream>, Wanted)> {
    let cause = error.cause();
    let refused = match cause.downcast_ref::<UpdateError>() {
        Some(UpdateError::Event(refused)) => Some(refused),
        Some(_) => None,
        None => cause.downcast_ref::<CreateError>(),
    };
    match refused {
        Some(CreateError::AccountFieldOfPlatform { stream, changes }) => {
            Some((Arc::clone(stream), changes.clone()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
