//! An engine and a journal in memory, for tests and simulation: what they promise of crashes is
//! exactly what the traits promise, and no more.
//!
//! [`MemoryEngine::after_crash`] gives what a power cut may leave: of each user some version
//! committed since the last [`Engine::make_durable`], not necessarily the newest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homecore_types::UserId;

use crate::document::{Document, Kind, Rev, Seq};
use crate::engine::{Engine, Reader, UserDatabase, View};
use crate::error::StoreError;
use crate::index::Scan;
use crate::journal::{EachRow, Journal, Position};
use crate::mutation::Commit;

mod blobs;
mod state;

pub use blobs::MemoryBlobs;
use state::State;

/// Versions kept since the last time all was durable; of more, the oldest are dropped.
const SURVIVORS_MAX: usize = 256;

/// Users' databases in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryEngine {
    users: Arc<Mutex<BTreeMap<UserId, Slot>>>,
}

/// A user's versions: the first is on disk, the last is what readers see.
#[derive(Debug)]
struct Slot {
    versions: Vec<State>,
    is_open: bool,
}

impl MemoryEngine {
    /// An engine without users.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a power cut may leave. `choose` is asked for each user with the number of versions
    /// that may have survived, oldest first, and says which did.
    #[must_use]
    pub fn after_crash(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let mut left = BTreeMap::new();
        for (user, slot) in &*self.lock() {
            let survivor = choose(slot.versions.len()).min(slot.versions.len().saturating_sub(1));
            let versions = slot.versions.get(survivor).cloned().into_iter().collect();
            left.insert(
                user.clone(),
                Slot {
                    versions,
                    is_open: false,
                },
            );
        }
        Self {
            users: Arc::new(Mutex::new(left)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<UserId, Slot>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(user: &UserId) -> StoreError {
    StoreError::UnknownUser { user: user.clone() }
}

impl Slot {
    fn current(&self) -> State {
        self.versions.last().cloned().unwrap_or_default()
    }
}

impl Engine for MemoryEngine {
    fn create(
        &self,
        user: &UserId,
        applied: Position,
    ) -> Result<Box<dyn UserDatabase>, StoreError> {
        let mut users = self.lock();
        if users.contains_key(user) {
            return Err(StoreError::UserExists { user: user.clone() });
        }
        let state = State::starting_at(applied);
        users.insert(
            user.clone(),
            Slot {
                versions: vec![state.clone()],
                is_open: true,
            },
        );
        drop(users);
        Ok(Box::new(MemoryDatabase::new(
            self.clone(),
            user.clone(),
            state,
        )))
    }

    fn open(&self, user: &UserId) -> Result<Box<dyn UserDatabase>, StoreError> {
        let mut users = self.lock();
        let slot = users.get_mut(user).ok_or_else(|| unknown(user))?;
        if slot.is_open {
            let doing = format!("opening user {user}");
            return Err(StoreError::engine(doing, "it is open for writing already"));
        }
        slot.is_open = true;
        let state = slot.current();
        drop(users);
        Ok(Box::new(MemoryDatabase::new(
            self.clone(),
            user.clone(),
            state,
        )))
    }

    fn open_reader(&self, user: &UserId) -> Result<Box<dyn Reader>, StoreError> {
        if !self.contains(user)? {
            return Err(unknown(user));
        }
        Ok(Box::new(MemoryReader {
            engine: self.clone(),
            user: user.clone(),
        }))
    }

    fn contains(&self, user: &UserId) -> Result<bool, StoreError> {
        Ok(self.lock().contains_key(user))
    }

    fn remove(&self, user: &UserId) -> Result<(), StoreError> {
        self.lock().remove(user);
        Ok(())
    }

    fn users(&self) -> Result<Vec<UserId>, StoreError> {
        Ok(self.lock().keys().cloned().collect())
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        for slot in self.lock().values_mut() {
            let newest = slot.versions.len().saturating_sub(1);
            slot.versions.drain(..newest);
        }
        Ok(())
    }
}

/// A user's database, open for writing.
#[derive(Debug)]
struct MemoryDatabase {
    engine: MemoryEngine,
    user: UserId,
    committed: State,
    /// The open transaction.
    pending: Option<State>,
}

impl MemoryDatabase {
    fn new(engine: MemoryEngine, user: UserId, committed: State) -> Self {
        Self {
            engine,
            user,
            committed,
            pending: None,
        }
    }

    fn state(&self) -> &State {
        self.pending.as_ref().unwrap_or(&self.committed)
    }

    fn misused(&self, what: &'static str) -> StoreError {
        StoreError::engine(format!("using the database of user {}", self.user), what)
    }
}

impl Drop for MemoryDatabase {
    fn drop(&mut self) {
        if let Some(slot) = self.engine.lock().get_mut(&self.user) {
            slot.is_open = false;
        }
    }
}

impl View for MemoryDatabase {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        self.state().get(kind, id)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        self.state().scan(scan)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.state().list(kind, after, limit)
    }

    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError> {
        self.state().changes(since, limit)
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.state().history(kind, id, after, limit)
    }

    fn last_seq(&self) -> Result<Seq, StoreError> {
        self.state().last_seq()
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.state().check(each)
    }
}

impl UserDatabase for MemoryDatabase {
    fn begin(&mut self) -> Result<(), StoreError> {
        if self.pending.is_some() {
            return Err(self.misused("a transaction is open already"));
        }
        self.pending = Some(self.committed.clone());
        Ok(())
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), StoreError> {
        match &mut self.pending {
            Some(pending) => pending.apply(&self.user, commit),
            None => Err(self.misused("no transaction is open")),
        }
    }

    fn commit(&mut self, applied: Position) -> Result<(), StoreError> {
        let Some(mut state) = self.pending.take() else {
            return Err(self.misused("no transaction is open"));
        };
        state.applied = applied;
        let mut users = self.engine.lock();
        let slot = users
            .get_mut(&self.user)
            .ok_or_else(|| unknown(&self.user))?;
        if slot.versions.len() >= SURVIVORS_MAX {
            slot.versions.remove(1);
        }
        slot.versions.push(state.clone());
        drop(users);
        self.committed = state;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.pending = None;
        Ok(())
    }

    fn is_open(&self) -> bool {
        self.pending.is_some()
    }

    fn applied(&self) -> Result<Position, StoreError> {
        Ok(self.state().applied)
    }
}

/// A reader: each snapshot is the newest committed version at its start.
#[derive(Debug)]
struct MemoryReader {
    engine: MemoryEngine,
    user: UserId,
}

impl Reader for MemoryReader {
    fn snapshot(
        &mut self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let state = match self.engine.lock().get(&self.user) {
            Some(slot) => slot.current(),
            None => return Err(unknown(&self.user)),
        };
        read(&state)
    }
}

/// A journal in memory. What it has returned is "on disk".
#[derive(Debug, Default)]
pub struct MemoryJournal {
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    last: u64,
    bytes: u64,
    rows: BTreeMap<u64, (UserId, Vec<u8>)>,
}

impl MemoryJournal {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for MemoryJournal {
    fn append(&self, commits: Vec<(UserId, Vec<u8>)>) -> Result<Position, StoreError> {
        let mut rows = self.lock();
        for (user, bytes) in commits {
            rows.last += 1;
            rows.bytes += size(&bytes);
            let position = rows.last;
            rows.rows.insert(position, (user, bytes));
        }
        Ok(Position(rows.last))
    }

    fn replay(&self, from: Position, each: &mut EachRow<'_>) -> Result<(), StoreError> {
        let mut after = from.0;
        loop {
            // One at a time, so that `each` runs without the lock.
            let next = self
                .lock()
                .rows
                .range(after.saturating_add(1)..)
                .next()
                .map(|(position, (user, bytes))| (*position, user.clone(), bytes.clone()));
            let Some((position, user, bytes)) = next else {
                return Ok(());
            };
            each(Position(position), &user, &bytes)?;
            after = position;
        }
    }

    fn forget_through(&self, position: Position) -> Result<(), StoreError> {
        let mut rows = self.lock();
        let kept = rows.rows.split_off(&position.0.saturating_add(1));
        let forgotten = std::mem::replace(&mut rows.rows, kept);
        rows.bytes -= forgotten
            .values()
            .map(|(_, bytes)| size(bytes))
            .sum::<u64>();
        Ok(())
    }

    fn last(&self) -> Position {
        Position(self.lock().last)
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.lock().bytes)
    }
}

fn size(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn the_memory_engine_passes_the_suite() -> Result<(), StoreError> {
        suite::engine_suite(|| Arc::new(MemoryEngine::new()))
    }

    #[test]
    fn the_memory_journal_passes_the_suite() -> Result<(), StoreError> {
        suite::journal_suite(|| Arc::new(MemoryJournal::new()))
    }

    #[test]
    fn a_crash_may_lose_what_was_not_made_durable() -> Result<(), StoreError> {
        let engine = MemoryEngine::new();
        let user = suite::user(1);
        let mut database = engine.create(&user, Position(0))?;
        for n in 1..=3 {
            suite::write(database.as_mut(), &user, n, Position(n))?;
            if n == 1 {
                engine.make_durable()?;
            }
        }
        for (choice, last) in [(0, 1), (1, 2), (9, 3)] {
            let mut asked = 0;
            let left = engine.after_crash(&mut |versions| {
                asked = versions;
                choice
            });
            assert_eq!(asked, 3);
            assert_eq!(left.open(&user)?.applied()?, Position(last));
        }
        Ok(())
    }
}
