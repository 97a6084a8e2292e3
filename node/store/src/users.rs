//! Every user of a core: opens and closes their databases, runs their writes through the journal
//! and their reads on snapshots.
//!
//! ```text
//!  write ──► shard thread (user's hash) ──► works run, in order, in the user's open transaction
//!                │  one group: all that is queued            │ commits of all users of the group
//!                ▼                                           ▼
//!            answers ◄── users' databases commit ◄── one journal append (one disk sync)
//!                         (or do so later: held)
//!  read  ──► (what is held of the user is committed) ──► reader threads ──► snapshot of its database
//! ```
//!
//! One thread owns a user's database for writing, so a user's writes never contend and never
//! interleave; many users share a disk sync because shards append to the journal at once and the
//! journal groups the appends. A write is answered when the journal has it on disk **and** whoever
//! reads from then on sees it.
//!
//! This type is deliberately not generic over the engine: the kernel, and every facade on it, is
//! compiled once.

use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use homecore_types::{Clock, UserId, limits};
use tokio::sync::broadcast;

use crate::document::Seq;
use crate::engine::{Engine, View};
use crate::error::StoreError;
use crate::journal::{Journal, Position};
use crate::room::Room;

mod checkpoint;
mod group;
mod handles;
mod held;
mod outstanding;
mod readers;
mod recovery;
mod shard;
mod shared;
mod stamps;
#[cfg(test)]
mod tests;
mod work;
mod writer;

pub use writer::Writer;

use shared::Shared;

/// How much of the machine the store takes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads that write; a user belongs to one of them.
    pub writers: usize,
    /// Threads that read.
    pub readers: usize,
    /// Users whose databases are open at once, beside those that are held, each with a handle for
    /// writing and one for reading; more for reading if it is among `awake_users_max`.
    pub open_users_max: usize,
    /// A user's handles are closed when unused for this long.
    pub idle: Duration,
    /// Users whose handles keep what they have in memory, those used last; as many of writing as of
    /// reading.
    pub awake_users_max: usize,
    /// Users, beside `open_users_max`, whose databases stay open for writing though they were not written
    /// to again: many are opened only to note who read what.
    pub written_once_max: usize,
    /// Such a database is closed when unused for this long.
    pub written_once_idle: Duration,
    /// Bytes in the journal that start a checkpoint.
    pub checkpoint_bytes: u64,
    /// Time after which a checkpoint is made even if little was written.
    pub checkpoint_interval: Duration,
    /// Requests that may wait at one writer thread.
    pub writer_queue_max: usize,
    /// Requests that may wait for a reader thread.
    pub reader_queue_max: usize,
    /// Short reads that may run at once on the threads that ask for them ([`Users::read_short`]):
    /// fewer than these threads, so that a slow disk never stops all of them; none where there is one.
    pub reads_here_max: usize,
    /// Groups of writes that a user's transaction may hold before it is committed; up to 1: each group
    /// is committed before it is answered.
    pub held_groups_max: usize,
    /// Users whose transactions may be held open at once, of each writer.
    pub held_users_max: usize,
    /// A writer that had nothing to do for this long commits what is held.
    pub held_idle: Duration,
    /// One that is busy commits what was not written to for this long, or what is open for this long
    /// when it is next written to.
    pub held_for: Duration,
    /// Whether there is room for writes.
    pub room: Arc<Room>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
        let threads = (2 * cores).clamp(4, 16);
        Self {
            writers: threads,
            readers: threads,
            open_users_max: limits::OPEN_USERS_MAX,
            idle: limits::USER_IDLE,
            awake_users_max: limits::AWAKE_USERS_MAX,
            written_once_max: limits::WRITTEN_ONCE_MAX,
            written_once_idle: limits::WRITTEN_ONCE_IDLE,
            checkpoint_bytes: 64 * 1024 * 1024,
            checkpoint_interval: Duration::from_secs(60),
            writer_queue_max: limits::WRITER_QUEUE_MAX,
            reader_queue_max: limits::READER_QUEUE_MAX,
            reads_here_max: cores.saturating_sub(1),
            held_groups_max: 64,
            held_users_max: 128,
            held_idle: Duration::from_millis(2),
            held_for: Duration::from_secs(1),
            room: Arc::default(),
        }
    }
}

/// Something of a user changed: the wake-up of the change feed. What changed is read from the
/// user's data ([`View::changes`]); a receiver that lagged has lost wake-ups, not changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub user: UserId,
    /// The last change so far.
    pub seq: Seq,
}

/// What the store is doing, for metrics and health.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Databases open for writing.
    pub open_writers: usize,
    /// Handles open for reading.
    pub open_readers: usize,
    /// Writes waiting, of all shards.
    pub queued_writes: usize,
    /// Reads waiting.
    pub queued_reads: usize,
    /// Users whose database failed to take what the journal holds, and that are refused until it
    /// does.
    pub behind: usize,
    /// Groups of writes that were committed with one journal append each.
    pub groups: u64,
    /// Writes in those groups.
    pub writes: u64,
    /// The journal's last position.
    pub journal_last: Position,
    /// Bytes in the journal; none if it cannot tell.
    pub journal_bytes: Option<u64>,
    /// What the journal has forgotten because the users' files hold it.
    pub checkpointed: Position,
    /// Why writing stopped, if it did.
    pub poisoned: Option<String>,
}

/// All users of a core. Cloning is cheap and gives another handle on the same.
#[derive(Clone)]
pub struct Users {
    inner: Arc<shared::Inner>,
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users")
            .field("engine", &self.inner.shared.engine)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// Brings every user's database up to the journal, then starts the threads. Blocks; it is
    /// called before serving.
    ///
    /// A user whose database cannot be brought up is refused until it can, and the journal keeps
    /// what it lacks; the others are served.
    ///
    /// # Errors
    /// Of reading the journal, or if a thread cannot be started.
    pub fn start(
        engine: Arc<dyn Engine>,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Result<Self, StoreError> {
        let shared = Arc::new(Shared::new(engine, journal, clock, options));
        recovery::recover_all(&shared)?;
        checkpoint::run_once(&shared)?;
        Ok(Self {
            inner: Arc::new(shared::Inner::start(shared)?),
        })
    }

    /// Makes a user with what `work` writes. When this returns `Ok(Ok(_))` the user is on disk
    /// with it; in every other case there is no such user here.
    ///
    /// # Errors
    /// [`StoreError::UserExists`]; if `work` succeeded without writing; or as [`Users::write`].
    pub async fn create<R, E>(
        &self,
        user: &UserId,
        work: impl FnOnce(&mut Writer<'_>) -> Result<R, E> + Send + 'static,
    ) -> Result<Result<R, E>, StoreError>
    where
        R: Send + 'static,
        E: Send + 'static,
    {
        self.inner.shared.options.room.ensure()?;
        let (job, answer) = work::write_job(work);
        self.inner.send(
            user,
            shard::Request::Create {
                user: user.clone(),
                job,
            },
        )?;
        answer.await.map_err(|_gone| StoreError::Stopped)?
    }

    /// Runs `work` on the user's present state. Returns when the journal has what it wrote on disk
    /// and readers see it. It runs on a store thread and may block on reading the user's data, on
    /// nothing else.
    ///
    /// Once queued it is done even if the caller goes away.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], [`StoreError::Busy`], [`StoreError::Full`], [`StoreError::Stopped`],
    /// [`StoreError::Poisoned`]: not done. [`StoreError::Engine`]: the message says whether it may
    /// have been done.
    pub async fn write<R: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&mut Writer<'_>) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        self.inner.shared.options.room.ensure()?;
        let (job, answer) = work::write_job(|writer: &mut Writer<'_>| {
            Ok::<R, std::convert::Infallible>(work(writer))
        });
        self.inner.send(
            user,
            shard::Request::Write {
                user: user.clone(),
                job,
            },
        )?;
        match answer.await.map_err(|_gone| StoreError::Stopped)?? {
            Ok(result) => Ok(result),
            Err(never) => match never {},
        }
    }

    /// Runs `work` on one consistent snapshot of the user's data, with everything that was answered
    /// before. It runs on a store thread; keep it short.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], [`StoreError::Busy`], [`StoreError::Stopped`], or of the
    /// engine.
    pub async fn read<R: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&dyn View) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        self.inner.catch_up(user).await?;
        let (job, answer) = work::read_job(work);
        self.inner.readers.send(readers::Request::Read {
            user: user.clone(),
            job,
        })?;
        answer.await.map_err(|_gone| StoreError::Stopped)?
    }

    /// As [`Users::read`], for work that looks at a few hundred documents at most. If the user was read
    /// lately and few others do the same, it runs at once and on the caller's thread, since two
    /// changes of threads cost more than such a read; else where all reads run.
    ///
    /// # Errors
    /// As [`Users::read`].
    pub async fn read_short<R: Send + 'static>(
        &self,
        user: &UserId,
        work: impl FnOnce(&dyn View) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        if self.inner.shared.has_more(user) {
            return self.read(user, work).await;
        }
        match self.inner.readers.try_here(user, work) {
            Ok(outcome) => outcome,
            Err(work) => self.read(user, work).await,
        }
    }

    /// Removes a user and everything of theirs for good. When this returns it is gone from disk.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], [`StoreError::Busy`], [`StoreError::Stopped`], or of the disk.
    pub async fn remove(&self, user: &UserId) -> Result<(), StoreError> {
        let (answer, done) = tokio::sync::oneshot::channel();
        self.inner.send(
            user,
            shard::Request::Remove {
                user: user.clone(),
                answer,
            },
        )?;
        done.await.map_err(|_gone| StoreError::Stopped)?
    }

    /// Whether the user has data here.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Stopped`], or of the disk.
    pub async fn contains(&self, user: &UserId) -> Result<bool, StoreError> {
        match self.read(user, |_| ()).await {
            Ok(()) => Ok(true),
            Err(StoreError::UnknownUser { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every user that has data here, in the order of ids.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Stopped`], or of the disk.
    pub async fn list(&self) -> Result<Vec<UserId>, StoreError> {
        let (answer, listed) = tokio::sync::oneshot::channel();
        self.inner.readers.send(readers::Request::List { answer })?;
        listed.await.map_err(|_gone| StoreError::Stopped)?
    }

    /// Wake-ups, sent after a change is on disk and visible; in order for each user.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.shared.changes.subscribe()
    }

    /// A number that is another one after anything of the user was changed, or the user removed:
    /// what was read of committed states after this was asked for holds as long as it stays the same.
    #[must_use]
    pub fn stamp(&self, user: &UserId) -> u64 {
        self.inner.shared.stamps.of(user)
    }

    /// The number of what reads of events show: the account, streams and events. None while that is
    /// changing. What was read after it was asked for is what is there as long as it is the same.
    #[must_use]
    pub fn stamp_of_content(&self, user: &UserId) -> Option<u64> {
        self.inner.shared.stamps.of_content(user)
    }

    /// As [`Users::stamp`], of accesses and sessions alone.
    #[must_use]
    pub fn stamp_of_credentials(&self, user: &UserId) -> u64 {
        self.inner.shared.stamps.of_credentials(user)
    }

    /// Whether writes are taken, as far as room on the disk goes.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.inner.shared.options.room.is_lacking()
    }

    /// What the store is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.stats()
    }

    /// Makes the users' files durable and forgets what the journal no longer needs, now. It goes
    /// on by itself otherwise.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Stopped`], or of the disk.
    pub async fn checkpoint(&self) -> Result<(), StoreError> {
        let done = self.inner.checkpoints.ask()?;
        done.await.map_err(|_gone| StoreError::Stopped)?
    }

    /// Refuses new requests, finishes those that are queued, makes everything durable in the
    /// users' files and closes them. A second call returns when the first is through.
    pub async fn shutdown(&self) {
        self.inner.shutdown().await;
    }
}
