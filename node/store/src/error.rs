//! What can go wrong below the kernel.

use std::io;

use homecore_types::UserId;
use thiserror::Error;

use crate::document::{Kind, Rev};

/// A failure of the store. None of them leaves a write half done.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The user has no data on this core.
    #[error("user {user} has no data on this core")]
    UnknownUser {
        /// Whom.
        user: UserId,
    },
    /// The user has data on this core already.
    #[error("user {user} has data on this core already")]
    UserExists {
        /// Whom.
        user: UserId,
    },
    /// Too much is queued; it was not done and may be tried again.
    #[error("the store is busy: {what} is full")]
    Busy {
        /// Which queue.
        what: &'static str,
    },
    /// The disk has no room for it; it was not done and may be tried again when there is.
    #[error("{doing}: the disk has no room")]
    Full {
        /// What was attempted.
        doing: String,
    },
    /// The store is stopping; it was not done.
    #[error("the store is stopping")]
    Stopped,
    /// What was read cannot be what was written.
    #[error("stored data is damaged: {what}")]
    Corrupted {
        /// Where and what.
        what: String,
    },
    /// A document, or a kept version of one, is not what was written. Everything else can be read.
    #[error("stored data is damaged: {place}: {kind:?} {id} is not what it was")]
    Damaged {
        /// Whose, for the operator.
        place: String,
        /// What it is.
        kind: Kind,
        /// Which.
        id: String,
        /// Which version.
        rev: Rev,
    },
    /// The files were written by a version with another format.
    #[error("{what} has format {found}; this version reads up to {known}: use a newer homecore")]
    UnknownFormat {
        /// Which file.
        what: String,
        /// Its format.
        found: u64,
        /// The newest that is known here.
        known: u64,
    },
    /// The engine or the disk failed.
    #[error("{doing} failed")]
    Engine {
        /// What was attempted, for which user or file.
        doing: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier failure makes it unsafe to go on writing; the core must be restarted.
    #[error("the store stopped writing after an earlier failure: {reason}")]
    Poisoned {
        /// That failure.
        reason: String,
    },
}

impl StoreError {
    /// Wraps a failure of an engine with what it was doing.
    pub fn engine(
        doing: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Engine {
            doing: doing.into(),
            source: source.into(),
        }
    }

    /// Wraps a failure of the file system with what was being done.
    pub fn file_system(doing: impl Into<String>, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                doing: doing.into(),
            },
            _ => Self::engine(doing, error),
        }
    }
}
