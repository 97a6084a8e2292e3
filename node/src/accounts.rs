//! Accounts on this core, from the platform's side: creating a reserved one, and cleaning up after
//! a crash in between.
//!
//! Before a folder is made, a file named after the user is put into `pending/`; after the commit it
//! is removed. At start each file left there is looked up on the platform: committed accounts stay,
//! others' folders go. A folder without such a file is never touched.
//!
//! The same files remember what else takes a step on both sides (adr/0008): fields of an account that
//! may be at the platform already and not here, and an account that is being deleted.

mod audit;
mod changes;
pub(crate) mod importing;
pub(crate) mod inspect;
mod integrity;
mod marks;
mod placing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use homecore_kernel::Kernel;
use homecore_kernel::account::NewAccount as KernelAccount;
use homecore_kernel::password::NewPassword;
use homecore_kernel::ports::{Mail, MailContent, Unavailable};
use homecore_raft::WriteError;
use homecore_raft::command::{Command, Rejection};
use homecore_store::StoreError;
use homecore_types::{Email, ErrorId, Secret, UserId, Username};
use thiserror::Error;
use tokio::sync::{Mutex as Turn, Notify, OwnedMutexGuard, Semaphore};

use crate::cluster::{Cluster, CommandError};
use crate::config::OnUserDelete;
use crate::rpc::files::DataDir;

use audit::KeptAudit;
use marks::{Mark, Marks};

/// What makes a reserved account real.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    /// The reservation to commit.
    pub(crate) reservation: String,
    /// Its user.
    pub(crate) user: UserId,
    /// The name.
    pub(crate) username: Username,
    /// To log in with.
    pub(crate) password: NewPassword,
    /// Names the first access.
    pub(crate) app: String,
    /// ISO code.
    pub(crate) language: String,
    /// Account fields (`email`, `invitationToken`, `referer`, and those that the platform declares).
    pub(crate) fields: BTreeMap<String, String>,
}

/// Why an account was not created.
#[derive(Clone, Debug, Error)]
pub(crate) enum CreateError {
    /// It cannot be.
    #[error("{message}")]
    Refused {
        /// As the wire has it.
        id: ErrorId,
        /// Why.
        message: String,
    },
    /// Try again; nothing is left behind.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Locks over all users: two users seldom share one.
const TURNS: usize = 64;

/// This core's accounts.
#[derive(Debug)]
pub(crate) struct Accounts {
    kernel: Kernel,
    cluster: Arc<Cluster>,
    marks: Marks,
    kept_audit: KeptAudit,
    /// Users that are being imported by this process.
    importing: Mutex<BTreeSet<UserId>>,
    /// Changes of one account come one after the other.
    turns: Vec<Arc<Turn<()>>>,
    /// Something was left to be gone on with.
    left: Arc<Notify>,
    /// Users that administrators' questions read at once.
    inspected: Semaphore,
}

/// "Try again", with why.
pub(crate) fn unavailable(reason: impl Into<String>) -> Unavailable {
    Unavailable {
        reason: reason.into(),
        retry_after: Duration::from_secs(1),
    }
}

impl Accounts {
    /// Over the kernel and the platform.
    pub(crate) fn new(
        kernel: Kernel,
        cluster: Arc<Cluster>,
        data: &DataDir,
        on_user_delete: OnUserDelete,
    ) -> Self {
        let keep = on_user_delete == OnUserDelete::Keep;
        Self {
            kept_audit: KeptAudit(keep.then(|| data.kept_audit())),
            kernel,
            cluster,
            marks: Marks::new(data.pending()),
            importing: Mutex::default(),
            turns: (0..TURNS).map(|_| Arc::default()).collect(),
            left: Arc::default(),
            inspected: Semaphore::new(inspect::READS_MAX),
        }
    }

    /// Where users' data is.
    pub(crate) fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Waits until a step could not be finished that is better gone on with at once.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
    }

    /// Waits until nothing else changes this account.
    async fn turn(&self, user: &UserId) -> OwnedMutexGuard<()> {
        let sum = user.as_str().bytes().map(usize::from).sum::<usize>();
        let turn = self.turns.get(sum % TURNS).map(Arc::clone);
        turn.unwrap_or_default().lock_owned().await
    }

    /// Creates a reserved account and commits its reservation: the token of its first access.
    pub(crate) async fn create(&self, account: NewAccount) -> Result<Secret, CreateError> {
        self.fill(account, async |user, account| {
            self.kernel.create_account(user, account).await
        })
        .await
    }

    /// Makes an account that was adopted for this core (`POST /system/create-user`), and commits it;
    /// nobody is logged in to it.
    pub(crate) async fn place(&self, account: NewAccount) -> Result<(), CreateError> {
        self.fill(account, async |user, account| {
            self.kernel.place_account(user, account).await
        })
        .await
    }

    async fn fill<T>(
        &self,
        account: NewAccount,
        make: impl AsyncFnOnce(&UserId, KernelAccount) -> Result<T, homecore_kernel::Error>,
    ) -> Result<T, CreateError> {
        let (user, reservation) = (account.user.clone(), account.reservation.clone());
        let account = account_of(account).map_err(|error| CreateError::Refused {
            id: ErrorId::InvalidParametersFormat,
            message: error.to_string(),
        })?;
        self.expect_reserved(&user, &reservation).await?;
        if let Some(warning) = self.cluster.disk.warning() {
            return Err(unavailable(warning).into());
        }
        self.marks.set(&user, Mark::Creation).await?;
        let welcome = welcome(&account);
        let made = match make(&user, account).await {
            Ok(made) => made,
            Err(error) => {
                self.discard(&user).await;
                self.release(reservation).await;
                return Err(CreateError::Refused {
                    id: error.id(),
                    message: error.message().to_owned(),
                });
            }
        };
        let commit = Box::pin(self.commit(&user, reservation));
        finish_creation(self.turn(&user).await, &self.marks, &user, commit).await?;
        self.send_welcome(welcome);
        Ok(made)
    }

    /// Greets a new user, where the operator wants it. Nobody misses it if it cannot be sent.
    fn send_welcome(&self, welcome: Mail) {
        let mails = self.kernel.mails().filter(|mails| mails.sends_welcomes());
        match mails.map(|mails| mails.reserve()) {
            Some(Ok(envelope)) => envelope.post(welcome),
            Some(Err(full)) => tracing::warn!(error = %full, "a new user is not welcomed"),
            None => {}
        }
    }

    /// That the reservation is this core's to fill, and nothing of the user is here yet: what is
    /// removed after a failure is then certainly what this call made.
    async fn expect_reserved(&self, user: &UserId, reservation: &str) -> Result<(), CreateError> {
        let platform = &self.cluster.platform;
        let failed = |error: homecore_raft::ReadError| unavailable(error.to_string());
        let mut record = platform.find_user_by_id(user).await.map_err(failed)?;
        if record.is_none() {
            platform.current().await.map_err(failed)?;
            record = platform.find_user_by_id(user).await.map_err(failed)?;
        }
        let held = record.is_some_and(|record| {
            record.core == self.cluster.core
                && record
                    .reservation
                    .is_some_and(|held| held.id == reservation)
        });
        if !held {
            return Err(unavailable("the reservation is not held for this core (any more)").into());
        }
        match self.kernel.users().contains(user).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(unavailable("the account is being created already").into()),
            Err(error) => Err(unavailable(error.to_string()).into()),
        }
    }

    async fn commit(&self, user: &UserId, reservation: String) -> Result<(), CreateError> {
        let commit = Command::CommitUser {
            reservation,
            at: self.cluster.clock.now(),
        };
        match self.cluster.done(commit, "CommitUser").await {
            Ok(()) => Ok(()),
            Err(CommandError::Rejected(rejection)) => {
                // Nobody can commit it any more, so nobody will miss the folder.
                self.discard(user).await;
                Err(unavailable(match rejection {
                    Rejection::ReservationGone => {
                        "the registration took too long; register again".to_owned()
                    }
                    other => other.to_string(),
                })
                .into())
            }
            // The commit may yet happen: the folder stays, and `pending/` remembers it.
            Err(CommandError::Write(WriteError::Unknown { .. })) => Err(unavailable(
                "it is not known whether the registration took effect; try to log in",
            )
            .into()),
            Err(error) => Err(unavailable(crate::telemetry::chain(&error)).into()),
        }
    }

    async fn release(&self, reservation: String) {
        let release = Command::ReleaseUser { reservation };
        if let Err(error) = self.cluster.done(release, "ReleaseUser").await {
            tracing::warn!(
                error = %crate::telemetry::chain(&error),
                "a reservation could not be released; it will expire"
            );
        }
    }

    /// Settles what a crash left between a folder and its commit, and between the two sides of other
    /// steps. Whether nothing is left; otherwise it is to be called again soon.
    pub(crate) async fn settle(&self) -> Result<bool, Unavailable> {
        let (mut settled, mut failure) = (true, None);
        for user in self.marks.list().await? {
            let _turn = self.turn(&user).await;
            // It may have been settled, or become another one, while this waited.
            let Some((mark, age)) = self.marks.find(&user).await? else {
                continue;
            };
            let platform = &self.cluster.platform;
            let failed = |error: homecore_raft::ReadError| unavailable(error.to_string());
            platform.current().await.map_err(failed)?;
            match platform.find_user_by_id(&user).await.map_err(failed)? {
                Some(record) if record.reservation.is_none() => {
                    let gone_on = match mark {
                        Mark::Creation | Mark::Import(_) => {
                            self.marks.remove(&user).await;
                            Ok(true)
                        }
                        Mark::Change => self.settle_change(&record, age).await,
                        Mark::Deletion => self.delete_marked(&user).await.map(|()| true),
                    };
                    match gone_on {
                        Ok(done) => settled &= done,
                        // One user's disk or data must not hold the others up.
                        Err(unavailable) => {
                            tracing::warn!(%user, reason = unavailable.reason, "an account is not settled yet");
                            failure = Some(unavailable);
                        }
                    }
                }
                // Still held: its creation may be going on right now, or it will expire. An import,
                // which may hold it for long, is known to go on or not.
                Some(record) => {
                    settled &= self.settle_import(&user, mark, record.reservation).await;
                }
                None if self.is_importing(&user) => {}
                None => {
                    tracing::info!(%user, "removing what an interrupted registration or deletion left");
                    settled &= self.discard(&user).await;
                }
            }
        }
        failure.map_or(Ok(settled), Err)
    }

    /// Removes a folder that no commit can make a user of, and its mark. Whether it is gone.
    async fn discard(&self, user: &UserId) -> bool {
        match self.kernel.users().remove(user).await {
            Ok(()) | Err(StoreError::UnknownUser { .. }) => {
                self.marks.remove(user).await;
                true
            }
            Err(error) => {
                tracing::warn!(%user, %error, "cannot remove an unfinished account; tried again");
                false
            }
        }
    }
}

/// Makes an account real and removes the mark of its making, while nobody else changes the account: a
/// change would set a mark of its own, which must stay.
async fn finish_creation<E>(
    _turn: OwnedMutexGuard<()>,
    marks: &Marks,
    user: &UserId,
    commit: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    commit.await?;
    marks.remove(user).await;
    Ok(())
}

fn welcome(account: &KernelAccount) -> Mail {
    Mail {
        to: account.email.clone(),
        username: account.username.clone(),
        language: account.language.clone(),
        content: MailContent::Welcome,
    }
}

fn account_of(account: NewAccount) -> Result<KernelAccount, homecore_types::IdError> {
    let mut fields = account.fields;
    Ok(KernelAccount {
        username: account.username,
        password: account.password,
        email: Email::parse(fields.remove("email").unwrap_or_default())?,
        language: account.language,
        app: account.app,
        invitation: fields.remove("invitationToken"),
        referer: fields.remove("referer"),
        declared: fields,
    })
}

#[cfg(test)]
mod tests {
    //! Marks of accounts that are being made.

    use futures_util::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_change_right_after_the_commit_keeps_its_mark() {
        let dir = std::env::temp_dir().join(format!("homecore-turns-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let marks = Marks::new(dir.clone());
        let user = UserId::parse("u23456789012345678901234").unwrap();
        marks.set(&user, Mark::Creation).await.unwrap();
        let turn = Arc::new(Turn::new(()));
        let (committed, commit) = oneshot::channel::<()>();
        let held = Arc::clone(&turn).lock_owned().await;
        let commit = commit.map(|_sent| Ok::<_, ()>(()));
        let making = finish_creation(held, &marks, &user, commit);
        let changing = async {
            // The account can be changed from its commit on.
            committed.send(()).unwrap();
            let _turn = Arc::clone(&turn).lock_owned().await;
            marks.set_change(&user).await.unwrap();
        };
        let (made, ()) = tokio::join!(making, changing);
        made.unwrap();
        let (mark, _) = marks.find(&user).await.unwrap().unwrap();
        assert_eq!(mark, Mark::Change);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
