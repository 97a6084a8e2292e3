//! Deletes blobs that no event refers to any more.

use std::time::Duration;

use homecore_store::{BlobHash, StoreError, View};
use homecore_types::{UserId, limits};

use crate::attachment::integrity_of;
use crate::error::Error;
use crate::indexes::{EVENT_BY_BLOB, blob_key, exactly};
use crate::kernel::Kernel;

/// Blobs looked at in one read.
const PAGE: usize = 256;
/// Rest after each page of a pass over all blobs.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether an event refers to a blob, or one that was set aside as damaged. Deleted events have no entry.
pub(crate) fn is_referenced(view: &dyn View, hash: &BlobHash) -> Result<bool, StoreError> {
    let key = blob_key(hash);
    // One is in its body, the other among what it was found by: a changed bit is in one of them.
    if view.is_in_set_aside([integrity_of(hash).as_bytes(), &key])? {
        return Ok(true);
    }
    let found = view.scan(&exactly(EVENT_BY_BLOB, key, 8))?;
    Ok(found.iter().any(|(_, document)| !document.deleted))
}

/// Looks at every blob that was noted, one after the other; how many were deleted.
pub(crate) async fn free_suspects(kernel: &Kernel) -> usize {
    let mut freed = 0;
    while let Some((user, hash)) = kernel.blobs().next_suspect() {
        // A write request: it runs after every write that was queued before, and its answer comes
        // when they are on disk.
        let referenced = async {
            kernel
                .write(&user, move |writer| is_referenced(writer.view(), &hash))
                .await?
        };
        match kernel.blobs().free(&user, hash, referenced).await {
            Ok(deleted) => freed += usize::from(deleted),
            // The user is gone, and the blob with the user.
            Err(StoreError::UnknownUser { .. }) => {}
            // The next start finds it.
            Err(StoreError::Stopped) => return freed,
            Err(error) => {
                tracing::warn!(%user, %error, "a blob that nobody refers to stays for now");
            }
        }
    }
    freed
}

/// Notes a user's blobs that are old enough and that no event refers to; how many blobs the user
/// has.
pub(crate) async fn sweep_user(kernel: &Kernel, user: &UserId) -> Result<usize, Error> {
    let old_enough = kernel
        .context()
        .now()
        .0
        .saturating_sub(i64::try_from(limits::ORPHAN_AGE.as_millis()).unwrap_or(i64::MAX));
    let (mut after, mut count) = (None, 0);
    loop {
        let page = kernel.blobs().list(user, after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        after = Some(last.hash);
        let is_full = page.len() == PAGE;
        count += page.len();
        let looked_at: Vec<BlobHash> = page
            .iter()
            .filter(|info| info.written_at.0 <= old_enough)
            .map(|info| info.hash)
            .collect();
        let orphans = kernel
            .read(user, move |view, _| -> Result<Vec<BlobHash>, StoreError> {
                let mut orphans = Vec::new();
                for hash in looked_at {
                    if !is_referenced(view, &hash)? {
                        orphans.push(hash);
                    }
                }
                Ok(orphans)
            })
            .await??;
        for hash in orphans {
            kernel.blobs().suspect(user, hash);
        }
        if !is_full {
            return Ok(count);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A pass over all users, a little at a time.
pub(crate) async fn sweep(kernel: &Kernel) -> Result<(), Error> {
    for user in kernel.users().list().await? {
        match sweep_user(kernel, &user).await {
            Ok(0) => {}
            Ok(_) => tokio::time::sleep(PAUSE).await,
            Err(error) => tracing::warn!(%user, %error, "a user's blobs were not looked at"),
        }
    }
    Ok(())
}
