//! How everything that was committed gets on disk at a checkpoint.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::files::{sync_file_if_any, sync_folder};
use crate::open_files::OpenFiles;

/// How a checkpoint makes users' files durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// One call for the whole file system: fastest with many users. Linux only.
    FileSystem,
    /// One call for each file that was written since the last checkpoint: for file systems that
    /// are shared with others who write a lot, and for other systems.
    Files,
}

impl Default for Durability {
    fn default() -> Self {
        if cfg!(target_os = "linux") {
            Self::FileSystem
        } else {
            Self::Files
        }
    }
}

/// Knows what is not on disk yet.
#[derive(Debug)]
pub(crate) enum Durable {
    /// Held open from the start: the kernel reports a failed write to those who had the file
    /// system open when it happened, not to those who open it later.
    FileSystem(File),
    /// Databases that were written.
    Files {
        written: Mutex<BTreeSet<PathBuf>>,
        files: Arc<OpenFiles>,
    },
}

impl Durable {
    pub(crate) fn new(how: Durability, root: &Path, files: &Arc<OpenFiles>) -> io::Result<Self> {
        Ok(match how {
            Durability::FileSystem => Self::FileSystem(File::open(root)?),
            Durability::Files => Self::Files {
                written: Mutex::default(),
                files: Arc::clone(files),
            },
        })
    }

    /// A database is about to be written.
    pub(crate) fn note(&self, database: &Path) {
        if let Self::Files { written, .. } = self {
            let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
            if !written.contains(database) {
                written.insert(database.to_owned());
            }
        }
    }

    /// Returns when everything written so far is on disk.
    pub(crate) fn flush(&self) -> io::Result<()> {
        match self {
            Self::FileSystem(root) => flush_file_system(root),
            Self::Files { written, files } => {
                // Taken first: what is written from now on is for the next time.
                let written =
                    std::mem::take(&mut *written.lock().unwrap_or_else(PoisonError::into_inner));
                for database in &written {
                    flush_database(files, database)?;
                }
                Ok(())
            }
        }
    }
}

/// The log first: it may be folded into the database and removed meanwhile, and SQLite makes the
/// database durable before it removes it. A database that is gone belongs to a removed user.
fn flush_database(files: &Arc<OpenFiles>, database: &Path) -> io::Result<()> {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    sync_file_if_any(Path::new(&log))?;
    match files.hold(database) {
        Ok(file) => file.sync()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match database.parent().map(sync_folder) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(target_os = "linux")]
fn flush_file_system(root: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(root)?)
}

#[cfg(not(target_os = "linux"))]
fn flush_file_system(_root: &File) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this system cannot flush one file system; use Durability::Files",
    ))
}
