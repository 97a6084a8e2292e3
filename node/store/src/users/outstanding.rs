//! Which part of the journal may be forgotten.
//!
//! A checkpoint may forget a position only if every append up to it has been committed to its
//! user's database. Appends of several shards are under way at once, so each takes a ticket
//! **before** it appends. The ticket notes the journal's last position at that time: its own rows
//! will lie above it, and everything at or below it belongs to others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::{Journal, Position};

/// Appends that are under way, or that a user's database still lacks.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    tickets: Mutex<Tickets>,
}

#[derive(Debug, Default)]
struct Tickets {
    next: u64,
    floors: BTreeMap<u64, Position>,
}

/// Keeps the journal from forgetting what lies above its floor, until it is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    all: Arc<Outstanding>,
    number: u64,
    floor: Position,
}

impl Outstanding {
    /// To be called before appending.
    pub(super) fn enter(self: &Arc<Self>, journal: &dyn Journal) -> Ticket {
        // The position is read under the lock: a checkpoint that does not see this ticket has
        // looked before, and stops at a position that lies at or below this floor.
        let mut tickets = self.lock();
        let floor = journal.last();
        self.issue(&mut tickets, floor)
    }

    /// Keeps everything above `floor`.
    pub(super) fn hold(self: &Arc<Self>, floor: Position) -> Ticket {
        self.issue(&mut self.lock(), floor)
    }

    fn issue(self: &Arc<Self>, tickets: &mut Tickets, floor: Position) -> Ticket {
        let number = tickets.next;
        tickets.next += 1;
        tickets.floors.insert(number, floor);
        Ticket {
            all: Arc::clone(self),
            number,
            floor,
        }
    }

    /// The position through which every append has been committed to its user's database.
    pub(super) fn settled(&self, journal: &dyn Journal) -> Position {
        let tickets = self.lock();
        let last = journal.last();
        tickets
            .floors
            .values()
            .copied()
            .min()
            .map_or(last, |floor| floor.min(last))
    }

    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Another one for the same rows.
    pub(super) fn again(&self) -> Self {
        self.all.hold(self.floor)
    }

    /// Keeps those rows for as long as the process lives: the next start looks at them again.
    pub(super) fn keep(mut self) {
        self.number = u64::MAX;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // A thread that dies between the journal and the user's database leaves its rows needed.
        if !std::thread::panicking() {
            self.all.lock().floors.remove(&self.number);
        }
    }
}
