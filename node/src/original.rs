//! Whether a data directory is the one that this core has written to all along, or a copy of it.
//!
//! A copy may be older than what this core agreed to since. In a cluster it would vote again on what
//! it has forgotten: with it, others could decide for a second time what was confirmed already, and a name
//! would have two owners. Nothing in the copy can tell, for it is whole in itself. What a copy does not have
//! is the file: a file's number and the moment it was made are its file system's, so a file that says what its
//! own are says in a copy what those of another are. A snapshot of a whole volume cannot be told from the
//! original this way.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::rpc::files::{self, DataDir, FileError};

/// Why a core does not start from a directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOriginal {
    /// It was copied.
    #[error(
        "{} is a copy: it was restored from a backup, or moved. If this core is the only one of its cluster, or nothing \
         ran on the original after the copy was made, start it once with --restored. Otherwise it may have forgotten what \
         it confirmed: remove this core from its cluster and join under a new id (backup.md)",
        .0.display()
    )]
    Copy(PathBuf),
    /// It could not be looked at.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What a core may be started from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// Its own directory only.
    Original,
    /// A copy too, which is the original from then on: the operator says that nothing newer exists.
    Copy,
}

/// Looks at the directory. The lock is held.
pub(crate) fn check(data: &DataDir, accepted: Accepted) -> Result<(), NotOriginal> {
    let path = data.original();
    let at = |source| files::error("make", &path, source);
    match files::read(&path)? {
        // One without content was being made when the machine stopped.
        Some(said) if !said.is_empty() => {
            let file = File::open(&path).map_err(at)?;
            if said == mark(&file).map_err(at)?.as_bytes() {
                return Ok(());
            }
            if accepted == Accepted::Original {
                return Err(NotOriginal::Copy(data.root().to_owned()));
            }
            files::remove(&path)?;
        }
        Some(_) => files::remove(&path)?,
        None => {}
    }
    make(&path).map_err(at)?;
    Ok(())
}

/// Makes the file, durably.
fn make(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let mark = mark(&file)?;
    file.write_all(mark.as_bytes())?;
    file.sync_all()?;
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(directory)?.sync_all()
}

/// What is a file's alone. Some file systems do not know when a file was made.
fn mark(file: &File) -> io::Result<String> {
    let metadata = file.metadata()?;
    let born = metadata
        .created()
        .ok()
        .and_then(|born| born.duration_since(UNIX_EPOCH).ok());
    Ok(format!(
        "file {} made {}\n",
        metadata.ino(),
        born.map_or(0, |born| born.as_nanos())
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_told_from_the_original_until_it_is_accepted() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDir::open(&place.path().join("data")).unwrap();
        check(&data, Accepted::Original).unwrap();
        check(&data, Accepted::Original).unwrap();
        // A folder that is renamed is the same one.
        let moved = place.path().join("moved");
        std::fs::rename(data.root(), &moved).unwrap();
        check(&DataDir::at(&moved), Accepted::Original).unwrap();

        let copy = DataDir::open(&place.path().join("copy")).unwrap();
        std::fs::copy(moved.join("original"), copy.original()).unwrap();
        let refused = check(&copy, Accepted::Original).unwrap_err();
        assert!(matches!(refused, NotOriginal::Copy(path) if path == copy.root()));
        assert!(
            check(&copy, Accepted::Original).is_err(),
            "looking changes nothing"
        );
        check(&copy, Accepted::Copy).unwrap();
        check(&copy, Accepted::Original).unwrap();
    }

    #[test]
    fn a_file_that_a_crash_left_empty_is_made_anew() {
        let place = tempfile::tempdir().unwrap();
        let data = DataDir::open(place.path()).unwrap();
        std::fs::write(data.original(), "").unwrap();
        check(&data, Accepted::Original).unwrap();
        assert!(!std::fs::read(data.original()).unwrap().is_empty());
    }
}
