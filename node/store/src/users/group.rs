//! The requests that share one journal append, by user.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use homecore_types::{Clock, UserId};

use super::held::{Answered, Opened};
use super::outstanding::Ticket;
use super::recovery;
use super::shard::not_done;
use super::shared::{Shared, again, chain};
use super::stamps::Changed;
use super::work::{Ran, WriteJob, panicked};
use super::writer::Writer;
use super::{Change, Seq};
use crate::error::StoreError;
use crate::journal::Position;

/// A user's part of a group: an open transaction and those who wait for it.
pub(super) struct Party {
    user: UserId,
    opened: Opened,
    jobs: Vec<Box<dyn WriteJob>>,
    commits: Vec<Vec<u8>>,
    changed: Changed,
    last: Seq,
}

/// What became of a user's part.
pub(super) enum Fate {
    /// It is in the journal and in the user's database, or in its open transaction.
    Committed(Opened),
    /// It is nowhere. The database is missing if it could not be undone there.
    Undone(Option<Opened>),
    /// It may be in the journal; writing has stopped.
    InDoubt,
    /// It is in the journal; the user's database lacks it and will get it from there.
    Behind,
}

impl Party {
    /// Opens a transaction, or goes on with the one that is open.
    pub(super) fn begin(user: UserId, mut opened: Opened) -> Result<Self, StoreError> {
        if opened.answered.is_none() {
            opened.database.begin()?;
        }
        Ok(Self {
            user,
            opened,
            jobs: Vec::new(),
            commits: Vec::new(),
            changed: Changed::default(),
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
        let mut writer = Writer::new(self.opened.database.as_mut(), &self.user, clock);
        let ran = job.run(&mut writer);
        let written = writer.finish()?;
        if !self.opened.database.is_open() {
            // A failure that the request may have kept to itself. What it saw may be too old, and what
            // others wrote is gone.
            return Err(not_done(&self.user, "the engine undid the transaction"));
        }
        if ran == Ran::Panicked && !written.commits.is_empty() {
            return Err(panicked());
        }
        self.last = written.last.unwrap_or(self.last);
        self.changed = self.changed.and(written.changed);
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
    pub(super) fn undo(self, shared: &Shared, error: &StoreError) -> Option<Opened> {
        for job in self.jobs {
            job.answer(Err(again(error)));
        }
        let mut opened = self.opened;
        let answered = opened.answered.take();
        let undone = rolled_back(&self.user, opened);
        let Some(answered) = answered else {
            return undone;
        };
        // What was answered before went with it: it is in the journal.
        drop(undone);
        made_up_for(shared, &self.user, answered.applied, &answered.ticket).ok()
    }

    /// Ends the transaction, whose commits the journal holds up to `applied` in so many bytes, or
    /// leaves it open for more.
    fn commit(
        mut self,
        applied: Position,
        bytes: usize,
        shared: &Shared,
        ticket: &Ticket,
    ) -> (UserId, Fate) {
        let changing = shared.stamps.begin(&self.user, self.changed);
        let outcome = if self.opened.may_hold(&shared.options, bytes) {
            let mark = || shared.marks.mark(&self.user);
            self.opened.hold(applied, bytes, ticket, mark);
            Ok(self.opened)
        } else {
            let answered = self.opened.answered.take();
            let ticket = answered
                .as_ref()
                .map_or(ticket, |answered| &answered.ticket);
            put_in_place(shared, &self.user, self.opened, applied, ticket)
        };
        // Visible from here on, or in doubt.
        drop(changing);
        match outcome {
            Ok(opened) => {
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
                (self.user, Fate::Committed(opened))
            }
            Err(reason) => {
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

/// Commits what a transaction held for later. None if the user counts as behind now.
pub(super) fn settle(shared: &Shared, user: &UserId, mut opened: Opened) -> Option<Opened> {
    let Some(Answered {
        applied,
        ticket,
        mark,
        ..
    }) = opened.answered.take()
    else {
        return Some(opened);
    };
    let settled = put_in_place(shared, user, opened, applied, &ticket).ok();
    // Who reads needs to ask no more, or is refused.
    drop(mark);
    settled
}

/// Ends a transaction, all of which the journal holds up to `applied`. If it cannot be, the database
/// gets it from the journal, and if that fails too, the user counts as behind: why.
fn put_in_place(
    shared: &Shared,
    user: &UserId,
    mut opened: Opened,
    applied: Position,
    ticket: &Ticket,
) -> Result<Opened, String> {
    match opened.database.commit(applied) {
        Ok(()) => Ok(opened),
        Err(error) => {
            let error = chain(&error);
            tracing::error!(%user, error, "a commit failed; replaying the journal");
            // Closed before it is opened again.
            drop(opened);
            made_up_for(shared, user, applied, ticket)
        }
    }
}

/// Opens a database anew, with what the journal holds of it up to `through`. If that fails, the user
/// counts as behind: why.
fn made_up_for(
    shared: &Shared,
    user: &UserId,
    through: Position,
    ticket: &Ticket,
) -> Result<Opened, String> {
    recovery::recover_user(shared, user, through)
        .map(Opened::new)
        .map_err(|error| {
            let reason = chain(&error);
            tracing::error!(%user, reason, "the user is refused until it is repaired");
            shared.set_behind(user.clone(), ticket.again());
            reason
        })
}

/// A database whose open transaction is undone; none if it could not be.
fn rolled_back(user: &UserId, mut opened: Opened) -> Option<Opened> {
    if let Err(error) = opened.database.rollback() {
        // Closing it undoes the transaction too.
        tracing::warn!(%user, error = chain(&error), "a rollback failed; closing the database");
        return None;
    }
    Some(opened)
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

    /// Whether it holds requests of a user.
    pub(super) fn has(&self, user: &UserId) -> bool {
        self.parties.contains_key(user)
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
            counts.push((commits.len(), commits.iter().map(Vec::len).sum()));
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
                for (party, (commits, bytes)) in writing.into_iter().zip(counts) {
                    applied.0 += count(commits);
                    fates.push(party.commit(applied, bytes, shared, ticket));
                }
            }
            Err(error) => {
                note_append_failure(shared, &error);
                let in_doubt = matches!(error, StoreError::Poisoned { .. });
                for party in writing {
                    let user = party.user.clone();
                    let database = party.undo(shared, &error);
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
    let opened = if party.opened.answered.is_some() {
        Some(party.opened)
    } else {
        rolled_back(&party.user, party.opened)
    };
    (party.user, Fate::Undone(opened))
}

/// Stops all writing if it is unknown whether an append is on disk.
pub(super) fn note_append_failure(shared: &Shared, error: &StoreError) {
    if let StoreError::Poisoned { reason } = error {
        shared.poison(reason);
    }
}
