//! The archive format in which users are exchanged between installations (spec/platform §9.2, §9.3):
//! a folder of JSON lines and files, plain or gzip, encrypted or not.
//!
//! This crate reads and writes the format and nothing else: where the files are is the matter of a
//! [`Source`] or a [`Sink`], what the records mean that of whoever reads them. One record, or a
//! piece of a file, is in memory at a time, whatever the archive holds.
//!
//! What the format leaves open it takes from both sides: files are found compressed or not whatever
//! the manifest says, and counts that a manifest gives must be met, for nothing else tells that a
//! file was cut at the end of a record.

mod crypt;
mod error;
mod layout;
mod lines;
mod manifest;
pub mod memory;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io::{self, Read, Write};

pub use crypt::{Protection, Unlock};
pub use error::{ArchiveError, Fault, Place};
pub use layout::Section;
pub use lines::{Record, Records};
pub use manifest::{Config, Manifest, UserManifest};
pub use reader::{Archive, UserArchive};
pub use writer::{ArchiveWriter, AttachmentWriter, Finish, Options, UserWriter};

/// Longest line of a file: an event with the largest body that the API takes, and room.
pub const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest manifest.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Records of one section of one user.
pub const RECORDS_MAX: u64 = 1_000_000_000;
/// Users of one archive.
pub const USERS_MAX: usize = 1_000_000;
/// Files in one folder of an archive.
pub const FOLDER_FILES_MAX: usize = 1_000_000;
/// Raw bytes after which a section is continued in another file, unless told otherwise.
pub const CHUNK_BYTES: u64 = 50 * 1024 * 1024;

/// Where an archive is read from. Paths are relative, with `/`, and checked: they never leave it.
pub trait Source {
    /// Opens a file; none if there is none.
    ///
    /// # Errors
    /// Of reading.
    fn open(&self, path: &str) -> io::Result<Option<Box<dyn Read + Send>>>;

    /// Names of the files of a folder, sorted; empty if there is no such folder. At most
    /// [`FOLDER_FILES_MAX`] and one more.
    ///
    /// # Errors
    /// Of reading.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
}

/// Where an archive is written to.
pub trait Sink {
    /// Makes a file and the folders above it. One that is there already is an error.
    ///
    /// # Errors
    /// Of writing.
    fn create(&mut self, path: &str) -> io::Result<Box<dyn SinkFile>>;
}

/// A file on its way out.
pub trait SinkFile: Write + Send {
    /// Everything was written: afterwards it is there for good.
    ///
    /// # Errors
    /// Of writing.
    fn finish(self: Box<Self>) -> io::Result<()>;
}
