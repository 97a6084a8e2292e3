//! When each access was last used, and for what how often (spec/pryv-api §1.13).
//!
//! A call that only reads must not cost a write: uses are counted in memory and written together,
//! again and again ([`Kernel::write_uses`]); what was not yet written is lost if the core is killed.
//! They are no part of the access itself, which neither changes nor gets a version by being used.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use homecore_store::{Base, Kind, PutError, StoreError, Transaction, View, Write};
use homecore_types::{Millis, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::StoredAccess;
use crate::actor::Actor;
use crate::kernel::{Context, Kernel};
use crate::number::seconds;

/// Accesses, of all users, whose uses are counted between two writings.
const ACCESSES_MAX: usize = 100_000;
/// Accesses whose uses are written in one request.
const WRITE_ACCESSES_MAX: usize = 256;

/// How an access was used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uses {
    /// The last time.
    pub last_used: Millis,
    /// Calls by method id.
    pub calls: BTreeMap<String, u64>,
}

impl Uses {
    pub(super) fn add(&mut self, more: &Self) {
        self.last_used = self.last_used.max(more.last_used);
        for (method, count) in &more.calls {
            let calls = self.calls.entry(method.clone()).or_default();
            *calls = calls.saturating_add(*count);
        }
    }

    fn subtract(&mut self, less: &Self) {
        self.calls.retain(|method, count| {
            *count = count.saturating_sub(less.calls.get(method).copied().unwrap_or_default());
            *count > 0
        });
    }

    /// The counts as they are on the wire: `{"events:get": …}`.
    #[must_use]
    pub fn calls_to_json(&self) -> Value {
        let member = |(method, count): (&String, &u64)| {
            let name = method.replacen('.', ":", 1);
            (name, Value::from(*count))
        };
        Value::Object(self.calls.iter().map(member).collect())
    }

    /// Uses as they are on the wire: there the first dot of a method id is a colon.
    #[must_use]
    pub fn from_wire(last_used: Millis, calls: Option<&Map<String, Value>>) -> Self {
        let member = |(name, count): (&String, &Value)| {
            let method = name.replacen(':', ".", 1);
            Some((method, count.as_u64()?))
        };
        Self {
            last_used,
            calls: calls.into_iter().flatten().filter_map(member).collect(),
        }
    }

    fn count(&mut self, method: &str, now: Millis) {
        self.last_used = self.last_used.max(now);
        match self.calls.get_mut(method) {
            Some(count) => *count = count.saturating_add(1),
            None => {
                self.calls.insert(method.to_owned(), 1);
            }
        }
    }
}

/// Uses that are not written yet.
#[derive(Debug, Default)]
pub(crate) struct Tracker {
    fresh: Mutex<Fresh>,
}

#[derive(Debug, Default)]
struct Fresh {
    by_user: BTreeMap<UserId, BTreeMap<String, Uses>>,
    accesses: usize,
    lost: u64,
}

impl Tracker {
    /// Counts a use.
    fn count(&self, user: &UserId, access: &str, method: &str, now: Millis) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fresh.by_user.get_mut(user);
        if let Some(uses) = known.and_then(|accesses| accesses.get_mut(access)) {
            uses.count(method, now);
            return;
        }
        if fresh.accesses >= ACCESSES_MAX {
            fresh.lost += 1;
            return;
        }
        fresh.accesses += 1;
        let accesses = fresh.by_user.entry(user.clone()).or_default();
        let uses = accesses.entry(access.to_owned()).or_default();
        uses.count(method, now);
    }

    fn of(&self, user: &UserId, access: &str) -> Option<Uses> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        fresh.by_user.get(user)?.get(access).cloned()
    }

    /// Users with uses that are not written, and how many uses there was no room for since.
    fn users(&self) -> (Vec<UserId>, u64) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = std::mem::take(&mut fresh.lost);
        (fresh.by_user.keys().cloned().collect(), lost)
    }

    /// Some of a user's uses that are to be written; they count until [`Tracker::written`].
    fn some_of(&self, user: &UserId) -> Vec<(String, Uses)> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let accesses = fresh.by_user.get(user).into_iter().flatten();
        accesses
            .take(WRITE_ACCESSES_MAX)
            .map(|(access, uses)| (access.clone(), uses.clone()))
            .collect()
    }

    /// Forgets what was written.
    fn written(&self, user: &UserId, written: &[(String, Uses)]) {
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(accesses) = fresh.by_user.get_mut(user) else {
            return;
        };
        let mut forgotten = 0;
        for (access, uses) in written {
            let Some(left) = accesses.get_mut(access) else {
                continue;
            };
            left.subtract(uses);
            if left.calls.is_empty() {
                accesses.remove(access);
                forgotten += 1;
            }
        }
        if accesses.is_empty() {
            fresh.by_user.remove(user);
        }
        fresh.accesses = fresh.accesses.saturating_sub(forgotten);
    }
}

/// How an access was used, written or not; none if it never was.
///
/// # Errors
/// Of the store.
pub fn uses_of(
    view: &dyn View,
    context: &Context,
    user: &UserId,
    access: &str,
) -> Result<Option<Uses>, StoreError> {
    let stored = match view.get(Kind::AccessUses, access)? {
        Some(document) if !document.deleted => Some(decode(&document.body, access)?),
        _ => None,
    };
    let fresh = context.tracker.of(user, access);
    Ok(match (stored, fresh) {
        (Some(mut stored), Some(fresh)) => {
            stored.add(&fresh);
            Some(stored)
        }
        (stored, fresh) => stored.or(fresh),
    })
}

/// The wire form of an access with the time of its last use.
///
/// # Errors
/// Of the store.
pub(super) fn shown(
    view: &dyn View,
    context: &Context,
    actor: &Actor,
    id: &str,
    access: &StoredAccess,
) -> Result<Map<String, Value>, StoreError> {
    let mut wire = access.to_wire(id);
    if let Some(uses) = uses_of(view, context, &actor.owner.id, id)? {
        wire.insert("lastUsed".to_owned(), seconds(uses.last_used));
    }
    Ok(wire)
}

fn decode(body: &[u8], access: &str) -> Result<Uses, StoreError> {
    serde_json::from_slice(body).map_err(|error| StoreError::Corrupted {
        what: format!("uses of access {access}: {error}"),
    })
}

/// Adds uses to those that are stored. Those of a deleted access are of no interest.
fn store(tx: &mut Transaction<'_>, access: &str, uses: &Uses) -> Result<(), StoreError> {
    if super::load(tx.view(), access)?.is_none() {
        return Ok(());
    }
    let mut all = match tx.get(Kind::AccessUses, access)? {
        Some(document) if !document.deleted => decode(&document.body, access)?,
        _ => Uses::default(),
    };
    all.add(uses);
    let body = serde_json::to_vec(&all)
        .map_err(|error| StoreError::engine("encoding uses of an access", error))?;
    let write = Write {
        kind: Kind::AccessUses,
        id: access.to_owned(),
        base: Base::Any,
        body: body.into(),
        deleted: false,
        entries: Vec::new(),
        keep_previous: false,
    };
    match tx.put(write) {
        Ok(_) => Ok(()),
        Err(PutError::Store(error)) => Err(error),
        Err(PutError::Conflict { .. }) => Err(StoreError::Corrupted {
            what: format!("uses of access {access}: conflict on any"),
        }),
    }
}

impl Kernel {
    /// Counts a call that was answered.
    pub(crate) fn used(&self, actor: &Actor, method: &str) {
        if self.settings().track_accesses {
            let user = &actor.owner.id;
            self.tracker()
                .count(user, &actor.access.id, method, self.now());
        }
    }

    /// Writes down how accesses were used: to be called again and again, and before the core stops.
    pub async fn write_uses(&self) {
        if !self.users().has_room() {
            return;
        }
        let (users, lost) = self.tracker().users();
        if lost > 0 {
            tracing::warn!(lost, "uses of accesses were not counted");
        }
        for user in users {
            if let Err(error) = self.write_uses_of(&user).await {
                tracing::warn!(%user, %error, "uses of accesses wait on");
            }
        }
    }

    async fn write_uses_of(&self, user: &UserId) -> Result<(), StoreError> {
        // What is used meanwhile waits for the next time.
        for _ in 0..=ACCESSES_MAX / WRITE_ACCESSES_MAX {
            let some = self.tracker().some_of(user);
            if some.is_empty() {
                return Ok(());
            }
            let is_last = some.len() < WRITE_ACCESSES_MAX;
            let writing = some.clone();
            let written = self
                .write(user, move |writer| {
                    writer.attempt(|tx| {
                        writing
                            .iter()
                            .try_for_each(|(access, uses)| store(tx, access, uses))
                    })
                })
                .await
                .and_then(|stored| stored);
            match written {
                Ok(()) | Err(StoreError::UnknownUser { .. }) => self.tracker().written(user, &some),
                Err(error) => return Err(error),
            }
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
