//! Whether anything of a user changed since: numbers that can be asked for without reading. One counts
//! every change; one those of what a token is checked against, which is asked for with each request
//! and changes seldom.
//!
//! Users share numbers, by a hash of their ids, so that there are few. Sharing costs whoever keeps
//! something a needless look, never a stale one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use homecore_types::UserId;

use crate::document::Kind;

/// Numbers of each sort.
const STAMPS: usize = 4_096;

/// See the module.
#[derive(Debug)]
pub(super) struct Stamps {
    numbers: Box<[Numbers]>,
    spread: RandomState,
}

#[derive(Debug, Default)]
struct Numbers {
    all: AtomicU64,
    credentials: AtomicU64,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// Nothing that a token is checked against.
    NoCredentials,
    /// Anything.
    Anything,
}

impl Changed {
    /// A change of a document of this kind.
    pub(super) fn by(kind: Kind) -> Self {
        match kind {
            Kind::Access | Kind::Session => Self::Anything,
            _ => Self::NoCredentials,
        }
    }

    /// Both changes.
    pub(super) fn and(self, other: Self) -> Self {
        if self == Self::NoCredentials {
            other
        } else {
            self
        }
    }
}

impl Default for Stamps {
    fn default() -> Self {
        Self {
            numbers: (0..STAMPS).map(|_| Numbers::default()).collect(),
            spread: RandomState::new(),
        }
    }
}

impl Stamps {
    /// The user's present number.
    pub(super) fn of(&self, user: &UserId) -> u64 {
        self.numbers(user).all.load(Ordering::SeqCst)
    }

    /// The same of accesses and sessions alone.
    pub(super) fn of_credentials(&self, user: &UserId) -> u64 {
        self.numbers(user).credentials.load(Ordering::SeqCst)
    }

    /// To be called when a change is visible, and before anybody is told that it was made.
    pub(super) fn change(&self, user: &UserId, changed: Changed) {
        let numbers = self.numbers(user);
        numbers.all.fetch_add(1, Ordering::SeqCst);
        if changed == Changed::Anything {
            numbers.credentials.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "a remainder of the length"
    )]
    fn numbers(&self, user: &UserId) -> &Numbers {
        let hash = self.spread.hash_one(user);
        &self.numbers[hash as usize % STAMPS]
    }
}
