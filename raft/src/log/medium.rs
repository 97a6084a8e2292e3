//! What the log lies on, as narrow as it can be: rows by their index, a few notes, and a promise of what
//! a power cut leaves. [`disk`](super::disk) is the one of production; [`memory`](super::memory) is one for
//! simulations, which lets go of what was not synced.

use std::ops::Range;
use std::path::Path;

use homecore_types::seal;

use crate::codec::CodecError;
use crate::log::LogError;
use crate::log::tail::end_of;
use crate::types::{self, Entry, LogId, Vote};

/// How hard a commit is pushed to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Synced before the commit returns.
    Full,
    /// Written; synced with the next full one, and never without what came before it.
    Lazy,
}

/// One change of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Writes consecutive rows. One that is there already is a fault.
    Append {
        /// The index of the first.
        first: u64,
        /// What to write.
        rows: &'a [Vec<u8>],
    },
    /// Writes a note over the one of the same name.
    Note {
        /// Its name: [`VOTE`], [`COMMITTED`] or [`PURGED`].
        name: &'static str,
        /// What it says.
        value: &'a [u8],
    },
    /// Deletes rows behind an index; none: all.
    DeleteAfter(Option<u64>),
    /// Deletes rows up to an index.
    DeleteUpTo(u64),
}

/// The note that holds the vote.
pub const VOTE: &str = "vote";
/// The note that says how far the log is committed.
pub const COMMITTED: &str = "committed";
/// The note that says how far the log was purged.
pub const PURGED: &str = "purged";

/// A vote, in the order in which votes may follow each other: by term, then by who is voted for, and last
/// by whether most have voted so. Two may be voted for in one term, the higher one after the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// The term.
    pub term: u64,
    /// For whom.
    pub node: u64,
    /// Whether it leads, as far as is known.
    pub leads: bool,
}

/// What the note of a vote says; none: it is no vote.
#[must_use]
pub fn ballot(value: &[u8]) -> Option<Ballot> {
    let vote: Vote = decode(value, VOTE.as_bytes()).ok()?;
    Some(Ballot {
        term: vote.leader_id.term,
        node: vote.leader_id.node_id,
        leads: vote.committed,
    })
}

/// Which rows there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The lowest index.
    pub first: u64,
    /// The highest.
    pub last: u64,
    /// How many rows.
    pub count: u64,
}

/// A log's file, open for its only writer.
pub trait Medium: Send + 'static {
    /// What a note says.
    ///
    /// # Errors
    /// When it cannot be read.
    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, LogError>;

    /// Which rows there are; none: none.
    ///
    /// # Errors
    /// When they cannot be read.
    fn bounds(&self) -> Result<Option<Bounds>, LogError>;

    /// Makes all changes, in order, or none.
    ///
    /// # Errors
    /// [`LogError::Full`]: nothing was changed. Else what is on the disk is unknown: nothing more may be
    /// written.
    fn commit(&mut self, sync: Sync, changes: &[Change<'_>]) -> Result<(), LogError>;

    /// A reader that disturbs no writer.
    ///
    /// # Errors
    /// When there can be none.
    fn reader(&self) -> Result<Box<dyn MediumReader>, LogError>;

    /// Closes cleanly.
    ///
    /// # Errors
    /// When the disk refuses.
    fn close(self: Box<Self>) -> Result<(), LogError>;
}

/// Reads a log's rows.
pub trait MediumReader: Send + 'static {
    /// Gives index and row to `each`, in order, until it says that it wants no more.
    ///
    /// # Errors
    /// When the disk refuses, or what `each` says.
    fn read(&self, range: Range<u64>, each: &mut Each<'_>) -> Result<(), LogError>;
}

/// Takes a row; whether it wants another.
pub type Each<'a> = dyn FnMut(u64, &[u8]) -> Result<bool, LogError> + 'a;

/// What a log held when it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovered {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// Reads what openraft needs before anything else, and looks for holes.
pub(super) fn recover(medium: &dyn Medium, path: &Path) -> Result<Recovered, LogError> {
    let vote = noted(medium, VOTE, path)?;
    let committed = noted::<Option<LogId>>(medium, COMMITTED, path)?.flatten();
    let purged: Option<LogId> = noted(medium, PURGED, path)?;
    let last = match medium.bounds()? {
        Some(Bounds { first, last, count }) => {
            let purged_end = end_of(purged);
            let gapless = last.saturating_sub(first).saturating_add(1) == count;
            if !gapless || first > purged_end {
                return Err(LogError::Hole { index: purged_end });
            }
            let range = last..last.saturating_add(1);
            // A reader of its own, closed again at once: SQLite's last connection tidies up.
            let found = read(&*medium.reader()?, path, range, usize::MAX)?;
            found.entries.first().map(|entry| entry.log_id).max(purged)
        }
        None => purged,
    };
    Ok(Recovered {
        vote,
        committed,
        purged,
        last,
    })
}

fn noted<T: serde::de::DeserializeOwned>(
    medium: &dyn Medium,
    name: &str,
    path: &Path,
) -> Result<Option<T>, LogError> {
    medium
        .note(name)?
        .map(|bytes| decode(&bytes, name.as_bytes()))
        .transpose()
        .map_err(|source| LogError::Damaged {
            path: path.to_path_buf(),
            what: name.to_owned(),
            source,
        })
}

/// A value as it is stored: what it belongs to is part of its checksum.
pub(super) fn encode<T: serde::Serialize>(value: &T, place: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut bytes = types::encode(value)?;
    seal::seal(&mut bytes, &[place]);
    Ok(bytes)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8], place: &[u8]) -> Result<T, CodecError> {
    types::decode(seal::unsealed(bytes, &[place]).ok_or(CodecError::Changed)?)
}

/// Entries found on disk, and whether the byte limit ended them.
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) cut: bool,
}

/// Reads entries in order, at least one, until the range or `bytes_max` ends.
pub(super) fn read(
    reader: &dyn MediumReader,
    path: &Path,
    range: Range<u64>,
    bytes_max: usize,
) -> Result<Found, LogError> {
    let mut found = Found {
        entries: Vec::new(),
        cut: false,
    };
    let mut bytes = 0_usize;
    reader.read(range, &mut |index, row| {
        bytes = bytes.saturating_add(row.len());
        if bytes > bytes_max && !found.entries.is_empty() {
            found.cut = true;
            return Ok(false);
        }
        let entry = decode(row, &index.to_be_bytes()).map_err(|source| LogError::Damaged {
            path: path.to_path_buf(),
            what: format!("entry {index}"),
            source,
        })?;
        found.entries.push(entry);
        Ok(true)
    })?;
    Ok(found)
}
