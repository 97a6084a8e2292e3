//! `accesses.delete` (spec/pryv-api §3.8). An access is deleted at once; what it was stays as a
//! tombstone that no token and no name finds.

use homecore_store::Transaction;
use serde_json::{Value, json};

use super::alias::Aliases;
use super::error::AccessError;
use super::get::is_visible;
use super::id::Named;
use super::{AccessType, Former, StoredAccess, load, lookup, put};
use crate::actor::Actor;
use crate::error::InvalidParameters;
use crate::fields::{Fields, Null};
use crate::permission::{SELF_REVOKE, Setting};
use crate::reply::Reply;
use crate::session;

/// Reads the parameters: the access's id.
///
/// # Errors
/// All violations.
pub fn parse(params: &Value) -> Result<String, InvalidParameters> {
    let mut fields = Fields::lenient(params, &["id"])?;
    let id = fields.text("id", Null::Refused).unwrap_or_default();
    let id = id.to_owned();
    fields.finish()?;
    Ok(id)
}

/// Deletes an access, and those that it created if it is an app's:
/// `{"accessDeletion": {"id"}, "relatedDeletions"?: [{"id"}]}`. Those with aliases only where it is
/// remembered that these are to be freed.
///
/// # Errors
/// See [`AccessError`].
pub fn delete(
    tx: &mut Transaction<'_>,
    actor: &Actor,
    given: &str,
    aliases: Aliases,
) -> Result<Reply, AccessError> {
    let unknown = || AccessError::Unknown {
        id: given.to_owned(),
    };
    let named = Named::parse(given).ok_or_else(unknown)?;
    let access = find(tx, actor, &named)?;
    // The id that all versions share is taken for the present one: it is the one that an access is
    // told of itself.
    if named.serial.is_some_and(|serial| serial != access.serial) {
        return Err(AccessError::Stale {
            provided: named.given,
            current: access.serial,
        });
    }
    let mut reply = serde_json::Map::new();
    reply.insert("accessDeletion".to_owned(), json!({ "id": named.id }));
    if access.kind == AccessType::App {
        let mut children = Vec::new();
        lookup::created_by(tx.view(), &named.id, &mut |id, child| {
            children.push((id, child));
            Ok::<_, AccessError>(true)
        })?;
        if !children.is_empty() {
            // Nobody could use the expired ones: they go unmentioned.
            let listed: Vec<Value> = children
                .iter()
                .filter(|(_, child)| !child.is_expired(tx.at()))
                .map(|(id, _)| json!({ "id": id }))
                .collect();
            reply.insert("relatedDeletions".to_owned(), Value::Array(listed));
        }
        for (id, child) in children {
            erase(tx, &id, child, aliases)?;
        }
    }
    erase(tx, &named.id, access, aliases)?;
    Ok(Reply::from_map(reply))
}

/// The access to be deleted, if the caller may.
fn find(tx: &Transaction<'_>, actor: &Actor, named: &Named) -> Result<StoredAccess, AccessError> {
    let access = live(tx, actor, named, "it can delete itself and what it created")?;
    let own = actor.access.id == named.id && !actor.is_personal();
    if own && actor.access.rights().feature(SELF_REVOKE) == Some(Setting::Forbidden) {
        return Err(AccessError::Forbidden {
            why: "it must not delete itself",
        });
    }
    Ok(access)
}

/// The access that a client wants to change: one that there is, and that is the caller's to change.
///
/// # Errors
/// [`AccessError::Unknown`], [`AccessError::Forbidden`].
pub(super) fn live(
    tx: &Transaction<'_>,
    actor: &Actor,
    named: &Named,
    why: &'static str,
) -> Result<StoredAccess, AccessError> {
    let access = load(tx.view(), &named.id)?.ok_or_else(|| AccessError::Unknown {
        id: named.given.clone(),
    })?;
    if !is_visible(actor, &named.id, &access) {
        return Err(AccessError::Forbidden { why });
    }
    Ok(access)
}

fn erase(
    tx: &mut Transaction<'_>,
    id: &str,
    mut access: StoredAccess,
    aliases: Aliases,
) -> Result<(), AccessError> {
    if access.alias.is_some() && aliases == Aliases::Held {
        return Err(AccessError::AliasOfPlatform);
    }
    access.deleted = Some(tx.at());
    if access.kind == AccessType::Personal {
        session::end(tx, id)?;
    }
    put(tx, id, &access, Former::Dropped)?;
    Ok(())
}

#[cfg(test)]
mod tests;
