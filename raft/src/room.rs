//! Waiting for room on the disk, where going on without it would end this core.
//!
//! openraft takes every error of a store for the end. One is not: a disk that is full says so before
//! anything is changed, and has room again when somebody makes some. What failed to be *synced* is another
//! matter, and is never tried again (see the decision record 0005).

use std::path::Path;
use std::time::Duration;

/// What the machine needs to take a group of entries, about.
pub(crate) const LEAST_BYTES: u64 = 1024 * 1024;
/// Between looks.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);

/// Whether a file system has so many bytes left. One that does not tell is taken to have them.
pub(crate) fn has(dir: &Path, bytes: u64) -> bool {
    rustix::fs::statvfs(dir).map_or(true, |disk| {
        disk.f_bavail.saturating_mul(disk.f_frsize) >= bytes
    })
}

/// Returns when there is room for `doing`.
pub(crate) async fn wait(dir: &Path, bytes: u64, doing: &'static str) {
    if has(dir, bytes) {
        return;
    }
    tracing::error!(dir = %dir.display(), doing, "the disk is full: waiting for room");
    while !has(dir, bytes) {
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(dir = %dir.display(), doing, "there is room again");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_some_room_and_not_any() {
        let dir = tempfile::tempdir().unwrap();
        assert!(has(dir.path(), 1));
        assert!(!has(dir.path(), u64::MAX));
        assert!(has(&dir.path().join("absent"), u64::MAX));
    }
}
