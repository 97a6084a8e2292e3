//! Whether anything of a user changed since: a number that can be asked for without reading.
//!
//! Users share numbers, by a hash of their ids, so that there are few. Sharing costs whoever keeps
//! something a needless look, never a stale one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use homecore_types::UserId;

/// Numbers.
const STAMPS: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Stamps {
    numbers: Box<[AtomicU64]>,
    spread: RandomState,
}

impl Default for Stamps {
    fn default() -> Self {
        Self {
            numbers: (0..STAMPS).map(|_| AtomicU64::new(0)).collect(),
            spread: RandomState::new(),
        }
    }
}

impl Stamps {
    /// The user's present number.
    pub(super) fn of(&self, user: &UserId) -> u64 {
        self.number(user).load(Ordering::SeqCst)
    }

    /// To be called when a change is visible, and before anybody is told that it was made.
    pub(super) fn change(&self, user: &UserId) {
        self.number(user).fetch_add(1, Ordering::SeqCst);
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a remainder of the length"
    )]
    fn number(&self, user: &UserId) -> &AtomicU64 {
        let hash = self.spread.hash_one(user);
        &self.numbers[hash as usize % STAMPS]
    }
}
