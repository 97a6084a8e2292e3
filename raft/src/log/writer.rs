//! The thread that writes the log: group commit. (Without threads, see [`Ground`], a task.)
//!
//! It takes all that is queued, in order, commits it in one transaction, and only then reports to
//! everyone who waited: one sync serves many appends. After an error it commits nothing more and
//! refuses everything: what a failed sync left on the disk is unknown, so only a restart may look. A disk
//! that is full is no such error: it says so before anything is changed. The group waits then, nobody is
//! told that it is done, and it is tried again until there is room.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use openraft::storage::IOFlushed;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::ground::Ground;
use crate::log::LogError;
use crate::log::medium::{COMMITTED, Change, Medium, PURGED, Sync, VOTE};
use crate::log::tail::Tail;
use crate::log::watermark::Keeper;
use crate::room;
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

    /// What it does to the log, behind what others do.
    fn change<'a>(&'a self, changes: &mut Vec<Change<'a>>) {
        match self {
            Self::Append { first, rows, .. } => changes.push(Change::Append {
                first: *first,
                rows,
            }),
            Self::Vote { bytes, .. } => changes.push(Change::Note {
                name: VOTE,
                value: bytes,
            }),
            Self::Committed { bytes } => changes.push(Change::Note {
                name: COMMITTED,
                value: bytes,
            }),
            Self::Truncate { after, .. } => changes.push(Change::DeleteAfter(*after)),
            Self::Purge { upto, bytes, .. } => {
                changes.push(Change::Note {
                    name: PURGED,
                    value: bytes,
                });
                changes.push(Change::DeleteUpTo(upto.index));
            }
            Self::Close { .. } => {}
        }
    }
}

/// Starts the writer. It ends when told to, or when every sender is gone.
pub(super) fn spawn(
    ground: &Arc<dyn Ground>,
    medium: Box<dyn Medium>,
    watermark: Keeper,
    tail: Arc<Mutex<Tail>>,
    closing: Arc<AtomicBool>,
    queued_max: usize,
) -> io::Result<mpsc::Sender<Op>> {
    let (send, receive) = mpsc::channel(queued_max);
    let writer = Writer {
        medium,
        watermark,
        tail,
        closing,
        committed: false,
        waits: false,
    };
    if ground.has_threads() {
        thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || writer.run(receive))?;
    } else {
        tokio::spawn(writer.run_in_turn(receive, Arc::clone(ground)));
    }
    Ok(send)
}

struct Writer {
    medium: Box<dyn Medium>,
    watermark: Keeper,
    tail: Arc<Mutex<Tail>>,
    /// Whether it is to be closed: room is not waited for then.
    closing: Arc<AtomicBool>,
    /// Whether the present group is in the log, and only the mark beside it is missing.
    committed: bool,
    /// Whether there was no room the last time.
    waits: bool,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Op>) {
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(group(first, &mut queue));
            while let Some(ops) = next.take() {
                match self.serve(ops) {
                    Served::Goes => {}
                    Served::Closes(done) => return answer(done, self.medium.close()),
                    Served::Waits(ops) if self.ends(&queue) => return give_up(ops, queue),
                    Served::Waits(ops) => {
                        // Nothing tells when there is room; this thread does nothing else.
                        thread::park_timeout(room::PAUSE);
                        next = Some(ops);
                    }
                    Served::Failed(reason) => {
                        while let Some(op) = queue.blocking_recv() {
                            fail(op, &reason);
                        }
                        return;
                    }
                }
            }
        }
    }

    /// As [`Writer::run`], without a thread.
    async fn run_in_turn(mut self, mut queue: mpsc::Receiver<Op>, ground: Arc<dyn Ground>) {
        while let Some(first) = queue.recv().await {
            let mut next = Some(group(first, &mut queue));
            while let Some(ops) = next.take() {
                ground.access().await;
                match self.serve(ops) {
                    Served::Goes => {}
                    Served::Closes(done) => return answer(done, self.medium.close()),
                    Served::Waits(ops) if self.ends(&queue) => return give_up(ops, queue),
                    Served::Waits(ops) => {
                        tokio::time::sleep(room::PAUSE).await;
                        next = Some(ops);
                    }
                    Served::Failed(reason) => {
                        while let Some(op) = queue.recv().await {
                            fail(op, &reason);
                        }
                        return;
                    }
                }
            }
        }
    }

    /// Whether nobody waits for what is queued but to end.
    fn ends(&self, queue: &mpsc::Receiver<Op>) -> bool {
        queue.is_closed() || self.closing.load(Ordering::Acquire)
    }

    /// Writes a group and reports.
    fn serve(&mut self, group: Vec<Op>) -> Served {
        if let Err(error) = self.commit(&group) {
            if error.is_full() {
                if !std::mem::replace(&mut self.waits, true) {
                    tracing::error!(error = %crate::report(&error), "the log waits for room");
                }
                return Served::Waits(group);
            }
            tracing::error!(error = %crate::report(&error), "cannot write the log");
            let reason = crate::report(&error);
            for op in group {
                fail(op, &reason);
            }
            return Served::Failed(reason);
        }
        if std::mem::take(&mut self.waits) {
            tracing::info!("the log goes on: there is room");
        }
        let mut served = Served::Goes;
        for op in group {
            match op {
                Op::Close { done } => served = Served::Closes(done),
                op => self.report(op),
            }
        }
        served
    }

    /// Writes a group, synced as hard as its most demanding member needs.
    fn commit(&mut self, group: &[Op]) -> Result<(), LogError> {
        let full = group.iter().any(|op| op.sync() == Sync::Full);
        let sync = if full { Sync::Full } else { Sync::Lazy };
        let mut changes = Vec::with_capacity(group.len());
        for op in group {
            op.change(&mut changes);
        }
        // Tried again after the mark beside the log found no room: the log has it already.
        if !self.committed {
            self.medium.commit(sync, &changes)?;
            self.committed = true;
        }
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
        self.committed = false;
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

/// What comes of a group.
enum Served {
    /// It is on disk.
    Goes,
    /// It is not, or not all: there is no room. It is to be tried again.
    Waits(Vec<Op>),
    /// It is, and was the last one.
    Closes(Done),
    /// It is not, and nothing may be written any more.
    Failed(String),
}

/// Takes what else is there. Nothing follows a close.
fn group(first: Op, queue: &mut mpsc::Receiver<Op>) -> Vec<Op> {
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
    group
}

/// This core ends, and there is no room: as if the power had gone.
fn give_up(ops: Vec<Op>, mut queue: mpsc::Receiver<Op>) {
    queue.close();
    let queued = std::iter::from_fn(|| queue.try_recv().ok());
    for op in ops.into_iter().chain(queued) {
        fail(op, "there is no room on the disk");
    }
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
