//! The state machine: applies the log's commands to an engine and publishes the directory.
//!
//! One thread owns a [`Machine`] and asks it one thing at a time, so nothing here locks. A group of
//! entries becomes one atomic batch, the applied index with it. The logic is pure: a command reads the
//! state and itself, never a clock, a file or chance, so every core comes to the same state and to the
//! same answers. A failure (disk, damaged value) leaves the machine useless on purpose; it is opened
//! anew, from the newest snapshot if its engine cannot be trusted (see `place`).
//!
//! What it deliberately does not know: consensus. Log ids and memberships are bytes to it.

mod access;
mod aliases;
mod config;
mod cores;
mod dns;
mod emails;
mod freeze;
mod install;
mod invitations;
mod names;
mod place;
mod policy;
mod read;
mod sweep;
mod tokens;
mod transaction;
mod users;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::codec::CodecError;
use crate::command::{Command, Rejection, Response};
use crate::directory::{Directory, View};
use crate::engine::{Engine, EngineError, EngineKind};
use crate::files::FileError;
use crate::keys::{Applied, Meta, Space};
use crate::snapshot::SnapshotError;

use freeze::Frozen;
use place::{Place, Started, State};
use transaction::Transaction;

pub use freeze::SnapshotCursor;
pub(crate) use policy::Policy;

/// One log entry.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the log.
    pub index: u64,
    /// Its log id, as the caller encodes it.
    pub log_id: Vec<u8>,
    /// The membership that it carries, as the caller encodes it.
    pub membership: Option<Vec<u8>>,
    /// The command that it carries.
    pub command: Option<Command>,
}

/// Why the state machine failed. But for the last four, it is useless afterwards: open it again.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A snapshot could not be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A stored value could not be read, or a new one not written.
    #[error("the value of key {key} in the space {} cannot be read or written", space.name())]
    Value {
        /// In which space.
        space: Space,
        /// The key, in hex.
        key: String,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// The stored state contradicts itself: a defect, or damage that no check saw.
    #[error("the stored state contradicts itself: {what} (key {key} in the space {})", space.name())]
    Inconsistent {
        /// In which space.
        space: Space,
        /// The key, in hex.
        key: String,
        /// What is missing or wrong.
        what: &'static str,
    },
    /// An earlier failure.
    #[error("the state machine failed earlier: it has to be opened again")]
    Failed,
    /// Entries must come in the order of the log.
    #[error("the entry {index} comes after {applied}, which is applied already")]
    OutOfOrder {
        /// Of the entry refused.
        index: u64,
        /// Applied before it.
        applied: u64,
    },
    /// A snapshot of less than what is applied would undo what was answered.
    #[error("the snapshot ends at {index}, and {applied} is applied already")]
    SnapshotBehind {
        /// Of the snapshot.
        index: u64,
        /// Applied here.
        applied: u64,
    },
    /// One snapshot at a time.
    #[error("another snapshot is being made: finish or abort it first")]
    SnapshotOpen,
    /// The snapshot was aborted: by hand, by an installed one, or because it took so long that too
    /// much changed meanwhile.
    #[error("the snapshot was aborted: begin it again")]
    SnapshotAborted,
}

/// What [`Machine::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A state that can be trusted.
    Trusted,
    /// Nothing that can be trusted: made anew from this snapshot. The log replays the rest.
    FromSnapshot(PathBuf),
    /// Neither state nor snapshot: the log replays everything.
    Empty,
}

/// The state of the platform, and what applies commands to it.
#[derive(Debug)]
pub struct Machine {
    place: Place,
    engine: Box<dyn Engine>,
    applied: Applied,
    directory: Directory,
    view: View,
    frozen: Option<Frozen>,
    /// Counts snapshots begun, so that a cursor of an aborted one is told apart.
    snapshots_begun: u64,
    failed: bool,
    opened: Opened,
}

impl Machine {
    /// Opens the state machine of a data folder: the engine's files in `state-<engine>`, snapshots in
    /// `snapshots`. Where [`Machine::applied`] ends, the log has to go on; the caller makes sure that
    /// it does (a damaged newest snapshot is passed over for the one before it).
    ///
    /// # Errors
    /// When files cannot be used, no snapshot is whole, or a newer release wrote what is there.
    pub fn open(dir: &Path, engine: EngineKind, view: View) -> Result<Self, MachineError> {
        let Started {
            place,
            engine,
            state,
            opened,
        } = Place::open(dir, engine)?.start()?;
        let State { applied, directory } = state;
        view.store(Arc::new(directory.clone()));
        Ok(Self {
            place,
            engine,
            applied,
            directory,
            view,
            frozen: None,
            snapshots_begun: 0,
            failed: false,
            opened,
        })
    }

    /// What [`Machine::open`] found.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Where snapshot files are.
    #[must_use]
    pub fn snapshots_dir(&self) -> &Path {
        self.place.snapshots()
    }

    /// Log id and membership last applied, as the caller encoded them.
    #[must_use]
    pub fn applied(&self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        (self.applied.log_id.clone(), self.applied.membership.clone())
    }

    /// Index last applied.
    #[must_use]
    pub fn applied_index(&self) -> Option<u64> {
        self.applied.index
    }

    /// The directory as published last.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Applies entries, together or not at all, and publishes the directory. Answers each.
    ///
    /// # Errors
    /// When an entry is out of order, or the machine fails.
    pub fn apply(&mut self, entries: Vec<Item>) -> Result<Vec<Response>, MachineError> {
        self.ensure_usable()?;
        let mut applied = self.applied.index;
        for entry in &entries {
            if let Some(applied) = applied.filter(|applied| entry.index <= *applied) {
                return Err(MachineError::OutOfOrder {
                    index: entry.index,
                    applied,
                });
            }
            applied = Some(entry.index);
        }
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let result = self.apply_group(entries);
        self.failed = result.is_err();
        result
    }

    fn apply_group(&mut self, entries: Vec<Item>) -> Result<Vec<Response>, MachineError> {
        let mut transaction = Transaction::new(self.engine.as_ref(), self.directory.clone());
        let mut applied = self.applied.clone();
        let mut responses = Vec::with_capacity(entries.len());
        for entry in entries {
            transaction.begin(entry.index);
            applied.index = Some(entry.index);
            applied.log_id = Some(entry.log_id);
            if entry.membership.is_some() {
                applied.membership = entry.membership;
            }
            responses.push(match entry.command {
                None => Response::Nothing,
                Some(command) => apply_command(&mut transaction, command)?,
            });
        }
        transaction.put::<Meta>(&(), &applied)?;
        let (batch, mut directory) = transaction.finish()?;
        directory.set_applied(applied.index);
        self.keep_frozen(&batch)?;
        self.engine.commit(batch)?;
        self.applied = applied;
        self.publish(directory);
        Ok(responses)
    }

    /// Puts everything on disk and closes, so that the next start may trust the state.
    ///
    /// # Errors
    /// When something cannot be written; the next start then makes the state anew.
    pub fn close(self) -> Result<(), MachineError> {
        self.ensure_usable()?;
        let Self {
            place,
            engine,
            applied,
            directory,
            ..
        } = self;
        engine.close()?;
        place.mark_clean(&applied, directory.counts().users)?;
        Ok(())
    }

    fn publish(&mut self, directory: Directory) {
        self.directory = directory.clone();
        self.view.store(Arc::new(directory));
    }

    fn ensure_usable(&self) -> Result<(), MachineError> {
        if self.failed {
            Err(MachineError::Failed)
        } else {
            Ok(())
        }
    }
}

/// What an engine's state is of.
fn read_applied(engine: &dyn Engine) -> Result<Applied, MachineError> {
    Ok(transaction::load::<Meta>(engine, &())?.unwrap_or_default())
}

/// Why a command ends early: it is rejected, which is an answer, or the machine failed.
#[derive(Debug)]
enum Stop {
    Rejected(Rejection),
    Failed(MachineError),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl From<MachineError> for Stop {
    fn from(error: MachineError) -> Self {
        Self::Failed(error)
    }
}

/// What a command comes to.
type Outcome = Result<Response, Stop>;

fn apply_command(
    transaction: &mut Transaction<'_>,
    command: Command,
) -> Result<Response, MachineError> {
    match dispatch(transaction, command) {
        Ok(response) => Ok(response),
        Err(Stop::Rejected(rejection)) => Ok(Response::Rejected(rejection)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn dispatch(transaction: &mut Transaction<'_>, command: Command) -> Outcome {
    if transaction.directory().cluster().is_none() && !matches!(command, Command::Found(_)) {
        return Err(Rejection::NotFounded.into());
    }
    match command {
        Command::Found(founding) => config::found(transaction, founding),
        Command::ReserveUser(reserve) => users::reserve(transaction, reserve),
        Command::AdoptUser { asked, core } => users::adopt(transaction, asked, core),
        Command::CommitUser { reservation, at } => users::commit(transaction, &reservation, at),
        Command::ReleaseUser { reservation } => users::release(transaction, &reservation),
        Command::DeleteUser { user } => users::delete(transaction, user),
        Command::PutJoinToken {
            id,
            core,
            at,
            expires,
        } => tokens::put(transaction, &id, core, at, expires),
        Command::RevokeJoinToken { id, at } => tokens::revoke(transaction, &id, at),
        Command::AdmitCore {
            token,
            core,
            key,
            addresses,
            at,
        } => cores::admit(
            transaction,
            &token,
            cores::Asking {
                core,
                key,
                addresses,
                at,
            },
        ),
        Command::AnnounceCore {
            core,
            node,
            addresses,
            at: _,
        } => cores::announce(transaction, core, node, addresses),
        Command::SetCoreAvailable { core, available } => {
            cores::set_available(transaction, core, available)
        }
        Command::RemoveCore {
            core,
            abandon_users,
            at,
        } => cores::remove(transaction, core, abandon_users, at),
        Command::PutDnsRecord { label, record } => dns::put(transaction, label, record),
        Command::DeleteDnsRecord { label } => dns::delete(transaction, label),
        Command::CreateInvitations { invitations } => invitations::create(transaction, invitations),
        Command::PutAccessRequest { id, request } => access::put(transaction, &id, &request),
        Command::ResolveAccessRequest { id, request, at } => {
            access::resolve(transaction, &id, &request, at)
        }
        Command::PutConfig {
            config,
            base_version,
            unless_accounts,
        } => config::put(transaction, config, base_version, unless_accounts),
        Command::Sweep { now } => sweep::sweep(transaction, now),
        Command::UpdateUser {
            user,
            unique,
            indexed,
            freed,
            fields_version,
        } => {
            let fields = users::Fields::new(unique, indexed, freed);
            users::update(transaction, user, fields, fields_version)
        }
        Command::RenameUser {
            user,
            from,
            to,
            changes,
            changes_max,
        } => {
            let change = names::Change {
                from,
                to,
                changes,
                changes_max,
            };
            names::rename(transaction, user, change)
        }
        Command::SetEmails(change) => emails::set(transaction, change),
        Command::TakeAlias { user, alias } => aliases::take(transaction, user, alias),
        Command::FreeAliases { user, aliases } => aliases::free(transaction, user, &aliases),
        Command::HoldNames(asked) => aliases::hold(transaction, asked),
    }
}

#[cfg(test)]
mod tests;
