//! A log in memory that knows what was synced: for simulations, which cut its power.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::log::LogError;
use crate::log::medium::{Bounds, Change, Each, Medium, MediumReader, Sync};

/// A disk with one log on it. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    written: Image,
    /// What a power cut leaves for certain.
    synced: Image,
    /// Commits since, oldest first: a power cut leaves the first few of them.
    unsynced: Vec<Vec<Owned>>,
    owner: Option<String>,
    full: bool,
    /// Counts power cuts: who opened the disk before one can do nothing with it any more.
    cuts: u64,
}

#[derive(Clone, Debug, Default)]
struct Image {
    rows: BTreeMap<u64, Vec<u8>>,
    notes: BTreeMap<&'static str, Vec<u8>>,
}

/// A change that outlives its commit.
#[derive(Clone, Debug)]
enum Owned {
    Append(u64, Vec<Vec<u8>>),
    Note(&'static str, Vec<u8>),
    DeleteAfter(Option<u64>),
    DeleteUpTo(u64),
}

impl Owned {
    fn of(change: Change<'_>) -> Self {
        match change {
            Change::Append { first, rows } => Self::Append(first, rows.to_vec()),
            Change::Note { name, value } => Self::Note(name, value.to_vec()),
            Change::DeleteAfter(after) => Self::DeleteAfter(after),
            Change::DeleteUpTo(upto) => Self::DeleteUpTo(upto),
        }
    }
}

impl Image {
    /// Makes a change; none if a row is there already.
    fn make(&mut self, change: &Owned) -> Option<()> {
        match change {
            Owned::Append(first, rows) => {
                for (index, row) in (*first..).zip(rows) {
                    if self.rows.insert(index, row.clone()).is_some() {
                        return None;
                    }
                }
            }
            Owned::Note(name, value) => {
                self.notes.insert(name, value.clone());
            }
            Owned::DeleteAfter(after) => {
                let end = after.map_or(0, |after| after.saturating_add(1));
                self.rows.split_off(&end);
            }
            Owned::DeleteUpTo(upto) => {
                self.rows = self.rows.split_off(&upto.saturating_add(1));
            }
        }
        Some(())
    }
}

impl MemoryDisk {
    /// Opens the log, and says whether it was empty.
    ///
    /// # Errors
    /// When it is another's.
    pub fn open(&self, owner: &str) -> Result<(Box<dyn Medium>, bool), LogError> {
        let mut state = self.lock();
        let fresh = state.owner.is_none();
        match &state.owner {
            Some(found) if found != owner => Err(LogError::OtherNode {
                path: path(),
                found: found.clone(),
                expected: owner.to_owned(),
            }),
            _ => {
                state.owner = Some(owner.to_owned());
                Ok((Box::new(self.open_now(state.cuts)), fresh))
            }
        }
    }

    /// Whether a log was made here.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.lock().owner.is_some()
    }

    /// How many commits a power cut may take.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced.len()
    }

    /// Cuts the power: of what was not synced the first `kept` commits are left. Whoever has the disk
    /// open finds it gone.
    pub fn cut(&self, kept: usize) {
        let mut state = self.lock();
        let commits = std::mem::take(&mut state.unsynced);
        for change in commits.into_iter().take(kept).flatten() {
            // It was made once, on the same image.
            state.synced.make(&change);
        }
        state.written = state.synced.clone();
        state.cuts = state.cuts.wrapping_add(1);
    }

    /// Whether there is no room on it.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    fn open_now(&self, cuts: u64) -> Open {
        Open {
            disk: self.clone(),
            cuts,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands in messages where a file's path would.
fn path() -> PathBuf {
    PathBuf::from("simulated log")
}

fn refused(kind: io::ErrorKind) -> LogError {
    LogError::Io {
        path: path(),
        source: kind.into(),
    }
}

/// The disk as whoever opened it has it.
struct Open {
    disk: MemoryDisk,
    cuts: u64,
}

impl Open {
    fn state(&self) -> Result<MutexGuard<'_, State>, LogError> {
        let state = self.disk.lock();
        if state.cuts == self.cuts {
            Ok(state)
        } else {
            Err(refused(io::ErrorKind::BrokenPipe))
        }
    }
}

impl Medium for Open {
    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.state()?.written.notes.get(name).cloned())
    }

    fn bounds(&self) -> Result<Option<Bounds>, LogError> {
        let state = self.state()?;
        let rows = &state.written.rows;
        let ends = rows.keys().next().zip(rows.keys().next_back());
        Ok(ends.map(|(first, last)| Bounds {
            first: *first,
            last: *last,
            count: u64::try_from(rows.len()).unwrap_or(u64::MAX),
        }))
    }

    fn commit(&mut self, sync: Sync, changes: &[Change<'_>]) -> Result<(), LogError> {
        let mut state = self.state()?;
        // A vote or a mark takes room, too, and deleting is written down first.
        if state.full {
            return Err(refused(io::ErrorKind::StorageFull));
        }
        let changes: Vec<Owned> = changes.iter().copied().map(Owned::of).collect();
        let made = changes
            .iter()
            .try_for_each(|change| state.written.make(change));
        if made.is_none() {
            return Err(refused(io::ErrorKind::AlreadyExists));
        }
        state.unsynced.push(changes);
        if sync == Sync::Full {
            state.synced = state.written.clone();
            state.unsynced.clear();
        }
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn MediumReader>, LogError> {
        Ok(Box::new(self.disk.open_now(self.cuts)))
    }

    fn close(self: Box<Self>) -> Result<(), LogError> {
        let mut state = self.state()?;
        state.synced = state.written.clone();
        state.unsynced.clear();
        Ok(())
    }
}

impl MediumReader for Open {
    fn read(&self, range: Range<u64>, each: &mut Each<'_>) -> Result<(), LogError> {
        let state = self.state()?;
        for (index, row) in state.written.rows.range(range) {
            if !each(*index, row)? {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
