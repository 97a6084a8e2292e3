//! Who waits for a preview, and how many are made at once.
//!
//! Requests for previews of one picture take turns, so that what many ask for at once is made once
//! and found by the others; and so do pictures of one user, so that who wants many at once waits for
//! them and not everybody else. Large pictures are made one at a time, and the next one waits for it
//! beside the benches, not at one. Waiting costs next to nothing, but it is bounded all the same, in all
//! and for each user: a queue that never ends serves nobody. A place is held until the work is done,
//! not until whoever asked for it goes away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use homecore_store::BlobHash;
use homecore_types::{UserId, limits};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::PreviewError;
use super::figures::Counters;

/// Where previews are made.
#[derive(Debug)]
pub(crate) struct Workshop {
    benches: Arc<Semaphore>,
    /// For one large picture.
    large: Arc<Semaphore>,
    queue: Mutex<Queue>,
    sweeping: AtomicBool,
    pub(super) counters: Counters,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: usize,
    users: BTreeMap<UserId, OfUser>,
}

/// What one user waits for.
#[derive(Debug, Default)]
struct OfUser {
    pictures: BTreeMap<BlobHash, Asked>,
    turn: Turn,
}

type Turn = Arc<AsyncMutex<()>>;

/// A picture of which previews are wanted.
#[derive(Debug, Default)]
struct Asked {
    waiting: usize,
    turn: Turn,
}

impl Default for Workshop {
    fn default() -> Self {
        Self {
            benches: Arc::new(Semaphore::new(limits::PREVIEWS_AT_ONCE_MAX)),
            large: Arc::new(Semaphore::new(1)),
            queue: Mutex::default(),
            sweeping: AtomicBool::new(false),
            counters: Counters::default(),
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
        let of_user = queue.users.get(user).map_or(0, |of_user| {
            of_user.pictures.values().map(|asked| asked.waiting).sum()
        });
        if queue.waiting >= limits::PREVIEWS_WAITING_MAX
            || of_user >= limits::PREVIEWS_WAITING_PER_USER_MAX
        {
            return Err(PreviewError::Busy);
        }
        queue.waiting += 1;
        let of_user = queue.users.entry(user.clone()).or_default();
        let turn_of_user = Arc::clone(&of_user.turn);
        let asked = of_user.pictures.entry(hash).or_default();
        asked.waiting += 1;
        let turn = Arc::clone(&asked.turn);
        drop(queue);
        Ok(Place {
            workshop: Arc::clone(self),
            user: user.clone(),
            hash,
            turn,
            turn_of_user,
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
    turn: Turn,
    turn_of_user: Turn,
}

impl Place {
    /// Waits until nobody else is at this picture.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Waits until the user has no other bench, and then for one.
    ///
    /// # Errors
    /// [`PreviewError::Busy`] when there are none any more: the core stops.
    pub(super) async fn bench(self, turn: OwnedMutexGuard<()>) -> Result<Bench, PreviewError> {
        let turn_of_user = Arc::clone(&self.turn_of_user).lock_owned().await;
        Ok(Bench {
            seat: Some(one(&self.workshop.benches).await?),
            large: None,
            _turns: (turn, turn_of_user),
            place: self,
        })
    }
}

async fn one(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, PreviewError> {
    let taken = Arc::clone(of).acquire_owned().await;
    taken.map_err(|_closed| PreviewError::Busy)
}

/// Where one picture is made, free for others when dropped.
#[derive(Debug)]
pub(super) struct Bench {
    seat: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
    _turns: (OwnedMutexGuard<()>, OwnedMutexGuard<()>),
    place: Place,
}

impl Bench {
    /// Whether a large picture may be made here: no other one is.
    pub(super) fn take_large(&mut self) -> bool {
        if self.large.is_none() {
            let large = Arc::clone(&self.place.workshop.large);
            self.large = large.try_acquire_owned().ok();
        }
        self.large.is_some()
    }

    /// Waits until no other large picture is made, while somebody else may use the bench.
    ///
    /// # Errors
    /// As of [`Place::bench`].
    pub(super) async fn wait_for_large(mut self) -> Result<Self, PreviewError> {
        self.seat = None;
        self.large = Some(one(&self.place.workshop.large).await?);
        self.seat = Some(one(&self.place.workshop.benches).await?);
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.workshop.lock();
        queue.waiting = queue.waiting.saturating_sub(1);
        let Some(of_user) = queue.users.get_mut(&self.user) else {
            return;
        };
        if let Some(picture) = of_user.pictures.get_mut(&self.hash) {
            picture.waiting = picture.waiting.saturating_sub(1);
            if picture.waiting == 0 {
                of_user.pictures.remove(&self.hash);
            }
        }
        if of_user.pictures.is_empty() {
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
