//! The store under the state machine: ordered bytes in key spaces, and nothing else.
//!
//! An engine is a view of the truth, which is the Raft log and the newest snapshot file. So the trait
//! asks for little: read, scan, change many keys at once, empty, close. One thread owns an engine; it
//! needs no locks and no concurrent transactions. What every engine must do is in `suite`.

pub mod memory;
pub mod redb;
pub mod sled;
#[cfg(test)]
pub(crate) mod suite;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::files::FileError;
use crate::keys::Space;

/// Key and value as stored.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A scan stops when it holds this many bytes, however many items were asked for.
pub const SCAN_BYTES_MAX: usize = 1024 * 1024;

/// Why an engine failed. Never a reason to go on: the owner stops, and the view is made anew.
#[derive(Debug, Error)]
pub enum EngineError {
    /// sled failed.
    #[error("sled could not {doing}")]
    Sled {
        /// What.
        doing: &'static str,
        /// Why.
        #[source]
        source: ::sled::Error,
    },
    /// redb failed.
    #[error("redb could not {doing}")]
    Redb {
        /// What.
        doing: &'static str,
        /// Why.
        #[source]
        source: Box<::redb::Error>,
    },
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value is not what was written.
    #[error("{} is damaged: a value in {} is not what was written", path.display(), space.name())]
    Changed {
        /// Which file.
        path: PathBuf,
        /// In which space.
        space: Space,
    },
    /// An earlier failure left nothing to work with.
    #[error("the engine is closed after an earlier failure")]
    Closed,
}

/// Changes that take effect together: key → new value, or none to delete it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<Space, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, space: Space, key: Vec<u8>, value: Vec<u8>) {
        self.changes
            .entry(space)
            .or_default()
            .insert(key, Some(value));
    }

    /// Deletes a key; it need not be there.
    pub fn delete(&mut self, space: Space, key: Vec<u8>) {
        self.changes.entry(space).or_default().insert(key, None);
    }

    /// What this batch does to a key: none, if nothing.
    #[must_use]
    pub fn change(&self, space: Space, key: &[u8]) -> Option<Option<&[u8]>> {
        Some(self.changes.get(&space)?.get(key)?.as_deref())
    }

    /// The changes of one space, in the order of keys.
    pub fn space(&self, space: Space) -> Option<&BTreeMap<Vec<u8>, Option<Vec<u8>>>> {
        self.changes.get(&space)
    }

    /// Every change, in the order of spaces and keys.
    pub fn iter(&self) -> impl Iterator<Item = (Space, &BTreeMap<Vec<u8>, Option<Vec<u8>>>)> {
        self.changes
            .iter()
            .map(|(space, changes)| (*space, changes))
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// An ordered store, owned by one thread.
pub trait Engine: fmt::Debug + Send + 'static {
    /// The value of a key.
    ///
    /// # Errors
    /// When the engine fails; so everywhere below.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError>;

    /// Up to `limit` items (at least 1) behind a key, in the order of keys. Fewer may come, so as not
    /// to gather more than [`SCAN_BYTES_MAX`]; none come only at the end of the space.
    ///
    /// # Errors
    /// See [`Engine::get`].
    fn scan(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError>;

    /// Makes all changes or none. They need not be on disk when it returns.
    ///
    /// # Errors
    /// See [`Engine::get`]. Whether the changes took effect is then unknown.
    fn commit(&mut self, batch: Batch) -> Result<(), EngineError>;

    /// Puts everything committed so far on disk, as far as the engine can.
    ///
    /// # Errors
    /// See [`Engine::get`].
    fn sync(&mut self) -> Result<(), EngineError>;

    /// Deletes everything.
    ///
    /// # Errors
    /// See [`Engine::get`].
    fn clear(&mut self) -> Result<(), EngineError>;

    /// Puts everything on disk and closes. After it the files may be trusted.
    ///
    /// # Errors
    /// See [`Engine::get`].
    fn close(self: Box<Self>) -> Result<(), EngineError>;

    /// Whether after a crash it opens with a whole state of some earlier commit. If not, it is only
    /// trusted after [`Engine::close`].
    fn crash_safe(&self) -> bool;

    /// Bytes on disk (or in memory, if that is where it is), roughly.
    ///
    /// # Errors
    /// See [`Engine::get`].
    fn size_bytes(&self) -> Result<u64, EngineError>;
}

/// Which engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// sled 0.34.
    #[default]
    Sled,
    /// redb 4.
    Redb,
    /// Nothing on disk: made anew from snapshot and log at each start.
    Memory,
}

impl EngineKind {
    /// The name in configuration and in folder names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Redb => "redb",
            Self::Memory => "memory",
        }
    }

    /// The engine of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Sled, Self::Redb, Self::Memory]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// What [`Engine::crash_safe`] says of its engines, before one is opened.
    #[must_use]
    pub fn crash_safe(self) -> bool {
        match self {
            Self::Redb => true,
            Self::Sled | Self::Memory => false,
        }
    }

    /// Opens an engine in a folder that exists, empty or as an engine of this kind left it.
    ///
    /// # Errors
    /// When the engine cannot read what is there.
    pub fn open(self, dir: &Path) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match self {
            Self::Sled => Box::new(sled::Sled::open(dir)?),
            Self::Redb => Box::new(redb::Redb::open(dir)?),
            Self::Memory => Box::new(memory::Memory::default()),
        })
    }
}

/// Collects a scan up to its bounds.
fn collect<E>(items: impl Iterator<Item = Result<Pair, E>>, limit: usize) -> Result<Vec<Pair>, E> {
    let mut found = Vec::new();
    let mut bytes = 0_usize;
    for item in items.take(limit.max(1)) {
        let (key, value) = item?;
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        found.push((key, value));
        if bytes >= SCAN_BYTES_MAX {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::EngineKind;
    use super::suite;

    #[test]
    fn memory_passes_the_suite() {
        suite::run(EngineKind::Memory);
    }

    #[test]
    fn redb_passes_the_suite() {
        suite::run(EngineKind::Redb);
    }

    #[test]
    fn sled_passes_the_suite() {
        suite::run(EngineKind::Sled);
    }

    #[test]
    fn names_come_back() {
        for kind in [EngineKind::Sled, EngineKind::Redb, EngineKind::Memory] {
            assert_eq!(EngineKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(EngineKind::from_name("rocksdb"), None);
    }
}
