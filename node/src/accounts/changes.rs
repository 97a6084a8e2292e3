//! Steps of accounts that exist: changing fields that the platform has, too, and deleting. Each is
//! marked before it begins and can be gone on with after a crash (adr/0008).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homecore_kernel::Kernel;
use homecore_kernel::ports::{
    Claim, Declared, EmailSet, FieldChanges, NameChange, NoClaim, Registry, TakeError, Unavailable,
    UserNames,
};
use homecore_raft::WriteError;
use homecore_raft::command::{Command, Rejection, Response, SetEmails};
use homecore_raft::records::{User, UserHoldings};
use homecore_types::{Email, ErrorId, UserId, Username};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::marks::{Mark, Marks};
use super::{Accounts, unavailable};
use crate::cluster::{Cluster, CommandError};

/// A change whose outcome at the platform is unknown may still arrive there for this long.
const LATE_CHANGE: Duration = Duration::from_secs(60);

impl Accounts {
    /// Deletes an account: its data first, its names last, so that whatever comes in between leaves a
    /// name that leads nowhere and a mark to go on from, never one that leads to somebody else's data.
    pub(crate) async fn delete(&self, user: &UserId) -> Result<(), Unavailable> {
        let _turn = self.turn(user).await;
        self.marks.set(user, Mark::Deletion).await?;
        tracing::info!(%user, "an account is being deleted");
        let deleted = self.delete_marked(user).await;
        if deleted.is_err() {
            self.left.notify_one();
        }
        deleted
    }

    pub(super) async fn delete_marked(&self, user: &UserId) -> Result<(), Unavailable> {
        self.kept_audit
            .keep(&self.kernel, &self.cluster, user)
            .await?;
        let removed = self.kernel.remove_account(user).await;
        removed.map_err(|error| unavailable(error.to_string()))?;
        let delete = Command::DeleteUser { user: user.clone() };
        match self.cluster.done(delete, "DeleteUser").await {
            Ok(()) | Err(CommandError::Rejected(Rejection::UnknownUser { .. })) => {
                self.marks.remove(user).await;
                Ok(())
            }
            Err(error) => Err(unavailable(crate::telemetry::chain(&error))),
        }
    }

    /// Brings an account's fields up to the platform's. A change whose outcome is unknown may still
    /// arrive at the platform for a while: until then it is to be looked at again. Whether it is
    /// settled.
    pub(super) async fn settle_change(
        &self,
        record: &User,
        age: Duration,
    ) -> Result<bool, Unavailable> {
        self.adopt(record).await?;
        let settled = age > LATE_CHANGE;
        if settled {
            self.marks.remove(&record.id).await;
        }
        Ok(settled)
    }

    /// Marks a user and changes something of it on the platform. The mark goes when the claim is
    /// settled, or at once if nothing can have happened.
    async fn claim(
        &self,
        user: &UserId,
        command: Command,
    ) -> Result<(Response, Box<dyn Claim>), TakeError> {
        let turn = self.turn(user).await;
        let marked = self.marks.set_change(user).await?;
        let error = match self.cluster.effect(command).await {
            Ok(response) => return Ok((response, Box::new(self.taken(user, marked, turn)))),
            Err(error) => error,
        };
        let differs = match &error {
            CommandError::Write(WriteError::Unknown { .. }) => true,
            // Whoever plans anew is to find here what there is.
            error if is_outdated(error) => match self.catch_up(user).await {
                Ok(()) => false,
                Err(unavailable) => {
                    self.left.notify_one();
                    return Err(unavailable.into());
                }
            },
            _ => false,
        };
        if differs {
            self.left.notify_one();
        } else if !marked {
            self.marks.remove(user).await;
        }
        Err(refusal(error))
    }

    /// Brings this core up to the platform, and the account with it. To be called in the account's turn.
    async fn catch_up(&self, user: &UserId) -> Result<(), Unavailable> {
        self.ensure_current().await?;
        let platform = &self.cluster.platform;
        let record = platform.find_user_by_id(user).await;
        match record.map_err(|error| unavailable(error.to_string()))? {
            Some(record) => self.adopt(&record).await,
            // Nobody will plan for it.
            None => Ok(()),
        }
    }

    /// The random aliases and further addresses of a user, as this core knows them.
    pub(crate) async fn holdings_of(&self, user: &UserId) -> Result<UserHoldings, Unavailable> {
        let held = self.cluster.platform.holdings_of(user).await;
        held.map_err(|error| unavailable(error.to_string()))
    }

    fn taken(&self, user: &UserId, marked: bool, turn: OwnedMutexGuard<()>) -> Taken {
        Taken {
            user: user.clone(),
            marks: self.marks.clone(),
            marked,
            settled: false,
            left: Arc::clone(&self.left),
            _turn: turn,
        }
    }

    /// Whether the platform has something of fields that it is to have nothing of: it was declared so when
    /// they were set last.
    async fn has_any(
        &self,
        user: &UserId,
        fields: &BTreeMap<String, Declared>,
    ) -> Result<bool, Unavailable> {
        let record = self.cluster.platform.find_user_by_id(user).await;
        let record = record.map_err(|error| unavailable(error.to_string()))?;
        let had = |record: User| {
            let mut names = fields.keys();
            names.any(|name| record.unique.contains_key(name) || record.indexed.contains_key(name))
        };
        Ok(record.is_none_or(had))
    }

    /// Values of declared fields that the platform has of a user, and is to have.
    fn declared_of(&self, record: &User) -> BTreeMap<String, Declared> {
        let schema = self.kernel.schema();
        let fields = schema.declared().filter_map(|(name, stream)| {
            let values = match &stream.rules {
                rules if rules.unique => &record.unique,
                rules if rules.indexed => &record.indexed,
                _ => return None,
            };
            let text = values.get(name)?.clone();
            Some((name.to_owned(), stream.rules.value(text)))
        });
        fields.collect()
    }

    async fn adopt(&self, record: &User) -> Result<(), Unavailable> {
        let held = self.cluster.platform.holdings_of(&record.id).await;
        let held = held.map_err(|error| unavailable(error.to_string()))?;
        let email = |text: &String| Email::normalise(text).ok();
        let present = record.unique.get("email").and_then(email);
        let changes = FieldChanges {
            emails: present.map(|present| EmailSet {
                present,
                others: held.emails.iter().filter_map(email).collect(),
                changes: held.email_changes,
            }),
            language: record.indexed.get("language").cloned(),
            declared: self.declared_of(record),
            fields_version: None,
        };
        let names = UserNames {
            present: record.username.clone(),
            former: record.aliases.clone(),
            changes: record.name_changes,
        };
        let adopted = match self.kernel.adopt_fields(&record.id, changes).await {
            Ok(()) => self.kernel.adopt_names(&record.id, names).await,
            Err(error) => Err(error),
        };
        match adopted {
            Ok(()) => free_unused(&self.kernel, &self.cluster, &record.id).await,
            // Nothing of the user is here (any more).
            Err(error) if error.id() == ErrorId::UnknownResource => Ok(()),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}

/// Frees the aliases of a user that no access of it has. To be called while nobody else changes the
/// account: an alias is taken before there is an access that has it.
pub(super) async fn free_unused(
    kernel: &Kernel,
    cluster: &Cluster,
    user: &UserId,
) -> Result<(), Unavailable> {
    let held = cluster.platform.holdings_of(user).await;
    let mut unused = held.map_err(|e| unavailable(e.to_string()))?.aliases;
    if unused.is_empty() {
        return Ok(());
    }
    let used = kernel.aliases_in_use(user).await;
    let used = used.map_err(|error| unavailable(error.to_string()))?;
    unused.retain(|alias| !used.contains(alias));
    if unused.is_empty() {
        return Ok(());
    }
    let free = Command::FreeAliases {
        user: user.clone(),
        aliases: unused,
    };
    match cluster.done(free, "FreeAliases").await {
        // With the user its aliases went, too.
        Ok(()) | Err(CommandError::Rejected(Rejection::UnknownUser { .. })) => Ok(()),
        Err(error) => Err(unavailable(crate::telemetry::chain(&error))),
    }
}

/// Whether a change was planned from what is so no more: another one came first.
fn is_outdated(error: &CommandError) -> bool {
    matches!(
        error,
        CommandError::Rejected(
            Rejection::NameChanged { .. }
                | Rejection::EmailsChanged { .. }
                | Rejection::FieldsChanged { .. }
        )
    )
}

/// Why the platform did not change anything, as far as it is known.
fn refusal(error: CommandError) -> TakeError {
    match error {
        CommandError::Rejected(Rejection::FieldsChanged { .. }) => TakeError::FieldsChanged,
        error if is_outdated(&error) => TakeError::Changed,
        CommandError::Rejected(Rejection::Conflict { fields }) => TakeError::Taken(fields),
        CommandError::Rejected(Rejection::TooManyAliases { most }) => {
            TakeError::TooManyAliases { most }
        }
        CommandError::Rejected(Rejection::NameChangesUsed { used }) => {
            TakeError::ChangesUsed { used, most: used }
        }
        CommandError::Rejected(Rejection::LabelTaken { label, holder }) => {
            match Username::parse(label) {
                Ok(name) => TakeError::Reserved(name),
                Err(_) => unavailable(format!("a label is taken: {holder}")).into(),
            }
        }
        other => unavailable(crate::telemetry::chain(&other)).into(),
    }
}

#[async_trait]
impl Registry for Accounts {
    async fn take(
        &self,
        user: &UserId,
        changes: &FieldChanges,
    ) -> Result<Box<dyn Claim>, TakeError> {
        if changes.is_of_account_only() {
            // The platform is told nothing, so it refuses nothing that was checked by another declaration. Where
            // it does not answer, what this core knows holds.
            if let Some(by) = changes.fields_version
                && self.ensure_current().await.is_ok()
            {
                // The platform's word, for this release may be unable to read it.
                let directory = self.cluster.directory();
                let config = directory.config();
                if config.is_some_and(|config| config.fields_version != by) {
                    return Err(TakeError::FieldsChanged);
                }
            }
            if !self.has_any(user, &changes.declared).await? {
                return Ok(Box::new(NoClaim));
            }
        }
        let (indexed, unique) = (changes.indexed(), changes.unique());
        // A declaration that changed since may have left a value where it does not belong any more.
        let freed = changes.declared.keys().cloned().collect();
        let update = match &changes.emails {
            Some(set) => Command::SetEmails(SetEmails {
                user: user.clone(),
                present: set.present.to_string(),
                others: set.others.iter().map(ToString::to_string).collect(),
                changes: set.changes.saturating_sub(1),
                indexed,
                unique,
                freed,
                fields_version: changes.fields_version,
            }),
            None => Command::UpdateUser {
                user: user.clone(),
                unique,
                indexed,
                freed,
                fields_version: changes.fields_version,
            },
        };
        match self.claim(user, update).await? {
            (Response::Done, claim) => Ok(claim),
            (other, _claim) => Err(unavailable(other.to_string()).into()),
        }
    }

    async fn rename(
        &self,
        user: &UserId,
        change: &NameChange,
    ) -> Result<(UserNames, Box<dyn Claim>), TakeError> {
        let rename = Command::RenameUser {
            user: user.clone(),
            from: change.from.clone(),
            to: change.to.clone(),
            changes: change.changes,
            changes_max: change.changes_max,
        };
        let claimed = self.claim(user, rename).await;
        match claimed.map_err(|error| with_bound(error, change))? {
            (Response::Renamed { aliases, changes }, claim) => {
                let names = UserNames {
                    present: change.to.clone(),
                    former: aliases,
                    changes,
                };
                Ok((names, claim))
            }
            // The mark stays, and the account is brought up to what the platform has.
            (other, _claim) => Err(unavailable(other.to_string()).into()),
        }
    }

    async fn take_alias(
        &self,
        user: &UserId,
        alias: &Username,
    ) -> Result<Box<dyn Claim>, TakeError> {
        let take = Command::TakeAlias {
            user: user.clone(),
            alias: alias.clone(),
        };
        match self.claim(user, take).await? {
            (Response::Done, claim) => Ok(claim),
            (other, _claim) => Err(unavailable(other.to_string()).into()),
        }
    }

    async fn loosen_aliases(&self, user: &UserId) -> Result<Box<dyn Claim>, TakeError> {
        let turn = self.turn(user).await;
        let marked = self.marks.set_change(user).await?;
        Ok(Box::new(Loosened {
            kernel: self.kernel.clone(),
            cluster: Arc::clone(&self.cluster),
            taken: self.taken(user, marked, turn),
        }))
    }

    async fn ensure_current(&self) -> Result<(), Unavailable> {
        let current = self.cluster.platform.current().await;
        current
            .map(drop)
            .map_err(|error| unavailable(error.to_string()))
    }
}

/// The platform was not told why the bound is what it is; who asked knows it.
fn with_bound(error: TakeError, change: &NameChange) -> TakeError {
    match error {
        TakeError::ChangesUsed { used, .. } => TakeError::ChangesUsed {
            used,
            most: change.changes_max,
        },
        other => other,
    }
}

/// Fields that the platform has, while the account is written. Dropped before that, they are settled
/// at once.
#[derive(Debug)]
struct Taken {
    user: UserId,
    marks: Marks,
    marked: bool,
    settled: bool,
    left: Arc<Notify>,
    _turn: OwnedMutexGuard<()>,
}

#[async_trait]
impl Claim for Taken {
    async fn settled(mut self: Box<Self>) {
        self.settled = true;
        if !self.marked {
            self.marks.remove(&self.user).await;
        }
    }
}

/// Aliases that accesses may be about to give up. What cannot be freed when it is settled is freed
/// later.
#[derive(Debug)]
struct Loosened {
    kernel: Kernel,
    cluster: Arc<Cluster>,
    taken: Taken,
}

#[async_trait]
impl Claim for Loosened {
    async fn settled(self: Box<Self>) {
        let Self {
            kernel,
            cluster,
            taken,
        } = *self;
        // What other cores had a part in may not be here yet.
        let freed = match cluster.platform.current().await {
            Ok(_) => free_unused(&kernel, &cluster, &taken.user).await,
            Err(error) => Err(unavailable(error.to_string())),
        };
        match freed {
            Ok(()) => Box::new(taken).settled().await,
            Err(unavailable) => {
                let (user, reason) = (&taken.user, unavailable.reason);
                tracing::warn!(%user, reason, "aliases are not free yet; tried again");
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.settled {
            self.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
