//! The asynchronous side: engines' calls on blocking threads, a few at a time.

use std::sync::Arc;
use std::time::Duration;

use homecore_types::{UserId, limits};
use tokio::sync::Semaphore;

use super::pins::Pins;
use super::slots::Slots;
use super::transfer::{Download, Upload};
use super::{BlobHash, BlobInfo, Blobs};
use crate::error::StoreError;
use crate::room::Room;

/// How much of the machine blobs take.
#[derive(Clone, Debug)]
pub struct BlobOptions {
    /// Engine calls at once, each on a thread.
    pub threads: usize,
    /// Blobs being written.
    pub uploads_max: usize,
    /// The same of one user.
    pub uploads_per_user_max: usize,
    /// Blobs being read.
    pub downloads_max: usize,
    /// The same of one user.
    pub downloads_per_user_max: usize,
    /// One that stood still for this long loses its place where another needs it.
    pub idle: Duration,
    /// Whether there is room for more.
    pub room: Arc<Room>,
}

impl Default for BlobOptions {
    fn default() -> Self {
        Self {
            threads: limits::BLOB_THREADS_MAX,
            uploads_max: limits::UPLOADS_MAX,
            uploads_per_user_max: limits::UPLOADS_PER_USER_MAX,
            downloads_max: limits::DOWNLOADS_MAX,
            downloads_per_user_max: limits::DOWNLOADS_PER_USER_MAX,
            idle: limits::TRANSFER_IDLE,
            room: Arc::default(),
        }
    }
}

/// What is under way, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlobStats {
    /// Blobs being written.
    pub uploads: usize,
    /// Blobs being read.
    pub downloads: usize,
    /// Blobs that were noted and not looked at yet.
    pub suspects: usize,
}

/// All blobs of a core. Cloning is cheap and gives another handle on the same.
#[derive(Clone, Debug)]
pub struct BlobStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    engine: Arc<dyn Blobs>,
    threads: Arc<Semaphore>,
    uploads: Arc<Slots>,
    downloads: Arc<Slots>,
    pins: Arc<Pins>,
    room: Arc<Room>,
}

impl BlobStore {
    /// Over an engine.
    #[must_use]
    pub fn new(engine: Arc<dyn Blobs>, options: &BlobOptions) -> Self {
        Self {
            inner: Arc::new(Inner {
                engine,
                threads: Arc::new(Semaphore::new(options.threads.max(1))),
                uploads: Slots::new(
                    "the number of uploads at once",
                    options.uploads_max,
                    options.uploads_per_user_max,
                    options.idle,
                ),
                downloads: Slots::new(
                    "the number of downloads at once",
                    options.downloads_max,
                    options.downloads_per_user_max,
                    options.idle,
                ),
                pins: Arc::default(),
                room: Arc::clone(&options.room),
            }),
        }
    }

    /// Begins to take a blob in.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many are on their way, [`StoreError::Full`].
    pub fn upload(&self, user: &UserId) -> Result<Upload, StoreError> {
        self.inner.room.ensure()?;
        let slot = self.inner.uploads.take(user)?;
        Ok(Upload::new(self.clone(), user.clone(), slot))
    }

    /// Opens a blob; none if it is not there.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when too many are being read, or of the engine.
    pub async fn download(
        &self,
        user: &UserId,
        hash: BlobHash,
    ) -> Result<Option<Download>, StoreError> {
        let slot = self.inner.downloads.take(user)?;
        let user = user.clone();
        let reader = self.run(move |engine| engine.open(&user, &hash)).await?;
        Ok(reader.map(|reader| Download::new(self.clone(), reader, slot)))
    }

    /// A user's blobs in the order of names, at most `limit`, after `after`.
    ///
    /// # Errors
    /// Of the engine.
    pub async fn list(
        &self,
        user: &UserId,
        after: Option<BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobInfo>, StoreError> {
        let user = user.clone();
        self.run(move |engine| engine.list(&user, after.as_ref(), limit))
            .await
    }

    /// Notes that a document no longer refers to a blob, or may not; see [`BlobStore::free`].
    pub fn suspect(&self, user: &UserId, hash: BlobHash) {
        self.inner.pins.suspect(user, hash);
    }

    /// Takes one of the blobs that were noted.
    #[must_use]
    pub fn next_suspect(&self) -> Option<(UserId, BlobHash)> {
        self.inner.pins.next_suspect()
    }

    /// Returns when blobs were noted since the last time.
    pub async fn suspected(&self) {
        self.inner.pins.suspected.notified().await;
    }

    /// Deletes a blob if no document refers to it; whether it did. `is_referenced` is run when no
    /// upload of the same bytes is under way, and none gets past it before it is decided; it must
    /// see every write that was queued before. A blob that an upload needs is left alone, and is
    /// noted again if that upload comes to nothing.
    ///
    /// # Errors
    /// Of `is_referenced`, or of the engine.
    pub async fn free(
        &self,
        user: &UserId,
        hash: BlobHash,
        is_referenced: impl Future<Output = Result<bool, StoreError>>,
    ) -> Result<bool, StoreError> {
        let Some(decision) = self.inner.pins.decide(user, hash) else {
            return Ok(false);
        };
        if is_referenced.await? {
            return Ok(false);
        }
        let user = user.clone();
        self.run(move |engine| {
            let deleted = engine.delete(&user, &hash);
            drop(decision);
            deleted
        })
        .await
    }

    /// What is under way.
    #[must_use]
    pub fn stats(&self) -> BlobStats {
        BlobStats {
            uploads: self.inner.uploads.taken(),
            downloads: self.inner.downloads.taken(),
            suspects: self.inner.pins.suspects(),
        }
    }

    pub(super) fn engine(&self) -> &dyn Blobs {
        &*self.inner.engine
    }

    pub(super) fn room(&self) -> &Room {
        &self.inner.room
    }

    pub(super) fn pins(&self) -> &Arc<Pins> {
        &self.inner.pins
    }

    /// Runs a call of the engine on a blocking thread. Once begun it is done even if the caller
    /// goes away.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Blobs) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let threads = Arc::clone(&self.inner.threads);
        let permit = threads
            .acquire_owned()
            .await
            .map_err(|_closed| StoreError::Stopped)?;
        let engine = Arc::clone(&self.inner.engine);
        let running = tokio::task::spawn_blocking(move || {
            let done = call(&*engine);
            drop(permit);
            done
        });
        running
            .await
            .map_err(|error| StoreError::engine("working on a blob", error))?
    }
}
