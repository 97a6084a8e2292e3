//! An archive in a folder on disk. It may come from anybody: no link in it is followed, so that it
//! cannot name files of the machine that reads it, and only regular files are opened.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use homecore_archive::{FOLDER_FILES_MAX, Sink, SinkFile, Source};
use rustix::fs::{Dir, FileType, FlockOperation, Mode, OFlags, flock, fstat, open, openat};
use rustix::io::Errno;

/// What an archive consists of at its top.
const TOP: &[&str] = &[
    "manifest.json",
    "users",
    "platform",
    "encryption.json",
    "RESTORE-README.md",
];

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// A folder that one writer has for itself.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Whether it was not there before.
    pub(crate) made: bool,
    _held: File,
}

impl Folder {
    /// The archive in this folder.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Takes the folder for one writer, who finds it empty or makes it: what is returned holds it.
    pub(crate) fn take(&self) -> anyhow::Result<Taken> {
        let shown = self.0.display();
        let cannot_make = || format!("cannot make {shown}");
        let made = !self.0.try_exists().with_context(cannot_make)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(cannot_make)?;
        let held = File::open(&self.0).with_context(|| format!("cannot open {shown}"))?;
        match flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!("another export writes to {shown}"),
            Err(errno) => {
                return Err(io::Error::from(errno)).with_context(|| format!("cannot lock {shown}"));
            }
        }
        // Only now: another may have written to it until a moment ago.
        let mut entries = fs::read_dir(&self.0).with_context(|| format!("cannot open {shown}"))?;
        ensure!(entries.next().is_none(), "{shown} is not empty");
        Ok(Taken { made, _held: held })
    }

    /// Removes an archive. The folder stays.
    pub(crate) fn clear(&self) -> anyhow::Result<()> {
        for name in TOP {
            let path = self.0.join(name);
            let removed = match fs::symlink_metadata(&path) {
                Ok(there) if there.is_dir() => fs::remove_dir_all(&path),
                Ok(_) => fs::remove_file(&path),
                Err(error) => Err(error),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| path.display().to_string());
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Opens a folder below, through no link; the root itself may be one.
    fn folder(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = open(&self.0, flags, Mode::empty())?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let flags = flags | OFlags::NOFOLLOW;
            folder = match openat(&folder, name, flags, Mode::empty()) {
                Ok(folder) => folder,
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    return Err(odd(format!("{name} is no folder; links are not followed")));
                }
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(Some(folder))
    }
}

fn odd(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

impl Source for Folder {
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + Send>>> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let Some(folder) = self.folder(above)? else {
            return Ok(None);
        };
        // Opening a pipe would wait for whoever writes it.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&folder, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(odd("it is a link; links are not followed".to_owned())),
            Err(errno) => return Err(errno.into()),
        };
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(odd("it is no regular file".to_owned()));
        }
        Ok(Some(Box::new(File::from(file))))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let Some(folder) = self.folder(folder)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            // Whatever is not a folder is told by its name: opening it says what is wrong with it.
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
                && entry.file_type() != FileType::Directory
            {
                names.push(name.to_owned());
            }
            if names.len() > FOLDER_FILES_MAX {
                break;
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Sink for Folder {
    fn create(&mut self, path: &str) -> io::Result<Box<dyn SinkFile>> {
        let path = self.0.join(path);
        if let Some(parent) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(parent)?;
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(DiskFile(BufWriter::new(file))))
    }
}

struct DiskFile(BufWriter<File>);

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl SinkFile for DiskFile {
    fn finish(self: Box<Self>) -> io::Result<()> {
        let file = self
            .0
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cli::archives::tests::Scratch;

    fn said(folder: &Folder, path: &str) -> String {
        match folder.open(path) {
            Ok(Some(mut file)) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                text
            }
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_folder_has_one_writer_who_finds_it_empty() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::at(&place.path().join("a/archive"));
        let taken = folder.take().unwrap();
        assert!(taken.made);
        let refused = folder.take().unwrap_err().to_string();
        assert!(refused.starts_with("another export writes"), "{refused}");
        drop(taken);
        assert!(!folder.take().unwrap().made);
        fs::write(place.path().join("a/archive/manifest.json"), "{}").unwrap();
        let refused = folder.take().unwrap_err().to_string();
        assert!(refused.ends_with("is not empty"), "{refused}");
    }

    #[test]
    fn nothing_outside_is_read() {
        let scratch = Scratch::new("folder");
        let (outside, root) = (scratch.at("outside"), scratch.at("root"));
        fs::create_dir_all(&outside).unwrap();
        let key = outside.join("key");
        fs::write(&key, "secret").unwrap();
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("users/u")).unwrap();
        fs::write(at("users/u/file"), "text").unwrap();
        symlink(&key, at("users/u/link")).unwrap();
        symlink(at("users/u/file"), at("users/u/inside")).unwrap();
        symlink(&outside, at("users/away")).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("users/u/pipe"), FileType::Fifo, mode, 0).unwrap();
        // The archive itself may be reached by a link.
        let door = outside.join("door");
        symlink(&root, &door).unwrap();
        for folder in [Folder::at(&root), Folder::at(&door)] {
            for (path, expected) in [
                ("users/u/file", "text"),
                ("users/u/none", "nothing"),
                ("users/none/file", "nothing"),
                ("users/u/link", "it is a link; links are not followed"),
                ("users/u/inside", "it is a link; links are not followed"),
                (
                    "users/away/key",
                    "away is no folder; links are not followed",
                ),
                ("users/u/pipe", "it is no regular file"),
                ("users/u", "it is no regular file"),
            ] {
                assert_eq!(said(&folder, path), expected, "{path}");
            }
            assert_eq!(
                folder.list("users/u").unwrap(),
                ["file", "inside", "link", "pipe"]
            );
            assert!(folder.list("users/away").is_err());
            assert!(folder.list("users/none").unwrap().is_empty());
        }
    }

    #[test]
    fn what_was_written_is_removed_and_nothing_else() {
        let scratch = Scratch::new("removed");
        let made = scratch.at("new");
        let mut folder = Folder::at(&made);
        folder.clear().unwrap();
        drop(folder.create("users/u/file").unwrap());
        drop(folder.create("manifest.json").unwrap());
        fs::write(made.join("mine"), "").unwrap();
        folder.clear().unwrap();
        let left: Vec<_> = fs::read_dir(&made)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(left, ["mine"]);
    }
}
