//! Whether there is room for what users write.
//!
//! Whoever looks at the disk says so here; the store asks before it begins. It refuses early, while there
//! still is some room, so that what was begun can be ended. The engines tell of a disk that is full all
//! the same with the same error ([`StoreError::Full`]).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::StoreError;

/// Shared by the store, its blobs, and whoever looks at the disk. There is room to begin with.
#[derive(Debug, Default)]
pub struct Room {
    lacking: AtomicBool,
    refused: AtomicU64,
}

impl Room {
    /// Says whether there is too little; whether that is news.
    pub fn set_lacking(&self, lacking: bool) -> bool {
        self.lacking.swap(lacking, Ordering::AcqRel) != lacking
    }

    /// Whether writes are refused.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.lacking.load(Ordering::Acquire)
    }

    /// Writes that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Refuses a write if there is too little.
    pub(crate) fn ensure(&self) -> Result<(), StoreError> {
        if !self.is_lacking() {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Full {
            doing: "writing".to_owned(),
        })
    }
}
