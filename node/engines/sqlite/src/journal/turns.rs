//! Whose turn it is to write: the first who comes writes for all who wait by then, and those who come
//! meanwhile wait for the next turn. A thread that does nothing but write would do the same, and cost
//! every append two changes of threads.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use homecore_store::{Position, StoreError};

use super::writer::{Rows, Writer};

/// A group takes no further caller once it holds this many bytes …
const GROUP_BYTES_MAX: usize = 32 * 1024 * 1024;
/// … or this many callers.
const GROUP_CALLERS_MAX: usize = 256;

/// The writer, and who waits for it. Callers block, so there are no more of them than threads.
pub(super) struct Turns {
    state: Mutex<State>,
    /// A turn has ended.
    ended: Condvar,
}

struct State {
    /// Absent while somebody has the turn.
    writer: Option<Writer>,
    /// Somebody died in their turn, and the writer with them.
    dead: bool,
    waiting: VecDeque<(u64, Rows)>,
    outcomes: BTreeMap<u64, Result<Position, StoreError>>,
    tickets: u64,
}

impl std::fmt::Debug for Turns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turns")
            .field("waiting", &self.state().waiting.len())
            .finish_non_exhaustive()
    }
}

impl Turns {
    pub(super) fn new(writer: Writer) -> Self {
        Self {
            state: Mutex::new(State {
                writer: Some(writer),
                dead: false,
                waiting: VecDeque::new(),
                outcomes: BTreeMap::new(),
                tickets: 0,
            }),
            ended: Condvar::new(),
        }
    }

    /// Appends rows, together with those of others. Blocks until they are on disk.
    pub(super) fn append(&self, rows: Rows) -> Result<Position, StoreError> {
        let mut state = self.state();
        state.alive()?;
        state.tickets += 1;
        let ticket = state.tickets;
        state.waiting.push_back((ticket, rows));
        loop {
            if let Some(outcome) = state.outcomes.remove(&ticket) {
                return outcome;
            }
            let Some(mut writer) = state.writer.take() else {
                state = self.wait(state)?;
                continue;
            };
            let (tickets, group) = state.take_group();
            drop(state);
            let turn = Turn::of(self);
            let outcomes = writer.append(&group);
            state = turn.end(writer);
            state.outcomes.extend(tickets.into_iter().zip(outcomes));
        }
    }

    /// Does something else with the writer, in a turn of its own.
    pub(super) fn alone<T>(
        &self,
        work: impl FnOnce(&mut Writer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.state();
        let mut writer = loop {
            match state.writer.take() {
                Some(writer) => break writer,
                None => state = self.wait(state)?,
            }
        };
        drop(state);
        let turn = Turn::of(self);
        let outcome = work(&mut writer);
        drop(turn.end(writer));
        outcome
    }

    /// Waits for the end of a turn.
    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, StoreError> {
        state.alive()?;
        let woken = self.ended.wait(state);
        Ok(woken.unwrap_or_else(PoisonError::into_inner))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Refuses once the writer is gone for good: what would wait then would wait for nobody.
    fn alive(&self) -> Result<(), StoreError> {
        if self.dead {
            return Err(StoreError::Poisoned {
                reason: "a thread died while it wrote the journal".to_owned(),
            });
        }
        Ok(())
    }

    /// Takes those who wait, first come first served.
    fn take_group(&mut self) -> (Vec<u64>, Vec<Rows>) {
        let (mut tickets, mut group, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        while group.len() < GROUP_CALLERS_MAX
            && bytes < GROUP_BYTES_MAX
            && let Some((ticket, rows)) = self.waiting.pop_front()
        {
            bytes += rows.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
            tickets.push(ticket);
            group.push(rows);
        }
        (tickets, group)
    }
}

/// Somebody has the writer. One who panics never gives it back: what they wrote is in doubt, and all
/// who wait are told so.
struct Turn<'a> {
    turns: &'a Turns,
    ended: bool,
}

impl<'a> Turn<'a> {
    fn of(turns: &'a Turns) -> Self {
        Self {
            turns,
            ended: false,
        }
    }

    fn end(mut self, writer: Writer) -> MutexGuard<'a, State> {
        self.ended = true;
        let mut state = self.turns.state();
        state.writer = Some(writer);
        self.turns.ended.notify_all();
        state
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.turns.state();
            state.dead = true;
            state.waiting.clear();
            drop(state);
            self.turns.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
