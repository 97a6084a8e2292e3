//! Snapshot files: the state at one log index, and with the log the truth of the platform store.
//!
//! ```text
//! magic (8) · format (u32)
//! frame*    = length (u32) · body · check (16)
//! body      = 1 header | 2 items | 3 trailer (number of items, u64)
//! item      = space (u8) · key length (u32) · value length (u32) · key · value
//! ```
//!
//! Numbers are big-endian. A frame's check is the first half of a SHA-256 over the check before it and
//! the frame, so that a flipped bit, a cut, a frame left out or out of order is noticed where it is.
//! After the trailer the file ends. Both sides hold one frame in memory.
//!
//! A file gets its name, `snapshot-<index>.hcs`, only when it is whole and synced; the newest two are
//! kept, the older of them in case the newer is damaged later.

mod reader;
mod writer;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::CodecError;
use crate::files::{self, FileError, because};
use crate::keys::{Applied, Space};

pub use reader::{Reader, verify};
pub use writer::{Incoming, Writer};

const MAGIC: &[u8; 8] = b"HOMESNAP";
/// The newest file format that this release writes and reads.
pub const FORMAT: u32 = 1;
/// Files kept.
pub const KEPT: usize = 2;

const CHECK_BYTES: usize = 16;
type Check = [u8; CHECK_BYTES];
/// A frame of items is written when it holds this much.
const FRAME_BYTES: usize = 256 * 1024;
/// No frame is longer: one item may be as long as a command, and a bit.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const HEADER: u8 = 1;
const ITEMS: u8 = 2;
const TRAILER: u8 = 3;
const HEADER_VERSION: u8 = 1;

/// One item of the state.
pub type Item = (Space, Vec<u8>, Vec<u8>);

/// What a snapshot is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Everything up to here is in it.
    pub applied: Applied,
}

/// A snapshot file by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The log index in the name.
    pub index: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// Why a snapshot could not be written or read.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not what was written.
    #[error("the snapshot {} is damaged at byte {offset}: {damage}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where the damaged frame begins.
        offset: u64,
        /// What is wrong there.
        damage: Damage,
    },
    /// Written by a newer release.
    #[error(
        "the snapshot {} has format {found}, the newest that this release knows is {FORMAT}: start a newer release", path.display()
    )]
    UnknownFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The header is of another release.
    #[error("the header of the snapshot {} cannot be read", path.display())]
    Header {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// The header has no encoding.
    #[error("the header of a snapshot cannot be encoded")]
    Encode(#[source] CodecError),
    /// An item is longer than any frame.
    #[error("an item of {bytes} bytes in {} is too long for a snapshot", space.name())]
    ItemTooLong {
        /// Of which space.
        space: Space,
        /// How long.
        bytes: usize,
    },
}

/// What is wrong with a snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// It does not begin as one.
    #[error("it is no homecore snapshot")]
    Magic,
    /// It ends early.
    #[error("the file ends here, before its trailer")]
    Truncated,
    /// The frame is not what was written.
    #[error("the frame's check does not match")]
    Check,
    /// The frame says that it is longer than any frame.
    #[error("the frame is too long")]
    Length,
    /// The frame checks out and makes no sense.
    #[error("the frame is of no known kind, out of place, or holds no whole items")]
    Frame,
    /// An item is of a space that this release does not know.
    #[error("key space {0} is unknown to this release: start a newer release")]
    Space(u8),
    /// Not as many items as the trailer says.
    #[error("the trailer counts other items than there are")]
    Count,
    /// Something follows the trailer.
    #[error("bytes follow the trailer")]
    Trailing,
}

/// The snapshot files of a folder, newest first.
///
/// # Errors
/// When the folder cannot be listed.
pub fn list(dir: &Path) -> Result<Vec<Listed>, SnapshotError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(because("list", dir))? {
        let path = entry.map_err(because("list", dir))?.path();
        if let Some(index) = index_in_name(&path) {
            found.push(Listed { index, path });
        }
    }
    found.sort_by_key(|listed| std::cmp::Reverse(listed.index));
    Ok(found)
}

/// The newest snapshot whose header can be read, with its header. Its items are checked when they are
/// read.
///
/// # Errors
/// When there are files and none has a readable header: the newest one's error.
pub fn newest(dir: &Path) -> Result<Option<(Listed, Header)>, SnapshotError> {
    let mut first = None;
    for listed in list(dir)? {
        match Reader::open(&listed.path) {
            Ok(reader) => return Ok(Some((listed, reader.header().clone()))),
            Err(error) => {
                tracing::warn!(%error, "snapshot skipped");
                first.get_or_insert(error);
            }
        }
    }
    first.map_or(Ok(None), Err)
}

/// The name of the snapshot of an index.
#[must_use]
pub fn path_of(dir: &Path, applied: &Applied) -> PathBuf {
    dir.join(format!("snapshot-{:020}.hcs", applied.index.unwrap_or(0)))
}

fn index_in_name(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("snapshot-")?
        .strip_suffix(".hcs")?
        .parse()
        .ok()
}

/// Gives a synced file its name and removes what is older than the newest [`KEPT`].
fn publish(aside: &Path, dir: &Path, applied: &Applied) -> Result<PathBuf, SnapshotError> {
    let path = path_of(dir, applied);
    files::rename(aside, &path)?;
    prune(dir)?;
    Ok(path)
}

fn prune(dir: &Path) -> Result<(), SnapshotError> {
    for listed in list(dir)?.into_iter().skip(KEPT) {
        files::remove(&listed.path)?;
    }
    Ok(())
}

/// Removes files that were being written when the process ended. Only at start, before any is begun.
pub(crate) fn remove_unfinished(dir: &Path) -> Result<(), SnapshotError> {
    for entry in std::fs::read_dir(dir).map_err(because("list", dir))? {
        let path = entry.map_err(because("list", dir))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == writer::UNFINISHED)
        {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// Puts a snapshot file from anywhere among the others, whole and synced. A file of this folder that
/// has no name yet is moved, any other is copied.
pub(crate) fn adopt(file: &Path, dir: &Path, header: &Header) -> Result<PathBuf, SnapshotError> {
    let target = path_of(dir, &header.applied);
    if file == target {
        return Ok(target);
    }
    let unfinished = file
        .extension()
        .is_some_and(|extension| extension == writer::UNFINISHED);
    if unfinished && file.parent() == Some(dir) {
        std::fs::File::open(file)
            .and_then(|opened| opened.sync_all())
            .map_err(because("sync", file))?;
        return publish(file, dir, &header.applied);
    }
    let mut incoming = Incoming::create(dir)?;
    let mut source = std::fs::File::open(file).map_err(because("open", file))?;
    incoming.copy_from(&mut source)?;
    let aside = incoming.finish()?;
    publish(&aside, dir, &header.applied)
}

/// The check that a frame's check begins with.
fn first_check() -> Check {
    let mut start = Vec::with_capacity(12);
    start.extend_from_slice(MAGIC);
    start.extend_from_slice(&FORMAT.to_be_bytes());
    check(&[0; CHECK_BYTES], &start)
}

fn check(previous: &Check, body: &[u8]) -> Check {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    context.update(previous);
    context.update(&u64::try_from(body.len()).unwrap_or(u64::MAX).to_be_bytes());
    context.update(body);
    let digest = context.finish();
    let mut check = [0; CHECK_BYTES];
    for (to, from) in check.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    check
}

#[cfg(test)]
mod tests;
