//! The core-wide journal: every user's commits in one append-only log, so that one disk sync
//! acknowledges everyone who was waiting.

use homecore_types::UserId;
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

/// Place in a core's journal: grows, never re-used, 0 before the first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(pub u64);

/// What [`Journal::replay`] calls with each commit.
pub type EachRow<'a> = dyn FnMut(Position, &UserId, &[u8]) -> Result<(), StoreError> + 'a;

/// An append-only, durable log. Calls block; they are made on the store's own threads.
pub trait Journal: Send + Sync + std::fmt::Debug + 'static {
    /// Appends encoded commits and returns the position of the last one, once all of them are on
    /// disk. They get consecutive positions. Callers at the same time share a sync.
    ///
    /// # Errors
    /// None of them is in the journal, or it is unknown and the journal is poisoned.
    fn append(&self, commits: Vec<(UserId, Vec<u8>)>) -> Result<Position, StoreError>;

    /// Calls `each` with every commit after `from`, in order.
    ///
    /// # Errors
    /// Of reading, or what `each` returned.
    fn replay(&self, from: Position, each: &mut EachRow<'_>) -> Result<(), StoreError>;

    /// Forgets commits up to and with `position`: the users' files hold them durably.
    ///
    /// # Errors
    /// Of the disk; nothing needed is lost then.
    fn forget_through(&self, position: Position) -> Result<(), StoreError>;

    /// The last position that is on disk.
    fn last(&self) -> Position;

    /// Bytes that the journal takes on disk, about.
    ///
    /// # Errors
    /// Of the disk.
    fn size_bytes(&self) -> Result<u64, StoreError>;
}
