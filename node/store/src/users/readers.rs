//! Reader threads: one queue for all, and the handles that wait for their next use.
//!
//! Reads of different users, and of the same user, run side by side. Between uses a user's handles
//! are kept, as many as can be in use at once, or one if others are used more: opening one costs as much
//! as many reads.
//!
//! A short read of a user whose handle waits may also run on the thread that asks for it
//! ([`Readers::try_here`]): to hand it to another thread and its result back takes longer than most
//! reads do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use homecore_types::UserId;
use tokio::sync::oneshot;

use super::handles::{Handles, Rests};
use super::shared::{Ended, Shared, spawn};
use super::stamps::Changed;
use super::work::{ReadJob, guarded, panicked};
use crate::document::Seq;
use crate::engine::{Reader, View};
use crate::error::StoreError;

/// Users whose idle handles are closed at once.
const CLOSED_AT_ONCE_MAX: usize = 8;

/// What a reader thread is asked to do.
pub(super) enum Request {
    Read {
        user: UserId,
        job: Box<dyn ReadJob>,
    },
    List {
        answer: oneshot::Sender<Result<Vec<UserId>, StoreError>>,
    },
    /// Closes handles.
    Close(Vec<Box<dyn Reader>>),
}

/// The queue and the handles.
#[derive(Debug)]
pub(super) struct Readers {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    filled: Condvar,
    handles: Mutex<Kept>,
    open: AtomicUsize,
    /// Reads that run on the threads of those who asked.
    here: AtomicUsize,
    closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<Request>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("waiting", &self.requests.len())
            .field("closed", &self.closed)
            .finish()
    }
}

#[derive(Debug)]
struct Kept {
    handles: Handles<Vec<Box<dyn Reader>>>,
    /// Grows when handles are forgotten: one taken out before must not come back.
    epoch: u64,
}

impl Rests for Vec<Box<dyn Reader>> {
    /// One is enough for a user that is not among those used most.
    fn rest(&mut self) -> Option<Self> {
        let more = self.split_off(self.len().min(1));
        if let Some(first) = self.first_mut() {
            first.rest();
        }
        (!more.is_empty()).then_some(more)
    }
}

/// Starts the threads.
pub(super) fn start(shared: &Arc<Shared>) -> Result<(Arc<Readers>, Vec<Ended>), StoreError> {
    let readers = Arc::new(Readers {
        shared: Arc::clone(shared),
        queue: Mutex::default(),
        filled: Condvar::new(),
        handles: Mutex::new(Kept {
            handles: Handles::new(
                shared.options.open_users_max,
                shared.options.awake_users_max,
            ),
            epoch: 0,
        }),
        open: AtomicUsize::new(0),
        here: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
    });
    let mut threads = Vec::new();
    for number in 0..shared.options.readers.max(1) {
        let readers = Arc::clone(&readers);
        threads.push(spawn(&format!("store-read-{number}"), move || {
            readers.run();
        })?);
    }
    Ok((readers, threads))
}

impl Readers {
    /// Queues a request.
    pub(super) fn send(&self, request: Request) -> Result<(), StoreError> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(StoreError::Stopped);
        }
        if queue.requests.len() >= self.shared.options.reader_queue_max {
            return Err(StoreError::Busy {
                what: "the queue of the readers",
            });
        }
        queue.requests.push_back(request);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Reads on the caller's thread, if a handle of the user waits and not many do so at once; gives
    /// the work back if not.
    pub(super) fn try_here<R, F>(&self, user: &UserId, work: F) -> Result<Result<R, StoreError>, F>
    where
        F: FnOnce(&dyn View) -> R,
    {
        let Some(_place) = Place::take(&self.here, self.shared.options.reads_here_max) else {
            return Err(work);
        };
        if self.closed.load(Ordering::Acquire) {
            return Err(work);
        }
        let Some((mut reader, epoch)) = self.take_waiting(user) else {
            return Err(work);
        };
        let (mut work, mut result) = (Some(work), None);
        let outcome = reader.snapshot(&mut |view| {
            result = work.take().and_then(|work| guarded(|| work(view)));
            Ok(())
        });
        let closing = self.done(user, reader, epoch, outcome.is_ok() && result.is_some());
        self.discard_there(closing);
        Ok(outcome.and_then(|()| result.ok_or_else(panicked)))
    }

    /// Refuses new requests; the threads end when the queue is empty.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.queue().closed = true;
        self.filled.notify_all();
    }

    /// Closes a user's handles, and keeps those that are in use from being used again.
    pub(super) fn forget(&self, user: &UserId) {
        let changing = self.shared.stamps.begin(user, Changed::ANYTHING);
        let mut kept = self.kept();
        kept.epoch += 1;
        let closing = kept.handles.take(user);
        drop(kept);
        drop(changing);
        self.discard(closing.unwrap_or_default());
    }

    pub(super) fn queued(&self) -> usize {
        self.queue().requests.len()
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn run(&self) {
        let tick = (self.shared.options.idle / 4)
            .clamp(Duration::from_millis(50), Duration::from_secs(30));
        loop {
            match self.next(tick) {
                Next::Request(Request::Read { user, job }) => self.read(&user, job),
                Next::Request(Request::List { answer }) => {
                    if answer.send(self.list()).is_err() {
                        tracing::debug!("nobody waits for the list of users");
                    }
                }
                Next::Request(Request::Close(readers)) => drop(readers),
                Next::Tick => {}
                Next::Closed => break,
            }
            let idle = self.shared.options.idle;
            let closing = self.kept().handles.take_idle(idle, CLOSED_AT_ONCE_MAX);
            self.discard(
                closing
                    .into_iter()
                    .flat_map(|(_user, readers)| readers)
                    .collect(),
            );
        }
        let closing = self.kept().handles.take_all();
        self.discard(
            closing
                .into_iter()
                .flat_map(|(_user, readers)| readers)
                .collect(),
        );
    }

    fn next(&self, tick: Duration) -> Next {
        let queue = self.queue();
        let waited = self.filled.wait_timeout_while(queue, tick, |queue| {
            queue.requests.is_empty() && !queue.closed
        });
        let (mut queue, _timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match queue.requests.pop_front() {
            Some(request) => Next::Request(request),
            None if queue.closed => Next::Closed,
            None => Next::Tick,
        }
    }

    fn read(&self, user: &UserId, mut job: Box<dyn ReadJob>) {
        if !job.is_wanted() {
            return;
        }
        let (mut reader, epoch) = match self.take(user) {
            Ok(taken) => taken,
            Err(error) => return job.answer(Err(error)),
        };
        let mut sound = true;
        let outcome = reader.snapshot(&mut |view| {
            sound = job.run(view);
            Ok(())
        });
        let closing = self.done(user, reader, epoch, outcome.is_ok() && sound);
        self.discard(closing);
        job.answer(outcome);
    }

    /// A handle that waits.
    fn take_waiting(&self, user: &UserId) -> Option<(Box<dyn Reader>, u64)> {
        let mut kept = self.kept();
        let epoch = kept.epoch;
        let mut waiting = kept.handles.take(user)?;
        let reader = waiting.pop();
        if !waiting.is_empty() {
            // Not above the bounds: this user's place was just taken out.
            drop(kept.handles.put(user.clone(), waiting));
        }
        reader.map(|reader| (reader, epoch))
    }

    /// A handle of the user: one that waits, or a new one.
    fn take(&self, user: &UserId) -> Result<(Box<dyn Reader>, u64), StoreError> {
        if let Some(waiting) = self.take_waiting(user) {
            return Ok(waiting);
        }
        let epoch = self.kept().epoch;
        let mut reader = self.shared.engine.open_reader(user)?;
        self.open.fetch_add(1, Ordering::Relaxed);
        // A user that is just being made, or was left over when making it failed, is none.
        let mut last = Seq(0);
        let looked = reader.snapshot(&mut |view| {
            last = view.last_seq()?;
            Ok(())
        });
        match looked {
            Ok(()) if last > Seq(0) => Ok((reader, epoch)),
            Ok(()) => {
                self.discard(vec![reader]);
                Err(StoreError::UnknownUser { user: user.clone() })
            }
            Err(error) => {
                self.discard(vec![reader]);
                Err(error)
            }
        }
    }

    /// A handle after use: kept for its next use, or not. Returns what is to be closed. One that failed,
    /// or that a panic left in the middle, is not trusted again.
    fn done(
        &self,
        user: &UserId,
        reader: Box<dyn Reader>,
        epoch: u64,
        sound: bool,
    ) -> Vec<Box<dyn Reader>> {
        let mut kept = self.kept();
        // Looked at under the lock: what is put here later than the threads end would stay open.
        if !sound || kept.epoch != epoch || self.closed.load(Ordering::Acquire) {
            return vec![reader];
        }
        let mut closing = Vec::new();
        let mut waiting = kept.handles.take(user).unwrap_or_default();
        if waiting.len() < self.shared.options.readers.max(1) {
            waiting.push(reader);
        } else {
            closing.push(reader);
        }
        let evicted = kept.handles.put(user.clone(), waiting);
        closing.extend(evicted.into_iter().flat_map(|(_user, readers)| readers));
        closing
    }

    /// Closes handles. Never under a lock: closing may write to the disk.
    fn discard(&self, readers: Vec<Box<dyn Reader>>) {
        self.open.fetch_sub(readers.len(), Ordering::Relaxed);
        drop(readers);
    }

    /// Has handles closed by one of the threads, for who must not wait for the disk.
    fn discard_there(&self, readers: Vec<Box<dyn Reader>>) {
        if readers.is_empty() {
            return;
        }
        self.open.fetch_sub(readers.len(), Ordering::Relaxed);
        let mut queue = self.queue();
        // There are no more of them than handles, so they need not fit into the queue.
        if !queue.closed {
            queue.requests.push_back(Request::Close(readers));
            drop(queue);
            self.filled.notify_one();
        }
    }

    fn list(&self) -> Result<Vec<UserId>, StoreError> {
        let mut users = self.shared.engine.users()?;
        let unfinished = self.shared.unfinished();
        users.retain(|user| !unfinished.contains(user));
        Ok(users)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the reads that may run on their callers' threads; free again when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicUsize, most: usize) -> Option<Self> {
        taken
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |taken| {
                (taken < most).then_some(taken + 1)
            })
            .ok()
            .map(|_before| Self(taken))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

enum Next {
    Request(Request),
    Tick,
    Closed,
}
