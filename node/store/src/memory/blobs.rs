//! Blobs in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use homecore_types::{Clock, Millis, UserId};

use crate::blob::{
    BlobHash, BlobInfo, BlobReader, Blobs, Derived, DerivedName, Shard, StagedBlob, Swept,
};
use crate::error::StoreError;

/// Users' blobs in memory. It does not know who is a user.
#[derive(Clone, Debug)]
pub struct MemoryBlobs {
    clock: Arc<dyn Clock>,
    kept: Arc<Mutex<Kept>>,
    derived: Arc<Mutex<KeptDerived>>,
}

type Kept = BTreeMap<(UserId, BlobHash), (Bytes, Millis)>;
/// What was made of blobs, and when it was last used.
type KeptDerived = BTreeMap<(UserId, DerivedName), (Bytes, Millis)>;

impl MemoryBlobs {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            kept: Arc::default(),
            derived: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_derived(&self) -> MutexGuard<'_, KeptDerived> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
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
        let removed = self.lock().remove(&(user.clone(), *hash)).is_some();
        self.lock_derived()
            .retain(|(of, name), _| of != user || name.of() != hash);
        Ok(removed)
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

impl Derived for MemoryBlobs {
    fn find_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        now: Millis,
    ) -> Result<Option<Bytes>, StoreError> {
        let mut derived = self.lock_derived();
        let found = derived.get_mut(&(user.clone(), name.clone()));
        Ok(found.map(|(bytes, used_at)| {
            *used_at = now;
            bytes.clone()
        }))
    }

    fn keep_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), StoreError> {
        let blobs = self.lock();
        if blobs.contains_key(&(user.clone(), *name.of())) {
            let kept = (Bytes::copy_from_slice(bytes), now);
            self.lock_derived()
                .insert((user.clone(), name.clone()), kept);
        }
        Ok(())
    }

    fn derived_shards(&self, user: &UserId) -> Result<Vec<Shard>, StoreError> {
        let derived = self.lock_derived();
        let of_user = derived.keys().filter(|(of, _)| of == user);
        let mut shards: Vec<Shard> = of_user.map(|(_, name)| Shard::from(name.of())).collect();
        shards.dedup();
        Ok(shards)
    }

    fn sweep_derived(
        &self,
        user: &UserId,
        shard: Shard,
        unused_since: Millis,
    ) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        self.lock_derived().retain(|(of, name), (bytes, used_at)| {
            if of != user || Shard::from(name.of()) != shard {
                return true;
            }
            let keep = *used_at >= unused_since;
            if keep {
                swept.kept_bytes += length(bytes);
            } else {
                swept.removed += 1;
            }
            keep
        });
        Ok(swept)
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
