//! Who this core is in the consensus group, on its own disk.
//!
//! A node id is drawn from the log once and never used again, and a member that lost its log must
//! not come back under its old id: it might vote twice in one term, or help to forget what it once
//! acknowledged. So the file also says whether a log was ever made for this identity; from then on
//! a missing log is noticed (see `log`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use homecore_types::{ClusterId, CoreId, NodeId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

const FILE: &str = "identity.json";
const FORMAT: u32 = 1;

/// Who this core is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Of which cluster.
    pub cluster: ClusterId,
    /// Its number in the consensus group.
    pub node: NodeId,
    /// Its name.
    pub core: CoreId,
}

/// Why the identity could not be read or written.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The disk refused.
    #[error("cannot access {}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not what this release writes.
    #[error("{} is damaged: restore it, or remove this core and join again under a new id", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// A newer release wrote it.
    #[error("{} has format {found}, this release knows {FORMAT}: start a newer release", path.display())]
    UnknownFormat {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The folder belongs to another node.
    #[error(
        "the data folder belongs to core {} (node {}) of cluster {}, not to core {} (node {}) of cluster {}",
        found.core, found.node, found.cluster, expected.core, expected.node, expected.cluster
    )]
    Other {
        /// As the folder says.
        found: Box<Identity>,
        /// As asked for.
        expected: Box<Identity>,
    },
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    #[serde(flatten)]
    identity: Identity,
    /// Whether a log was made for this identity.
    log_created: bool,
}

/// Reads the identity of a data folder; none if it never had one.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn load(dir: &Path) -> Result<Option<Identity>, IdentityError> {
    Ok(read(dir)?.map(|stored| stored.identity))
}

/// Writes the identity of a data folder, durably, unless it is there already.
///
/// # Errors
/// When the disk refuses, or the folder belongs to another node.
pub fn store(dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    match read(dir)? {
        Some(stored) if stored.identity == *identity => Ok(()),
        Some(stored) => Err(IdentityError::Other {
            found: Box::new(stored.identity),
            expected: Box::new(identity.clone()),
        }),
        None => write(dir, identity, false),
    }
}

/// Whether a log was ever made for the identity of this folder.
pub(crate) fn log_was_created(dir: &Path) -> Result<bool, IdentityError> {
    Ok(read(dir)?.is_some_and(|stored| stored.log_created))
}

/// Notes, durably, that a log exists for this identity. Before anything is voted.
pub(crate) fn mark_log_created(dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    write(dir, identity, true)
}

fn read(dir: &Path) -> Result<Option<Stored>, IdentityError> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(IdentityError::Io { path, source }),
    };
    /// Only the format, so that a newer file is told from a damaged one.
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let malformed = |source| IdentityError::Malformed {
        path: path.clone(),
        source,
    };
    let Format { format } = serde_json::from_slice(&bytes).map_err(malformed)?;
    if format != FORMAT {
        return Err(IdentityError::UnknownFormat {
            path,
            found: format,
        });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

fn write(dir: &Path, identity: &Identity, log_created: bool) -> Result<(), IdentityError> {
    let path = dir.join(FILE);
    let stored = Stored {
        format: FORMAT,
        identity: identity.clone(),
        log_created,
    };
    let bytes = serde_json::to_vec_pretty(&stored).map_err(|source| IdentityError::Malformed {
        path: path.clone(),
        source,
    })?;
    fs::create_dir_all(dir)
        .and_then(|()| replace_durably(&path, &bytes))
        .map_err(|source| IdentityError::Io { path, source })
}

/// Replaces a small file so that after a crash either the old or the new one is there, whole, and
/// after returning only the new one. Readable by the owner alone.
pub(crate) fn replace_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&temporary, path)?;
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests;
