//! The peer of durable writes: a loop that does nothing but write a record and wait for the disk.
//! Nobody who writes one record after the other and keeps each can be faster.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Most records that one loop writes.
const RECORDS_MAX: u32 = 1_000_000;

/// How many records of `bytes` bytes a second can be appended to a file in `directory` and made
/// durable, one after the other.
///
/// # Errors
/// Of the disk.
pub(crate) async fn synced_writes_per_second(
    directory: &Path,
    bytes: usize,
    time: Duration,
) -> anyhow::Result<f64> {
    let path = directory.join("homecore-bench-fdatasync");
    let measured = tokio::task::spawn_blocking(move || {
        let measured = measure(&path, bytes, time);
        let removed = std::fs::remove_file(&path);
        let rate = measured.with_context(|| format!("writing {}", path.display()))?;
        removed.with_context(|| format!("removing {}", path.display()))?;
        anyhow::Ok(rate)
    });
    measured.await?
}

fn measure(path: &Path, bytes: usize, time: Duration) -> std::io::Result<f64> {
    let mut file = File::create(path)?;
    let record = vec![b'x'; bytes];
    let started = Instant::now();
    let mut records = 0;
    while records < RECORDS_MAX && started.elapsed() < time {
        file.write_all(&record)?;
        file.sync_data()?;
        records += 1;
    }
    Ok(f64::from(records) / started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_measures_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let time = Duration::from_millis(20);
        let rate = synced_writes_per_second(directory.path(), 100, time).await;
        assert!(rate.unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let nowhere = directory.path().join("nowhere");
        assert!(synced_writes_per_second(&nowhere, 100, time).await.is_err());
    }
}
