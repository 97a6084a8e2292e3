//! The consensus log and vote, in SQLite.
//!
//! One thread writes ([`writer`]): it takes everything that is queued, commits it in one transaction
//! with one sync, then reports. Votes go through the same queue, so they are never reordered with
//! appends. An append returns as soon as the entries are readable, from the tail kept in memory
//! ([`tail`]); what has left the tail is read by a second thread ([`reader`]), so that a follower
//! that catches up never delays a write.
//!
//! A small file beside the log, synced on its own, remembers what was once voted and held
//! ([`watermark`]). A log that is missing or behind it is refused: such a core must never vote again.
//! What this cannot notice is an older copy of the log from the same vote that lacks only entries
//! appended since the last vote, purge or clean stop.

pub(crate) mod disk;
pub mod medium;
pub mod memory;
mod reader;
mod synced;
mod tail;
mod watermark;
mod writer;

use std::fmt::{self, Debug};
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::Stream;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::codec::CodecError;
use crate::ground::Ground;
use crate::identity::{self, Identity, IdentityError};
use crate::types::{Entry, LogId, TypeConfig, Vote};
use medium::{COMMITTED, PURGED, VOTE};
use tail::{Reading, Tail};
use writer::Op;

/// Operations waiting for the writer.
const WRITES_QUEUED_MAX: usize = 256;
/// Bytes waiting for the writer; an append waits beyond it.
const BYTES_QUEUED_MAX: usize = 64 * 1024 * 1024;
/// Bytes of entries that one read gives to replication: well below `RPC_MESSAGE_BYTES_MAX`.
const READ_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How often a read is repeated that met a truncation.
const READ_ATTEMPTS_MAX: usize = 5;

/// Why a log cannot be opened or used.
#[derive(Debug, Error)]
pub enum LogError {
    /// The disk refused.
    #[error("cannot access {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// SQLite refused.
    #[error("cannot {doing} in {}", path.display())]
    Database {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk is full. Nothing was changed, and what was refused may be tried again.
    #[error("there is no room for {}", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
    },
    /// Part of what the write-ahead log held for sure is not found in it.
    #[error(
        "{}-wal is damaged: the log ends after {found} synced commits, and a later part says that \
         {synced} were on disk. This core may have voted for or held what is lost: it must not vote; \
         remove it from the cluster and join again under a new id",
        path.display()
    )]
    Shortened {
        /// The log.
        path: PathBuf,
        /// Commits that are found.
        found: u64,
        /// Commits that were on disk.
        synced: u64,
    },
    /// A newer release wrote it.
    #[error("{} has format {found}, this release knows {known}: start a newer release", path.display())]
    UnknownFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The format of this release.
        known: u64,
    },
    /// The log was copied from elsewhere.
    #[error(
        "{} is the log of node {found}, not of node {expected} as identity.json says",
        path.display()
    )]
    OtherNode {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// The log is gone, or an older copy.
    #[error(
        "this core's log {} is missing or older than what it voted or held, as {} says ({detail}): \
         it must not vote; remove it from the cluster and join again under a new id",
        log.display(),
        watermark.display()
    )]
    Behind {
        /// The log.
        log: PathBuf,
        /// Where it stands what it should hold.
        watermark: PathBuf,
        /// What was found and what was expected.
        detail: String,
    },
    /// Bytes in the log are not what this release writes.
    #[error("{} is damaged at {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which row.
        what: String,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// An entry in the middle is missing.
    #[error("log.sqlite has a hole: entry {index} is missing")]
    Hole {
        /// The first one missing.
        index: u64,
    },
    /// The identity file could not be read or written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The writer failed before, or was stopped.
    #[error("the log is closed: {reason}")]
    Closed {
        /// Why.
        reason: String,
    },
}

impl LogError {
    /// Whether the disk is full, and nothing was changed but perhaps a file that is not in its place yet.
    fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        Self::other(error)
    }
}

/// The log. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    tail: Arc<Mutex<Tail>>,
    writes: mpsc::Sender<Op>,
    reads: mpsc::Sender<reader::Request>,
    bytes: Arc<Semaphore>,
    /// Whether room is waited for no more.
    closing: Arc<AtomicBool>,
}

impl Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

impl LogStore {
    /// Opens the log of `identity` in `dir`, or makes it if there never was one.
    ///
    /// Blocks on the disk: call it where that is allowed.
    pub(crate) fn open(
        ground: &Arc<dyn Ground>,
        dir: &Path,
        identity: &Identity,
    ) -> Result<Self, LogError> {
        let expected = watermark::load(dir)?;
        let created = identity::log_was_created(dir)?;
        let path = dir.join(disk::FILE);
        if !ground.log_exists(&path)? && (created || expected.is_some()) {
            return Err(watermark::behind(dir, "there is none"));
        }
        let owner = format!("{} of cluster {}", identity.node, identity.cluster);
        let (medium, fresh) = ground.open_log(&path, &owner)?;
        if fresh && created {
            return Err(watermark::behind(dir, "it is empty"));
        }
        let recovered = medium::recover(&*medium, &path)?;
        if let Some(expected) = &expected {
            expected.check(dir, &recovered)?;
        }
        if !created {
            identity::mark_log_created(dir, identity)?;
        }
        let reads = reader::spawn(&**ground, medium.reader()?, &path)?;
        let tail = Arc::new(Mutex::new(Tail::new(recovered)));
        let watermark = watermark::Keeper::new(dir, expected);
        let closing = Arc::default();
        let writes = writer::spawn(
            ground,
            medium,
            watermark,
            Arc::clone(&tail),
            Arc::clone(&closing),
            WRITES_QUEUED_MAX,
        )
        .map_err(|source| LogError::Io {
            path: path.clone(),
            source,
        })?;
        let bytes = Arc::new(Semaphore::new(BYTES_QUEUED_MAX));
        Ok(Self {
            shared: Arc::new(Shared {
                path,
                tail,
                writes,
                reads,
                bytes,
                closing,
            }),
        })
    }

    /// Waits for everything queued, notes how far the log reaches, and closes the file.
    ///
    /// # Errors
    /// When there is no room for that: then what was not acknowledged is given up, as in a crash.
    pub(crate) async fn close(&self) -> Result<(), LogError> {
        self.shared.closing.store(true, Ordering::Release);
        let (done, wait) = oneshot::channel();
        self.submit(Op::Close { done }).await?;
        wait.await.map_err(|_| closed("the writer stopped"))?
    }

    /// Whether an entry was here and is kept no more.
    pub(crate) fn is_purged(&self, index: u64) -> bool {
        let purged = self.tail().purged();
        purged.is_some_and(|purged| index <= purged.index)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.shared
            .tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn submit(&self, op: Op) -> Result<(), LogError> {
        self.shared
            .writes
            .send(op)
            .await
            .map_err(|_| closed("the writer stopped"))
    }

    /// Entries of `start..end` as far as the log has them, at least one if it has the first, and
    /// not many more bytes than `bytes_max`.
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let Reading {
                generation,
                disk,
                mut cached,
            } = self.tail().reading(start, end, bytes_max);
            if disk.is_empty() {
                return Ok(cached);
            }
            let wanted = disk.end.saturating_sub(disk.start);
            let first = disk.start;
            let (done, wait) = oneshot::channel();
            let request = reader::Request {
                range: disk,
                bytes_max,
                done,
            };
            self.shared
                .reads
                .send(request)
                .await
                .map_err(|_| closed("the reader stopped"))?;
            let found = wait.await.map_err(|_| closed("the reader stopped"))??;
            if self.tail().generation() != generation {
                continue;
            }
            let mut entries = found.entries;
            let got = u64::try_from(entries.len()).unwrap_or(u64::MAX);
            if got < wanted {
                if found.cut {
                    return Ok(entries);
                }
                return Err(LogError::Hole {
                    index: first.saturating_add(got),
                });
            }
            if !found.cut {
                entries.append(&mut cached);
            }
            return Ok(entries);
        }
        Err(closed(
            "it was truncated or purged during every attempt to read it",
        ))
    }

    async fn read_all(&self, start: u64, end: u64) -> Result<Vec<Entry>, LogError> {
        let mut entries = Vec::new();
        let mut next = start;
        while next < end {
            let mut part = self.read(next, end, READ_BYTES_MAX).await?;
            let Some(last) = part.last() else { break };
            next = last.log_id.index.saturating_add(1);
            entries.append(&mut part);
        }
        Ok(entries)
    }
}

fn closed(reason: &str) -> LogError {
    LogError::Closed {
        reason: reason.to_owned(),
    }
}

/// The half-open range of indexes that bounds describe.
fn indexes(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = indexes(&range);
        Ok(self.read_all(start, end).await?)
    }

    /// Never begins later than asked: entries sent behind a gap would leave a hole in a follower.
    /// openraft takes an empty answer for a heartbeat and looks again: a client of a peer ends that.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let entries = self.read(start, end, READ_BYTES_MAX).await?;
        let whole = entries
            .first()
            .is_some_and(|entry| entry.log_id.index == start);
        Ok(if whole { entries } else { Vec::new() })
    }

    /// Part by part, so that applying a long log again does not hold it all in memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = indexes(&range);
        let parts = futures_util::stream::try_unfold(
            (self.clone(), start),
            move |(log, next)| async move {
                if next >= end {
                    return Ok(None);
                }
                let part = log.read(next, end, READ_BYTES_MAX).await?;
                let Some(last) = part.last() else {
                    return Ok(None);
                };
                let next = last.log_id.index.saturating_add(1);
                let part = futures_util::stream::iter(part.into_iter().map(Ok::<_, io::Error>));
                Ok::<_, io::Error>(Some((part, (log, next))))
            },
        );
        Box::pin(futures_util::TryStreamExt::try_flatten(parts))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.tail().vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let tail = self.tail();
        Ok(LogState {
            last_purged_log_id: tail.purged(),
            last_log_id: tail.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let bytes = medium::encode(vote, VOTE.as_bytes()).map_err(io::Error::other)?;
        let (done, wait) = oneshot::channel();
        self.submit(Op::Vote {
            vote: *vote,
            bytes,
            done,
        })
        .await?;
        wait.await.map_err(|_| closed("the writer stopped"))??;
        Ok(())
    }

    /// Written with the next append, and not synced by itself: after a crash the leader tells again
    /// how far the log is committed, and until then this core answers from a somewhat older state.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let bytes = medium::encode(&committed, COMMITTED.as_bytes()).map_err(io::Error::other)?;
        self.tail().commit(committed);
        self.submit(Op::Committed { bytes }).await?;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.tail().committed())
    }

    async fn append<I>(&mut self, entries: I, done: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut rows = Vec::new();
        let mut held = Vec::new();
        let mut bytes = 0_usize;
        for entry in entries {
            let place = entry.log_id.index.to_be_bytes();
            let row = medium::encode(&entry, &place).map_err(io::Error::other)?;
            bytes = bytes.saturating_add(row.len());
            held.push((entry, row.len()));
            rows.push(row);
        }
        let Some((first, _)) = held.first() else {
            done.io_completed(Ok(()));
            return Ok(());
        };
        let first = first.log_id.index;
        let permits = u32::try_from(bytes.clamp(1, BYTES_QUEUED_MAX)).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.shared.bytes)
            .acquire_many_owned(permits)
            .await
            .map_err(io::Error::other)?;
        self.tail().append(held)?;
        self.submit(Op::Append {
            first,
            rows,
            room,
            done,
        })
        .await?;
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.tail().truncate_after(last);
        let (done, wait) = oneshot::channel();
        self.submit(Op::Truncate {
            after: last.map(|id| id.index),
            done,
        })
        .await?;
        wait.await.map_err(|_| closed("the writer stopped"))??;
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        let bytes = medium::encode(&upto, PURGED.as_bytes()).map_err(io::Error::other)?;
        self.tail().purge(upto);
        let (done, wait) = oneshot::channel();
        self.submit(Op::Purge { upto, bytes, done }).await?;
        wait.await.map_err(|_| closed("the writer stopped"))??;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
