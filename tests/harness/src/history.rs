//! Whether what clients saw could have happened one after the other: a checker for linearizability.
//!
//! Clients record each call when they make it and when its answer comes ([`Recorder`]); a call without
//! an answer may have taken effect at any later time, or never. [`check`] looks for an order of the
//! calls, each somewhere between its beginning and its end, that a [`Model`] of the thing accepts. It
//! is the search of Wing and Gong with the memory of Lowe ("Testing for linearizability", 2017): a set
//! of calls that led to a state is not looked at twice. Calls about different keys are searched by
//! themselves, which is allowed, because a history is linearizable if its part for each key is.
//!
//! The crates that do this (todc-utils, lincheck) know no call without an answer, which are the ones
//! that faults make.

mod models;
mod search;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::models::{
    Claim, Claims, Log, LogCall, LogStep, Members, MembersCall, Outcome, Owner, Step, claim,
};

/// States looked at for one key before the search gives up.
const STATES_MAX: usize = 300_000;

/// What a thing does, one call after the other.
pub trait Model {
    /// A call, with its answer if that is known.
    type Call: Clone + fmt::Debug;
    /// What calls can be told apart by, such that those of different keys have nothing to do with
    /// each other.
    type Key: Ord + fmt::Debug;
    /// What the thing is in between, for one key.
    type State: Clone + Eq + Hash + Default + fmt::Debug;

    /// What the call is about.
    fn key(call: &Self::Call) -> Self::Key;

    /// What the thing is after the call; `None` if it cannot have given this answer.
    fn apply(state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// Whether the call changes nothing, whatever the state is. The search need not ask whether such
    /// a call came later, once it fits.
    fn only_reads(call: &Self::Call) -> bool;

    /// Leaves out calls without an answer of which nothing was ever seen, where that is certain: they
    /// explain nothing, and each doubles the search.
    fn leave_out(part: &mut Vec<Entry<Self::Call>>) {
        let _all_may_matter = part;
    }
}

/// A call in a history. Moments are numbered, over all clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<C> {
    /// What was asked, and answered.
    pub call: C,
    /// When it was asked.
    pub called: u64,
    /// When the answer came; if none came, it may take effect later, or never.
    pub returned: Option<u64>,
}

/// Why a history cannot have happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What it is about.
    pub key: String,
    /// The longest order that was found, and the calls that fit nowhere after it.
    pub explanation: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.explanation)
    }
}

impl std::error::Error for Violation {}

/// Finds an order of the calls that the model accepts, for every key.
///
/// # Errors
/// When there is none for some key, or none was found within the bound.
pub fn check<M: Model>(history: &[Entry<M::Call>]) -> Result<(), Violation> {
    let mut parts: BTreeMap<M::Key, Vec<Entry<M::Call>>> = BTreeMap::new();
    for entry in history {
        let part = parts.entry(M::key(&entry.call)).or_default();
        part.push(entry.clone());
    }
    for (key, mut part) in parts {
        M::leave_out(&mut part);
        search::search::<M>(part, STATES_MAX).map_err(|explanation| Violation {
            key: format!("{key:?}"),
            explanation,
        })?;
    }
    Ok(())
}

/// Takes down a history from many clients at once.
#[derive(Debug)]
pub struct Recorder<C> {
    shared: Arc<Shared<C>>,
}

#[derive(Debug)]
struct Shared<C> {
    moment: AtomicU64,
    entries: Mutex<Vec<Entry<C>>>,
}

impl<C> Clone for Recorder<C> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<C: Clone> Default for Recorder<C> {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared {
                moment: AtomicU64::new(0),
                entries: Mutex::new(Vec::new()),
            }),
        }
    }
}

impl<C: Clone> Recorder<C> {
    /// The moment before a call is made, or after its answer has come.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.shared.moment.fetch_add(1, Ordering::SeqCst)
    }

    /// A call that was made at a moment and has been answered now.
    pub fn answered(&self, called: u64, call: C) {
        let returned = Some(self.now());
        self.note(Entry {
            call,
            called,
            returned,
        });
    }

    /// A call that was made at a moment, and of which nobody knows what became of it.
    pub fn unknown(&self, called: u64, call: C) {
        self.note(Entry {
            call,
            called,
            returned: None,
        });
    }

    /// Notes an entry as it is.
    pub fn note(&self, entry: Entry<C>) {
        self.entries().push(entry);
    }

    /// Everything so far.
    #[must_use]
    pub fn history(&self) -> Vec<Entry<C>> {
        self.entries().clone()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry<C>>> {
        self.shared
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
