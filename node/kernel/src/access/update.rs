//! `accesses.update` (spec/pryv-api §3.7): makes a new version of an access and keeps the former one.

use homecore_store::{Kind, Transaction};
use serde_json::{Map, Value};

use super::create::{
    self, SERVER_KEYS, check_client_data, check_expiry, check_name_free, check_size,
};
use super::delete::live;
use super::error::AccessError;
use super::id::Named;
use super::permissions::{self, Asked};
use super::{Access, AccessType, Former, StoredAccess, lookup, put, tracking};
use crate::actor::Actor;
use crate::error::InvalidParameters;
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::permission::{Permission, grant};
use crate::reply::Reply;
use crate::stream::cache::Trees;
use crate::stream::tree::Tree;
use crate::violation::Violation;

/// The method id.
const METHOD: &str = "accesses.update";
/// Begins the names of accesses that stand for a grant, whose name is the client's id.
const OAUTH: &str = "oauth:";

/// What is to be changed; of a field that can be taken away, to what.
#[derive(Clone, Debug, Default, PartialEq)]
struct Changes {
    name: Option<String>,
    device_name: Option<Option<String>>,
    permissions: Option<Vec<Asked>>,
    expiry: Option<Expiry>,
    client_data: Option<Option<Map<String, Value>>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expiry {
    Never,
    /// Seconds from now.
    After(f64),
}

impl Changes {
    /// Reads `{"id", "update"}`.
    fn parse(params: &Value) -> Result<(String, Self), InvalidParameters> {
        const KNOWN: &[&str] = &[
            "name",
            "deviceName",
            "permissions",
            "expireAfter",
            "expires",
            "clientData",
        ];
        let mut outer = Fields::lenient(params, &["id", "update"])?;
        let id = outer.text("id", Null::Refused).unwrap_or_default();
        let update = outer.raw("update").unwrap_or(&Value::Null);
        outer.finish()?;
        let mut fields = Fields::strict_at("#/update", update, &[], KNOWN)?;
        let name = fields.text_not_empty("name", Null::Refused);
        let device_name = fields.text_not_empty("deviceName", Null::Absent);
        let client_data = fields.object("clientData", Null::Absent);
        let changes = Self {
            name: name.map(str::to_owned),
            device_name: is_given(&fields, "deviceName").then(|| device_name.map(str::to_owned)),
            permissions: permissions::read(&mut fields, "permissions"),
            expiry: expiry(&mut fields),
            client_data: is_given(&fields, "clientData").then(|| client_data.cloned()),
        };
        fields.finish()?;
        Ok((id.to_owned(), changes))
    }
}

fn is_given(fields: &Fields<'_>, name: &str) -> bool {
    fields.raw(name).is_some()
}

/// `expires` can only be taken away; a new one is given as a span.
fn expiry(fields: &mut Fields<'_>) -> Option<Expiry> {
    let never = fields.raw("expires").map(Value::is_null);
    if never == Some(false) {
        let path = fields.path_of("expires");
        fields.violated(Violation::wrong_type(&path, &["null"]));
    }
    match create::expire_after(fields) {
        Some(after) => Some(Expiry::After(after)),
        None => never.map(|_| Expiry::Never),
    }
}

/// Updates an access: `{"access": …}`.
///
/// # Errors
/// See [`AccessError`].
pub fn update(
    tx: &mut Transaction<'_>,
    context: &Context,
    trees: &mut dyn Trees,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, AccessError> {
    if actor.access.stored.kind == AccessType::Shared {
        return Err(AccessError::WrongCaller { method: METHOD });
    }
    let (id, changes) = Changes::parse(params)?;
    let (named, former) = find(tx, actor, id, &changes)?;
    let mut access = former.clone();
    if let Some(asked) = &changes.permissions {
        permissions::check_characters(asked)?;
        permissions::check_account(trees.current(tx.view())?.schema(), asked)?;
        access.permissions = Some(permissions::stored(asked));
    }
    match changes.expiry {
        Some(Expiry::Never) => access.expires = None,
        Some(Expiry::After(span)) => access.expires = Some(create::expires(tx.at(), span)),
        None => {}
    }
    if changes.expiry.is_some() || changes.permissions.is_some() {
        let tree = trees.current(tx.view())?;
        check_manager(tx, &tree, &former, &mut access)?;
        check_children(tx, &tree, &named.id, (&former, &access))?;
    }
    if let Some(data) = changes.client_data {
        check_client_data(data.as_ref())?;
        access.client_data = with_server_keys(data, former.client_data.as_ref());
    }
    if let Some(name) = changes.name {
        access.name = name;
    }
    if let Some(device) = changes.device_name {
        if device.is_some() && access.kind != AccessType::App {
            let violation = Violation::wrong_type("#/update/deviceName", &["null"]);
            return Err(InvalidParameters(vec![violation]).into());
        }
        access.device_name = device;
    }
    let unique = (access.kind, &*access.name, access.device_name.as_deref());
    check_name_free(tx, Some(&named.id), unique)?;
    access.serial = access.serial.saturating_add(1);
    access.modified = tx.at();
    access.modified_by = actor.author();
    check_size(&access)?;
    put(tx, &named.id, &access, Former::Kept)?;
    let wire = tracking::shown(tx.view(), context, actor, &named.id, &access)?;
    let wire = Value::Object(wire);
    Ok(Reply::of("access", wire.to_string().as_bytes()))
}

/// The access to be updated, if the caller may and knows its present version. That of an access which
/// was updated before must be named: whoever names none has not seen it.
fn find(
    tx: &Transaction<'_>,
    actor: &Actor,
    id: String,
    changes: &Changes,
) -> Result<(Named, StoredAccess), AccessError> {
    let named = Named::parse(&id).ok_or_else(|| AccessError::Unknown { id: id.clone() })?;
    let access = live(tx, actor, &named, "it can update what it created")?;
    if named.serial.unwrap_or_default() != access.serial {
        return Err(AccessError::Stale {
            provided: id,
            current: access.serial,
        });
    }
    // Its own access it sees, but must not change.
    create::present(tx, actor)?;
    let why = if named.id == actor.access.id {
        Some("an access cannot update itself")
    } else if access.kind == AccessType::Personal {
        Some("personal accesses cannot be updated")
    } else if access.name.starts_with(OAUTH)
        && changes
            .name
            .as_ref()
            .is_some_and(|name| *name != access.name)
    {
        Some("the name of an OAuth grant cannot be changed")
    } else {
        None
    };
    match why {
        Some(why) => Err(AccessError::Forbidden { why }),
        None => Ok((named, access)),
    }
}

/// An access that an app created gets no more than the app has, whoever updates it. What it has
/// already stays, though streams were moved or deleted since; what had expired is given anew.
fn check_manager(
    tx: &Transaction<'_>,
    tree: &Tree,
    former: &StoredAccess,
    access: &mut StoredAccess,
) -> Result<(), AccessError> {
    let Some(document) = tx.get(Kind::Access, access.creator())? else {
        return Ok(());
    };
    let manager = StoredAccess::decode(&document)?;
    if document.deleted || manager.kind != AccessType::App {
        return Ok(());
    }
    if access.expires != former.expires {
        check_expiry(manager.expires, access.expires)?;
    }
    let held = former.permissions.as_deref().unwrap_or_default();
    let revived = former.is_expired(tx.at());
    if access.permissions == former.permissions && !revived {
        return Ok(());
    }
    let manager = Access::new(document.id, manager);
    let asked = settable(access.permissions.take().unwrap_or_default());
    let exceeds = |entry: &Permission| {
        (revived || !held.contains(entry)) && grant::exceeds(tree, manager.rights(), entry)
    };
    let on_no_stream = asked.iter().all(|entry| entry.stream_id().is_none());
    if on_no_stream || asked.iter().any(exceeds) {
        return Err(AccessError::ExceedsManager {
            manager: manager.id,
        });
    }
    access.permissions = Some(grant::carried(tree, manager.rights(), asked));
    Ok(())
}

/// What an app created must not be left with what is taken from the app, nor outlive it.
fn check_children(
    tx: &Transaction<'_>,
    tree: &Tree,
    id: &str,
    (former, access): (&StoredAccess, &StoredAccess),
) -> Result<(), AccessError> {
    if access.kind != AccessType::App {
        return Ok(());
    }
    let now = tx.at();
    let before = Access::new(id, former.clone());
    let after = Access::new(id, access.clone());
    let narrowed = access.permissions != former.permissions;
    let end = access.expires.filter(|_| access.expires != former.expires);
    let mut children = Vec::new();
    lookup::created_by(tx.view(), id, &mut |child_id, child| {
        let outlives = end.is_some_and(|end| child.expires.is_some_and(|theirs| theirs > end));
        let given = child.permissions.as_deref().unwrap_or_default();
        let left = || grant::leaves_more(tree, before.rights(), after.rights(), given);
        if !child.is_expired(now) && (outlives || (narrowed && left())) {
            children.push(super::id::version(&child_id, child.serial));
        }
        Ok::<_, AccessError>(true)
    })?;
    if children.is_empty() {
        Ok(())
    } else {
        Err(AccessError::OffendingChildren { children })
    }
}

/// Those that a client may set. The others come from the managing access.
fn settable(mut permissions: Vec<Permission>) -> Vec<Permission> {
    permissions.retain(|entry| !matches!(entry, Permission::ForcedStreams { .. }));
    permissions
}

/// Data of the client with what the server has put beside it.
fn with_server_keys(
    data: Option<Map<String, Value>>,
    former: Option<&Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let mut data = data;
    for key in SERVER_KEYS {
        if let Some(value) = former.and_then(|former| former.get(*key)) {
            let data = data.get_or_insert_default();
            data.insert((*key).to_owned(), value.clone());
        }
    }
    data
}

#[cfg(test)]
mod tests;
