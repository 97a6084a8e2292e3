//! One blob on its way in or out, a bounded piece at a time.

use bytes::{Bytes, BytesMut};
use homecore_types::UserId;

use super::pins::PinnedBlob;
use super::slots::Slot;
use super::store::BlobStore;
use super::{BlobReader, Hasher, StagedBlob};
use crate::error::StoreError;

/// Bytes that are gathered before they are written: fewer and longer calls.
const PIECE_BYTES: usize = 256 * 1024;

/// A blob on its way in. Dropped before it is finished, it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    store: BlobStore,
    user: UserId,
    slot: Slot,
    gathered: BytesMut,
    size: u64,
    /// None before the first piece is written, and after a failure.
    work: Option<Work>,
    failed: bool,
}

struct Work {
    staged: Box<dyn StagedBlob>,
    hasher: Hasher,
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.staged.fmt(f)
    }
}

impl Upload {
    pub(super) fn new(store: BlobStore, user: UserId, slot: Slot) -> Self {
        Self {
            store,
            user,
            slot,
            gathered: BytesMut::new(),
            size: 0,
            work: None,
            failed: false,
        }
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes at the end. When this returns at most a piece of them is in memory.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], [`StoreError::Full`], or of the engine.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let room = PIECE_BYTES.saturating_sub(self.gathered.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.gathered.extend_from_slice(now);
            self.size = self
                .size
                .saturating_add(u64::try_from(now.len()).unwrap_or(u64::MAX));
            bytes = later;
            if self.gathered.len() >= PIECE_BYTES {
                self.write_gathered().await?;
            }
        }
        Ok(())
    }

    /// Makes it a blob of its user, on disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], [`StoreError::Full`], or of the engine.
    pub async fn finish(mut self) -> Result<PinnedBlob, StoreError> {
        self.write_gathered().await?;
        let Some(Work { staged, hasher }) = self.work.take() else {
            return Err(already_failed());
        };
        let hash = hasher.finish();
        let pin = self.store.pins().pin(&self.user, hash).await;
        // The pin goes along, so that nothing is deleted while a caller that went away publishes.
        let pin = self
            .store
            .run(move |_| staged.publish(&hash).map(|()| pin))
            .await?;
        Ok(PinnedBlob {
            pin,
            hash,
            size: self.size,
        })
    }

    async fn write_gathered(&mut self) -> Result<(), StoreError> {
        if self.failed {
            return Err(already_failed());
        }
        self.slot.go_on()?;
        self.store.room().ensure()?;
        let piece = self.gathered.split().freeze();
        let (work, user) = (self.work.take(), self.user.clone());
        // Until it is known to have gone well; a caller that goes away in between drops it anyway.
        self.failed = true;
        let written = self.store.run(move |engine| {
            let mut work = match work {
                Some(work) => work,
                None => Work {
                    staged: engine.stage(&user)?,
                    hasher: Hasher::default(),
                },
            };
            work.hasher.update(&piece);
            work.staged.write(&piece)?;
            Ok(work)
        });
        self.work = Some(written.await?);
        self.failed = false;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(work) = self.work.take() else { return };
        // What was staged is removed from disk, which is no work for an async worker.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn_blocking(move || drop(work)));
        }
    }
}

fn already_failed() -> StoreError {
    StoreError::engine("going on with a blob", "an earlier part of it failed")
}

/// A blob on its way out.
#[derive(Debug)]
pub struct Download {
    store: BlobStore,
    /// None while it is being read from, and after a failure.
    reader: Option<Box<dyn BlobReader>>,
    size: u64,
    slot: Slot,
}

impl Download {
    pub(super) fn new(store: BlobStore, reader: Box<dyn BlobReader>, slot: Slot) -> Self {
        Self {
            store,
            size: reader.size(),
            reader: Some(reader),
            slot,
        }
    }

    /// Bytes of the whole.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes from `offset` on: `most`, fewer only at the end.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if it stood still for so long that another has its place; or of the
    /// engine.
    pub async fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        self.slot.go_on()?;
        let Some(mut reader) = self.reader.take() else {
            return Err(StoreError::engine(
                "going on with a blob",
                "an earlier read of it failed",
            ));
        };
        let (bytes, reader) = self
            .store
            .run(move |_| {
                let bytes = reader.read_at(offset, most)?;
                Ok((bytes, reader))
            })
            .await?;
        self.reader = Some(reader);
        Ok(bytes)
    }
}
