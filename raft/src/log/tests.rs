//! What the log promises beyond openraft's suite (which runs over it in `state_machine::tests`).

mod hostile;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

use futures_util::FutureExt as _;
use homecore_types::{ClusterId, CoreId, Millis, NodeId};
use openraft::entry::RaftEntry as _;
use openraft::storage::RaftLogStorageExt as _;
use openraft::type_config::TypeConfigExt as _;
use openraft::vote::RaftLeaderId as _;
use openraft::{EntryPayload, LogId as OpenraftLogId};
use tempfile::TempDir;

use super::*;
use crate::command::Command;
use crate::ground::Origin;

fn identity(node: u64) -> Identity {
    Identity {
        cluster: ClusterId::parse("c".repeat(24)).unwrap(),
        node: NodeId(node),
        core: CoreId::parse("core-a").unwrap(),
    }
}

fn system() -> Arc<dyn Ground> {
    Arc::new(crate::ground::System)
}

fn opened() -> (TempDir, LogStore) {
    let dir = tempfile::tempdir().unwrap();
    let log = LogStore::open(&system(), dir.path(), &identity(1)).unwrap();
    (dir, log)
}

fn log_id(term: u64, index: u64) -> LogId {
    OpenraftLogId::new(
        openraft::alias::LeaderIdOf::<TypeConfig>::new(term, 1).to_committed(),
        index,
    )
}

fn entry(term: u64, index: u64) -> Entry {
    Entry::new(
        log_id(term, index),
        EntryPayload::Normal(Command::Sweep { now: Millis(7) }),
    )
}

/// An entry of some 64 KB.
fn large_entry(index: u64) -> Entry {
    let label = "x".repeat(64 * 1024);
    Entry::new(
        log_id(1, index),
        EntryPayload::Normal(Command::DeleteDnsRecord { label }),
    )
}

fn vote(term: u64) -> Vote {
    Vote::new(term, 1)
}

async fn append(log: &mut LogStore, entries: impl IntoIterator<Item = Entry>) {
    let entries: Vec<Entry> = entries.into_iter().collect();
    log.blocking_append(entries).await.unwrap();
}

fn indexes_of(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.log_id.index).collect()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let (dir, mut log) = opened();
    append(&mut log, (0..10).map(|i| entry(1, i))).await;
    log.save_vote(&vote(3)).await.unwrap();
    log.save_committed(Some(log_id(1, 8))).await.unwrap();
    log.purge(log_id(1, 3)).await.unwrap();
    log.truncate_after(Some(log_id(1, 8))).await.unwrap();
    append(&mut log, [entry(2, 9)]).await;
    drop(log);

    let mut log = LogStore::open(&system(), dir.path(), &identity(1)).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(3)));
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 8)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 3)));
    assert_eq!(state.last_log_id, Some(log_id(2, 9)));
    let entries = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(indexes_of(&entries), (4..10).collect::<Vec<_>>());
    assert_eq!(entries.last().unwrap().log_id, log_id(2, 9));
}

/// The first append is stuck behind nothing, the following ones share its successor's sync: all are
/// reported, none before its own entries can be read from the file by someone else.
#[tokio::test]
async fn appends_queued_together_are_all_on_disk_when_they_are_reported() {
    let (dir, mut log) = opened();
    let file = dir.path().join(disk::FILE);
    let reported = Arc::new(AtomicUsize::new(0));
    let mut waits = Vec::new();
    for index in 0..200_u64 {
        let (done, wait) = signal();
        log.append([entry(1, index)], done).await.unwrap();
        // Readable at once, whether on disk or not.
        let read = log.try_get_log_entries(index..=index).await.unwrap();
        assert_eq!(indexes_of(&read), [index]);
        let (reported, file) = (Arc::clone(&reported), file.clone());
        waits.push(tokio::spawn(async move {
            wait.await.unwrap();
            reported.fetch_add(1, Ordering::SeqCst);
            let connection = disk::open_reader(&file).unwrap();
            let last: i64 = connection
                .query_row("SELECT max(idx) FROM entry", [], |row| row.get(0))
                .unwrap();
            assert!(
                u64::try_from(last).unwrap() >= index,
                "{index} was reported, {last} is the last on disk"
            );
        }));
    }
    for wait in waits {
        wait.await.unwrap();
    }
    assert_eq!(reported.load(Ordering::SeqCst), 200);
}

/// A callback, and what it will be told.
fn signal() -> (
    IOFlushed<TypeConfig>,
    impl Future<Output = io::Result<()>> + Send + 'static,
) {
    let (done, wait) = TypeConfig::oneshot();
    (IOFlushed::signal(done), async {
        wait.await.expect("the callback was dropped")
    })
}

#[tokio::test]
async fn a_vote_is_not_reported_before_the_appends_queued_ahead_of_it() {
    let (dir, mut log) = opened();
    let mut waits = Vec::new();
    for index in 0..50_u64 {
        let (done, wait) = signal();
        log.append([large_entry(index)], done).await.unwrap();
        waits.push(wait);
    }
    log.save_vote(&vote(9)).await.unwrap();
    let connection = disk::open_reader(&dir.path().join(disk::FILE)).unwrap();
    let count: i64 = connection
        .query_row("SELECT count(*) FROM entry", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 50);
    for wait in waits {
        wait.now_or_never()
            .expect("reported before the vote")
            .unwrap();
    }
}

#[tokio::test]
async fn entries_that_left_memory_are_read_from_disk() {
    let (_dir, mut log) = opened();
    let count = u64::try_from(2 * tail::BYTES_MAX / (64 * 1024)).unwrap();
    for start in (0..count).step_by(64) {
        append(&mut log, (start..(start + 64).min(count)).map(large_entry)).await;
    }
    let in_memory = log.tail().reading(0, count, usize::MAX);
    assert!(in_memory.disk.end > 0, "nothing was evicted");
    assert!(in_memory.cached.len() * 64 * 1024 <= tail::BYTES_MAX);
    let all = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(indexes_of(&all), (0..count).collect::<Vec<_>>());
    // A part is limited, is never empty, and begins where it was asked to.
    let part = log.limited_get_log_entries(3, count).await.unwrap();
    assert!(!part.is_empty() && part.len() * 64 * 1024 <= READ_BYTES_MAX);
    assert_eq!(part[0].log_id.index, 3);
    let streamed: Vec<_> =
        futures_util::StreamExt::collect(log.entries_stream(5..count).await).await;
    let streamed: Vec<Entry> = streamed.into_iter().map(Result::unwrap).collect();
    assert_eq!(indexes_of(&streamed), (5..count).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_that_would_leave_a_hole_is_refused() {
    let (_dir, mut log) = opened();
    append(&mut log, [entry(1, 0)]).await;
    let error = log
        .append([entry(1, 2)], IOFlushed::noop())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("entry 1 is missing"), "{error}");
}

#[tokio::test]
async fn purging_beyond_the_end_moves_the_end() {
    let (dir, mut log) = opened();
    append(&mut log, (0..5).map(|i| entry(1, i))).await;
    log.purge(log_id(2, 20)).await.unwrap();
    append(&mut log, [entry(2, 21)]).await;
    log.close().await.unwrap();
    let mut log = LogStore::open(&system(), dir.path(), &identity(1)).unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(2, 20)));
    assert_eq!(state.last_log_id, Some(log_id(2, 21)));
    assert_eq!(
        indexes_of(&log.try_get_log_entries(0..).await.unwrap()),
        [21]
    );
}

fn refusal(dir: &Path, node: u64) -> LogError {
    LogStore::open(&system(), dir, &identity(node)).unwrap_err()
}

#[tokio::test]
async fn a_log_that_is_gone_is_noticed() {
    let (dir, mut log) = opened();
    log.save_vote(&vote(1)).await.unwrap();
    log.close().await.unwrap();
    std::fs::remove_file(dir.path().join(disk::FILE)).unwrap();
    let error = refusal(dir.path(), 1);
    assert!(matches!(error, LogError::Behind { .. }), "{error}");
    assert!(error.to_string().contains("must not vote"), "{error}");
    // Not even the mark beside it helps: the identity remembers.
    std::fs::remove_file(dir.path().join("watermark")).unwrap();
    assert!(matches!(refusal(dir.path(), 1), LogError::Behind { .. }));
    // Nor does an empty file in its place.
    std::fs::write(dir.path().join(disk::FILE), b"").unwrap();
    assert!(matches!(refusal(dir.path(), 1), LogError::Behind { .. }));
}

#[tokio::test]
async fn an_older_copy_of_the_log_is_noticed() {
    let (dir, mut log) = opened();
    log.save_vote(&vote(1)).await.unwrap();
    append(&mut log, (0..5).map(|i| entry(1, i))).await;
    log.close().await.unwrap();
    let file = dir.path().join(disk::FILE);
    let old = std::fs::read(&file).unwrap();

    // Behind in entries that were committed.
    let mut log = LogStore::open(&system(), dir.path(), &identity(1)).unwrap();
    append(&mut log, (5..9).map(|i| entry(1, i))).await;
    log.save_committed(Some(log_id(1, 7))).await.unwrap();
    log.close().await.unwrap();
    let newer = std::fs::read(&file).unwrap();
    std::fs::write(&file, &old).unwrap();
    let error = refusal(dir.path(), 1);
    assert!(error.to_string().contains("before index 5"), "{error}");

    // Behind in votes.
    std::fs::write(&file, &newer).unwrap();
    let mut log = LogStore::open(&system(), dir.path(), &identity(1)).unwrap();
    log.save_vote(&vote(2)).await.unwrap();
    log.close().await.unwrap();
    std::fs::write(&file, &newer).unwrap();
    assert!(refusal(dir.path(), 1).to_string().contains("it cast"));
}

#[tokio::test]
async fn uncommitted_entries_may_be_truncated_without_alarm() {
    let (dir, mut log) = opened();
    append(&mut log, (0..9).map(|i| entry(1, i))).await;
    log.save_committed(Some(log_id(1, 4))).await.unwrap();
    log.save_vote(&vote(1)).await.unwrap();
    log.purge(log_id(1, 1)).await.unwrap();
    log.truncate_after(Some(log_id(1, 4))).await.unwrap();
    log.close().await.unwrap();
    let mut log = LogStore::open(&system(), dir.path(), &identity(1)).unwrap();
    assert_eq!(
        log.get_log_state().await.unwrap().last_log_id,
        Some(log_id(1, 4))
    );
}

#[tokio::test]
async fn the_log_of_another_node_is_refused() {
    let (dir, log) = opened();
    log.close().await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::copy(
        dir.path().join(disk::FILE),
        elsewhere.path().join(disk::FILE),
    )
    .unwrap();
    let error = refusal(elsewhere.path(), 2);
    assert!(matches!(error, LogError::OtherNode { .. }), "{error}");
}

#[tokio::test]
async fn an_unknown_format_is_named() {
    let (dir, log) = opened();
    log.close().await.unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(disk::FILE)).unwrap();
    connection
        .execute(
            "UPDATE meta SET value = ?1 WHERE name = 'format'",
            [99_u64.to_be_bytes()],
        )
        .unwrap();
    drop(connection);
    let error = refusal(dir.path(), 1);
    assert!(
        matches!(error, LogError::UnknownFormat { found: 99, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_log_with_a_hole_is_refused() {
    let (dir, mut log) = opened();
    append(&mut log, (0..5).map(|i| entry(1, i))).await;
    log.close().await.unwrap();
    let connection = rusqlite::Connection::open(dir.path().join(disk::FILE)).unwrap();
    connection
        .execute("DELETE FROM entry WHERE idx = 2", [])
        .unwrap();
    drop(connection);
    assert!(matches!(refusal(dir.path(), 1), LogError::Hole { .. }));
}

/// SQLite does not notice these.
#[tokio::test]
async fn a_changed_value_is_not_believed() {
    for (change, place) in [
        (
            "UPDATE entry SET data = zeroblob(length(data)) WHERE idx = 4",
            "entry 4",
        ),
        (
            "UPDATE entry SET data = (SELECT data FROM entry WHERE idx = 3) WHERE idx = 4",
            "entry 4",
        ),
        (
            "UPDATE meta SET value = (SELECT value FROM meta WHERE name = 'purged') WHERE name = 'vote'",
            "vote",
        ),
    ] {
        let (dir, mut log) = opened();
        append(&mut log, (0..5).map(|i| entry(1, i))).await;
        log.save_vote(&vote(1)).await.unwrap();
        log.save_committed(Some(log_id(1, 4))).await.unwrap();
        log.purge(log_id(1, 0)).await.unwrap();
        log.close().await.unwrap();
        let connection = rusqlite::Connection::open(dir.path().join(disk::FILE)).unwrap();
        connection.execute(change, []).unwrap();
        drop(connection);
        let error = refusal(dir.path(), 1).to_string();
        assert!(
            error.contains("log.sqlite is damaged at") && error.contains(place),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_changed_mark_is_not_believed() {
    let (dir, mut log) = opened();
    log.save_vote(&vote(1)).await.unwrap();
    log.close().await.unwrap();
    let path = dir.path().join("watermark");
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &changed).unwrap();
        let error = refusal(dir.path(), 1).to_string();
        assert!(error.contains("watermark is damaged"), "{bit}: {error}");
    }
}

#[tokio::test]
async fn after_a_failed_write_nothing_is_acknowledged() {
    let (dir, mut log) = opened();
    append(&mut log, [entry(1, 0)]).await;
    // Someone else's row where the next entry belongs.
    let connection = rusqlite::Connection::open(dir.path().join(disk::FILE)).unwrap();
    connection
        .execute("INSERT INTO entry (idx, data) VALUES (1, x'00')", [])
        .unwrap();
    drop(connection);
    let (done, wait) = signal();
    log.append([entry(1, 1)], done).await.unwrap();
    wait.await.unwrap_err();
    log.save_vote(&vote(5)).await.unwrap_err();
    assert_eq!(log.read_vote().await.unwrap(), None);
}

#[test]
fn ranges_of_any_kind_mean_the_same() {
    let expected: BTreeSet<(u64, u64)> = [(2, 5)].into();
    let found: BTreeSet<(u64, u64)> = [
        indexes(&(2..5)),
        indexes(&(2..=4)),
        indexes(&(Bound::Excluded(1), Bound::Excluded(5))),
    ]
    .into();
    assert_eq!(found, expected);
    assert_eq!(indexes(&(..)), (0, u64::MAX));
}

/// A copy of the log as a kill would leave it, with one byte of its write-ahead log changed.
fn damaged(dir: &Path, at: impl Fn(usize) -> usize) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let wal = synced::wal_of(&copy.path().join(disk::FILE));
    let mut bytes = std::fs::read(&wal).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    std::fs::write(&wal, bytes).unwrap();
    copy
}

#[tokio::test]
async fn a_change_under_synced_commits_is_no_torn_write() {
    let (dir, mut log) = opened();
    log.save_vote(&vote(3)).await.unwrap();
    for index in 0..20 {
        append(&mut log, [entry(1, index)]).await;
    }
    // In the header of the file, in the middle, and before the last commit.
    let places: [fn(usize) -> usize; 3] = [|_| 17, |len| len / 2, |len| len - 4 * 4120];
    for place in places {
        let copy = damaged(dir.path(), place);
        // Refused, and not taken for whole the next time.
        for _ in 0..2 {
            let opened = LogStore::open(&system(), copy.path(), &identity(1));
            let error = opened.err().unwrap();
            let refused = matches!(
                error,
                LogError::Shortened { .. } | LogError::Behind { .. } | LogError::Damaged { .. }
            );
            assert!(refused, "{error}");
            assert!(error.to_string().contains(disk::FILE), "{error}");
        }
    }
}

/// What a power cut may do: it takes the end of the last commit, or all of it.
#[tokio::test]
async fn a_commit_that_was_cut_off_is_no_damage() {
    let (dir, mut log) = opened();
    append(&mut log, (0..20).map(|index| entry(1, index))).await;
    append(&mut log, [entry(1, 20)]).await;
    let copy = damaged(dir.path(), |len| len - 1);
    let mut log = LogStore::open(&system(), copy.path(), &identity(1)).unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_log_id, Some(log_id(1, 19)));
    append(&mut log, [entry(2, 20)]).await;
    drop(log);
}

/// A log in memory, whose disk may be full.
#[derive(Debug)]
struct InMemory(memory::MemoryDisk);

impl Ground for InMemory {
    fn log_exists(&self, _path: &Path) -> Result<bool, LogError> {
        Ok(self.0.is_used())
    }

    fn open_log(
        &self,
        _path: &Path,
        owner: &str,
    ) -> Result<(Box<dyn medium::Medium>, bool), LogError> {
        self.0.open(owner)
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn access(&self) -> futures_util::future::BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    fn room(&self, _of: Origin) -> futures_util::future::BoxFuture<'static, io::Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

async fn opened_in_memory() -> (TempDir, memory::MemoryDisk, LogStore) {
    let disk = memory::MemoryDisk::default();
    let ground: Arc<dyn Ground> = Arc::new(InMemory(disk.clone()));
    let dir = tempfile::tempdir().unwrap();
    let mut log = LogStore::open(&ground, dir.path(), &identity(1)).unwrap();
    append(&mut log, [entry(1, 0)]).await;
    (dir, disk, log)
}

#[tokio::test]
async fn a_log_that_waits_for_room_can_be_closed() {
    let (_dir, disk, mut log) = opened_in_memory().await;
    disk.set_full(true);
    let (done, wait) = signal();
    log.append([entry(1, 1)], done).await.unwrap();
    let closed = tokio::time::timeout(crate::room::PAUSE * 20, log.close()).await;
    assert!(matches!(closed, Ok(Err(LogError::Closed { .. }))));
    // Never said to be on the disk.
    assert!(wait.await.is_err());
}

#[tokio::test]
async fn a_full_disk_delays_and_refuses_nothing() {
    let (_dir, disk, mut log) = opened_in_memory().await;
    disk.set_full(true);
    let (done, wait) = signal();
    log.append([entry(1, 1)], done).await.unwrap();
    // Not acknowledged, however often it is tried.
    let mut wait = std::pin::pin!(wait);
    let early = tokio::time::timeout(crate::room::PAUSE * 2, &mut wait).await;
    assert!(early.is_err());
    disk.set_full(false);
    wait.await.unwrap();
    append(&mut log, [entry(1, 2)]).await;
    let entries = log.try_get_log_entries(..).await.unwrap();
    assert_eq!(indexes_of(&entries), [0, 1, 2]);
    log.close().await.unwrap();
}
