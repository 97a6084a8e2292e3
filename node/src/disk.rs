//! Room on the disk.
//!
//! A disk that is full stops a core in the middle of things: so users' writes are refused while there
//! still is some room, and begin again by themselves when there is more. What is left then is for what
//! cannot be refused: the platform's log, and what was begun. A reserve, a file of nothing, is given up
//! when others have taken even that (see the decision record 0019).

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use homecore_store::Room;
use tokio_util::sync::CancellationToken;

use crate::rpc::files::DataDir;

/// Between looks: a disk that takes a gigabyte a second takes the default minimum meanwhile.
const INTERVAL: Duration = Duration::from_millis(250);
/// Where the configuration says nothing: this much must be free, or a part of a small disk.
const FREE_MIN_BYTES: u64 = 256 * 1024 * 1024;
/// The reserve is this large, or a part of a small disk.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// That part.
const PART: u64 = 16;

/// What a core knows of its disk.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// Other folders that may be file systems of their own.
    others: [PathBuf; 2],
    reserve: PathBuf,
    reserve_bytes: u64,
    min_bytes: u64,
    room: Arc<Room>,
    free: AtomicU64,
}

impl Disk {
    /// Looks at the disk for the first time; `min` is what must be free. Blocks.
    pub(crate) fn open(data: &DataDir, min: Option<u64>) -> Arc<Self> {
        let root = data.root().to_owned();
        let part = rustix::fs::statvfs(&root).map_or(u64::MAX, |disk| {
            disk.f_blocks.saturating_mul(disk.f_frsize) / PART
        });
        let disk = Self {
            others: [data.platform(), root.join("users")],
            reserve: root.join("reserve"),
            reserve_bytes: RESERVE_BYTES.min(part),
            min_bytes: min.unwrap_or_else(|| FREE_MIN_BYTES.min(part)),
            room: Arc::default(),
            free: AtomicU64::new(0),
            root,
        };
        disk.look();
        Arc::new(disk)
    }

    /// What the store asks.
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Where users' folders are.
    pub(crate) fn users(&self) -> PathBuf {
        self.root.join("users")
    }

    /// Bytes that are free, as of the last look.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// Bytes that must be free for users' writes.
    pub(crate) fn min_bytes(&self) -> u64 {
        self.min_bytes
    }

    /// What an operator has to know, if anything.
    pub(crate) fn warning(&self) -> Option<String> {
        const MIB: u64 = 1024 * 1024;
        self.room.is_lacking().then(|| {
            format!(
                "the disk of {} is full: {} MiB are free and {} are needed; users' writes are \
                 refused until there is room again",
                self.root.display(),
                self.free_bytes() / MIB,
                self.again_bytes().div_ceil(MIB)
            )
        })
    }

    /// Writes begin again above this: not at the minimum, or they would begin and end all the time.
    fn again_bytes(&self) -> u64 {
        self.min_bytes.saturating_add(self.min_bytes / 4)
    }

    /// Looks at the disk again and again.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
            let disk = Arc::clone(&self);
            if let Err(error) = tokio::task::spawn_blocking(move || disk.look()).await {
                tracing::error!(%error, "looking at the disk failed");
            }
        }
    }

    fn look(&self) {
        let Some(free) = free(&self.root) else { return };
        let free = self
            .others
            .iter()
            .filter_map(|other| self::free(other))
            .fold(free, u64::min);
        self.judge(free);
        let held = self.reserve.try_exists().unwrap_or(true);
        if held && free < self.reserve_bytes / 2 {
            match fs::remove_file(&self.reserve) {
                Ok(()) => tracing::error!(free, "the disk is full: the reserve was given up"),
                Err(error) => tracing::error!(%error, "the reserve cannot be given up"),
            }
        } else if !held
            && free >= self.again_bytes().saturating_add(self.reserve_bytes)
            && let Err(error) = allocate(&self.reserve, self.reserve_bytes)
        {
            tracing::debug!(%error, "there is no reserve");
        }
    }

    /// Refuses writes, or lets them begin again.
    fn judge(&self, free: u64) {
        self.free.store(free, Ordering::Relaxed);
        if free < self.min_bytes {
            if self.room.set_lacking(true) {
                tracing::error!(
                    free,
                    min = self.min_bytes,
                    dir = %self.root.display(),
                    "the disk is full: users' writes are refused until there is room"
                );
            }
        } else if free >= self.again_bytes() && self.room.set_lacking(false) {
            tracing::info!(free, "the disk has room again: users' writes are taken");
        }
    }
}

/// Bytes that are free where a folder is.
fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Makes a file that takes its room at once.
fn allocate(path: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let allocated = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    if let Err(error) = allocated {
        fs::remove_file(path)?;
        return Err(error.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, min: u64) -> (PathBuf, Arc<Disk>) {
        let dir = std::env::temp_dir().join(format!("homecore-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let disk = Disk::open(&DataDir::at(&dir), Some(min));
        (dir, disk)
    }

    #[test]
    fn writes_are_refused_below_the_minimum_and_begin_again_above_it() {
        let (dir, disk) = disk("minimum", 1000);
        for (free, lacking) in [
            (1000, false),
            (999, true),
            (1000, true),
            (1249, true),
            (1250, false),
            (1000, false),
            (0, true),
        ] {
            disk.judge(free);
            assert_eq!(disk.room().is_lacking(), lacking, "{free}");
            assert_eq!(disk.warning().is_some(), lacking, "{free}");
        }
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_reserve_is_kept_where_there_is_room() {
        let (dir, kept) = disk("reserve", 1);
        let reserve = dir.join("reserve");
        assert_eq!(fs::metadata(&reserve).unwrap().len(), kept.reserve_bytes);
        fs::remove_file(&reserve).unwrap();
        let (_, none) = disk("reserve", u64::MAX);
        assert!(!reserve.try_exists().unwrap());
        assert!(none.room().is_lacking());
        fs::remove_dir_all(dir).unwrap();
    }
}
