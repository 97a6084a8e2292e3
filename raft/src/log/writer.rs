//! The thread that writes the log: group commit.
//!
//! It takes all that is queued, in order, commits it in one transaction, and only then reports to
//! everyone who waited: one sync serves many appends. After an error it commits nothing more and
//! refuses everything: what a failed sync left on the disk is unknown, so only a restart may look.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use openraft::storage::IOFlushed;
use rusqlite::{Transaction, params};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::log::LogError;
use crate::log::disk::{Disk, Sync, row_id};
use crate::log::tail::Tail;
use crate::log::watermark::Keeper;
use crate::types::{LogId, TypeConfig, Vote};

/// Operations that share a transaction.
const GROUP_MAX: usize = 1024;
/// Bytes that share a transaction.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;

type Done = oneshot::Sender<Result<(), LogError>>;

/// What can be asked of the writer.
pub(super) enum Op {
    /// Writes consecutive entries.
    Append {
        first: u64,
        rows: Vec<Vec<u8>>,
        /// The queue's room that these bytes take until they are on disk.
        room: OwnedSemaphorePermit,
        done: IOFlushed<TypeConfig>,
    },
    /// Writes the vote.
    Vote {
        vote: Vote,
        bytes: Vec<u8>,
        done: Done,
    },
    /// Notes how far the log is committed.
    Committed { bytes: Vec<u8> },
    /// Deletes what follows an index; none: everything.
    Truncate { after: Option<u64>, done: Done },
    /// Deletes what comes up to an id.
    Purge {
        upto: LogId,
        bytes: Vec<u8>,
        done: Done,
    },
    /// Ends the thread.
    Close { done: Done },
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { rows, .. } => rows.iter().map(Vec::len).sum(),
            Self::Vote { .. }
            | Self::Committed { .. }
            | Self::Truncate { .. }
            | Self::Purge { .. }
            | Self::Close { .. } => 0,
        }
    }

    /// Whether someone relies on this being on the disk.
    fn sync(&self) -> Sync {
        match self {
            Self::Append { .. } | Self::Vote { .. } => Sync::Full,
            // In order with everything else in the write-ahead log, so losing one loses nothing
            // that a later synced commit says.
            Self::Committed { .. } | Self::Truncate { .. } | Self::Purge { .. } => Sync::Lazy,
            Self::Close { .. } => Sync::Full,
        }
    }

    fn write(&self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let put = |name: &str, value: &[u8]| {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
                .execute(params![name, value])
                .map(drop)
        };
        match self {
            Self::Append { first, rows, .. } => {
                // Not OR REPLACE: writing over an entry that was not truncated is a fault.
                let mut insert =
                    transaction.prepare_cached("INSERT INTO entry (idx, data) VALUES (?1, ?2)")?;
                for (index, row) in (*first..).zip(rows) {
                    insert.execute(params![row_id(index), row])?;
                }
                Ok(())
            }
            Self::Vote { bytes, .. } => put("vote", bytes),
            Self::Committed { bytes } => put("committed", bytes),
            Self::Truncate { after, .. } => {
                let after = after.map_or(-1, row_id);
                transaction
                    .execute("DELETE FROM entry WHERE idx > ?1", [after])
                    .map(drop)
            }
            Self::Purge { upto, bytes, .. } => {
                put("purged", bytes)?;
                let upto = row_id(upto.index);
                transaction
                    .execute("DELETE FROM entry WHERE idx <= ?1", [upto])
                    .map(drop)
            }
            Self::Close { .. } => Ok(()),
        }
    }
}

/// Starts the thread. It ends when told to, or when every sender is gone.
pub(super) fn spawn(
    disk: Disk,
    watermark: Keeper,
    tail: Arc<Mutex<Tail>>,
    queued_max: usize,
) -> io::Result<mpsc::Sender<Op>> {
    let (send, receive) = mpsc::channel(queued_max);
    let writer = Writer {
        disk,
        watermark,
        tail,
    };
    thread::Builder::new()
        .name("raft-log".to_owned())
        .spawn(move || writer.run(receive))?;
    Ok(send)
}

struct Writer {
    disk: Disk,
    watermark: Keeper,
    tail: Arc<Mutex<Tail>>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        while let Some(group) = next_group(&mut queue) {
            if let Err(error) = self.commit(&group) {
                tracing::error!(error = %crate::report(&error), "cannot write the log");
                let reason = crate::report(&error);
                for op in group {
                    fail(op, &reason);
                }
                while let Some(op) = queue.blocking_recv() {
                    fail(op, &reason);
                }
                return;
            }
            let mut close = None;
            for op in group {
                match op {
                    Op::Close { done } => close = Some(done),
                    op => self.report(op),
                }
            }
            if let Some(done) = close {
                answer(done, self.disk.close());
                return;
            }
        }
    }

    /// Writes a group, synced as hard as its most demanding member needs.
    fn commit(&mut self, group: &[Op]) -> Result<(), LogError> {
        let full = group.iter().any(|op| op.sync() == Sync::Full);
        let sync = if full { Sync::Full } else { Sync::Lazy };
        self.disk.transact(sync, |transaction| {
            group.iter().try_for_each(|op| op.write(transaction))
        })?;
        for op in group {
            match op {
                Op::Vote { vote, .. } => self.watermark.voted(*vote)?,
                Op::Purge { .. } | Op::Close { .. } => {
                    let end = lock(&self.tail).held_end();
                    self.watermark.held(end)?;
                }
                Op::Append { .. } | Op::Committed { .. } | Op::Truncate { .. } => {}
            }
        }
        Ok(())
    }

    /// Tells who waits that the operation is on disk.
    fn report(&self, op: Op) {
        match op {
            Op::Append {
                first,
                rows,
                room,
                done,
            } => {
                let count = u64::try_from(rows.len()).unwrap_or(u64::MAX);
                lock(&self.tail).persisted(first.saturating_add(count));
                drop(room);
                done.io_completed(Ok(()));
            }
            Op::Vote { vote, done, .. } => {
                lock(&self.tail).voted(vote);
                answer(done, Ok(()));
            }
            Op::Truncate { done, .. } | Op::Purge { done, .. } | Op::Close { done } => {
                answer(done, Ok(()));
            }
            Op::Committed { .. } => {}
        }
    }
}

/// Waits for one operation, then takes what else is there. Nothing follows a close.
fn next_group(queue: &mut mpsc::Receiver<Op>) -> Option<Vec<Op>> {
    let first = queue.blocking_recv()?;
    let mut bytes = first.bytes();
    let mut group = vec![first];
    while group.len() < GROUP_MAX
        && bytes < GROUP_BYTES_MAX
        && !matches!(group.last(), Some(Op::Close { .. }))
        && let Ok(op) = queue.try_recv()
    {
        bytes = bytes.saturating_add(op.bytes());
        group.push(op);
    }
    Some(group)
}

fn lock(tail: &Mutex<Tail>) -> std::sync::MutexGuard<'_, Tail> {
    tail.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(done: Done, result: Result<(), LogError>) {
    if done.send(result).is_err() {
        tracing::debug!("a log operation was abandoned");
    }
}

fn fail(op: Op, reason: &str) {
    let error = || LogError::Closed {
        reason: reason.to_owned(),
    };
    match op {
        Op::Append { done, .. } => done.io_completed(Err(error().into())),
        Op::Vote { done, .. }
        | Op::Truncate { done, .. }
        | Op::Purge { done, .. }
        | Op::Close { done } => answer(done, Err(error())),
        Op::Committed { .. } => {}
    }
}
