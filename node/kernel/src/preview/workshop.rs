//! Who waits for a preview, and how many are made at once.
//!
//! Requests for previews of one picture take turns, so that what many ask for at once is made once
//! and found by the others. Waiting costs next to nothing, but it is bounded all the same, in all and
//! for each user: a queue that never ends serves nobody. A place is held until the work is done, not
//! until whoever asked for it goes away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homecore_store::BlobHash;
use homecore_types::{UserId, limits};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::PreviewError;

/// Where previews are made.
#[derive(Debug)]
pub(crate) struct Workshop {
    benches: Arc<Semaphore>,
    queue: Mutex<Queue>,
    alone: Mutex<()>,
    sweeping: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    users: BTreeMap<UserId, BTreeMap<BlobHash, Asked>>,
}

/// A picture of which previews are wanted.
#[derive(Debug, Default)]
struct Asked {
    waiting: usize,
    turn: Arc<AsyncMutex<()>>,
}

impl Default for Workshop {
    fn default() -> Self {
        Self {
            benches: Arc::new(Semaphore::new(limits::PREVIEWS_AT_ONCE_MAX)),
            queue: Mutex::default(),
            alone: Mutex::default(),
            sweeping: AtomicBool::new(false),
        }
    }
}

impl Workshop {
    /// Takes a place in the queue.
    ///
    /// # Errors
    /// [`PreviewError::Busy`] if there is none.
    pub(super) fn enter(
        self: &Arc<Self>,
        user: &UserId,
        hash: BlobHash,
    ) -> Result<Place, PreviewError> {
        let mut queue = self.lock();
        let of_user = queue
            .users
            .get(user)
            .map_or(0, |asked| asked.values().map(|asked| asked.waiting).sum());
        if queue.waiting >= limits::PREVIEWS_WAITING_MAX
            || of_user >= limits::PREVIEWS_WAITING_PER_USER_MAX
        {
            return Err(PreviewError::Busy);
        }
        queue.waiting += 1;
        let asked = queue.users.entry(user.clone()).or_default();
        let asked = asked.entry(hash).or_default();
        asked.waiting += 1;
        let turn = Arc::clone(&asked.turn);
        drop(queue);
        Ok(Place {
            workshop: Arc::clone(self),
            user: user.clone(),
            hash,
            turn,
        })
    }

    /// Begins a sweep; none while another is under way.
    pub(super) fn sweep(self: &Arc<Self>) -> Option<Sweeping> {
        let begun = !self.sweeping.swap(true, Ordering::SeqCst);
        begun.then(|| Sweeping(Arc::clone(self)))
    }

    /// Requests that wait or are worked on.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.waiting, queue.users.len())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    workshop: Arc<Workshop>,
    user: UserId,
    hash: BlobHash,
    turn: Arc<AsyncMutex<()>>,
}

impl Place {
    /// Waits until nobody else is at this picture.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Waits for a bench.
    ///
    /// # Errors
    /// [`PreviewError::Busy`] when there are none any more: the core stops.
    pub(super) async fn bench(&self) -> Result<OwnedSemaphorePermit, PreviewError> {
        let benches = Arc::clone(&self.workshop.benches);
        let bench = benches.acquire_owned().await;
        bench.map_err(|_closed| PreviewError::Busy)
    }

    /// Held by the thread that has a large picture in memory.
    pub(super) fn alone(&self) -> &Mutex<()> {
        &self.workshop.alone
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.workshop.lock();
        queue.waiting = queue.waiting.saturating_sub(1);
        let Some(asked) = queue.users.get_mut(&self.user) else {
            return;
        };
        if let Some(picture) = asked.get_mut(&self.hash) {
            picture.waiting = picture.waiting.saturating_sub(1);
            if picture.waiting == 0 {
                asked.remove(&self.hash);
            }
        }
        if asked.is_empty() {
            queue.users.remove(&self.user);
        }
    }
}

/// A sweep under way.
#[derive(Debug)]
pub(super) struct Sweeping(Arc<Workshop>);

impl Drop for Sweeping {
    fn drop(&mut self) {
        self.0.sweeping.store(false, Ordering::SeqCst);
    }
}
