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
/// Blobs that no event refers to, and that are looked for in what was set aside at once: it is read whole.
const UNNAMED_MAX: usize = 4_096;
/// Rest after each page of a pass over all blobs.
const PAUSE: Duration = Duration::from_millis(20);

/// Whether an event refers to a blob, or one that was set aside as damaged.
fn is_referenced(view: &dyn View, hash: &BlobHash) -> Result<bool, StoreError> {
    if is_in_event(view, hash)? {
        return Ok(true);
    }
    let named = view.named_by_set_aside(&texts_of(hash).into())?;
    Ok(!named.is_empty())
}

/// Whether an event refers to a blob. Deleted events have no entry.
fn is_in_event(view: &dyn View, hash: &BlobHash) -> Result<bool, StoreError> {
    let found = view.scan(&exactly(EVENT_BY_BLOB, blob_key(hash), 8))?;
    Ok(found.iter().any(|(_, document)| !document.deleted))
}

/// By what a damaged event names a blob: one is in its body, the other among what it was found by, and a changed bit
/// is in one of them.
fn texts_of(hash: &BlobHash) -> [Vec<u8>; 2] {
    [integrity_of(hash).into_bytes(), blob_key(hash)]
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
    let (mut after, mut count, mut unnamed) = (None, 0, Vec::new());
    loop {
        let page = kernel.blobs().list(user, after, PAGE).await?;
        after = page.last().map(|last| last.hash);
        let is_last = page.len() < PAGE;
        count += page.len();
        let looked_at: Vec<BlobHash> = page
            .iter()
            .filter(|info| info.written_at.0 <= old_enough)
            .map(|info| info.hash)
            .collect();
        if !looked_at.is_empty() {
            let of_page = kernel
                .read(user, move |view, _| -> Result<Vec<BlobHash>, StoreError> {
                    let mut unnamed = Vec::new();
                    for hash in looked_at {
                        if !is_in_event(view, &hash)? {
                            unnamed.push(hash);
                        }
                    }
                    Ok(unnamed)
                })
                .await??;
            unnamed.extend(of_page);
        }
        if is_last || unnamed.len() >= UNNAMED_MAX {
            suspect(kernel, user, std::mem::take(&mut unnamed)).await?;
        }
        if is_last {
            return Ok(count);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Notes blobs that no event refers to, but for those of events that were set aside.
async fn suspect(kernel: &Kernel, user: &UserId, unnamed: Vec<BlobHash>) -> Result<(), Error> {
    if unnamed.is_empty() {
        return Ok(());
    }
    let texts = unnamed.iter().flat_map(texts_of).collect();
    let named = kernel
        .read(user, move |view, _| view.named_by_set_aside(&texts))
        .await??;
    for hash in unnamed {
        if !texts_of(&hash).iter().any(|text| named.contains(text)) {
            kernel.blobs().suspect(user, hash);
        }
    }
    Ok(())
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
