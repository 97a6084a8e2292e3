//! What was made of a blob and can be made again: a cache beside the blobs, a file each.
//!
//! Nothing refers to it and nothing is lost with it. It goes with its blob, with its user, and when
//! it was not used for some time. It is never part of what a user has: not listed, not counted, not
//! exported.

use std::fmt;

use bytes::Bytes;
use homecore_types::{Millis, UserId};

use super::{BlobHash, BlobStore};
use crate::error::StoreError;

/// What was made of which blob.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DerivedName {
    of: BlobHash,
    what: String,
}

impl DerivedName {
    /// A name; none unless `what` is 1 to 40 lower-case letters, digits and dashes.
    #[must_use]
    pub fn new(of: BlobHash, what: &str) -> Option<Self> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let good = (1..=40).contains(&what.len()) && what.bytes().all(plain);
        good.then(|| Self {
            of,
            what: what.to_owned(),
        })
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (hash, what) = text.split_once('.')?;
        Self::new(BlobHash::parse(hash)?, what)
    }

    /// The blob.
    #[must_use]
    pub fn of(&self) -> &BlobHash {
        &self.of
    }
}

impl fmt::Display for DerivedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.of, self.what)
    }
}

impl fmt::Debug for DerivedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part of what was made of a user's blobs, so that it can be looked through in short steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard(pub u8);

impl From<&BlobHash> for Shard {
    fn from(hash: &BlobHash) -> Self {
        let [first, ..] = hash.as_bytes();
        Self(*first)
    }
}

/// What a look through a [`Shard`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deleted.
    pub removed: u64,
    /// Bytes that are left.
    pub kept_bytes: u64,
}

/// Where things that were made of blobs are. All calls block. [`super::Blobs::delete`] deletes what was
/// made of a blob, too.
pub trait Derived {
    /// The bytes, if they are there; they count as used at `now`, give or take an hour.
    ///
    /// # Errors
    /// Of the disk.
    fn find_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        now: Millis,
    ) -> Result<Option<Bytes>, StoreError>;

    /// Keeps bytes, all of them or none, in place of what had the name. Nothing is kept where the
    /// user or the blob is gone, be it meanwhile.
    ///
    /// # Errors
    /// Of the disk.
    fn keep_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), StoreError>;

    /// The parts that may have something in them.
    ///
    /// # Errors
    /// Of the disk.
    fn derived_shards(&self, user: &UserId) -> Result<Vec<Shard>, StoreError>;

    /// Deletes what was last used before `unused_since`, and what was made of blobs that are gone.
    ///
    /// # Errors
    /// Of the disk.
    fn sweep_derived(
        &self,
        user: &UserId,
        shard: Shard,
        unused_since: Millis,
    ) -> Result<Swept, StoreError>;
}

impl BlobStore {
    /// See [`Derived::find_derived`].
    ///
    /// # Errors
    /// As there.
    pub async fn find_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        now: Millis,
    ) -> Result<Option<Bytes>, StoreError> {
        let (user, name) = (user.clone(), name.clone());
        self.run(move |engine| engine.find_derived(&user, &name, now))
            .await
    }

    /// See [`Derived::keep_derived`]. This one blocks: it is for the thread that made the bytes, so that
    /// they are kept even if whoever asked for them went away.
    ///
    /// # Errors
    /// As there.
    pub fn keep_derived(
        &self,
        user: &UserId,
        name: &DerivedName,
        bytes: &[u8],
        now: Millis,
    ) -> Result<(), StoreError> {
        self.room().ensure()?;
        self.engine().keep_derived(user, name, bytes, now)
    }

    /// See [`Derived::derived_shards`].
    ///
    /// # Errors
    /// As there.
    pub async fn derived_shards(&self, user: &UserId) -> Result<Vec<Shard>, StoreError> {
        let user = user.clone();
        self.run(move |engine| engine.derived_shards(&user)).await
    }

    /// See [`Derived::sweep_derived`].
    ///
    /// # Errors
    /// As there.
    pub async fn sweep_derived(
        &self,
        user: &UserId,
        shard: Shard,
        unused_since: Millis,
    ) -> Result<Swept, StoreError> {
        let user = user.clone();
        self.run(move |engine| engine.sweep_derived(&user, shard, unused_since))
            .await
    }
}
