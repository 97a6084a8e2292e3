//! Whether anything of a user changed since: numbers that can be asked for without reading. One counts
//! every change; one those of what a token is checked against, which is asked for with each request
//! and changes seldom; two those of what reads of events show, when they begin and when they end.
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
    content_begun: AtomicU64,
    content_ended: AtomicU64,
}

/// What changes, beside what every change counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Something that a token is checked against.
    credentials: bool,
    /// Something that reads of events show.
    content: bool,
}

impl Changed {
    /// Whatever there is.
    pub(super) const ANYTHING: Self = Self {
        credentials: true,
        content: true,
    };

    /// A change of a document of this kind.
    pub(super) fn by(kind: Kind) -> Self {
        Self {
            credentials: matches!(kind, Kind::Access | Kind::Session),
            content: matches!(kind, Kind::Account | Kind::Stream | Kind::Event),
        }
    }

    /// Both changes.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            credentials: self.credentials || other.credentials,
            content: self.content || other.content,
        }
    }
}

/// A change that is being made visible; it counts as made when this is dropped, which is to be before
/// anybody is told of it.
#[derive(Debug)]
#[must_use]
pub(super) struct Changing<'a> {
    numbers: &'a Numbers,
    changed: Changed,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.numbers.all.fetch_add(1, Ordering::SeqCst);
        if self.changed.credentials {
            self.numbers.credentials.fetch_add(1, Ordering::SeqCst);
        }
        if self.changed.content {
            self.numbers.content_ended.fetch_add(1, Ordering::SeqCst);
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

    /// The number of what reads of events show; none while that is changing. As long as it is the same,
    /// nobody can have seen anything else: who reads between what two such numbers are asked for, and
    /// gets the same, has what is there now.
    pub(super) fn of_content(&self, user: &UserId) -> Option<u64> {
        let numbers = self.numbers(user);
        // In this order: where they are equal, nothing was on the way when the second was looked at.
        let ended = numbers.content_ended.load(Ordering::SeqCst);
        let begun = numbers.content_begun.load(Ordering::SeqCst);
        (begun == ended).then_some(ended)
    }

    /// To be called before a change becomes visible.
    pub(super) fn begin(&self, user: &UserId, changed: Changed) -> Changing<'_> {
        let numbers = self.numbers(user);
        if changed.content {
            numbers.content_begun.fetch_add(1, Ordering::SeqCst);
        }
        Changing { numbers, changed }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        UserId::parse("u23456789012345678901234").unwrap()
    }

    #[test]
    fn what_changes_counts_where_it_is_asked_for() {
        let (stamps, user) = (Stamps::default(), user());
        let all = || {
            let content = stamps.of_content(&user);
            (stamps.of(&user), stamps.of_credentials(&user), content)
        };
        assert_eq!(all(), (0, 0, Some(0)));
        for (kind, expected) in [
            (Kind::Audit, (1, 0, Some(0))),
            (Kind::AccessUses, (2, 0, Some(0))),
            (Kind::Session, (3, 1, Some(0))),
            (Kind::Access, (4, 2, Some(0))),
            (Kind::Event, (5, 2, Some(1))),
            (Kind::Stream, (6, 2, Some(2))),
            (Kind::Account, (7, 2, Some(3))),
        ] {
            drop(stamps.begin(&user, Changed::by(kind)));
            assert_eq!(all(), expected, "{kind:?}");
        }
        let both = Changed::by(Kind::Audit).and(Changed::by(Kind::Event));
        drop(stamps.begin(&user, both));
        drop(stamps.begin(&user, Changed::ANYTHING));
        assert_eq!(all(), (9, 3, Some(5)));
    }

    #[test]
    fn content_that_is_changing_has_no_number() {
        let (stamps, user) = (Stamps::default(), user());
        let change = || stamps.begin(&user, Changed::by(Kind::Event));
        let (first, second) = (change(), change());
        assert_eq!(stamps.of_content(&user), None);
        drop(second);
        assert_eq!(stamps.of_content(&user), None, "another one is on the way");
        drop(first);
        assert_eq!(stamps.of_content(&user), Some(2));
    }
}
