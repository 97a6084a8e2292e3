//! Steps of accounts that exist: changing fields that the platform has, too, and deleting. Each is
//! marked before it begins and can be gone on with after a crash (adr/0008).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use homecore_kernel::ports::{
    Claim, EmailSet, FieldChanges, NameChange, Registry, TakeError, Unavailable, UserNames,
};
use homecore_raft::WriteError;
use homecore_raft::command::{Command, Rejection, Response, SetEmails};
use homecore_raft::records::User;
use homecore_types::{Email, ErrorId, UserId, Username};
use tokio::sync::{Notify, OwnedMutexGuard};

use super::marks::{Mark, Marks};
use super::{Accounts, unavailable};
use crate::cluster::CommandError;

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
            Ok(response) => {
                let claim = Taken {
                    user: user.clone(),
                    marks: self.marks.clone(),
                    marked,
                    settled: false,
                    left: Arc::clone(&self.left),
                    _turn: turn,
                };
                return Ok((response, Box::new(claim)));
            }
            Err(error) => error,
        };
        if may_differ(&error) {
            self.left.notify_one();
        } else if !marked {
            self.marks.remove(user).await;
        }
        Err(refusal(error))
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
            Ok(()) => Ok(()),
            // Nothing of the user is here (any more).
            Err(error) if error.id() == ErrorId::UnknownResource => Ok(()),
            Err(error) => Err(unavailable(error.to_string())),
        }
    }
}

/// Whether the account may differ from the platform after this: the change may have happened, or
/// another one did that the account does not have.
fn may_differ(error: &CommandError) -> bool {
    matches!(
        error,
        CommandError::Write(WriteError::Unknown { .. })
            | CommandError::Rejected(
                Rejection::NameChanged { .. } | Rejection::EmailsChanged { .. }
            )
    )
}

/// Why the platform did not change anything, as far as it is known.
fn refusal(error: CommandError) -> TakeError {
    match error {
        CommandError::Rejected(Rejection::Conflict { fields }) => TakeError::Taken(fields),
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
        let indexed = changes.indexed();
        let update = match &changes.emails {
            Some(set) => Command::SetEmails(SetEmails {
                user: user.clone(),
                present: set.present.to_string(),
                others: set.others.iter().map(ToString::to_string).collect(),
                changes: set.changes.saturating_sub(1),
                indexed,
            }),
            None => Command::UpdateUser {
                user: user.clone(),
                unique: BTreeMap::new(),
                indexed,
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

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.settled {
            self.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
