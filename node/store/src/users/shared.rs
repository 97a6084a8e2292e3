//! What all threads of [`super::Users`] share, and how they are started and stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use homecore_types::{Clock, UserId};
use tokio::sync::{broadcast, oneshot};

use super::checkpoint::{self, Checkpoints};
use super::held::Marks;
use super::outstanding::{Outstanding, Ticket};
use super::readers::{self, Readers};
use super::shard::{self, Request, ShardSender};
use super::stamps::Stamps;
use super::{Change, Options, Stats};
use crate::engine::Engine;
use crate::error::StoreError;
use crate::journal::{Journal, Position};

/// Wake-ups that a slow receiver of the change feed may fall behind.
const CHANGES_BUFFERED: usize = 4_096;

/// What every thread needs.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: Options,
    pub(super) changes: broadcast::Sender<Change>,
    pub(super) outstanding: Arc<Outstanding>,
    pub(super) counters: Counters,
    pub(super) stamps: Stamps,
    /// Users whose open transactions hold answered writes: nothing is read of them before it is
    /// committed.
    pub(super) marks: Arc<Marks>,
    /// Users whose database lacks what the journal holds. Nothing is read or written of them
    /// before it is there; until then the ticket keeps it in the journal.
    behind: Mutex<BTreeMap<UserId, Ticket>>,
    /// Users that are being made or unmade: not listed.
    unfinished: Mutex<BTreeSet<UserId>>,
    poisoned: Mutex<Option<String>>,
}

/// Figures for [`Stats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) groups: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) checkpointed: AtomicU64,
    behind: AtomicUsize,
}

impl Shared {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Self {
        Self {
            engine,
            journal,
            clock,
            options,
            changes: broadcast::Sender::new(CHANGES_BUFFERED),
            outstanding: Arc::default(),
            counters: Counters::default(),
            stamps: Stamps::default(),
            marks: Arc::default(),
            behind: Mutex::default(),
            unfinished: Mutex::default(),
            poisoned: Mutex::default(),
        }
    }

    /// Stops all writing until the process is started again: what is on disk is in doubt.
    pub(super) fn poison(&self, reason: &str) {
        let mut poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if poisoned.is_none() {
            tracing::error!(
                reason,
                "the store stops writing; this core must be restarted"
            );
            *poisoned = Some(reason.to_owned());
        }
    }

    /// Refuses if writing has stopped.
    pub(super) fn ensure_sound(&self) -> Result<(), StoreError> {
        match &*self.poisoned.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(StoreError::Poisoned {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Notes that a user's database lacks what `ticket` keeps in the journal.
    pub(super) fn set_behind(&self, user: UserId, ticket: Ticket) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        // An earlier ticket reaches further back: it stays.
        behind.entry(user).or_insert(ticket);
        self.counters.behind.store(behind.len(), Ordering::Release);
    }

    /// Notes that a user's database holds all of the journal, or is gone.
    pub(super) fn clear_behind(&self, user: &UserId) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        behind.remove(user);
        self.counters.behind.store(behind.len(), Ordering::Release);
    }

    /// Users that are being made or removed.
    pub(super) fn unfinished(&self) -> MutexGuard<'_, BTreeSet<UserId>> {
        self.unfinished
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there may be more of a user than its database shows.
    pub(super) fn has_more(&self, user: &UserId) -> bool {
        self.marks.is_marked(user) || self.is_behind(user)
    }

    /// Whether a user's database lacks something.
    pub(super) fn is_behind(&self, user: &UserId) -> bool {
        self.counters.behind.load(Ordering::Acquire) > 0
            && self
                .behind
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains_key(user)
    }
}

/// The threads and the ways to them. When the last handle goes without a shutdown, the threads
/// finish what is queued and end; nothing is checkpointed then.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    pub(super) readers: Arc<Readers>,
    pub(super) checkpoints: Checkpoints,
    /// None once stopping.
    shards: RwLock<Option<Vec<ShardSender>>>,
    threads: Mutex<Option<Threads>>,
    stopped: tokio::sync::watch::Sender<bool>,
}

/// Told when a thread has ended.
pub(super) type Ended = oneshot::Receiver<()>;

#[derive(Debug)]
struct Threads {
    shards: Vec<Ended>,
    readers: Vec<Ended>,
    checkpoint: Ended,
}

impl Inner {
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, StoreError> {
        let (checkpoints, checkpoint) = checkpoint::start(Arc::clone(&shared))?;
        let (readers, reader_threads) = readers::start(&shared)?;
        let mut shards = Vec::new();
        let mut shard_threads = Vec::new();
        for number in 0..shared.options.writers.max(1) {
            let (sender, ended) =
                shard::start(number, &shared, Arc::clone(&readers), checkpoints.clone())?;
            shards.push(sender);
            shard_threads.push(ended);
        }
        Ok(Self {
            shared,
            readers,
            checkpoints,
            shards: RwLock::new(Some(shards)),
            threads: Mutex::new(Some(Threads {
                shards: shard_threads,
                readers: reader_threads,
                checkpoint,
            })),
            stopped: tokio::sync::watch::Sender::new(false),
        })
    }

    /// Queues a request at the user's shard.
    pub(super) fn send(&self, user: &UserId, request: Request) -> Result<(), StoreError> {
        self.shared.ensure_sound()?;
        self.send_even_if_stopped(user, request)
    }

    /// As [`Inner::send`]; also when writing has stopped.
    fn send_even_if_stopped(&self, user: &UserId, request: Request) -> Result<(), StoreError> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let shards = shards.as_ref().ok_or(StoreError::Stopped)?;
        let place = shard::place(user, shards.len());
        shards.get(place).ok_or(StoreError::Stopped)?.send(request)
    }

    /// Makes sure that nothing of the user is missing before it is read.
    pub(super) async fn catch_up(&self, user: &UserId) -> Result<(), StoreError> {
        if !self.shared.has_more(user) {
            return Ok(());
        }
        let (answer, done) = oneshot::channel();
        self.send_even_if_stopped(
            user,
            Request::CatchUp {
                user: user.clone(),
                answer,
            },
        )?;
        done.await.map_err(|_gone| StoreError::Stopped)?
    }

    pub(super) fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        let shards = shards.as_deref().unwrap_or_default();
        Stats {
            open_writers: shards.iter().map(ShardSender::open).sum(),
            open_readers: self.readers.open(),
            queued_writes: shards.iter().map(ShardSender::queued).sum(),
            queued_reads: self.readers.queued(),
            behind: counters.behind.load(Ordering::Relaxed),
            groups: counters.groups.load(Ordering::Relaxed),
            writes: counters.writes.load(Ordering::Relaxed),
            journal_last: self.shared.journal.last(),
            journal_bytes: self.shared.journal.size_bytes().ok(),
            checkpointed: Position(counters.checkpointed.load(Ordering::Relaxed)),
            poisoned: match self.shared.ensure_sound() {
                Err(StoreError::Poisoned { reason }) => Some(reason),
                _ => None,
            },
        }
    }

    pub(super) async fn shutdown(&self) {
        let threads = self
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(threads) = threads else {
            let mut stopped = self.stopped.subscribe();
            if stopped.wait_for(|stopped| *stopped).await.is_err() {
                tracing::debug!("the store is gone already");
            }
            return;
        };
        // Without senders a shard works off its queue, closes its databases and ends.
        drop(
            self.shards
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        self.readers.close();
        all_ended(threads.shards).await;
        all_ended(threads.readers).await;
        self.checkpoints.finish();
        all_ended(vec![threads.checkpoint]).await;
        self.stopped.send_replace(true);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.readers.close();
    }
}

async fn all_ended(threads: Vec<Ended>) {
    for thread in threads {
        // An error says that the thread dropped its end: it has ended.
        if thread.await.is_ok() {
            tracing::trace!("a store thread ended");
        }
    }
}

/// Starts a named thread and says when it has ended.
pub(super) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<Ended, StoreError> {
    let (ending, ended) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ending = ending;
            body();
        })
        .map_err(|error| StoreError::engine(format!("starting the thread {name}"), error))?;
    Ok(ended)
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The same error once more: a group fails for several requests at once.
pub(super) fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::UnknownUser { user } => StoreError::UnknownUser { user: user.clone() },
        StoreError::UserExists { user } => StoreError::UserExists { user: user.clone() },
        StoreError::Busy { what } => StoreError::Busy { what },
        StoreError::Full { doing } => StoreError::Full {
            doing: doing.clone(),
        },
        StoreError::Stopped => StoreError::Stopped,
        StoreError::Corrupted { what } => StoreError::Corrupted { what: what.clone() },
        StoreError::Damaged {
            place,
            kind,
            id,
            rev,
        } => StoreError::Damaged {
            place: place.clone(),
            kind: *kind,
            id: id.clone(),
            rev: *rev,
        },
        StoreError::UnknownFormat { what, found, known } => StoreError::UnknownFormat {
            what: what.clone(),
            found: *found,
            known: *known,
        },
        StoreError::Engine { doing, source } => {
            StoreError::engine(doing.clone(), chain(source.as_ref()))
        }
        StoreError::Poisoned { reason } => StoreError::Poisoned {
            reason: reason.clone(),
        },
    }
}
