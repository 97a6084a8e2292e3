//! What this core once voted and held, in a file of its own.
//!
//! Written after the log and synced: a log that is behind it was lost, restored from an older copy,
//! or comes from a disk that lied. It grows only at votes, purges and clean stops, because a sync of
//! a second file at every append would cost as much as the append.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use homecore_types::seal;
use serde::{Deserialize, Serialize};

use crate::codec::CodecError;
use crate::identity::replace_durably;
use crate::log::LogError;
use crate::log::disk;
use crate::log::medium::Recovered;
use crate::log::tail::end_of;
use crate::types::{self, Vote};

const FILE: &str = "watermark";

/// The least that a log must hold.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Watermark {
    vote: Option<Vote>,
    /// One past the last committed entry that was on disk.
    held_end: u64,
}

impl Watermark {
    /// Refuses a log that is behind.
    pub(super) fn check(&self, dir: &Path, recovered: &Recovered) -> Result<(), LogError> {
        let shown =
            |vote: Option<Vote>| vote.map_or_else(|| "none".to_owned(), |vote| vote.to_string());
        if recovered.vote < self.vote {
            let (found, cast) = (shown(recovered.vote), shown(self.vote));
            let detail = format!("its last vote is {found}, it cast {cast}");
            return Err(behind(dir, detail));
        }
        let end = end_of(recovered.last);
        if end < self.held_end {
            let held = self.held_end;
            let detail = format!("it ends before index {end}, it held all before {held}");
            return Err(behind(dir, detail));
        }
        Ok(())
    }
}

/// The log is not what the mark, or the identity, says that it was.
pub(super) fn behind(dir: &Path, detail: impl Into<String>) -> LogError {
    LogError::Behind {
        log: dir.join(disk::FILE),
        watermark: dir.join(FILE),
        detail: detail.into(),
    }
}

/// Reads the file; none if nothing was voted yet.
pub(super) fn load(dir: &Path) -> Result<Option<Watermark>, LogError> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LogError::Io { path, source }),
    };
    seal::unsealed(&bytes, &[])
        .ok_or(CodecError::Changed)
        .and_then(types::decode)
        .map(Some)
        .map_err(|source| LogError::Damaged {
            path,
            what: "the whole".to_owned(),
            source,
        })
}

/// Moves the file forward.
pub(super) struct Keeper {
    path: PathBuf,
    mark: Watermark,
}

impl Keeper {
    pub(super) fn new(dir: &Path, mark: Option<Watermark>) -> Self {
        Self {
            path: dir.join(FILE),
            mark: mark.unwrap_or_default(),
        }
    }

    /// The vote is in the log.
    pub(super) fn voted(&mut self, vote: Vote) -> Result<(), LogError> {
        if self.mark.vote < Some(vote) {
            self.mark.vote = Some(vote);
        }
        self.write()
    }

    /// Committed entries below `end` are in the log.
    pub(super) fn held(&mut self, end: u64) -> Result<(), LogError> {
        self.mark.held_end = self.mark.held_end.max(end);
        self.write()
    }

    fn write(&self) -> Result<(), LogError> {
        let damaged = |source| LogError::Damaged {
            path: self.path.clone(),
            what: "the whole".to_owned(),
            source,
        };
        let mut bytes = types::encode(&self.mark).map_err(damaged)?;
        seal::seal(&mut bytes, &[]);
        replace_durably(&self.path, &bytes).map_err(|source| LogError::Io {
            path: self.path.clone(),
            source,
        })
    }
}
