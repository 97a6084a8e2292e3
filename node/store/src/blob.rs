//! A user's blobs: bytes named by what they are, beside the user's documents.
//!
//! Who refers to a blob stands in the documents alone (an index entry of the kernel's), so no count
//! can drift. The order keeps it true through a crash: a blob is on disk before the document that
//! refers to it is written, and is deleted after the last such document was. What a crash leaves in
//! between is a blob that nobody refers to; it is found by listing and deleted.
//!
//! [`Blobs`] is what an engine does; [`BlobStore`] brings it to blocking threads, bounds it, and
//! keeps a deletion from passing an upload of the same bytes.

use std::fmt;

use aws_lc_rs::digest;
use bytes::Bytes;
use homecore_types::{Millis, UserId};

use crate::error::StoreError;

mod derived;
mod pins;
mod slots;
mod store;
#[cfg(test)]
mod tests;
mod transfer;

pub use derived::{Derived, DerivedName, Shard, Swept};
pub use pins::PinnedBlob;
pub use store::{BlobOptions, BlobStats, BlobStore};
pub use transfer::{Download, Upload};

/// The name of a blob: SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash([u8; 32]);

impl BlobHash {
    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// A name given as bytes; none if there are not 32.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads lower-case hex, as [`fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let mut hash = [0_u8; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (high, low) = pair.split_first_chunk::<1>()?;
            *byte = digit(high[0])? << 4 | digit(*low.first()?)?;
        }
        Some(Self(hash))
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names bytes that come piece by piece.
pub struct Hasher(digest::Context);

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }
}

impl Hasher {
    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The name of all pieces.
    #[must_use]
    pub fn finish(self) -> BlobHash {
        let mut hash = [0_u8; 32];
        for (byte, digest) in hash.iter_mut().zip(self.0.finish().as_ref()) {
            *byte = *digest;
        }
        BlobHash(hash)
    }
}

/// A blob that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its name.
    pub hash: BlobHash,
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub written_at: Millis,
}

/// Where users' blobs are. The suite in [`crate::suite`] says it as tests. All calls block.
///
/// A user's blobs live and go with the user: removing a user is the matter of
/// [`crate::Engine::remove`], and where blobs are kept elsewhere, of a sweep of what is there.
pub trait Blobs: Derived + Send + Sync + fmt::Debug + 'static {
    /// Begins a blob that nobody sees before it is published. Dropped, it leaves nothing; what a
    /// crash leaves of it is gone after the next start.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`] where that can be told, or of the disk.
    fn stage(&self, user: &UserId) -> Result<Box<dyn StagedBlob>, StoreError>;

    /// Opens a blob. What was opened stays readable though the blob is deleted meanwhile.
    ///
    /// # Errors
    /// Of the disk.
    fn open(
        &self,
        user: &UserId,
        hash: &BlobHash,
    ) -> Result<Option<Box<dyn BlobReader>>, StoreError>;

    /// Deletes a blob and what was made of it; whether it was there. A crash may bring it back.
    ///
    /// # Errors
    /// Of the disk.
    fn delete(&self, user: &UserId, hash: &BlobHash) -> Result<bool, StoreError>;

    /// A user's blobs in the order of names, at most `limit`, after `after`.
    ///
    /// # Errors
    /// Of the disk.
    fn list(
        &self,
        user: &UserId,
        after: Option<&BlobHash>,
        limit: usize,
    ) -> Result<Vec<BlobInfo>, StoreError>;
}

/// A blob on its way in.
pub trait StagedBlob: Send + fmt::Debug {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// Of the disk; it can only be dropped then.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// Gives it its name, which the caller made of the very bytes. When this returns it is there,
    /// and on disk; a crash before leaves all of it or nothing. One of the same name that is there
    /// already is replaced by the same bytes.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], or of the disk.
    fn publish(self: Box<Self>, hash: &BlobHash) -> Result<(), StoreError>;
}

/// An open blob.
pub trait BlobReader: Send + fmt::Debug {
    /// Its bytes.
    fn size(&self) -> u64;

    /// Bytes from `offset` on: `most`, fewer only at the end, or where that is more than the engine
    /// takes into memory at once (4 MiB and up).
    ///
    /// # Errors
    /// Of the disk.
    fn read_at(&mut self, offset: u64, most: usize) -> Result<Bytes, StoreError>;
}
