//! Writing a snapshot file, and receiving one that another core wrote.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{
    CHECK_BYTES, Check, FORMAT, FRAME_BYTES, FRAME_BYTES_MAX, HEADER, HEADER_VERSION, Header,
    ITEMS, Item, MAGIC, SnapshotError, TRAILER, check, first_check, publish,
};
use crate::codec;
use crate::files::{self, FileError, because};

/// How files end that have no name yet.
pub(super) const UNFINISHED: &str = "part";

/// A file that is removed again unless it is kept.
#[derive(Debug)]
struct Aside {
    path: PathBuf,
    file: BufWriter<File>,
    kept: bool,
}

impl Aside {
    fn create(dir: &Path) -> Result<Self, FileError> {
        // Several may be open at once (one built, one received); a counter keeps them apart, and what
        // an earlier process left was removed at start.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!(
            "incoming-{}-{number}.{UNFINISHED}",
            std::process::id()
        ));
        let file = File::create_new(&path).map_err(because("create", &path))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            kept: false,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.file
            .write_all(bytes)
            .map_err(because("write", &self.path))
    }

    /// Syncs the file and keeps it.
    fn keep(mut self) -> Result<PathBuf, FileError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(because("sync", &self.path))?;
        self.kept = true;
        Ok(self.path.clone())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = files::remove(&self.path)
        {
            tracing::warn!(%error, "unfinished snapshot left behind");
        }
    }
}

/// Writes one snapshot file. Dropped before [`Writer::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    dir: PathBuf,
    header: Header,
    aside: Aside,
    previous: Check,
    body: Vec<u8>,
    items: u64,
}

impl Writer {
    /// Begins a file in a folder.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(dir: &Path, header: Header) -> Result<Self, SnapshotError> {
        let mut writer = Self {
            dir: dir.to_owned(),
            aside: Aside::create(dir)?,
            previous: first_check(),
            body: Vec::with_capacity(FRAME_BYTES),
            items: 0,
            header,
        };
        writer.aside.write(MAGIC)?;
        writer.aside.write(&FORMAT.to_be_bytes())?;
        writer.body.push(HEADER);
        let encoded =
            codec::encode(HEADER_VERSION, &writer.header).map_err(SnapshotError::Encode)?;
        writer.body.extend_from_slice(&encoded);
        writer.end_frame()?;
        Ok(writer)
    }

    /// Appends items.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&mut self, items: &[Item]) -> Result<(), SnapshotError> {
        for (space, key, value) in items {
            let bytes = key.len().saturating_add(value.len());
            if bytes > FRAME_BYTES_MAX - 64 {
                return Err(SnapshotError::ItemTooLong {
                    space: *space,
                    bytes,
                });
            }
            let length = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes();
            if !self.body.is_empty() && self.body.len().saturating_add(bytes) > FRAME_BYTES {
                self.end_frame()?;
            }
            if self.body.is_empty() {
                self.body.push(ITEMS);
            }
            self.body.push(space.number());
            self.body.extend_from_slice(&length(key));
            self.body.extend_from_slice(&length(value));
            self.body.extend_from_slice(key);
            self.body.extend_from_slice(value);
            self.items = self.items.saturating_add(1);
        }
        Ok(())
    }

    /// Writes the trailer, syncs the file, gives it its name and removes files too many.
    ///
    /// # Errors
    /// When any of it fails; then the file has no name.
    pub fn finish(mut self) -> Result<PathBuf, SnapshotError> {
        if !self.body.is_empty() {
            self.end_frame()?;
        }
        self.body.push(TRAILER);
        self.body.extend_from_slice(&self.items.to_be_bytes());
        self.end_frame()?;
        let Self {
            dir, header, aside, ..
        } = self;
        let path = aside.keep()?;
        publish(&path, &dir, &header.applied)
    }

    fn end_frame(&mut self) -> Result<(), SnapshotError> {
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        self.previous = check(&self.previous, &self.body);
        self.aside.write(&length.to_be_bytes())?;
        self.aside.write(&self.body)?;
        let sum: [u8; CHECK_BYTES] = self.previous;
        self.aside.write(&sum)?;
        self.body.clear();
        Ok(())
    }
}

/// A snapshot file that arrives in pieces. Dropped before [`Incoming::finish`], it leaves nothing.
#[derive(Debug)]
pub struct Incoming {
    aside: Aside,
}

impl Incoming {
    /// Begins a file in the folder of snapshots.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(dir: &Path) -> Result<Self, SnapshotError> {
        Ok(Self {
            aside: Aside::create(dir)?,
        })
    }

    /// Appends bytes as they came.
    ///
    /// # Errors
    /// When the disk is full, for example.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        Ok(self.aside.write(bytes)?)
    }

    pub(super) fn copy_from(&mut self, source: &mut impl Read) -> Result<(), SnapshotError> {
        let path = self.aside.path.clone();
        std::io::copy(source, &mut self.aside.file).map_err(because("copy to", &path))?;
        Ok(())
    }

    /// Syncs the file and tells where it is: for `Machine::install`, which checks it and gives it its
    /// name, or for the caller to remove.
    ///
    /// # Errors
    /// When it cannot be synced.
    pub fn finish(self) -> Result<PathBuf, SnapshotError> {
        Ok(self.aside.keep()?)
    }
}
