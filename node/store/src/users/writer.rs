//! What a write works with: the user's present state and attempts to change it.

use homecore_types::{Clock, UserId};

use super::stamps::Changed;
use crate::document::Seq;
use crate::engine::{UserDatabase, View};
use crate::error::StoreError;
use crate::transaction::Transaction;

/// A user's data, open for one request. What its attempts write is committed together with
/// whatever else the user's group holds.
#[derive(Debug)]
pub struct Writer<'a> {
    database: &'a mut dyn UserDatabase,
    user: &'a UserId,
    clock: &'a dyn Clock,
    /// What was applied so far, encoded for the journal.
    commits: Vec<Vec<u8>>,
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
        let bytes = commit.encode()?;
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
        self.commits.push(bytes);
        Ok(result)
    }

    /// What was written, for the journal, and the last change; or why it cannot be kept.
    pub(super) fn finish(self) -> Result<Written, StoreError> {
        match self.damage {
            Some(doing) if self.full => Err(StoreError::Full { doing }),
            Some(damage) => Err(super::shard::not_done(self.user, &damage)),
            None => Ok(Written {
                commits: self.commits,
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
