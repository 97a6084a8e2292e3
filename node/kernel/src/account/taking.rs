//! Changes of what the platform has of an account, too (adr/0008): planned from the account, taken on the
//! platform, then written here. Of two at the same moment the later one is planned anew.

use std::sync::{Arc, Weak};

use serde_json::Value;

use super::AccountError;
use super::change::{self, ChangeError, Wanted};
use super::emails::EmailError;
use super::step::{Step, Taken};
use super::verify::Letter;
use crate::actor::Actor;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::event::account as account_event;
use crate::event::create::CreateError;
use crate::event::update::UpdateError;
use crate::kernel::{Context, Kernel};
use crate::method::{self, Method};
use crate::ports::{Claim, FieldChanges, TakeError};
use crate::reply::Reply;
use crate::stream::cache::Trees;
use crate::stream::schema::{AccountStream, Schema};
use crate::stream::store::Store;

/// So often a change is planned: where another change of the same account came first each time, more than are
/// let through at once, unless the operator took the limit away.
const PLANS_MAX: usize = 12;

/// What is asked for: the parameters of a method.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// `account.update`.
    Update(Value),
    /// `account.changeUsername`.
    Username(Value),
    /// `events.create` or `events.update` of the event of a field.
    Event(Method, Value),
}

/// What it comes to.
enum Plan {
    /// There is nothing to take. What there was to write is written.
    Done(Reply),
    /// To be taken on the platform, then written here.
    Take(Step, Then),
}

/// What comes after a change.
enum Then {
    /// Mails go out.
    Post(Vec<Letter>),
    /// The field's event is shown.
    Show(Arc<AccountStream>),
}

impl Then {
    fn reply(self, account: &super::Account, context: &Context) -> Result<Reply, Error> {
        match self {
            Self::Post(letters) => {
                for letter in letters {
                    letter.post(account);
                }
                Ok(Reply::empty())
            }
            Self::Show(stream) => match account_event::event(account, &stream, context.now()) {
                Some(event) => Ok(Reply::of("event", &event.json)),
                None => Err(AccountError::Missing.into()),
            },
        }
    }
}

impl Kernel {
    /// Plans a change, takes it on the platform, and writes it with the call's entry of the audit log.
    pub(super) async fn change(
        &self,
        actor: &Actor,
        asked: Asked,
        draft: Draft,
    ) -> Result<Reply, Error> {
        let (kernel, actor) = (self.clone(), actor.clone());
        // A task of its own: a client that goes away leaves nothing half done.
        let changing =
            tokio::spawn(async move { kernel.change_whole(&actor, &asked, draft).await });
        match changing.await {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a change of an account ended early");
                Err(ChangeError::Interrupted.into())
            }
        }
    }

    async fn change_whole(
        &self,
        actor: &Actor,
        asked: &Asked,
        draft: Draft,
    ) -> Result<Reply, Error> {
        let (taken, claim, then) = match self.plan_and_take(actor, asked).await {
            Ok(Ok(taken)) => taken,
            Ok(Err(reply)) => {
                self.note(&actor.owner.id, draft.wrote(&reply)).await;
                return Ok(reply);
            }
            Err(error) => return Err(self.refused(actor, draft, error).await),
        };
        let context = self.context();
        let (result, ()) = self
            .write_noted(&actor.owner.id, draft, move |writer| {
                let written = writer.attempt(|tx| taken.write(tx));
                let written = written.map_err(Error::from);
                (
                    written.and_then(|account| then.reply(&account, &context)),
                    (),
                )
            })
            .await?;
        if result.is_ok() {
            claim.settled().await;
        }
        result
    }

    /// What the platform has now and the account is to have; or the answer, if there is nothing to take.
    async fn plan_and_take(
        &self,
        actor: &Actor,
        asked: &Asked,
    ) -> Result<Result<(Taken, Box<dyn Claim>, Then), Reply>, Error> {
        let (mut checked, mut counted) = (false, false);
        for plans in 1.. {
            let known = self.schema().version();
            let (step, then) = match self.plan(actor, asked).await {
                Ok(Plan::Take(step, then)) => (step, then),
                Ok(Plan::Done(reply)) => return Ok(Err(reply)),
                Err(error) => {
                    let is_first =
                        is_of_declaration(&error) && !std::mem::replace(&mut checked, true);
                    if is_first && self.fields_changed_since(known).await {
                        continue;
                    }
                    return Err(error);
                }
            };
            if let Some(limits) = self
                .call_limits()
                .filter(|_| !std::mem::replace(&mut counted, true))
            {
                let taken = limits.change_account(&actor.owner.id);
                taken.map_err(|wait| ChangeError::TooMany { wait })?;
            }
            let registry = self.registry().as_ref().and_then(Weak::upgrade);
            let registry = registry.ok_or(ChangeError::NoRegistry)?;
            match step.take(&*registry, &actor.owner.id).await {
                Ok((taken, claim)) => return Ok(Ok((taken, claim, then))),
                Err(TakeError::Changed) if plans < PLANS_MAX => {}
                Err(TakeError::FieldsChanged)
                    if plans < PLANS_MAX && self.schema().version() != known => {}
                Err(error) => return Err(ChangeError::Take(error).into()),
            }
        }
        Err(ChangeError::Interrupted.into())
    }

    async fn plan(&self, actor: &Actor, asked: &Asked) -> Result<Plan, Error> {
        match asked {
            Asked::Update(params) => {
                if !actor.is_personal() {
                    return Err(ChangeError::PersonOnly.into());
                }
                // Before it is looked at: what changes from here on is noticed by the platform.
                let schema = self.schema();
                let wanted = change::parse(&schema, params)?;
                self.plan_fields(actor, &wanted, schema.version()).await
            }
            Asked::Username(params) => {
                let change = self.name_change(actor, params).await?;
                Ok(Plan::Take(Step::Name(change), Then::Post(Vec::new())))
            }
            Asked::Event(method, params) => self.plan_event(actor, *method, params).await,
        }
    }

    /// What a change of fields comes to, with the mails that go out for it.
    async fn plan_fields(
        &self,
        actor: &Actor,
        wanted: &Wanted,
        version: u64,
    ) -> Result<Plan, Error> {
        let account = self
            .read(&actor.owner.id, |view, _| super::load(view))
            .await??;
        let most = self.settings().emails_max;
        let plan = account.plan(wanted, most, self.now());
        let plan = plan.map_err(ChangeError::from)?;
        let mut fields = plan.fields;
        fields.fields_version = (!fields.declared.is_empty()).then_some(version);
        if wanted.edits.asks_for_links() && !self.sends_links() {
            return Err(ChangeError::from(EmailError::NoLinks).into());
        }
        let letters = self.letters(&plan.send).map_err(EmailError::from);
        let letters = letters.map_err(ChangeError::from)?;
        if fields.is_empty() && letters.is_empty() {
            return Ok(Plan::Done(Reply::empty()));
        }
        let links = letters.iter().map(|letter| letter.link.clone()).collect();
        Ok(Plan::Take(Step::Fields(fields, links), Then::Post(letters)))
    }

    /// Creating or changing the event of an account field.
    async fn plan_event(
        &self,
        actor: &Actor,
        method: Method,
        params: &Value,
    ) -> Result<Plan, Error> {
        let version = self.schema().version();
        // Everything is checked as for other events; what comes to setting a field ends with it.
        let (context, actor_there, params) = (self.context(), actor.clone(), params.clone());
        let result = self
            .write(&actor.owner.id, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let trees: &mut dyn Trees = &mut trees;
                method::write(writer, &context, trees, &actor_there, method, &params)
            })
            .await?;
        let error = match result {
            Ok(reply) => return Ok(Plan::Done(reply)),
            Err(error) => error,
        };
        let Some((stream, wanted)) = to_take(&error) else {
            return Err(error);
        };
        let step = match self.plan_fields(actor, &wanted, version).await? {
            Plan::Take(Step::Fields(changes, _), _) => Step::Fields(changes, Vec::new()),
            // It has the value; its event is shown all the same.
            Plan::Take(Step::Name(_), _) | Plan::Done(_) => {
                Step::Fields(FieldChanges::default(), Vec::new())
            }
        };
        Ok(Plan::Take(step, Then::Show(stream)))
    }
}

/// Whether something was refused by what this core knows of declared fields.
fn is_of_declaration(error: &Error) -> bool {
    let declared = |id: &str| Store::of(id) == Store::Account && Schema::usual().get(id).is_none();
    let cause = error.cause();
    if let Some(refused) = cause.downcast_ref::<ChangeError>() {
        return matches!(
            refused,
            ChangeError::Parameters(_) | ChangeError::NotEditable { .. }
        );
    }
    let refused = match cause.downcast_ref::<UpdateError>() {
        Some(UpdateError::Event(refused)) => Some(refused),
        Some(UpdateError::Unknown { id }) => return declared(id),
        Some(_) => None,
        None => cause.downcast_ref::<CreateError>(),
    };
    match refused {
        Some(CreateError::UnknownStreams { ids }) => ids.iter().any(|id| declared(id)),
        Some(CreateError::AccountStreamReadOnly { id } | CreateError::AccountContent { id }) => {
            declared(id)
        }
        _ => false,
    }
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
