//! An engine and a journal that fail, wait or die when told to.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};

use homecore_types::UserId;

use crate::document::{Document, Kind, Rev, Seq};
use crate::engine::{Engine, Reader, UserDatabase, View};
use crate::error::StoreError;
use crate::index::Scan;
use crate::journal::{EachRow, Journal, Position};
use crate::memory::{MemoryEngine, MemoryJournal};
use crate::mutation::Commit;

/// Something that changes what is on disk, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Append,
    Forget,
    Create,
    Remove,
    Open,
    Apply,
    /// Reading a document from a database that is open for writing; the engine then undoes the
    /// transaction by itself.
    Get,
    Commit,
    Durable,
}

/// How a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Before it did anything.
    Before,
    /// Before it did anything: the disk is full.
    Full,
    /// After it did everything.
    After,
    /// In an append: nobody knows; it was not done.
    DoubtBefore,
    /// In an append: nobody knows; it was done.
    DoubtAfter,
    /// Panics.
    Panic,
}

/// Who decides.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Steps so far.
    pub(super) steps: AtomicU64,
    /// Appends so far.
    pub(super) appends: AtomicU64,
    /// Commits of users' databases so far.
    pub(super) commits: AtomicU64,
    /// Nothing works any more: the process has died.
    dead: AtomicBool,
    /// At which step it dies, and whether that step is still done.
    dies: Mutex<Option<(u64, bool)>>,
    /// How many of the next steps of a sort fail.
    fails: Mutex<BTreeMap<Step, (u64, Fault)>>,
    /// Whether appends wait, and whether one does.
    gate: Mutex<Gate>,
    moved: Condvar,
    /// How often handles were told to rest.
    pub(super) rests: Rests,
    /// Which threads closed handles for reading.
    pub(super) closed_by: Mutex<Vec<ThreadId>>,
    /// Called when a commit of a user's database can be seen.
    pub(super) committed: Hook,
}

/// What a test does at a step.
#[derive(Default)]
pub(super) struct Hook(Mutex<Option<Box<dyn Fn() + Send>>>);

impl Hook {
    pub(super) fn set(&self, call: impl Fn() + Send + 'static) {
        *self.0.lock().unwrap() = Some(Box::new(call));
    }

    fn call(&self) {
        if let Some(call) = &*self.0.lock().unwrap() {
            call();
        }
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

#[derive(Debug, Default)]
pub(super) struct Rests {
    pub(super) reading: AtomicU64,
    pub(super) writing: AtomicU64,
}

#[derive(Debug, Default)]
struct Gate {
    closed: bool,
    waiting: usize,
}

impl Faults {
    pub(super) fn die_at(&self, step: u64, after: bool) {
        *self.dies.lock().unwrap() = Some((step, after));
    }

    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    pub(super) fn fail(&self, step: Step, times: u64, fault: Fault) {
        self.fails.lock().unwrap().insert(step, (times, fault));
    }

    /// Makes appends wait.
    pub(super) fn close_gate(&self) {
        self.gate.lock().unwrap().closed = true;
    }

    pub(super) fn open_gate(&self) {
        self.gate.lock().unwrap().closed = false;
        self.moved.notify_all();
    }

    /// Returns when an append waits at the gate.
    pub(super) fn wait_for_append(&self) {
        let gate = self.gate.lock().unwrap();
        drop(
            self.moved
                .wait_while(gate, |gate| gate.waiting == 0)
                .unwrap(),
        );
    }

    fn pass_gate(&self) {
        let mut gate = self.gate.lock().unwrap();
        gate.waiting += 1;
        self.moved.notify_all();
        let mut gate = self.moved.wait_while(gate, |gate| gate.closed).unwrap();
        gate.waiting -= 1;
    }

    /// What the next step of a sort shall fail with.
    fn fault(&self, step: Step) -> Option<Fault> {
        match self.fails.lock().unwrap().get_mut(&step) {
            Some((times, fault)) if *times > 0 => {
                *times -= 1;
                Some(*fault)
            }
            _ => None,
        }
    }

    /// Reading changes nothing: no step to die at.
    fn read(&self) -> Result<(), StoreError> {
        self.fault(Step::Get).map_or(Ok(()), |_| {
            Err(StoreError::engine("Get", "it was told to fail"))
        })
    }

    fn step<T>(
        &self,
        step: Step,
        run: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let died = || StoreError::engine(format!("{step:?}"), "the process has died");
        if self.is_dead() {
            return Err(died());
        }
        let number = self.steps.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((at, after)) = *self.dies.lock().unwrap()
            && at == number
        {
            if after {
                drop(run());
            }
            self.dead.store(true, Ordering::SeqCst);
            return Err(died());
        }
        let fault = self.fault(step);
        let failed = || StoreError::engine(format!("{step:?}"), "it was told to fail");
        let doubt = || StoreError::Poisoned {
            reason: "it was told to be in doubt".to_owned(),
        };
        match fault {
            None => run(),
            Some(Fault::Before) => Err(failed()),
            Some(Fault::Full) => Err(StoreError::Full {
                doing: format!("{step:?}"),
            }),
            Some(Fault::After) => run().and_then(|_| Err(failed())),
            Some(Fault::DoubtBefore) => Err(doubt()),
            Some(Fault::DoubtAfter) => run().and_then(|_| Err(doubt())),
            Some(Fault::Panic) => panic!("the engine was told to panic"),
        }
    }
}

#[derive(Debug)]
pub(super) struct FaultyJournal {
    pub(super) inner: Arc<MemoryJournal>,
    pub(super) faults: Arc<Faults>,
}

impl Journal for FaultyJournal {
    fn append(&self, commits: Vec<(UserId, Vec<u8>)>) -> Result<Position, StoreError> {
        self.faults.appends.fetch_add(1, Ordering::SeqCst);
        self.faults.pass_gate();
        self.faults
            .step(Step::Append, || self.inner.append(commits))
    }

    fn replay(&self, from: Position, each: &mut EachRow<'_>) -> Result<(), StoreError> {
        self.inner.replay(from, each)
    }

    fn forget_through(&self, position: Position) -> Result<(), StoreError> {
        self.faults
            .step(Step::Forget, || self.inner.forget_through(position))
    }

    fn last(&self) -> Position {
        self.inner.last()
    }

    fn size_bytes(&self) -> Result<u64, StoreError> {
        self.inner.size_bytes()
    }
}

#[derive(Debug)]
pub(super) struct FaultyEngine {
    pub(super) inner: MemoryEngine,
    pub(super) faults: Arc<Faults>,
}

impl FaultyEngine {
    fn wrap(&self, inner: Box<dyn UserDatabase>) -> Box<dyn UserDatabase> {
        Box::new(FaultyDatabase {
            inner,
            faults: Arc::clone(&self.faults),
            undone: Cell::new(false),
        })
    }
}

impl Engine for FaultyEngine {
    fn create(
        &self,
        user: &UserId,
        applied: Position,
    ) -> Result<Box<dyn UserDatabase>, StoreError> {
        let made = self
            .faults
            .step(Step::Create, || self.inner.create(user, applied));
        made.map(|inner| self.wrap(inner))
    }

    fn open(&self, user: &UserId) -> Result<Box<dyn UserDatabase>, StoreError> {
        let opened = self.faults.step(Step::Open, || self.inner.open(user));
        opened.map(|inner| self.wrap(inner))
    }

    fn open_reader(&self, user: &UserId) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(NotedReader {
            inner: self.inner.open_reader(user)?,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn contains(&self, user: &UserId) -> Result<bool, StoreError> {
        self.inner.contains(user)
    }

    fn remove(&self, user: &UserId) -> Result<(), StoreError> {
        self.faults.step(Step::Remove, || self.inner.remove(user))
    }

    fn users(&self) -> Result<Vec<UserId>, StoreError> {
        self.inner.users()
    }

    fn make_durable(&self) -> Result<(), StoreError> {
        self.faults
            .step(Step::Durable, || self.inner.make_durable())
    }
}

/// Says who closed it.
#[derive(Debug)]
struct NotedReader {
    inner: Box<dyn Reader>,
    faults: Arc<Faults>,
}

impl Reader for NotedReader {
    fn snapshot(
        &mut self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        self.inner.snapshot(read)
    }

    fn rest(&mut self) {
        self.faults.rests.reading.fetch_add(1, Ordering::SeqCst);
        self.inner.rest();
    }
}

impl Drop for NotedReader {
    fn drop(&mut self) {
        let mut closed_by = self.faults.closed_by.lock().unwrap();
        closed_by.push(thread::current().id());
    }
}

#[derive(Debug)]
struct FaultyDatabase {
    inner: Box<dyn UserDatabase>,
    faults: Arc<Faults>,
    /// The transaction is to be gone: reading cannot undo it.
    undone: Cell<bool>,
}

impl FaultyDatabase {
    fn undo(&mut self) -> Result<(), StoreError> {
        if self.undone.take() {
            self.inner.rollback()?;
        }
        Ok(())
    }
}

impl UserDatabase for FaultyDatabase {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.undo()?;
        self.inner.begin()
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), StoreError> {
        self.undo()?;
        self.faults.step(Step::Apply, || self.inner.apply(commit))
    }

    fn commit(&mut self, applied: Position) -> Result<(), StoreError> {
        self.undo()?;
        self.faults.commits.fetch_add(1, Ordering::SeqCst);
        let committed = self
            .faults
            .step(Step::Commit, || self.inner.commit(applied));
        self.faults.committed.call();
        committed
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.undo()?;
        self.inner.rollback()
    }

    fn is_open(&self) -> bool {
        !self.undone.get() && self.inner.is_open()
    }

    fn applied(&self) -> Result<Position, StoreError> {
        self.inner.applied()
    }

    fn rest(&mut self) {
        self.faults.rests.writing.fetch_add(1, Ordering::SeqCst);
        self.inner.rest();
    }
}

impl View for FaultyDatabase {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        if let Err(error) = self.faults.read() {
            self.undone.set(true);
            return Err(error);
        }
        self.inner.get(kind, id)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        self.inner.scan(scan)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.inner.list(kind, after, limit)
    }

    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError> {
        self.inner.changes(since, limit)
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.inner.history(kind, id, after, limit)
    }

    fn last_seq(&self) -> Result<Seq, StoreError> {
        self.inner.last_seq()
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.inner.check(each)
    }
}
