//! Looking for an access among this core's users.
//!
//! There is no index of accesses over users: a row of each at the platform would make every log-in wait
//! for a majority of the cores (adr/0005). An administrator asks seldom, so every user is read, for a
//! bounded time, and it is told how many were not.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use homecore_kernel::access::StoredAccess;
use homecore_kernel::ports::{AccessInfo, Unavailable};
use homecore_types::{ErrorId, UserId};
use tokio::time::{Instant, timeout_at};

use super::{Accounts, unavailable};
use crate::telemetry::chain;

/// Users that administrators' questions read at once, all together: whoever works here comes first.
pub(super) const READS_MAX: usize = 4;
/// No further user is read after this time.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(20);

/// What became of a search on one core.
#[derive(Clone, Debug, Default)]
pub(crate) struct Searched {
    /// The access.
    pub(crate) found: Option<AccessInfo>,
    /// Users that could not be read, or not in time.
    pub(crate) users_left: u64,
}

/// What became of looking at one user.
enum Look {
    Has(Box<StoredAccess>),
    HasNot,
    Unread,
}

impl Accounts {
    /// Looks for an access among the users of this core. Needs no other core.
    pub(crate) async fn find_access(&self, id: &str) -> Result<Searched, Unavailable> {
        let deadline = Instant::now() + READ_WITHIN;
        // Folders, and not the platform's list of users: somebody who is renamed meanwhile is met once.
        let users = self.kernel.users().list().await;
        let users = users.map_err(|error| unavailable(chain(&error)))?;
        let mut looks = stream::iter(users)
            .map(|user| self.look_for(id, user, deadline))
            .buffer_unordered(READS_MAX);
        let mut users_left = 0;
        while let Some((user, look)) = looks.next().await {
            match look {
                Look::Has(access) => {
                    let found = self.told(id, &user, &access).await?;
                    if found.is_some() {
                        return Ok(Searched { found, users_left });
                    }
                }
                Look::HasNot => {}
                Look::Unread => users_left += 1,
            }
        }
        Ok(Searched {
            found: None,
            users_left,
        })
    }

    async fn look_for(&self, id: &str, user: UserId, deadline: Instant) -> (UserId, Look) {
        let read = self.kernel.find_access(&user, id);
        let look = match self.in_time(deadline, read).await {
            Some(Ok(Some(access))) => Look::Has(Box::new(access)),
            Some(Ok(None)) => Look::HasNot,
            // Removed meanwhile.
            Some(Err(error)) if error.id() == ErrorId::UnknownResource => Look::HasNot,
            Some(Err(error)) => {
                tracing::warn!(%user, error = %chain(&error), "a user cannot be searched");
                Look::Unread
            }
            None => Look::Unread,
        };
        (user, look)
    }

    /// What is told of an access that a folder has; nothing of one that is no user (yet).
    async fn told(
        &self,
        id: &str,
        user: &UserId,
        access: &StoredAccess,
    ) -> Result<Option<AccessInfo>, Unavailable> {
        let record = self.cluster.platform.find_user_by_id(user).await;
        let record = record.map_err(|error| unavailable(chain(&error)))?;
        let user = record.filter(|record| record.reservation.is_none());
        Ok(user.map(|user| AccessInfo {
            id: id.to_owned(),
            username: user.username,
            core: user.core,
            kind: access.kind,
            expires: access.expires,
            created: access.created,
            modified: access.modified,
            deleted: access.deleted,
        }))
    }

    /// Reads something of a user when few others are read for administrators. None if that was not done
    /// in time; after that nothing is begun.
    pub(super) async fn in_time<T>(
        &self,
        deadline: Instant,
        read: impl Future<Output = T>,
    ) -> Option<T> {
        if Instant::now() >= deadline {
            return None;
        }
        let read = async {
            let _turn = self.inspected.acquire().await.ok()?;
            Some(read.await)
        };
        timeout_at(deadline, read).await.ok().flatten()
    }
}
