//! `accesses.create` (spec/pryv-api §3.6).

use homecore_store::{Kind, Transaction};
use homecore_types::{Millis, Secret, Username, entropy, limits};
use serde_json::{Map, Value};

use super::error::AccessError;
use super::permissions::{self, Asked};
use super::{Access, AccessType, Former, StoredAccess, lookup, provide, put, token};
use crate::actor::Actor;
use crate::error::InvalidParameters;
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::permission::grant;
use crate::reply::Reply;
use crate::slug;
use crate::stream::cache::Trees;
use crate::violation::Violation;

/// The method id.
const METHOD: &str = "accesses.create";
/// Longest token that a client may choose.
pub(crate) const TOKEN_CHARS_MAX: usize = 255;
/// Keys of `clientData` that only the server sets.
pub(super) const SERVER_KEYS: &[&str] = &["dpop", "cmc"];

/// Parameters of `accesses.create`.
#[derive(Clone, Debug, PartialEq)]
struct NewAccess {
    kind: AccessType,
    name: String,
    permissions: Vec<Asked>,
    token: Option<String>,
    device_name: Option<String>,
    /// Seconds from now.
    expire_after: Option<f64>,
    client_data: Option<Map<String, Value>>,
    alias: bool,
}

impl NewAccess {
    /// Reads the parameters. What the server sets itself is accepted and not looked at.
    fn parse(params: &Value) -> Result<Self, InvalidParameters> {
        const KNOWN: &[&str] = &[
            "name",
            "permissions",
            "type",
            "token",
            "deviceName",
            "expireAfter",
            "clientData",
            "randomAlias",
            "created",
            "createdBy",
            "modified",
            "modifiedBy",
            "lastUsed",
            "apiEndpoint",
            "integrity",
            "alias",
        ];
        let mut fields = Fields::strict(params, &["name"], KNOWN)?;
        let kind = match fields.choice("type", &["personal", "app", "shared"]) {
            Some("personal") => AccessType::Personal,
            Some("app") => AccessType::App,
            _ => AccessType::Shared,
        };
        let permissions = permissions::read(&mut fields, "permissions");
        if fields.raw("permissions").is_none() && kind != AccessType::Personal {
            fields.violated(Violation::missing("#", "permissions"));
        }
        let token = fields.text_not_empty("token", Null::Refused);
        if token.is_some_and(|token| token.chars().count() > TOKEN_CHARS_MAX) {
            fields.violated(Violation::too_long("#/token", TOKEN_CHARS_MAX));
        }
        let read = Self {
            kind,
            name: fields
                .text_not_empty("name", Null::Refused)
                .unwrap_or_default()
                .to_owned(),
            permissions: permissions.unwrap_or_default(),
            token: token.map(str::to_owned),
            device_name: device_name(&mut fields, kind),
            expire_after: expire_after(&mut fields),
            client_data: fields.object("clientData", Null::Refused).cloned(),
            alias: fields.flag("randomAlias", Null::Absent).unwrap_or(false),
        };
        fields.finish()?;
        Ok(read)
    }
}

/// Only app accesses have a device.
fn device_name(fields: &mut Fields<'_>, kind: AccessType) -> Option<String> {
    let device = fields.text_not_empty("deviceName", Null::Absent);
    if device.is_some() && kind != AccessType::App {
        let path = fields.path_of("deviceName");
        fields.violated(Violation::wrong_type(&path, &["null"]));
    }
    device.map(str::to_owned)
}

/// A span in seconds, not negative.
pub(super) fn expire_after(fields: &mut Fields<'_>) -> Option<f64> {
    let after = fields.number("expireAfter", Null::Absent)?.as_f64()?;
    if after < 0.0 {
        let path = fields.path_of("expireAfter");
        fields.violated(Violation::too_small(&path, 0));
    }
    Some(after)
}

/// When an access ends that ends a span after now.
pub(super) fn expires(now: Millis, after: f64) -> Millis {
    Millis::from_seconds(now.as_seconds() + after)
}

/// Refuses what only the server puts into `clientData`.
///
/// # Errors
/// [`AccessError::ReservedClientData`].
pub(super) fn check_client_data(data: Option<&Map<String, Value>>) -> Result<(), AccessError> {
    let has = |key: &&&str| data.is_some_and(|data| data.contains_key(**key));
    match SERVER_KEYS.iter().find(has) {
        Some(key) => Err(AccessError::ReservedClientData { key }),
        None => Ok(()),
    }
}

/// Creates an access: `{"access": …}`. One that is to have an alias has the one that was drawn for it
/// and is held on the platform; without that all else is checked and it is refused.
///
/// # Errors
/// See [`AccessError`].
pub fn create(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
    drawn: Option<&Username>,
) -> Result<Reply, AccessError> {
    if actor.access.stored.kind == AccessType::Shared {
        return Err(AccessError::WrongCaller { method: METHOD });
    }
    let new = NewAccess::parse(params)?;
    check_type(actor, &new)?;
    permissions::check_characters(&new.permissions)?;
    let tree = trees.current(tx.view())?;
    permissions::check_account(tree.schema(), &new.permissions)?;
    check_client_data(new.client_data.as_ref())?;
    let caller = present(tx, actor)?;
    let permissions = if caller.is_personal() {
        permissions::stored(&new.permissions)
    } else {
        let asked = permissions::stored(&new.permissions);
        if !grant::may_give(&*tree, caller.rights(), &asked) {
            return Err(AccessError::Forbidden {
                why: "it can give no more than it has",
            });
        }
        grant::carried(&*tree, caller.rights(), asked)
    };
    let expires = new.expire_after.map(|after| expires(tx.at(), after));
    check_expiry(caller.stored.expires, expires)?;
    let token = free_token(tx, context, new.token.as_deref())?;
    check_name_free(tx, None, (new.kind, &new.name, new.device_name.as_deref()))?;
    check_count(tx, &caller.id)?;
    if caller.is_personal() {
        provide::streams(tx, tree, actor, &new.permissions)?;
    }
    let alias = if new.alias {
        drawn.cloned()
    } else {
        // What stands for the user where its creator looks does so here.
        caller.stored.alias
    };
    if new.alias && alias.is_none() {
        return Err(AccessError::AliasOfPlatform);
    }
    let author = actor.author();
    let access = StoredAccess {
        token,
        kind: new.kind,
        name: new.name,
        device_name: new.device_name,
        permissions: Some(permissions),
        expires,
        client_data: new.client_data,
        created: tx.at(),
        created_by: author.clone(),
        modified: tx.at(),
        modified_by: author,
        alias,
        serial: 0,
        deleted: None,
    };
    let id = entropy::wire_id(context.entropy.as_ref());
    check_size(&access)?;
    put(tx, &id, &access, Former::Replaced)?;
    let wire = Value::Object(access.to_wire(&id));
    Ok(Reply::of("access", wire.to_string().as_bytes()))
}

/// Personal accesses are made by logging in, and apps make none for other apps.
fn check_type(actor: &Actor, new: &NewAccess) -> Result<(), AccessError> {
    match new.kind {
        AccessType::Personal => Err(AccessError::Forbidden {
            why: "personal accesses are created by logging in",
        }),
        AccessType::App if !actor.is_personal() => Err(AccessError::Forbidden {
            why: "an app can only create shared accesses",
        }),
        AccessType::App | AccessType::Shared => Ok(()),
    }
}

/// The caller's access as it is now: it may have been deleted or limited since the call began.
///
/// # Errors
/// If it was deleted, or expired.
pub(super) fn present(tx: &Transaction<'_>, actor: &Actor) -> Result<Access, AccessError> {
    match tx.get(Kind::Access, &actor.access.id)? {
        Some(document) if !document.deleted => {
            let stored = StoredAccess::decode(&document)?;
            if stored.is_expired(tx.at()) {
                return Err(AccessError::Forbidden { why: "it expired" });
            }
            Ok(Access::new(document.id, stored))
        }
        _ => Err(AccessError::Forbidden {
            why: "it was deleted",
        }),
    }
}

/// An access that is to end must not end after the one that manages it.
///
/// # Errors
/// [`AccessError::Outlives`].
pub(super) fn check_expiry(
    parent: Option<Millis>,
    requested: Option<Millis>,
) -> Result<(), AccessError> {
    match (parent, requested) {
        (Some(parent), Some(end)) if end > parent => {
            Err(AccessError::Outlives { parent, requested })
        }
        _ => Ok(()),
    }
}

fn free_token(
    tx: &Transaction<'_>,
    context: &Context,
    chosen: Option<&str>,
) -> Result<String, AccessError> {
    let Some(chosen) = chosen else {
        return Ok(entropy::wire_id(context.entropy.as_ref()));
    };
    let token = slug::slug(chosen);
    if slug::is_reserved(&token) || slug::is_reserved(chosen) {
        return Err(AccessError::ReservedToken);
    }
    match token::by_token(tx.view(), &Secret::new(token.as_str()))? {
        Some(_) => Err(AccessError::TokenTaken),
        None => Ok(token),
    }
}

/// Refuses the type, name and device of another access than `id`.
///
/// # Errors
/// [`AccessError::NameTaken`].
pub(super) fn check_name_free(
    tx: &Transaction<'_>,
    id: Option<&str>,
    (kind, name, device): (AccessType, &str, Option<&str>),
) -> Result<(), AccessError> {
    match lookup::named(tx.view(), kind, name, device)? {
        Some((other, _)) if id != Some(other.as_str()) => Err(AccessError::NameTaken {
            kind,
            name: name.to_owned(),
            device: device.map(str::to_owned),
        }),
        _ => Ok(()),
    }
}

fn check_count(tx: &Transaction<'_>, creator: &str) -> Result<(), AccessError> {
    let mut count = 0_usize;
    lookup::created_by(tx.view(), creator, &mut |_, _| {
        count += 1;
        if count >= limits::ACCESSES_PER_CREATOR_MAX {
            return Err(AccessError::TooMany);
        }
        Ok(true)
    })
}

/// # Errors
/// [`AccessError::TooLarge`].
pub(super) fn check_size(access: &StoredAccess) -> Result<(), AccessError> {
    if access.encode()?.len() > limits::ACCESS_BYTES_MAX {
        return Err(AccessError::TooLarge);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
