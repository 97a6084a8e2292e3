//! `accesses.get` and `accesses.getOne` (spec/pryv-api §3.5, §3.7).

use homecore_store::{Kind, Rev, StoreError, View};
use homecore_types::limits;
use serde_json::{Map, Value};

use super::error::AccessError;
use super::id::{self, Named};
use super::{AccessType, StoredAccess, lookup, tracking};
use crate::actor::Actor;
use crate::fields::{Fields, Null};
use crate::kernel::Context;
use crate::reply::{ObjectWriter, Reply};

/// Deletions that are listed, the last ones.
const DELETIONS_MAX: usize = 1_000;
/// Former versions read at once.
const HISTORY_PAGE: usize = 50;
/// Former versions that are listed.
const HISTORY_MAX: usize = 1_000;

/// Lists the accesses that the caller manages: `{"accesses": […], "accessDeletions"?: […]}`.
///
/// # Errors
/// See [`AccessError`].
pub fn get(
    view: &dyn View,
    context: &Context,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, AccessError> {
    check_caller(actor, "accesses.get")?;
    let mut fields = Fields::lenient(params, &[])?;
    let with_expired = fields.flag("includeExpired", Null::Absent).unwrap_or(false);
    let with_deletions = fields
        .flag("includeDeletions", Null::Absent)
        .unwrap_or(false);
    fields.finish()?;
    let creator = (!actor.is_personal()).then_some(actor.access.id.as_str());
    let now = context.now();
    let mut found = Listing::default();
    let mut look = |id: String, access: StoredAccess| {
        if with_expired || !access.is_expired(now) {
            let wire = tracking::shown(view, context, actor, &id, &access)?;
            found.add(&id, &access, wire)?;
        }
        Ok::<_, AccessError>(true)
    };
    match creator {
        None => lookup::all(view, &mut look)?,
        Some(creator) => lookup::created_by(view, creator, &mut look)?,
    }
    let mut reply = ObjectWriter::new();
    let accesses = found.sorted();
    reply.array("accesses", accesses.iter().map(String::as_bytes));
    if with_deletions {
        let mut deletions = Listing::default();
        lookup::deleted(view, creator, &mut |id, access| {
            let wire = access.to_wire(&id);
            deletions.add(&id, &access, wire)?;
            Ok::<_, AccessError>(deletions.items.len() < DELETIONS_MAX)
        })?;
        let texts: Vec<String> = deletions.items.into_iter().map(|(_, text)| text).collect();
        reply.array("accessDeletions", texts.iter().map(String::as_bytes));
    }
    Ok(reply.finish())
}

/// Answers one access: `{"access": …, "history"?: […], "current"?: "<id>"}`.
///
/// # Errors
/// See [`AccessError`].
pub fn get_one(
    view: &dyn View,
    context: &Context,
    actor: &Actor,
    params: &Value,
) -> Result<Reply, AccessError> {
    check_caller(actor, "accesses.getOne")?;
    let mut fields = Fields::lenient(params, &["id"])?;
    let given = fields.text("id", Null::Refused).unwrap_or_default();
    let with_history = fields.flag("includeHistory", Null::Absent).unwrap_or(false);
    fields.finish()?;
    let unknown = || AccessError::Unknown {
        id: given.to_owned(),
    };
    let named = Named::parse(given).ok_or_else(unknown)?;
    let head = super::load(view, &named.id)?
        .filter(|access| is_visible(actor, &named.id, access))
        .ok_or_else(unknown)?;
    let former = match named.serial {
        Some(serial) if serial != head.serial => {
            Some(find_version(view, &named.id, serial)?.ok_or_else(unknown)?)
        }
        _ => None,
    };
    let mut reply = ObjectWriter::new();
    let shown = match &former {
        Some(former) => former.to_wire(&named.id),
        None => tracking::shown(view, context, actor, &named.id, &head)?,
    };
    reply.member("access", text(shown).as_bytes());
    if with_history {
        let history = history(view, &named.id)?;
        reply.array("history", history.iter().map(String::as_bytes));
    }
    if former.is_some() {
        let current = Value::from(id::version(&named.id, head.serial));
        reply.member("current", current.to_string().as_bytes());
    }
    Ok(reply.finish())
}

/// Shared accesses manage no others.
///
/// # Errors
/// [`AccessError::WrongCaller`].
fn check_caller(actor: &Actor, method: &'static str) -> Result<(), AccessError> {
    if actor.access.stored.kind == AccessType::Shared {
        return Err(AccessError::WrongCaller { method });
    }
    Ok(())
}

/// Whether the caller may know of an access: the person of all, others of themselves and of those
/// that they created.
pub(super) fn is_visible(actor: &Actor, id: &str, access: &StoredAccess) -> bool {
    actor.is_personal() || actor.access.id == id || access.creator() == actor.access.id
}

/// Accesses as texts, as long as they are not too many.
#[derive(Debug, Default)]
struct Listing {
    /// By name, type and id.
    items: Vec<((String, &'static str, String), String)>,
    bytes: usize,
}

impl Listing {
    fn add(
        &mut self,
        id: &str,
        access: &StoredAccess,
        wire: Map<String, Value>,
    ) -> Result<(), AccessError> {
        let text = text(wire);
        self.bytes += text.len();
        if self.items.len() >= limits::COLLECTED_ITEMS_MAX || self.bytes > LISTED_BYTES_MAX {
            return Err(AccessError::TooManyResults);
        }
        let order = (access.name.clone(), access.kind.wire(), id.to_owned());
        self.items.push((order, text));
        Ok(())
    }

    fn sorted(mut self) -> Vec<String> {
        self.items.sort_unstable();
        self.items.into_iter().map(|(_, text)| text).collect()
    }
}

/// Bytes of accesses that are listed at once.
const LISTED_BYTES_MAX: usize = 64 * 1024 * 1024;

fn text(wire: Map<String, Value>) -> String {
    Value::Object(wire).to_string()
}

/// Every former version, oldest first.
fn history(view: &dyn View, id: &str) -> Result<Vec<String>, StoreError> {
    let mut texts = Vec::new();
    each_version(view, id, &mut |version| {
        texts.push(text(version.to_wire(id)));
        texts.len() < HISTORY_MAX
    })?;
    Ok(texts)
}

fn find_version(
    view: &dyn View,
    id: &str,
    serial: u32,
) -> Result<Option<StoredAccess>, StoreError> {
    let mut found = None;
    each_version(view, id, &mut |version| {
        if version.serial == serial {
            found = Some(version);
        }
        found.is_none()
    })?;
    Ok(found)
}

fn each_version(
    view: &dyn View,
    id: &str,
    look: &mut dyn FnMut(StoredAccess) -> bool,
) -> Result<(), StoreError> {
    let mut after = Rev(0);
    loop {
        let page = view.history(Kind::Access, id, after, HISTORY_PAGE)?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.rev;
        for document in &page {
            if !look(StoredAccess::decode(document)?) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
