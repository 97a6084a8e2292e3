//! Transactions that stay open after their writes were answered (`node/adr/0020`).
//!
//! The journal has those writes on disk, so the answer needs no more than that every read from then on
//! sees them. The user's database takes them together, as one change of the pages that all of them
//! touched, at the latest when somebody wants to read the user. A burst of writes costs one commit then
//! instead of one each.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use homecore_types::UserId;

use super::Options;
use super::handles::Rests;
use super::outstanding::Ticket;
use crate::engine::UserDatabase;
use crate::journal::Position;

/// Transactions that are committed between two groups.
pub(super) const COMMITTED_AT_ONCE_MAX: usize = 8;

/// After somebody had to wait for a commit, as many groups of the user are committed at once: what is
/// read as often as it is written gains nothing.
const AT_ONCE: u8 = 8;

/// Bytes of the journal that a transaction may hold. Beyond that each page is changed once anyway, while
/// a failure costs their replay, and SQLite's log grows beyond what it keeps.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;

/// A user's database between two groups.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) database: Box<dyn UserDatabase>,
    /// What the open transaction holds; none if there is none.
    pub(super) answered: Option<Answered>,
    /// Groups that are to be committed at once.
    at_once: u8,
    /// Whether it was used again after it was opened and used.
    pub(super) again: bool,
}

/// Writes in an open transaction that were answered: the journal has them.
#[derive(Debug)]
pub(super) struct Answered {
    /// The last one's place in the journal.
    pub(super) applied: Position,
    /// How many groups they came in.
    groups: usize,
    /// Their bytes in the journal.
    bytes: usize,
    since: Instant,
    /// Keeps them in the journal.
    pub(super) ticket: Ticket,
    /// Makes who reads the user ask first. Gone after the commit, or when the user counts as behind.
    pub(super) mark: Mark,
}

impl Opened {
    /// A database without an open transaction.
    pub(super) fn new(database: Box<dyn UserDatabase>) -> Self {
        Self {
            database,
            answered: None,
            at_once: 0,
            again: false,
        }
    }

    /// Whether the group that was just run, of so many bytes in the journal, may stay in the open
    /// transaction. To be asked once a group.
    pub(super) fn may_hold(&mut self, options: &Options, bytes: usize) -> bool {
        let most = options.held_groups_max;
        if self.at_once > 0 {
            self.at_once -= 1;
            return false;
        }
        match &self.answered {
            None => most > 1 && bytes < BYTES_MAX,
            Some(answered) => {
                answered.groups + 1 < most
                    && answered.bytes.saturating_add(bytes) < BYTES_MAX
                    && answered.since.elapsed() < options.held_for
            }
        }
    }

    /// Whether what is held is to be committed now, be there more to come or not: who sends requests that
    /// write nothing must not keep the journal from being shortened.
    pub(super) fn is_due(&self, options: &Options) -> bool {
        let held = self.answered.as_ref();
        held.is_some_and(|answered| answered.since.elapsed() >= options.held_for)
    }

    /// Notes that the open transaction holds answered writes up to `applied`. To be called before they
    /// are answered.
    pub(super) fn hold(
        &mut self,
        applied: Position,
        bytes: usize,
        ticket: &Ticket,
        mark: impl FnOnce() -> Mark,
    ) {
        match &mut self.answered {
            Some(answered) => {
                answered.applied = applied;
                answered.groups += 1;
                answered.bytes = answered.bytes.saturating_add(bytes);
            }
            None => {
                self.answered = Some(Answered {
                    applied,
                    groups: 1,
                    bytes,
                    since: Instant::now(),
                    ticket: ticket.again(),
                    mark: mark(),
                });
            }
        }
    }

    /// The same, used once more.
    pub(super) fn used_again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Notes that somebody had to wait for a commit.
    pub(super) fn commit_at_once(&mut self) {
        self.at_once = AT_ONCE;
    }
}

impl Rests for Opened {
    fn rest(&mut self) -> Option<Self> {
        self.database.rest();
        None
    }
}

/// Numbers of marks: few, since users share them, by a hash of their ids. Sharing costs who reads a
/// needless question, never a stale answer.
const NUMBERS: usize = 4_096;

/// Whose transactions hold answered writes.
#[derive(Debug)]
pub(super) struct Marks {
    numbers: Box<[AtomicU64]>,
    spread: RandomState,
}

/// A user is marked until this is dropped.
#[derive(Debug)]
pub(super) struct Mark {
    all: Arc<Marks>,
    place: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            numbers: (0..NUMBERS).map(|_| AtomicU64::new(0)).collect(),
            spread: RandomState::new(),
        }
    }
}

impl Marks {
    /// Marks a user.
    pub(super) fn mark(self: &Arc<Self>, user: &UserId) -> Mark {
        let place = self.place(user);
        if let Some(number) = self.numbers.get(place) {
            number.fetch_add(1, Ordering::SeqCst);
        }
        Mark {
            all: Arc::clone(self),
            place,
        }
    }

    /// Whether the user may be marked.
    pub(super) fn is_marked(&self, user: &UserId) -> bool {
        self.numbers
            .get(self.place(user))
            .is_some_and(|number| number.load(Ordering::SeqCst) > 0)
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "of a hash, any part will do"
    )]
    fn place(&self, user: &UserId) -> usize {
        self.spread.hash_one(user) as usize % NUMBERS
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // A thread that dies leaves its users' transactions undone: nobody may read past them.
        if !std::thread::panicking()
            && let Some(number) = self.all.numbers.get(self.place)
        {
            number.fetch_sub(1, Ordering::SeqCst);
        }
    }
}
