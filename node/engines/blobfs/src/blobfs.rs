//! Blobs written, found, listed and deleted.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use homecore_store::blob::{BlobInfo, BlobReader, Hasher, StagedBlob};
use homecore_store::{BlobHash, Blobs, StoreError};
use homecore_types::{Millis, UserId};

use crate::files;

/// The folder in a user's folder.
const BLOBS: &str = "blobs";
/// Most bytes that one read takes into memory.
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

type Locate = dyn Fn(&UserId) -> PathBuf + Send + Sync;

/// Users' blobs in the users' folders.
#[derive(Clone)]
pub struct BlobFs {
    staging: Arc<PathBuf>,
    /// Where a user's folder is, be it there or not.
    locate: Arc<Locate>,
    next: Arc<AtomicU64>,
}

impl std::fmt::Debug for BlobFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobFs")
            .field("staging", &self.staging)
            .finish_non_exhaustive()
    }
}

impl BlobFs {
    /// Opens the staging folder, makes it if need be (the one above it is there), and clears away
    /// what a crash left half written. `locate` says where a user's folder is; only one process
    /// works on these folders, which whoever owns them sees to.
    ///
    /// # Errors
    /// Of the disk.
    pub fn open(
        staging: &Path,
        locate: impl Fn(&UserId) -> PathBuf + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        files::ensure_folder(staging)
            .and_then(|()| files::empty_folder(staging))
            .map_err(fault(format!("preparing the folder {}", staging.display())))?;
        Ok(Self {
            staging: Arc::new(staging.to_owned()),
            locate: Arc::new(locate),
            next: Arc::default(),
        })
    }

    fn folder(&self, user: &UserId) -> PathBuf {
        self.home(user).join(BLOBS)
    }

    /// A user's folder, be it there or not.
    pub(crate) fn home(&self, user: &UserId) -> PathBuf {
        (self.locate)(user)
    }

    /// The path of a new file on its way in.
    pub(crate) fn staged(&self) -> PathBuf {
        // The folder was empty at start: a number makes the name its own.
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.staging.join(number.to_string())
    }

    pub(crate) fn path(&self, user: &UserId, hash: &BlobHash) -> PathBuf {
        let name = hash.to_string();
        self.folder(user).join(shard(hash)).join(name)
    }

    /// Moves a whole file to its name. A user's folder that is gone is not made again.
    fn place(&self, staged: &Path, user: &UserId, hash: &BlobHash) -> Result<(), StoreError> {
        let home = self.home(user);
        let folder = home.join(BLOBS);
        let shard = folder.join(shard(hash));
        let place = || -> io::Result<()> {
            files::ensure_folder(&folder)?;
            files::ensure_folder(&shard)?;
            std::fs::rename(staged, shard.join(hash.to_string()))?;
            // All of the way: a folder that is there may have been made by somebody who did not
            // come to sync it, or has not yet. Where nothing is new it costs next to nothing.
            [&shard, &folder, &home]
                .into_iter()
                .try_for_each(|folder| files::sync_folder(folder))
        };
        match place() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::UnknownUser { user: user.clone() })
            }
            placed => placed.map_err(fault(format!("placing a blob of user {user}"))),
        }
    }
}

/// Spreads a user's blobs over 256 folders.
fn shard(hash: &BlobHash) -> String {
    let [first, ..] = hash.as_bytes();
    format!("{first:02x}")
}

pub(crate) fn fault(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
    move |error| StoreError::file_system(doing, error)
}

impl Blobs for BlobFs {
    fn stage(&self, user: &UserId) -> Result<Box<dyn StagedBlob>, StoreError> {
        let path = self.staged();
        let file = files::create_new(&path).map_err(fault("making the file of a blob"))?;
        Ok(Box::new(Staged {
            blobs: self.clone(),
            user: user.clone(),
            file,
            path: Some(path),
        }))
    }

    fn open(
        &self,
        user: &UserId,
        hash: &BlobHash,
    ) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let doing = || fault(format!("opening the blob {hash} of user {user}"));
        let Some(file) = files::if_any(File::open(self.path(user, hash))).map_err(doing())? else {
            return Ok(None);
        };
        let size = file.metadata().map_err(doing())?.len();
        Ok(Some(Box::new(Open {
            file,
            size,
            hash: *hash,
            checked: Some((0, Hasher::default())),
            what: format!("the blob {hash} of user {user}"),
        })))
    }

    fn delete(&self, user: &UserId, hash: &BlobHash) -> Result<bool, StoreError> {
        // Not synced: if a crash brings it back, it is an orphan once more. What was made of it goes
        // after it, so that what is kept meanwhile sees that it is gone.
        files::if_any(std::fs::remove_file(self.path(user, hash)))
            .and_then(|removed| self.forget_derived(user, hash).map(|()| removed.is_some()))
            .map_err(fault(format!("deleting the blob {hash} of user {user}")))
    }

    fn list(
        &self,
        user: &UserId,
        after: Option<&BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobInfo>, StoreError> {
        let folder = self.folder(user);
        let first = after.map(shard).unwrap_or_default();
        let list = || -> io::Result<Vec<BlobInfo>> {
            let mut found = Vec::new();
            let Some(shards) = files::if_any(std::fs::read_dir(&folder))? else {
                return Ok(found);
            };
            let mut names = Vec::new();
            for shard in shards {
                names.extend(shard?.file_name().into_string().ok());
            }
            names.sort();
            for name in names.iter().filter(|name| **name >= first) {
                let mut of_shard = list_shard(&folder.join(name), after)?;
                of_shard.sort_by_key(|info| info.hash);
                of_shard.truncate(limit.saturating_sub(found.len()));
                found.append(&mut of_shard);
                if found.len() >= limit {
                    break;
                }
            }
            Ok(found)
        };
        list().map_err(fault(format!("listing the blobs of user {user}")))
    }
}

fn list_shard(folder: &Path, after: Option<&BlobHash>) -> io::Result<Vec<BlobInfo>> {
    let mut found = Vec::new();
    for entry in files::if_any(std::fs::read_dir(folder))?
        .into_iter()
        .flatten()
    {
        let entry = entry?;
        let name = entry.file_name();
        let Some(hash) = name.to_str().and_then(BlobHash::parse) else {
            tracing::warn!(folder = %folder.display(), "something is no blob");
            continue;
        };
        if after.is_some_and(|after| hash <= *after) {
            continue;
        }
        // It may be deleted meanwhile.
        let Some(metadata) = files::if_any(entry.metadata())? else {
            continue;
        };
        let age = metadata.modified()?.duration_since(UNIX_EPOCH);
        let written_at = age.map_or(0, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        found.push(BlobInfo {
            hash,
            size: metadata.len(),
            written_at: Millis(written_at),
        });
    }
    Ok(found)
}

/// A blob on its way in.
#[derive(Debug)]
struct Staged {
    blobs: BlobFs,
    user: UserId,
    file: File,
    /// None once it has its name.
    path: Option<PathBuf>,
}

impl StagedBlob for Staged {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file
            .write_all(bytes)
            .map_err(fault(format!("writing a blob of user {}", self.user)))
    }

    fn publish(mut self: Box<Self>, hash: &BlobHash) -> Result<(), StoreError> {
        self.file
            .sync_all()
            .map_err(fault(format!("syncing a blob of user {}", self.user)))?;
        let Some(path) = self.path.take() else {
            return Ok(());
        };
        let placed = self.blobs.place(&path, &self.user, hash);
        if placed.is_err() {
            self.path = Some(path);
        }
        placed
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        if let Err(error) = files::if_any(std::fs::remove_file(path)) {
            tracing::warn!(%error, "a half-written blob stays until the next start");
        }
    }
}

#[derive(Debug)]
struct Open {
    file: File,
    size: u64,
    hash: BlobHash,
    /// How far it was read from the beginning on, without a gap; none once there was one.
    checked: Option<(u64, Hasher)>,
    what: String,
}

impl Open {
    /// Checks a piece against the name of the whole: the last piece of what is read from its
    /// beginning to its end is not given out if the whole is not what was stored. Parts read by
    /// themselves are not checked.
    fn check(&mut self, offset: u64, piece: &[u8]) -> Result<(), StoreError> {
        let Some((end, mut hasher)) = self.checked.take().filter(|(end, _)| *end == offset) else {
            return Ok(());
        };
        hasher.update(piece);
        let end = end + u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if end < self.size {
            self.checked = Some((end, hasher));
        } else if hasher.finish() != self.hash {
            return Err(StoreError::Corrupted {
                what: format!("{} is not what it was", self.what),
            });
        }
        Ok(())
    }
}

impl BlobReader for Open {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let most = most.min(left).min(READ_BYTES_MAX);
        let mut bytes = vec![0_u8; most];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(fault("reading a blob"))?;
        self.check(offset, &bytes)?;
        Ok(bytes.into())
    }
}
