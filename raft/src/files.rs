//! Files that must survive a power cut: written aside, synced, renamed, and their folder synced too.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The file system failed.
#[derive(Debug, Error)]
#[error("could not {doing} {}", path.display())]
pub struct FileError {
    /// What was tried.
    pub doing: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Names what was tried and where.
pub(crate) fn because(
    doing: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.to_owned();
    move |source| FileError {
        doing,
        path,
        source,
    }
}

/// Makes a folder and the folders above it.
pub(crate) fn create_dir(dir: &Path) -> Result<(), FileError> {
    fs::create_dir_all(dir).map_err(because("make the folder", dir))
}

/// Makes names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), FileError> {
    File::open(dir)
        .and_then(|file| file.sync_all())
        .map_err(because("sync the folder", dir))
}

/// Makes every file below a folder durable, and their names. The folder holds an engine's few files,
/// at most two levels deep.
pub(crate) fn sync_tree(dir: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(dir).map_err(because("list", dir))? {
        let path = entry.map_err(because("list", dir))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(because("sync", &path))?;
        }
    }
    sync_dir(dir)
}

/// Removes a folder and all that is in it, if it is there.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), FileError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(because("remove the folder", dir)(source))
        }
        _ => Ok(()),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(because("remove", path)(source))
        }
        _ => Ok(()),
    }
}

/// A small file's content; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(because("read", path)(source)),
    }
}

/// Replaces a small file: after a crash it has the old content or the new one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let aside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(because("write", &aside))?;
    rename(&aside, path)
}

/// Renames a synced file and makes the name durable.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(because("rename", from))?;
    match to.parent() {
        Some(dir) => sync_dir(dir),
        None => Ok(()),
    }
}
