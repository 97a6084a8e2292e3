//! Keeps a deletion from passing an upload of the same bytes.
//!
//! A blob is pinned from before it is published until the document that refers to it is committed.
//! A blob that is being looked at for deletion cannot be pinned until that is decided, and one that
//! is pinned is not deleted. What may have been left without a reference is noted as suspect, and
//! looked at by whoever tends the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homecore_types::UserId;
use tokio::sync::Notify;

use super::BlobHash;

/// Suspects remembered; of more, the pass over all blobs takes care.
const SUSPECTS_MAX: usize = 65_536;

type Name = (UserId, BlobHash);

/// Blobs in use, and those to look at.
#[derive(Debug, Default)]
pub(super) struct Pins {
    state: Mutex<State>,
    decided: Notify,
    pub(super) suspected: Notify,
}

#[derive(Debug, Default)]
struct State {
    pinned: BTreeMap<Name, usize>,
    /// Whether each was noted once more since its decision began: that may have looked too early.
    deciding: BTreeMap<Name, bool>,
    suspects: BTreeSet<Name>,
}

impl Pins {
    /// Pins a blob, after a deletion that is being decided.
    pub(super) async fn pin(self: &Arc<Self>, user: &UserId, hash: BlobHash) -> Pin {
        let name = (user.clone(), hash);
        loop {
            let decided = self.decided.notified();
            tokio::pin!(decided);
            // From here on no decision is missed.
            decided.as_mut().enable();
            {
                let mut state = self.lock();
                if !state.deciding.contains_key(&name) {
                    *state.pinned.entry(name.clone()).or_default() += 1;
                    break;
                }
            }
            decided.await;
        }
        Pin {
            pins: Arc::clone(self),
            name,
            settled: false,
        }
    }

    /// Begins to decide on a deletion; none if the blob is pinned or being decided on already. In
    /// the latter case it is noted again when that decision is made.
    pub(super) fn decide(self: &Arc<Self>, user: &UserId, hash: BlobHash) -> Option<Decision> {
        let name = (user.clone(), hash);
        let mut state = self.lock();
        if state.pinned.contains_key(&name) {
            return None;
        }
        if let Some(again) = state.deciding.get_mut(&name) {
            *again = true;
            return None;
        }
        state.deciding.insert(name.clone(), false);
        drop(state);
        Some(Decision {
            pins: Arc::clone(self),
            name,
        })
    }

    pub(super) fn suspect(&self, user: &UserId, hash: BlobHash) {
        let mut state = self.lock();
        if state.suspects.len() < SUSPECTS_MAX {
            state.suspects.insert((user.clone(), hash));
        }
        drop(state);
        self.suspected.notify_one();
    }

    pub(super) fn next_suspect(&self) -> Option<Name> {
        self.lock().suspects.pop_first()
    }

    pub(super) fn suspects(&self) -> usize {
        self.lock().suspects.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps one blob.
#[derive(Debug)]
pub(super) struct Pin {
    pins: Arc<Pins>,
    name: Name,
    /// It is known what became of the document, so nobody needs to look.
    settled: bool,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let (user, hash) = &self.name;
        let mut state = self.pins.lock();
        match state.pinned.get_mut(&self.name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                state.pinned.remove(&self.name);
            }
        }
        drop(state);
        if !self.settled {
            self.pins.suspect(user, *hash);
        }
    }
}

/// While it lives the blob cannot be pinned.
#[derive(Debug)]
pub(super) struct Decision {
    pins: Arc<Pins>,
    name: Name,
}

impl Drop for Decision {
    fn drop(&mut self) {
        let again = self.pins.lock().deciding.remove(&self.name);
        self.pins.decided.notify_waiters();
        if again == Some(true) {
            let (user, hash) = &self.name;
            self.pins.suspect(user, *hash);
        }
    }
}

/// A blob that is on disk and stays there at least as long as this lives. Keep it until the
/// document that refers to it is committed: inside of what a write returns, for a write is done
/// even when its caller went away.
#[derive(Debug)]
pub struct PinnedBlob {
    pub(super) pin: Pin,
    pub(super) hash: BlobHash,
    pub(super) size: u64,
}

impl PinnedBlob {
    /// Its name.
    #[must_use]
    pub fn hash(&self) -> BlobHash {
        self.hash
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A document that refers to it is committed.
    pub fn settle(mut self) {
        self.pin.settled = true;
    }
}
