//! Accounts of a simulated core, step for step as `node/src/accounts.rs` has them: a mark, the account's
//! folder, the commit, and what is settled after a crash in between. Folders and marks are on the disk at
//! once: how files are synced is tried elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use homecore_raft::command::{Command, Rejection, Response};
use homecore_raft::{Handle, WriteError};
use homecore_types::{Clock as _, CoreId, UserId, Username};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::bugs::Bug;
use crate::chance::Chance;
use crate::clock::SimClock;
use crate::trace::Trace;

/// What is on the disk of a core beside the platform.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folders(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    folders: BTreeMap<UserId, Username>,
    marks: BTreeSet<UserId>,
}

impl Folders {
    pub(crate) fn has(&self, user: &UserId) -> bool {
        self.0.lock().unwrap().folders.contains_key(user)
    }

    /// Users whose folders are here for good.
    pub(crate) fn settled(&self) -> Vec<UserId> {
        let kept = self.0.lock().unwrap();
        let unmarked = |user: &&UserId| !kept.marks.contains(*user);
        kept.folders.keys().filter(unmarked).cloned().collect()
    }

    pub(crate) fn marks(&self) -> Vec<UserId> {
        self.0.lock().unwrap().marks.iter().cloned().collect()
    }
}

/// The accounts of one life of a core.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pub(crate) platform: Handle,
    pub(crate) core: CoreId,
    pub(crate) clock: SimClock,
    pub(crate) folders: Folders,
    pub(crate) chance: Chance,
    pub(crate) trace: Trace,
    pub(crate) bug: Option<Bug>,
    /// An account is there, and not committed yet: a bad moment to die.
    pub(crate) created: Arc<Notify>,
    /// Ends with this life.
    pub(crate) stop: CancellationToken,
}

/// What makes a reserved account real.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    pub(crate) reservation: String,
    pub(crate) user: UserId,
    pub(crate) username: Username,
}

impl Accounts {
    /// Creates a reserved account and commits its reservation. The log index by which it is there, if this
    /// core has applied it already; else why it is not, or is not known to be.
    pub(crate) async fn create(&self, account: NewAccount) -> Result<Option<u64>, String> {
        let NewAccount {
            reservation,
            user,
            username,
        } = account;
        self.expect_reserved(&user, &reservation).await?;
        self.change(|kept| {
            kept.marks.insert(user.clone());
        })?;
        // Hashing the password, and a commit.
        sleep(self.chance.millis(5, 200)).await;
        self.change(|kept| {
            kept.folders.insert(user.clone(), username);
        })?;
        self.created.notify_one();
        self.commit(&user, reservation).await?;
        self.change(|kept| {
            kept.marks.remove(&user);
        })?;
        let directory = self.platform.directory();
        let shown = self.platform.find_user_by_id(&user).await;
        let is_shown = matches!(shown, Ok(Some(record)) if record.reservation.is_none());
        Ok(directory.applied_index().filter(|_| is_shown))
    }

    async fn expect_reserved(&self, user: &UserId, reservation: &str) -> Result<(), String> {
        let failed = |error: homecore_raft::ReadError| error.to_string();
        let mut record = self.platform.find_user_by_id(user).await.map_err(failed)?;
        if record.is_none() {
            self.platform.current().await.map_err(failed)?;
            record = self.platform.find_user_by_id(user).await.map_err(failed)?;
        }
        let held = record.is_some_and(|record| {
            record.core == self.core
                && record
                    .reservation
                    .is_some_and(|held| held.id == reservation)
        });
        if !held {
            return Err("the reservation is not held for this core (any more)".to_owned());
        }
        if self.folders.has(user) {
            return Err("the account is being created already".to_owned());
        }
        Ok(())
    }

    async fn commit(&self, user: &UserId, reservation: String) -> Result<(), String> {
        let commit = Command::CommitUser {
            reservation,
            at: self.clock.now(),
        };
        match self.platform.write(commit).await {
            Ok(Response::Rejected(rejection)) => {
                // Nobody can commit it any more, so nobody will miss the folder.
                self.discard(user)?;
                Err(match rejection {
                    Rejection::ReservationGone => "the registration took too long".to_owned(),
                    other => other.to_string(),
                })
            }
            Ok(_) => Ok(()),
            Err(error @ WriteError::Unknown { .. }) => {
                if self.bug == Some(Bug::UnknownIsNo) {
                    self.discard(user)?;
                }
                Err(error.to_string())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// Settles what a crash left between a folder and its commit.
    pub(crate) async fn settle(&self) -> Result<(), String> {
        for user in self.folders.marks() {
            if self.bug != Some(Bug::StaleSettle) {
                let current = self.platform.current().await;
                current.map_err(|error| error.to_string())?;
            }
            let found = self.platform.find_user_by_id(&user).await;
            match found.map_err(|error| error.to_string())? {
                Some(record) if record.reservation.is_none() => self.change(|kept| {
                    kept.marks.remove(&user);
                })?,
                // Still held: its creation may be going on right now, or it will expire.
                Some(_) => {}
                None => {
                    self.trace
                        .event(format_args!("{} discards {user}", self.core));
                    self.discard(&user)?;
                }
            }
        }
        Ok(())
    }

    /// Removes the folders of users that were deleted.
    pub(crate) fn delete(&self, user: &UserId) -> Result<(), String> {
        self.discard(user)
    }

    fn discard(&self, user: &UserId) -> Result<(), String> {
        self.change(|kept| {
            kept.folders.remove(user);
            kept.marks.remove(user);
        })
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) -> Result<(), String> {
        if self.stop.is_cancelled() {
            return Err("the core has died".to_owned());
        }
        change(&mut self.folders.0.lock().unwrap());
        Ok(())
    }
}
