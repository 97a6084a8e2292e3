//! What a write works with: the user's present state and attempts to change it.

use homecore_types::{Clock, UserId};

use super::stamps::Changed;
use crate::document::Seq;
use crate::engine::{UserDatabase, View};
use crate::error::StoreError;
use crate::mutation::Commit;
use crate::transaction::Transaction;

/// Bytes of bodies up to which several attempts become one row of the journal.
const GATHERED_BYTES_MAX: usize = 256 * 1024;

/// A user's data, open for one request. What its attempts write is committed together with
/// whatever else the user's group holds.
#[derive(Debug)]
pub struct Writer<'a> {
    database: &'a mut dyn UserDatabase,
    user: &'a UserId,
    clock: &'a dyn Clock,
    /// What was applied so far, for the journal.
    commits: Vec<Commit>,
    /// Bytes of the bodies in the last one.
    gathered: usize,
    changed: Changed,
    last: Option<Seq>,
    /// The engine's transaction holds half of something.
    damage: Option<String>,
    /// It does because the disk is full.
    full: bool,
}

impl<'a> Writer<'a> {
    pub(super) fn new(
        database: &'a mut dyn UserDatabase,
        user: &'a UserId,
        clock: &'a dyn Clock,
    ) -> Self {
        Self {
            database,
            user,
            clock,
            commits: Vec::new(),
            gathered: 0,
            changed: Changed::default(),
            last: None,
            damage: None,
            full: false,
        }
    }

    /// Whose data.
    #[must_use]
    pub fn user(&self) -> &UserId {
        self.user
    }

    /// The present state, with everything that earlier attempts wrote.
    #[must_use]
    pub fn view(&self) -> &dyn View {
        self.database
    }

    /// Runs `attempt` on the present state. If it returns `Ok`, what it put is applied at once and
    /// the next attempt sees it; if it returns `Err`, nothing of it is.
    ///
    /// # Errors
    /// What `attempt` returns, or a failure of the engine: the whole request fails then, whatever
    /// its own result is.
    pub fn attempt<T, E: From<StoreError>>(
        &mut self,
        attempt: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if let Some(damage) = &self.damage {
            return Err(StoreError::engine("going on after a failure", damage.clone()).into());
        }
        let mut transaction = Transaction::new(&*self.database, self.user, self.clock.now())?;
        let result = attempt(&mut transaction)?;
        let Some(commit) = transaction.into_commit() else {
            return Ok(result);
        };
        // Set before and cleared after, so that a panic inside the engine is noticed too.
        self.damage = Some("the engine stopped half-way through a change".to_owned());
        match self.database.apply(&commit) {
            Ok(()) => self.damage = None,
            Err(error) => {
                self.damage = Some(super::shared::chain(&error));
                self.full = matches!(error, StoreError::Full { .. });
                return Err(error.into());
            }
        }
        let kinds = commit.mutations.iter().map(|mutation| mutation.kind);
        self.changed = kinds.map(Changed::by).fold(self.changed, Changed::and);
        self.last = commit.mutations.last().map(|mutation| mutation.seq);
        self.gather(commit);
        Ok(result)
    }

    /// Keeps a commit for the journal. What was written at the same time is one row of it: a batch of a
    /// hundred calls has a few rows and not a hundred.
    fn gather(&mut self, commit: Commit) {
        let bodies = commit.mutations.iter().map(|mutation| mutation.body.len());
        let bytes = bodies.fold(0, usize::saturating_add);
        let together = self.gathered.saturating_add(bytes);
        match self.commits.last_mut() {
            Some(last) if last.at == commit.at && together <= GATHERED_BYTES_MAX => {
                last.mutations.extend(commit.mutations);
                self.gathered = together;
            }
            _ => {
                self.commits.push(commit);
                self.gathered = bytes;
            }
        }
    }

    /// What was written, for the journal, and the last change; or why it cannot be kept.
    pub(super) fn finish(self) -> Result<Written, StoreError> {
        match self.damage {
            Some(doing) if self.full => Err(StoreError::Full { doing }),
            Some(damage) => Err(super::shard::not_done(self.user, &damage)),
            None => Ok(Written {
                commits: self
                    .commits
                    .iter()
                    .map(Commit::encode)
                    .collect::<Result<_, _>>()?,
                changed: self.changed,
                last: self.last,
            }),
        }
    }
}

/// What a request wrote.
#[derive(Debug)]
pub(super) struct Written {
    /// Encoded commits, in order.
    pub(super) commits: Vec<Vec<u8>>,
    /// What they changed.
    pub(super) changed: Changed,
    /// The last change, if there was one.
    pub(super) last: Option<Seq>,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use bytes::Bytes;
    use homecore_types::Millis;

    use super::*;
    use crate::document::{Kind, Rev};
    use crate::engine::Engine as _;
    use crate::journal::Position;
    use crate::memory::MemoryEngine;
    use crate::suite::{event, user};
    use crate::transaction::{Base, PutError, Write};

    #[derive(Debug)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Millis {
            Millis(self.0.load(Ordering::Relaxed))
        }
    }

    /// What is written at one time becomes one row of the journal, unless that becomes long.
    #[test]
    fn attempts_of_one_time_are_one_commit() {
        let (user, clock) = (user(1), Hand(AtomicI64::new(7)));
        let mut database = MemoryEngine::new().create(&user, Position(0)).unwrap();
        database.begin().unwrap();
        let mut writer = Writer::new(database.as_mut(), &user, &clock);
        let mut put = |number: u64, bytes: usize| {
            let done = writer.attempt(|tx| {
                tx.put(Write {
                    kind: Kind::Event,
                    id: format!("e{number}"),
                    base: Base::New,
                    body: Bytes::from(vec![b'x'; bytes]),
                    deleted: false,
                    entries: event(number, 0).entries,
                    keep_previous: false,
                })
            });
            assert_eq!(done.unwrap(), Rev(1));
        };
        put(1, 10);
        put(2, 10);
        clock.0.store(8, Ordering::Relaxed);
        put(3, 10);
        put(4, GATHERED_BYTES_MAX);
        put(5, 10);
        let refused = writer.attempt(|_| Err::<(), _>(PutError::Conflict { current: None }));
        assert!(refused.is_err());
        let written = writer.finish().unwrap();
        let commits: Vec<Commit> = (written.commits.iter())
            .map(|bytes| Commit::decode(bytes).unwrap())
            .collect();
        let found: Vec<(i64, Vec<u64>)> = (commits.iter())
            .map(|commit| {
                let seqs = commit.mutations.iter().map(|mutation| mutation.seq.0);
                (commit.at.0, seqs.collect())
            })
            .collect();
        assert_eq!(
            found,
            [(7, vec![1, 2]), (8, vec![3]), (8, vec![4]), (8, vec![5])]
        );
        assert_eq!(written.last, Some(Seq(5)));
    }
}
