//! A writer thread: owns the databases of the users that hash to it.
//!
//! It takes whatever is queued, up to a bound, runs it as one [`Group`] and starts over. While the
//! group waits for the journal's disk sync the next one queues up: load makes groups larger, not
//! answers later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use homecore_types::{UserId, limits};
use tokio::sync::oneshot;

use super::checkpoint::Checkpoints;
use super::group::{Fate, Group, Party, note_append_failure, settle};
use super::handles::Handles;
use super::held::{self, Opened};
use super::outstanding::Ticket;
use super::readers::Readers;
use super::recovery;
use super::shared::{Ended, Shared, chain, spawn};
use super::stamps::Changed;
use super::work::{Ran, WriteJob, panicked};
use crate::document::Seq;
use crate::engine::UserDatabase;
use crate::error::StoreError;
use crate::journal::Position;
use crate::mutation::Commit;

/// A group takes no further request once it holds this many bytes for the journal.
const GROUP_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Idle databases that are closed between two groups; closing may sync.
const CLOSED_AT_ONCE_MAX: usize = 8;

/// What a shard is asked to do.
pub(super) enum Request {
    Write {
        user: UserId,
        job: Box<dyn WriteJob>,
    },
    Create {
        user: UserId,
        job: Box<dyn WriteJob>,
    },
    Remove {
        user: UserId,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Commit what is held of the user, and apply what its database lacks otherwise.
    CatchUp {
        user: UserId,
        answer: oneshot::Sender<Result<(), StoreError>>,
    },
}

/// What can be seen of a shard from outside.
#[derive(Debug, Default)]
struct Gauges {
    queued: AtomicUsize,
    open: AtomicUsize,
}

/// The way to a shard.
#[derive(Debug)]
pub(super) struct ShardSender {
    queue: SyncSender<Request>,
    gauges: Arc<Gauges>,
}

impl ShardSender {
    pub(super) fn send(&self, request: Request) -> Result<(), StoreError> {
        self.gauges.queued.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(request).map_err(|refused| {
            self.gauges.queued.fetch_sub(1, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => StoreError::Busy {
                    what: "the queue of a writer",
                },
                TrySendError::Disconnected(_) => StoreError::Poisoned {
                    reason: "a writer thread died; its error was logged".to_owned(),
                },
            }
        })
    }

    pub(super) fn queued(&self) -> usize {
        self.gauges.queued.load(Ordering::Relaxed)
    }

    pub(super) fn open(&self) -> usize {
        self.gauges.open.load(Ordering::Relaxed)
    }
}

/// Which of `shards` a user belongs to (FNV-1a; it may differ between runs).
pub(super) fn place(user: &UserId, shards: usize) -> usize {
    let hash = user
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let shards = u64::try_from(shards).unwrap_or(u64::MAX).max(1);
    usize::try_from((hash ^ (hash >> 32)) % shards).unwrap_or(0)
}

/// Starts a shard.
pub(super) fn start(
    number: usize,
    shared: &Arc<Shared>,
    readers: Arc<Readers>,
    checkpoints: Checkpoints,
) -> Result<(ShardSender, Ended), StoreError> {
    let (queue, requests) = sync_channel(shared.options.writer_queue_max.max(1));
    let gauges = Arc::new(Gauges::default());
    let options = &shared.options;
    let part = |all: usize| all / options.writers.max(1);
    let shard = Shard {
        shared: Arc::clone(shared),
        readers,
        checkpoints,
        gauges: Arc::clone(&gauges),
        handles: Handles::new(part(options.open_users_max), part(options.awake_users_max)),
        once: Handles::new(part(options.written_once_max), 0),
        held: Handles::new(options.held_users_max, usize::MAX),
    };
    let ended = spawn(&format!("store-write-{number}"), move || {
        shard.run(&requests);
    })?;
    Ok((ShardSender { queue, gauges }, ended))
}

/// The thread's own state.
pub(super) struct Shard {
    pub(super) shared: Arc<Shared>,
    readers: Arc<Readers>,
    checkpoints: Checkpoints,
    gauges: Arc<Gauges>,
    /// Databases without an open transaction.
    handles: Handles<Opened>,
    /// The same, which were not used again since they were opened.
    once: Handles<Opened>,
    /// Databases whose transactions hold answered writes.
    held: Handles<Opened>,
}

impl Shard {
    fn run(mut self, requests: &Receiver<Request>) {
        let options = self.shared.options.clone();
        let tick = look_every(options.idle);
        let once_tick = look_every(options.written_once_idle);
        loop {
            let mut wait = tick;
            if self.once.len() > 0 {
                wait = wait.min(once_tick);
            }
            if self.held.len() > 0 {
                wait = wait.min(options.held_idle);
            }
            match requests.recv_timeout(wait) {
                Ok(first) => {
                    self.run_group(first, requests);
                    self.settle_resting(options.held_for);
                }
                Err(RecvTimeoutError::Timeout) => self.settle_resting(options.held_idle),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            drop(self.handles.take_idle(options.idle, CLOSED_AT_ONCE_MAX));
            let once_idle = options.written_once_idle;
            drop(self.once.take_idle(once_idle, CLOSED_AT_ONCE_MAX));
            self.gauges.open.store(
                self.handles.len() + self.once.len() + self.held.len(),
                Ordering::Relaxed,
            );
        }
        for (user, opened) in self.held.take_all() {
            drop(settle(&self.shared, &user, opened));
        }
        drop(self.once.take_all());
        drop(self.handles.take_all());
    }

    /// Commits some of the transactions that were not written to for this long.
    fn settle_resting(&mut self, rest: Duration) {
        for (user, opened) in self.held.take_idle(rest, held::COMMITTED_AT_ONCE_MAX) {
            self.settle(user, opened);
        }
    }

    /// Commits what is held of a user.
    fn settle(&mut self, user: UserId, opened: Opened) {
        if let Some(opened) = settle(&self.shared, &user, opened) {
            self.keep(user, opened);
        }
    }

    /// Runs everything that is queued, starting with `first`, as one group. Making or removing a
    /// user ends the group, so that requests keep their order.
    fn run_group(&mut self, first: Request, requests: &Receiver<Request>) {
        let mut group = Group::default();
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(request) = next.take() {
            self.gauges.queued.fetch_sub(1, Ordering::Relaxed);
            taken += 1;
            match request {
                Request::Write { user, job } => self.write(&mut group, user, job),
                Request::Create { user, job } => {
                    self.commit(std::mem::take(&mut group));
                    self.create(user, job);
                }
                Request::Remove { user, answer } => {
                    self.commit(std::mem::take(&mut group));
                    reply(answer, self.remove(&user));
                }
                Request::CatchUp { user, answer } => {
                    if group.has(&user) {
                        self.commit(std::mem::take(&mut group));
                    }
                    reply(answer, self.catch_up(user));
                }
            }
            if taken < limits::COMMIT_GROUP_MAX && group.bytes() < GROUP_BYTES_MAX {
                next = requests.try_recv().ok();
            }
        }
        self.commit(group);
    }

    fn write(&mut self, group: &mut Group, user: UserId, mut job: Box<dyn WriteJob>) {
        let party = match group.take(&user) {
            Some(party) => Ok(party),
            None => self
                .shared
                .ensure_sound()
                .and_then(|()| self.open(&user))
                .and_then(|opened| Party::begin(user.clone(), opened)),
        };
        let mut party = match party {
            Ok(party) => party,
            Err(error) => return job.answer(Err(error)),
        };
        match party.run(job.as_mut(), self.shared.clock.as_ref()) {
            Ok(Ran::Panicked) => {
                job.answer(Err(panicked()));
                group.put(party);
            }
            Ok(Ran::Well | Ran::Refused) => {
                party.adopt(job);
                group.put(party);
            }
            Err(error) => {
                let others = match &error {
                    StoreError::Full { doing } => StoreError::Full {
                        doing: doing.clone(),
                    },
                    _ => not_done(
                        &user,
                        "another request of the user failed in the same group",
                    ),
                };
                job.answer(Err(error));
                if let Some(opened) = party.undo(&self.shared, &others) {
                    self.keep(user, opened);
                }
            }
        }
    }

    /// Puts a group on disk and answers it.
    fn commit(&mut self, group: Group) {
        if group.is_empty() {
            return;
        }
        let ticket = self.shared.outstanding.enter(self.shared.journal.as_ref());
        for (user, fate) in group.commit(&self.shared, &ticket) {
            if let Fate::Committed(opened) | Fate::Undone(Some(opened)) = fate {
                self.keep(user, opened);
            }
        }
        drop(ticket);
        self.checkpoints.nudge_if_large(&self.shared);
    }

    /// Makes a user. The journal first learns that the user is about to be made, as a commit
    /// without mutations: after a crash, a database that stayed empty is known by it and removed.
    /// Its position is where the new database starts, above whatever a former user of this id
    /// left in the journal.
    fn create(&mut self, user: UserId, mut job: Box<dyn WriteJob>) {
        let shared = Arc::clone(&self.shared);
        let ticket = shared.outstanding.enter(shared.journal.as_ref());
        let unfinished = Unfinished::enter(&shared, &user);
        let position = match self
            .ensure_absent(&user)
            .and_then(|()| self.announce(&user))
        {
            Ok(position) => position,
            Err(error) => return job.answer(Err(error)),
        };
        // From here on whatever is there of the user was made by this request.
        let made = shared.engine.create(&user, position);
        let begun = made.and_then(|made| {
            let mut opened = self.opened(made);
            // A new user is read soon, by the request that made it.
            opened.commit_at_once();
            Party::begin(user.clone(), opened)
        });
        let mut party = match begun {
            Ok(party) => party,
            Err(error) => {
                self.unmake(&user, ticket);
                return job.answer(Err(error));
            }
        };
        let refused = match party.run(job.as_mut(), self.shared.clock.as_ref()) {
            Ok(Ran::Well) if party.has_written() => None,
            Ok(Ran::Well) => {
                let doing = format!("making user {user}");
                Some(Err(StoreError::engine(doing, "nothing was written for it")))
            }
            Ok(Ran::Refused) => Some(Ok(())),
            Ok(Ran::Panicked) => Some(Err(panicked())),
            Err(error) => Some(Err(error)),
        };
        if let Some(outcome) = refused {
            drop(party);
            self.unmake(&user, ticket);
            return job.answer(outcome);
        }
        party.adopt(job);
        let mut group = Group::default();
        group.put(party);
        // Before the answer goes out: who was told of a user finds it listed.
        drop(unfinished);
        for (user, fate) in group.commit(&self.shared, &ticket) {
            match fate {
                Fate::Committed(opened) => self.keep(user, opened),
                Fate::Undone(opened) => {
                    drop(opened);
                    return self.unmake(&user, ticket);
                }
                Fate::InDoubt => return ticket.keep(),
                Fate::Behind => {}
            }
        }
    }

    /// Refuses if there is such a user; clears away what a failure left of one.
    fn ensure_absent(&mut self, user: &UserId) -> Result<(), StoreError> {
        self.shared.ensure_sound()?;
        if !self.shared.engine.contains(user)? {
            return Ok(());
        }
        match self.open(user) {
            Ok(opened) => {
                self.keep(user.clone(), opened);
                Err(StoreError::UserExists { user: user.clone() })
            }
            // Left empty by a failure: opening says that there is no such user.
            Err(StoreError::UnknownUser { .. }) => self.shared.engine.remove(user),
            Err(error) => Err(error),
        }
    }

    fn announce(&self, user: &UserId) -> Result<Position, StoreError> {
        let at = self.shared.clock.now();
        let announcement = Commit {
            user: user.clone(),
            at,
            mutations: Vec::new(),
        };
        let rows = vec![(user.clone(), announcement.encode()?)];
        let appended = self.shared.journal.append(rows);
        appended.inspect_err(|error| note_append_failure(&self.shared, error))
    }

    /// Removes the folder of a user that was not made after all.
    fn unmake(&self, user: &UserId, ticket: Ticket) {
        self.readers.forget(user);
        if let Err(error) = self.shared.engine.remove(user) {
            let error = chain(&error);
            tracing::error!(%user, error, "an empty user could not be removed; the next start will");
            ticket.keep();
        }
    }

    fn remove(&mut self, user: &UserId) -> Result<(), StoreError> {
        self.shared.ensure_sound()?;
        if !self.shared.engine.contains(user)? {
            return Err(StoreError::UnknownUser { user: user.clone() });
        }
        // If it cannot be removed, nothing of it may be missing.
        if let Some(opened) = self.held.take(user) {
            self.settle(user.clone(), opened);
        }
        let _unfinished = Unfinished::enter(&self.shared, user);
        drop((self.handles.take(user), self.once.take(user)));
        self.readers.forget(user);
        let removing = self.shared.stamps.begin(user, Changed::ANYTHING);
        let removed = self.shared.engine.remove(user);
        // Readers that were at work meanwhile must not be used again.
        self.readers.forget(user);
        drop(removing);
        if removed.is_ok() || !self.shared.engine.contains(user)? {
            self.shared.clear_behind(user);
        }
        removed
    }

    /// Makes everything of a user readable that was answered.
    fn catch_up(&mut self, user: UserId) -> Result<(), StoreError> {
        if let Some(mut opened) = self.held.take(&user) {
            opened.commit_at_once();
            self.settle(user.clone(), opened);
        }
        if self.shared.is_behind(&user) {
            self.shared.ensure_sound()?;
            let opened = self.open(&user)?;
            self.keep(user, opened);
        }
        Ok(())
    }

    /// The user's database, with all that the journal holds of it.
    fn open(&mut self, user: &UserId) -> Result<Opened, StoreError> {
        if let Some(opened) = self.held.take(user).or_else(|| self.take(user)) {
            return Ok(opened.used_again());
        }
        let database = if self.shared.is_behind(user) {
            let database = recovery::recover_user(&self.shared, user, Position(u64::MAX))?;
            self.shared.clear_behind(user);
            self.readers.forget(user);
            database
        } else {
            self.shared.engine.open(user)?
        };
        if database.last_seq()? == Seq(0) {
            return Err(StoreError::UnknownUser { user: user.clone() });
        }
        Ok(self.opened(database))
    }

    /// A database that was just opened. It counts before its request is answered, for who was answered may ask.
    fn opened(&self, database: Box<dyn UserDatabase>) -> Opened {
        self.gauges.open.fetch_add(1, Ordering::Relaxed);
        Opened::new(database)
    }

    /// A database without an open transaction.
    fn take(&mut self, user: &UserId) -> Option<Opened> {
        self.handles.take(user).or_else(|| self.once.take(user))
    }

    /// Keeps a database open for its next use, and closes what is too much then.
    fn keep(&mut self, user: UserId, opened: Opened) {
        if opened.is_due(&self.shared.options) {
            return self.settle(user, opened);
        }
        if opened.answered.is_none() {
            let kept = if opened.again {
                &mut self.handles
            } else {
                &mut self.once
            };
            drop(kept.put(user, opened));
            return;
        }
        for (user, opened) in self.held.put(user, opened) {
            self.settle(user, opened);
        }
    }
}

/// How often to look for what was not used for `idle`.
fn look_every(idle: Duration) -> Duration {
    (idle / 4).clamp(Duration::from_millis(50), Duration::from_secs(30))
}

/// A user that is being made or removed: not listed until it is dropped.
struct Unfinished<'a> {
    shared: &'a Shared,
    user: &'a UserId,
}

impl<'a> Unfinished<'a> {
    fn enter(shared: &'a Shared, user: &'a UserId) -> Self {
        shared.unfinished().insert(user.clone());
        Self { shared, user }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.shared.unfinished().remove(self.user);
    }
}

/// An error that leaves no doubt: nothing was written.
pub(super) fn not_done(user: &UserId, reason: &str) -> StoreError {
    StoreError::engine(
        format!("writing for user {user} (nothing was done)"),
        reason,
    )
}

fn reply(answer: oneshot::Sender<Result<(), StoreError>>, outcome: Result<(), StoreError>) {
    if answer.send(outcome).is_err() {
        tracing::debug!("nobody waits for the answer of a store request");
    }
}
