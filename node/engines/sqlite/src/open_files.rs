//! The files of users' databases that are open, each once beside SQLite's own handles.
//!
//! **Read ahead.** To somebody who comes back after a long time, the first answer takes a dozen pages from all over the
//! file, each of which the disk would be asked for after the one before.
//!
//! **Kept open** until the last handle of the database is closed. To close it sooner would take the lock that SQLite
//! holds on it: locks end when a process closes the file, by whatever descriptor (POSIX, `fcntl`). Another program
//! that opens the database would then believe that it is the only one. So nothing else opens such a file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a file that is read ahead, whole. Of a larger one most is not asked for.
const AHEAD_BYTES_MAX: u64 = 1024 * 1024;

/// Databases that have handles open.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles {
    open: Mutex<BTreeMap<PathBuf, Open>>,
}

#[derive(Debug)]
struct Open {
    handles: usize,
    /// More than one where several came first at the same moment. All are closed with the last handle.
    files: Vec<Arc<File>>,
}

impl OpenFiles {
    /// For a handle of a database: taken before the handle is opened, dropped after it is closed. The first one has the
    /// system read the file.
    pub(crate) fn hold(self: &Arc<Self>, path: &Path) -> io::Result<Held> {
        if let Some(counted) = self.open().get_mut(path) {
            return Ok(self.held(path, counted));
        }
        // Not under the lock, which everybody's handles share: a disk may be slow.
        let file = Arc::new(File::open(path)?);
        if let Err(error) = read_ahead(&file) {
            // Slower is all it is.
            tracing::debug!(path = %path.display(), %error, "a file could not be read ahead");
        }
        let mut open = self.open();
        let counted = open.entry(path.to_owned()).or_insert_with(|| Open {
            handles: 0,
            files: Vec::new(),
        });
        counted.files.push(file);
        Ok(self.held(path, counted))
    }

    fn held(self: &Arc<Self>, path: &Path, counted: &mut Open) -> Held {
        counted.handles += 1;
        Held {
            files: Arc::clone(self),
            path: path.to_owned(),
            file: counted.files.first().cloned(),
        }
    }

    /// A database is removed: another one may come under its name.
    pub(crate) fn forget(&self, path: &Path) {
        self.open().remove(path);
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that stays open until the last of these is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    files: Arc<OpenFiles>,
    path: PathBuf,
    /// There until it is dropped.
    file: Option<Arc<File>>,
}

impl Held {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes its content durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.sync_all())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let mut open = self.files.open();
        let is_of = |counted: &&mut Open| {
            let first = counted.files.first();
            first.is_some_and(|first| Arc::ptr_eq(first, &file))
        };
        if let Some(counted) = open.get_mut(&self.path).filter(is_of) {
            counted.handles -= 1;
            // Closed under the lock: before the next one to come is counted, and SQLite locks the file.
            drop(file);
            if counted.handles == 0 {
                open.remove(&self.path);
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn read_ahead(file: &File) -> io::Result<()> {
    if file.metadata()?.len() <= AHEAD_BYTES_MAX {
        rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed)?;
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
const fn read_ahead(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_open_as_long_as_any_handle() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        let files = Arc::new(OpenFiles::default());
        assert!(files.hold(&one).is_err());
        for path in [&one, &two] {
            std::fs::write(path, "pages").unwrap();
        }
        let first = files.hold(&one).unwrap();
        let second = files.hold(&one).unwrap();
        let other = files.hold(&two).unwrap();
        drop(first);
        assert_eq!(files.open().len(), 2);
        drop((second, other));
        assert!(files.open().is_empty());
        // One that comes under the name of a removed one is another file.
        let removed = files.hold(&one).unwrap();
        files.forget(&one);
        let _new = files.hold(&one).unwrap();
        assert_ne!(files.open()[&one].handles, 2);
        drop(removed);
        assert_eq!(files.open().len(), 1);
    }
}
