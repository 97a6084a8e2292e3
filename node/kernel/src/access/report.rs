//! What an administrator is told of a user: how much is stored, and how the accesses are used
//! (spec/pryv-api §1.13, §9.4). Nothing of what the person keeps.

use std::collections::BTreeMap;

use homecore_store::{StoreError, View};
use serde_json::{Value, json};

use super::tracking::{self, Uses};
use super::{AccessType, StoredAccess, lookup};
use crate::actor::Owner;
use crate::error::Error;
use crate::kernel::{Context, Kernel};
use crate::number::seconds;

/// Under which the uses of all shared accesses are added: their names are the person's own.
const SHARED: &str = "shared";

/// Uses of all accesses together.
#[derive(Debug, Default)]
struct Sum {
    all: Uses,
    by_access: BTreeMap<String, u64>,
}

impl Sum {
    fn add(&mut self, access: &StoredAccess, uses: &Uses) {
        self.all.add(uses);
        let name = match access.kind {
            AccessType::Shared => SHARED,
            AccessType::App | AccessType::Personal => access.name.as_str(),
        };
        let calls = self.by_access.entry(name.to_owned()).or_default();
        *calls = calls.saturating_add(total(uses));
    }
}

fn total(uses: &Uses) -> u64 {
    uses.calls.values().fold(0, |sum, n| sum.saturating_add(*n))
}

fn sum(view: &dyn View, context: &Context, owner: &Owner) -> Result<Sum, StoreError> {
    let mut sum = Sum::default();
    lookup::all(view, &mut |id, access| {
        let uses = tracking::uses_of(view, context, &owner.id, &id)?;
        sum.add(&access, &uses.unwrap_or_default());
        Ok::<_, StoreError>(true)
    })?;
    Ok(sum)
}

impl Kernel {
    /// `system.getUserInfo`: how much a user stores and calls, by method and by app.
    ///
    /// # Errors
    /// Of the store.
    pub async fn user_info(&self, owner: &Owner) -> Result<Value, Error> {
        let usage = self.usage(&owner.id).await?;
        let of = owner.clone();
        let sum = self
            .read(&owner.id, move |view, context| sum(view, context, &of))
            .await??;
        Ok(json!({
            "username": owner.username,
            "storageUsed": {
                "dbDocuments": usage.db_documents_bytes,
                "attachedFiles": usage.attached_files_bytes,
            },
            "lastAccess": seconds(sum.all.last_used),
            "callsTotal": total(&sum.all),
            "callsDetail": sum.all.calls_to_json(),
            "callsPerAccess": sum.by_access,
        }))
    }
}
