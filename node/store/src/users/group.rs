//! The requests that share one journal append, by user.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use homecore_types::{Clock, UserId};

use super::outstanding::Ticket;
use super::recovery;
use super::shared::{Shared, again, chain};
use super::work::{Ran, WriteJob, panicked};
use super::writer::Writer;
use super::{Change, Seq};
use crate::engine::UserDatabase;
use crate::error::StoreError;
use crate::journal::Position;

/// A user's part of a group: an open transaction and those who wait for it.
pub(super) struct Party {
    user: UserId,
    database: Box<dyn UserDatabase>,
    jobs: Vec<Box<dyn WriteJob>>,
    commits: Vec<Vec<u8>>,
    last: Seq,
}

/// What became of a user's part.
pub(super) enum Fate {
    /// It is in the journal and in the user's database.
    Committed(Box<dyn UserDatabase>),
    /// It is nowhere. The database is missing if it could not be undone there.
    Undone(Option<Box<dyn UserDatabase>>),
    /// It may be in the journal; writing has stopped.
    InDoubt,
    /// It is in the journal; the user's database lacks it and will get it from there.
    Behind,
}

impl Party {
    /// Opens a transaction.
    pub(super) fn begin(
        user: UserId,
        mut database: Box<dyn UserDatabase>,
    ) -> Result<Self, StoreError> {
        database.begin()?;
        Ok(Self {
            user,
            database,
            jobs: Vec::new(),
            commits: Vec::new(),
            last: Seq(0),
        })
    }

    /// Runs a request in the transaction.
    ///
    /// # Errors
    /// If the transaction can no longer be trusted; all of it must be undone then.
    pub(super) fn run(
        &mut self,
        job: &mut dyn WriteJob,
        clock: &dyn Clock,
    ) -> Result<Ran, StoreError> {
        let mut writer = Writer::new(self.database.as_mut(), &self.user, clock);
        let ran = job.run(&mut writer);
        let written = writer.finish()?;
        if ran == Ran::Panicked && !written.commits.is_empty() {
            return Err(panicked());
        }
        self.last = written.last.unwrap_or(self.last);
        self.commits.extend(written.commits);
        Ok(ran)
    }

    /// Whether there is anything to commit.
    pub(super) fn has_written(&self) -> bool {
        !self.commits.is_empty()
    }

    /// Takes in a request that has run, to be answered with the others.
    pub(super) fn adopt(&mut self, job: Box<dyn WriteJob>) {
        self.jobs.push(job);
    }

    /// Undoes everything and answers all with `error`.
    pub(super) fn undo(self, error: &StoreError) -> Option<Box<dyn UserDatabase>> {
        for job in self.jobs {
            job.answer(Err(again(error)));
        }
        rolled_back(&self.user, self.database)
    }

    /// Ends the transaction, whose commits the journal holds up to `applied`.
    fn commit(mut self, applied: Position, shared: &Shared, ticket: &Ticket) -> (UserId, Fate) {
        let committed = match self.database.commit(applied) {
            Ok(()) => Ok(self.database),
            Err(error) => {
                let error = chain(&error);
                tracing::error!(user = %self.user, error, "a commit failed; replaying the journal");
                // Closed before it is opened again.
                drop(self.database);
                recovery::recover_user(shared, &self.user)
            }
        };
        // Visible from here on, or in doubt.
        shared.stamps.change(&self.user);
        match committed {
            Ok(database) => {
                let change = Change {
                    user: self.user.clone(),
                    seq: self.last,
                };
                if shared.changes.send(change).is_err() {
                    tracing::trace!("nobody listens to changes");
                }
                for job in self.jobs {
                    job.answer(Ok(()));
                }
                (self.user, Fate::Committed(database))
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(user = %self.user, reason, "the user is refused until it is repaired");
                shared.set_behind(self.user.clone(), ticket.again());
                let doing = format!(
                    "applying a recorded write to the data of user {}",
                    self.user
                );
                for job in self.jobs {
                    job.answer(Err(StoreError::engine(doing.clone(), reason.clone())));
                }
                (self.user, Fate::Behind)
            }
        }
    }
}

fn rolled_back(
    user: &UserId,
    mut database: Box<dyn UserDatabase>,
) -> Option<Box<dyn UserDatabase>> {
    match database.rollback() {
        Ok(()) => Some(database),
        Err(error) => {
            // Closing it undoes the transaction too.
            tracing::warn!(%user, error = chain(&error), "a rollback failed; closing the database");
            None
        }
    }
}

/// Requests of any number of users that share an append.
#[derive(Default)]
pub(super) struct Group {
    parties: BTreeMap<UserId, Party>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.parties.is_empty()
    }

    /// Bytes for the journal so far.
    pub(super) fn bytes(&self) -> usize {
        self.parties
            .values()
            .flat_map(|party| &party.commits)
            .map(Vec::len)
            .sum()
    }

    pub(super) fn take(&mut self, user: &UserId) -> Option<Party> {
        self.parties.remove(user)
    }

    pub(super) fn put(&mut self, party: Party) {
        self.parties.insert(party.user.clone(), party);
    }

    /// Appends all commits to the journal, then commits every user's transaction and answers.
    /// `ticket` was taken before and is held until this returns.
    pub(super) fn commit(self, shared: &Shared, ticket: &Ticket) -> Vec<(UserId, Fate)> {
        let (mut writing, idle): (Vec<Party>, Vec<Party>) =
            self.parties.into_values().partition(Party::has_written);
        let mut fates: Vec<(UserId, Fate)> = idle.into_iter().map(answer_idle).collect();
        let mut rows = Vec::new();
        let mut counts = Vec::with_capacity(writing.len());
        for party in &mut writing {
            let commits = std::mem::take(&mut party.commits);
            counts.push(commits.len());
            rows.extend(
                commits
                    .into_iter()
                    .map(|commit| (party.user.clone(), commit)),
            );
        }
        if rows.is_empty() {
            return fates;
        }
        let all = count(rows.len());
        shared.counters.groups.fetch_add(1, Ordering::Relaxed);
        shared.counters.writes.fetch_add(all, Ordering::Relaxed);
        match shared.journal.append(rows) {
            Ok(last) => {
                let mut applied = Position(last.0.saturating_sub(all));
                for (party, commits) in writing.into_iter().zip(counts) {
                    applied.0 += count(commits);
                    fates.push(party.commit(applied, shared, ticket));
                }
            }
            Err(error) => {
                note_append_failure(shared, &error);
                let in_doubt = matches!(error, StoreError::Poisoned { .. });
                for party in writing {
                    let user = party.user.clone();
                    let database = party.undo(&error);
                    let fate = if in_doubt {
                        Fate::InDoubt
                    } else {
                        Fate::Undone(database)
                    };
                    fates.push((user, fate));
                }
            }
        }
        fates
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

/// Requests that wrote nothing have nothing to wait for: all they saw was on disk.
fn answer_idle(party: Party) -> (UserId, Fate) {
    for job in party.jobs {
        job.answer(Ok(()));
    }
    let database = rolled_back(&party.user, party.database);
    (party.user, Fate::Undone(database))
}

/// Stops all writing if it is unknown whether an append is on disk.
pub(super) fn note_append_failure(shared: &Shared, error: &StoreError) {
    if let StoreError::Poisoned { reason } = error {
        shared.poison(reason);
    }
}
