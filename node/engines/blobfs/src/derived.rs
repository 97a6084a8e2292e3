//! What was made of blobs, as files: the time of the last change is that of the last use. Nothing is
//! synced, for nothing is lost with it.

use std::fs::{DirEntry, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use homecore_store::blob::{Derived, DerivedName, Shard, Swept};
use homecore_store::{BlobHash, StoreError};
use homecore_types::{Millis, UserId};

use crate::blobfs::{BlobFs, fault};
use crate::files;

/// The folder in a user's folder.
const PREVIEWS: &str = "previews";
/// A use is noted when the last one was noted this long ago: a read must not cost a write each time.
const NOTED_EVERY: Duration = Duration::from_secs(3_600);
/// Longest file that is read.
const READ_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl BlobFs {
    fn derived_folder(&self, user: &UserId) -> PathBuf {
        self.home(user).join(PREVIEWS)
    }

    fn derived_shard(&self, user: &UserId, shard: Shard) -> PathBuf {
        self.derived_folder(user).join(format!("{:02x}", shard.0))
    }

    fn derived_path(&self, user: &UserId, name: &DerivedName) -> PathBuf {
        self.derived_shard(user, Shard::from(name.of()))
            .join(name.to_string())
    }

    /// Deletes all that was made of a blob.
    pub(crate) fn forget_derived(&self, user: &UserId, hash: &BlobHash) -> io::Result<()> {
        let shard = self.derived_shard(user, Shard::from(hash));
        each(&shard, |entry, name| {
            if name.of() == hash {
                files::if_any(std::fs::remove_file(entry.path()))?;
            }
            Ok(())
        })
    }

    /// Writes a file where nobody looks and gives it its name.
    fn place_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        bytes: &[u8],
        now: Millis,
    ) -> io::Result<()> {
        files::ensure_folder(&self.derived_folder(user))?;
        files::ensure_folder(&self.derived_shard(user, Shard::from(name.of())))?;
        let staged = self.staged();
        let placed = write(&staged, bytes, now)
            .and_then(|()| std::fs::rename(&staged, self.derived_path(user, name)));
        if placed.is_err() {
            files::if_any(std::fs::remove_file(&staged))?;
        }
        placed
    }
}

fn write(path: &Path, bytes: &[u8], now: Millis) -> io::Result<()> {
    let mut file = files::create_new(path)?;
    file.write_all(bytes)?;
    file.set_modified(time(now))
}

fn time(at: Millis) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}

/// Calls `look` for each file of a folder that is named as it must be. Files may go meanwhile.
fn each(
    folder: &Path,
    mut look: impl FnMut(DirEntry, DerivedName) -> io::Result<()>,
) -> io::Result<()> {
    for entry in files::if_any(std::fs::read_dir(folder))?
        .into_iter()
        .flatten()
    {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(DerivedName::parse) {
            look(entry, name)?;
        }
    }
    Ok(())
}

impl Derived for BlobFs {
    fn find_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        now: Millis,
    ) -> Result<Option<Bytes>, StoreError> {
        let find = || -> io::Result<Option<Bytes>> {
            let path = self.derived_path(user, name);
            let Some(file) = files::if_any(File::open(path))? else {
                return Ok(None);
            };
            let noted = file.metadata()?.modified()?;
            if time(now) > noted + NOTED_EVERY {
                file.set_modified(time(now))?;
            }
            let mut bytes = Vec::new();
            file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
            Ok(Some(bytes.into()))
        };
        find().map_err(fault(format!("reading {name} of user {user}")))
    }

    fn keep_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), StoreError> {
        let keep = || -> io::Result<()> {
            self.place_derived(user, name, bytes, now)?;
            // Only now: whoever deletes the blob deletes it first and this after.
            if !self.path(user, name.of()).try_exists()? {
                files::if_any(std::fs::remove_file(self.derived_path(user, name)))?;
            }
            Ok(())
        };
        match keep() {
            // The user is gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            kept => kept.map_err(fault(format!("keeping {name} of user {user}"))),
        }
    }

    fn derived_shards(&self, user: &UserId) -> Result<Vec<Shard>, StoreError> {
        let list = || -> io::Result<Vec<Shard>> {
            let mut shards = Vec::new();
            for entry in files::if_any(std::fs::read_dir(self.derived_folder(user)))?
                .into_iter()
                .flatten()
            {
                let name = entry?.file_name();
                let number = name.to_str().map(|name| u8::from_str_radix(name, 16));
                shards.extend(number.and_then(Result::ok).map(Shard));
            }
            Ok(shards)
        };
        list().map_err(fault(format!("listing previews of user {user}")))
    }

    fn sweep_derived(
        &self,
        user: &UserId,
        shard: Shard,
        unused_since: Millis,
    ) -> Result<Swept, StoreError> {
        let folder = self.derived_shard(user, shard);
        let mut swept = Swept::default();
        let sweep = each(&folder, |entry, name| {
            let Some(metadata) = files::if_any(entry.metadata())? else {
                return Ok(());
            };
            // After a crash in between, what was made of a blob is there without it.
            if metadata.modified()? < time(unused_since)
                || !self.path(user, name.of()).try_exists()?
            {
                files::if_any(std::fs::remove_file(entry.path()))?;
                swept.removed += 1;
            } else {
                swept.kept_bytes += metadata.len();
            }
            Ok(())
        });
        sweep.map_err(fault(format!("sweeping previews of user {user}")))?;
        Ok(swept)
    }
}
