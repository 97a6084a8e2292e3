//! `getAccessInfo`: what an access is told about itself (spec/pryv-api §2.4).

use serde_json::{Value, json};

use crate::actor::Actor;
use crate::permission::{Permission, with_injected};
use crate::reply::Reply;

/// The answer: a flat object, the permissions with those that every access has.
#[must_use]
pub fn access_info(actor: &Actor) -> Reply {
    let access = &actor.access;
    let mut info = access.stored.to_wire(&access.id);
    info.shift_remove("integrity");
    // Clients revoke an access by this id, so it is the one that all its versions share.
    info.insert("id".to_owned(), Value::from(access.id.as_str()));
    info.retain(|_, value| !value.is_null());
    if !access.is_personal() {
        let stored = access.stored.permissions.as_deref().unwrap_or_default();
        let all = with_injected(&access.id, stored);
        let all = all.iter().map(Permission::to_json).collect();
        info.insert("permissions".to_owned(), Value::Array(all));
    }
    info.insert(
        "user".to_owned(),
        json!({ "username": actor.owner.username.as_str() }),
    );
    Reply::from_map(info)
}
