//! Random aliases of accesses (spec/pryv-api §3.1, adr/0018): names drawn by chance that stand for the
//! user wherever such an access looks. The platform holds each from before its access is written until
//! after the access is deleted; the accesses say which of them are in use.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use homecore_store::{StoreError, View};
use homecore_types::{UserId, Username};
use serde_json::Value;

use super::error::AccessError;
use super::get::is_visible;
use super::id::Named;
use super::{create, delete, load, lookup};
use crate::account::change::ChangeError;
use crate::actor::Actor;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::method::Method;
use crate::ports::{Claim, Registry, TakeError, Unavailable};
use crate::reply::Reply;

/// How often one is drawn before the call fails.
const ATTEMPTS: usize = 8;

/// Whether a call may delete accesses that have aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aliases {
    /// No: the platform goes on holding them.
    Held,
    /// It is remembered that those without an access are to be freed.
    Freed,
}

/// Whether `accesses.create` is asked for an alias.
#[must_use]
pub fn is_asked(params: &Value) -> bool {
    params.get("randomAlias") == Some(&Value::Bool(true))
}

/// The aliases of a user's accesses.
///
/// # Errors
/// Of the store.
pub fn in_use(view: &dyn View) -> Result<BTreeSet<Username>, StoreError> {
    let mut used = BTreeSet::new();
    lookup::all(view, &mut |_, access| {
        used.extend(access.alias);
        Ok::<_, StoreError>(true)
    })?;
    Ok(used)
}

/// Whether an access, or one that goes with it, has an alias. Of one that the caller may not know of,
/// nothing is looked at.
fn has_any(view: &dyn View, actor: &Actor, id: &str) -> Result<bool, StoreError> {
    let access = load(view, id)?.filter(|access| is_visible(actor, id, access));
    let Some(access) = access else {
        return Ok(false);
    };
    let mut found = access.alias.is_some();
    if !found {
        lookup::created_by(view, id, &mut |_, child| {
            found = child.alias.is_some();
            Ok::<_, StoreError>(!found)
        })?;
    }
    Ok(found)
}

impl Kernel {
    /// The aliases of a user's accesses: all that the platform has to hold.
    ///
    /// # Errors
    /// Of the store.
    pub async fn aliases_in_use(&self, user: &UserId) -> Result<BTreeSet<Username>, Error> {
        Ok(self.read(user, |view, _| in_use(view)).await??)
    }

    /// `accesses.create` of one that is to have an alias.
    pub(crate) async fn create_aliased(
        &self,
        actor: &Actor,
        params: Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        if let Err(error) = self.may_create(actor, &params).await {
            return Err(self.refused(actor, draft, error).await);
        }
        let (kernel, actor) = (self.clone(), actor.clone());
        in_full(async move {
            let (alias, claim) = match kernel.draw_alias(&actor.owner.id).await {
                Ok(drawn) => drawn,
                Err(error) => return Err(kernel.refused(&actor, draft, error.into()).await),
            };
            let (context, actor_there) = (kernel.context(), actor.clone());
            let (result, tree) = kernel
                .write_noted(&actor.owner.id, draft, move |writer| {
                    let mut trees = context.trees.for_writing(writer.user());
                    let created = writer.attempt(|tx| {
                        let drawn = Some(&alias);
                        create::create(tx, &context, &mut trees, &actor_there, &params, drawn)
                    });
                    (created.map_err(Error::from), trees.into_versioned())
                })
                .await?;
            kernel.trees().keep_committed(&actor.owner.id, tree);
            if result.is_ok() {
                claim.settled().await;
            }
            result
        })
        .await
    }

    /// Refuses everything that can be refused before the platform is asked for a name.
    async fn may_create(&self, actor: &Actor, params: &Value) -> Result<(), Error> {
        let (context, actor_there, params) = (self.context(), actor.clone(), params.clone());
        let created = self.write(&actor.owner.id, move |writer| {
            let mut trees = context.trees.for_writing(writer.user());
            writer
                .attempt(|tx| create::create(tx, &context, &mut trees, &actor_there, &params, None))
        });
        match created.await? {
            // It would be written, but for the alias.
            Ok(_) | Err(AccessError::AliasOfPlatform) => {}
            Err(error) => return Err(error.into()),
        }
        let limits = self.call_limits();
        let taken = limits.map_or(Ok(()), |limits| limits.change_account(&actor.owner.id));
        Ok(taken.map_err(|wait| ChangeError::TooMany { wait })?)
    }

    /// An alias that the platform holds.
    async fn draw_alias(&self, user: &UserId) -> Result<(Username, Box<dyn Claim>), ChangeError> {
        let registry = self.present_registry()?;
        for _ in 0..ATTEMPTS {
            let alias = Username::random_alias(self.context().entropy.as_ref());
            match registry.take_alias(user, &alias).await {
                Ok(claim) => return Ok((alias, claim)),
                Err(TakeError::Taken(_) | TakeError::Reserved(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Take(TakeError::Unavailable(Unavailable {
            reason: "every alias that was drawn is taken".to_owned(),
            retry_after: Duration::from_secs(1),
        })))
    }

    fn present_registry(&self) -> Result<Arc<dyn Registry>, ChangeError> {
        let registry = self.registry();
        let registry = registry.as_ref().and_then(Weak::upgrade);
        registry.ok_or(ChangeError::NoRegistry)
    }

    /// `accesses.delete`.
    pub(crate) async fn delete_access(
        &self,
        actor: &Actor,
        params: Value,
        draft: Draft,
    ) -> Result<Reply, Error> {
        let id = match delete::parse(&params) {
            Ok(id) if self.has_aliases(actor, &id).await? => id,
            _ => {
                let method = Method::AccessesDelete;
                return self.call_writing(actor, method, params, draft).await;
            }
        };
        let (kernel, actor) = (self.clone(), actor.clone());
        in_full(async move {
            let claim = match kernel.present_registry() {
                Ok(registry) => registry.loosen_aliases(&actor.owner.id).await,
                Err(error) => return Err(kernel.refused(&actor, draft, error.into()).await),
            };
            let claim = match claim.map_err(ChangeError::Take) {
                Ok(claim) => claim,
                Err(error) => return Err(kernel.refused(&actor, draft, error.into()).await),
            };
            let actor_there = actor.clone();
            let (result, ()) = kernel
                .write_noted(&actor.owner.id, draft, move |writer| {
                    let freed = Aliases::Freed;
                    let deleted = writer.attempt(|tx| delete::delete(tx, &actor_there, &id, freed));
                    (deleted.map_err(Error::from), ())
                })
                .await?;
            claim.settled().await;
            result
        })
        .await
    }

    async fn has_aliases(&self, actor: &Actor, given: &str) -> Result<bool, Error> {
        let Some(named) = Named::parse(given) else {
            return Ok(false);
        };
        let actor_there = actor.clone();
        let find = move |view: &dyn View, _: &_| has_any(view, &actor_there, &named.id);
        Ok(self.read(&actor.owner.id, find).await??)
    }
}

/// In a task of its own: a client that goes away leaves nothing half done.
async fn in_full(
    work: impl Future<Output = Result<Reply, Error>> + Send + 'static,
) -> Result<Reply, Error> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a change of an access ended early");
            Err(ChangeError::Interrupted.into())
        }
    }
}

#[cfg(test)]
mod tests;
