//! `getAccessInfo`: what an access is told about itself (spec/pryv-api §2.4).

use homecore_store::View;
use serde_json::{Map, Value};

use super::tracking::uses_of;
use crate::account::{self, AccountError};
use crate::actor::Actor;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::kernel::{Context, Kernel};
use crate::method::Method;
use crate::number::seconds;
use crate::permission::{Permission, with_injected};
use crate::reply::Reply;

/// The answer: a flat object, the permissions with those that every access has.
///
/// # Errors
/// Of the store.
pub fn access_info(
    view: &dyn View,
    context: &Context,
    actor: &Actor,
) -> Result<Reply, AccountError> {
    let access = &actor.access;
    let mut info = access.stored.to_wire(&access.id);
    info.shift_remove("integrity");
    // Clients revoke an access by this id, so it is the one that all its versions share.
    info.insert("id".to_owned(), Value::from(access.id.as_str()));
    if let Some(uses) = uses_of(view, context, &actor.owner.id, &access.id)? {
        info.insert("lastUsed".to_owned(), seconds(uses.last_used));
        info.insert("calls".to_owned(), uses.calls_to_json());
    }
    info.retain(|_, value| !value.is_null());
    if !access.is_personal() {
        let stored = access.stored.permissions.as_deref().unwrap_or_default();
        let all = with_injected(&access.id, stored);
        let all = all.iter().map(Permission::to_json).collect();
        info.insert("permissions".to_owned(), Value::Array(all));
    }
    let name = actor.shown_name().as_str();
    let mut user = Map::from_iter([("username".to_owned(), Value::from(name))]);
    let policy = &context.settings.passwords;
    if access.is_personal() && policy.is_timed() {
        user.extend(policy.times(&account::load(view)?).to_json());
    }
    info.insert("user".to_owned(), Value::Object(user));
    Ok(Reply::from_map(info))
}

impl Kernel {
    /// `getAccessInfo`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn access_info(&self, actor: &Actor) -> Result<Reply, Error> {
        let method = Method::GetAccessInfo.id();
        let draft = Draft::of(actor, method, self.now());
        self.note(&actor.owner.id, draft).await;
        let actor_there = actor.clone();
        let reply = self
            .read_short(&actor.owner.id, move |view, context| {
                access_info(view, context, &actor_there)
            })
            .await??;
        self.used(actor, method);
        Ok(reply)
    }
}
