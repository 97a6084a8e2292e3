//! Blobs in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use homecore_types::{Clock, Millis, UserId};

use crate::blob::{BlobHash, BlobInfo, BlobReader, Blobs, StagedBlob};
use crate::error::StoreError;

/// Users' blobs in memory. It does not know who is a user.
#[derive(Clone, Debug)]
pub struct MemoryBlobs {
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<Kept>>,
}

type Kept = BTreeMap<(UserId, BlobHash), (Bytes, Millis)>;

impl MemoryBlobs {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            kept: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs for MemoryBlobs {
    fn stage(&self, user: &UserId) -> Result<Box<dyn StagedBlob>, StoreError> {
        Ok(Box::new(Staged {
            blobs: self.clone(),
            user: user.clone(),
            bytes: Vec::new(),
        }))
    }

    fn open(
        &self,
        user: &UserId,
        hash: &BlobHash,
    ) -> Result<Option<Box<dyn BlobReader>>, StoreError> {
        let found = self.lock().get(&(user.clone(), *hash)).cloned();
        Ok(found.map(|(bytes, _)| Box::new(Open(bytes)) as Box<dyn BlobReader>))
    }

    fn delete(&self, user: &UserId, hash: &BlobHash) -> Result<bool, StoreError> {
        Ok(self.lock().remove(&(user.clone(), *hash)).is_some())
    }

    fn list(
        &self,
        user: &UserId,
        after: Option<&BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobInfo>, StoreError> {
        Ok(self
            .lock()
            .iter()
            .filter(|((of, hash), _)| of == user && after.is_none_or(|after| hash > after))
            .take(limit)
            .map(|((_, hash), (bytes, at))| BlobInfo {
                hash: *hash,
                size: length(bytes),
                written_at: *at,
            })
            .collect())
    }
}

#[derive(Debug)]
struct Staged {
    blobs: MemoryBlobs,
    user: UserId,
    bytes: Vec<u8>,
}

impl StagedBlob for Staged {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn publish(self: Box<Self>, hash: &BlobHash) -> Result<(), StoreError> {
        let now = self.blobs.clock.now();
        let kept = (Bytes::from(self.bytes), now);
        self.blobs.lock().insert((self.user, *hash), kept);
        Ok(())
    }
}

#[derive(Debug)]
struct Open(Bytes);

impl BlobReader for Open {
    fn size(&self) -> u64 {
        length(&self.0)
    }

    fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes, StoreError> {
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.0.len());
        let to = from.saturating_add(most).min(self.0.len());
        Ok(self.0.slice(from..to))
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
