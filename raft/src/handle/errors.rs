//! What can go wrong with the platform store, for its callers.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::command::Rejection;
use crate::identity::IdentityError;
use crate::log::LogError;
use crate::machine::MachineError;

/// Why the store cannot be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The folder cannot be used.
    #[error("cannot use the data folder {}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process runs on the folder.
    #[error("another process uses the data folder {}", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// The identity cannot be read, or is another's.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The log cannot be used; among the reasons: this core must not vote any more.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state cannot be used.
    #[error("cannot open the state of the platform store")]
    Machine(#[from] MachineError),
    /// A thread cannot be started.
    #[error("cannot start a thread of the platform store")]
    Thread(#[source] io::Error),
    /// The settings contradict each other.
    #[error("the consensus settings cannot be used: {reason}")]
    Settings {
        /// Why.
        reason: String,
    },
    /// openraft refused what it found.
    #[error("consensus cannot start: {reason}")]
    Consensus {
        /// Why.
        reason: String,
    },
}

/// Why a write was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WriteError {
    /// There is no leader that could be reached. The write has certainly not happened.
    #[error("the platform takes no writes now: {reason}")]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why.
        reason: String,
    },
    /// The write was sent and not answered: it may or may not have happened, or happen yet.
    #[error("the outcome of the write is unknown: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
    /// Too many writes are under way. It has not happened.
    #[error("too many platform writes are under way")]
    Busy,
    /// The command is larger than any may be. It has not happened.
    #[error("the command has {bytes} bytes, at most {most} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// This core's store was stopped. It has not happened.
    #[error("the platform store was stopped")]
    Stopped,
    /// The leader runs a release that does not know the command. It has not happened.
    #[error("the cores run different releases: {reason}")]
    Incompatible {
        /// Why.
        reason: String,
    },
}

/// Why a current read was not possible. The local directory still answers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// There is no leader that could be reached, or this core lags behind it.
    #[error("the platform cannot be read as of now: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// Too many reads are under way.
    #[error("too many platform reads are under way")]
    Busy,
    /// This core's store was stopped.
    #[error("the platform store was stopped")]
    Stopped,
    /// This core's own state cannot be read.
    #[error("the platform store cannot be read: {reason}")]
    Storage {
        /// Why.
        reason: String,
    },
}

/// Why a cluster was not founded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FoundError {
    /// The first write failed. Founding may be repeated.
    #[error("the founding was not written")]
    Write(#[from] WriteError),
    /// The store refused the founding.
    #[error("the founding was refused: {0}")]
    Rejected(Rejection),
    /// Consensus could not be set up on this core.
    #[error("consensus cannot be set up: {reason}")]
    Consensus {
        /// Why.
        reason: String,
    },
    /// The founding names another core than the one that runs.
    #[error("the founding is for another core than this one")]
    OtherCore,
}
