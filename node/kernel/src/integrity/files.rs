//! Reads a user's attached files again and compares them with the hashes that they are named by.

use homecore_store::{BlobHash, BlobStore, Scan, StoreError, Users};
use homecore_types::UserId;

use crate::indexes::EVENT_BY_BLOB;

/// References looked at in one read: each comes with its event, which may be as large as a body.
const PAGE: usize = 50;
/// Bytes of a file in memory at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A file that is not what an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFault {
    /// An event that it is attached to.
    pub event: String,
    /// The file's hash, as the event has it.
    pub hash: BlobHash,
    /// What is wrong with it.
    pub is_missing: bool,
}

impl std::fmt::Display for FileFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { event, hash, .. } = self;
        let fault = if self.is_missing {
            "is missing"
        } else {
            "has other content"
        };
        write!(f, "event {event}: the attached file {hash} {fault}")
    }
}

/// Checks every file that an event of the user refers to, once; how many there are. `each` gets every fault.
///
/// # Errors
/// Of the store.
pub async fn check_files(
    users: &Users,
    blobs: &BlobStore,
    user: &UserId,
    each: &mut dyn FnMut(FileFault),
) -> Result<u64, StoreError> {
    let mut scan = Scan {
        index: EVENT_BY_BLOB,
        from: Vec::new(),
        to: None,
        descending: false,
        limit: PAGE,
        after: None,
    };
    let (mut checked, mut last) = (0_u64, None);
    loop {
        let this = scan.clone();
        let page: Vec<(Vec<u8>, String)> = users
            .read(user, move |view| {
                let found = view.scan(&this)?;
                let events = found.into_iter().map(|(key, event)| (key, event.id));
                Ok::<_, StoreError>(events.collect())
            })
            .await??;
        for (key, event) in &page {
            // Several events may have the same file; they stand beside each other.
            let Some(hash) = BlobHash::from_bytes(key) else {
                continue;
            };
            if last == Some(hash) {
                continue;
            }
            last = Some(hash);
            checked = checked.saturating_add(1);
            let is_missing = match content(blobs, user, hash).await {
                Ok(Some(found)) if found == hash => continue,
                Ok(found) => found.is_none(),
                // An engine that compares by itself.
                Err(StoreError::Corrupted { .. }) => false,
                Err(error) => return Err(error),
            };
            each(FileFault {
                event: event.clone(),
                hash,
                is_missing,
            });
        }
        if page.len() < PAGE {
            return Ok(checked);
        }
        scan.after = page.into_iter().last();
    }
}

/// The hash of what is in a file; none: there is none.
async fn content(
    blobs: &BlobStore,
    user: &UserId,
    hash: BlobHash,
) -> Result<Option<BlobHash>, StoreError> {
    let Some(mut file) = blobs.download(user, hash).await? else {
        return Ok(None);
    };
    let mut hasher = homecore_store::blob::Hasher::default();
    let mut offset = 0_u64;
    while offset < file.size() {
        let piece = file.read_at(offset, PIECE_BYTES).await?;
        if piece.is_empty() {
            break;
        }
        offset = offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        hasher.update(&piece);
    }
    Ok(Some(hasher.finish()))
}
