//! A core's own files: who it is, its key and certificate, the cluster key. Written whole, synced
//! and renamed, readable by their owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A file could not be read or written.
#[derive(Debug, Error)]
#[error("cannot {doing} {}", path.display())]
pub(crate) struct FileError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Where a core keeps what.
#[derive(Clone, Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
}

impl DataDir {
    /// Opens or makes a data directory.
    pub(crate) fn open(root: &Path) -> Result<Self, FileError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|source| error("make the data directory", root, source))?;
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The directory of a core that runs, or will be opened by another process.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The platform store's directory, `identity.json` included.
    pub(crate) fn platform(&self) -> PathBuf {
        self.root.join("platform")
    }

    /// The journal of users' writes.
    pub(crate) fn journal(&self) -> PathBuf {
        self.root.join("journal.sqlite")
    }

    /// Where operators' commands come in.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.root.join("admin.sock")
    }

    /// Accounts being created here, one file each: what a crash may have left half done.
    pub(crate) fn pending(&self) -> PathBuf {
        self.root.join("pending")
    }

    /// Audit logs that are kept of deleted users, one file each.
    pub(crate) fn kept_audit(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// This core's private key (PEM).
    pub(crate) fn node_key(&self) -> PathBuf {
        self.root.join("node.key")
    }

    /// This core's certificate chain, leaf first (concatenated DER behind lengths).
    pub(crate) fn node_certificate(&self) -> PathBuf {
        self.root.join("node.crt")
    }

    /// The node ids of the members at the time of joining (JSON).
    pub(crate) fn first_members(&self) -> PathBuf {
        self.root.join("members.json")
    }

    /// The cluster's symmetric key.
    pub(crate) fn cluster_key(&self) -> PathBuf {
        self.root.join("cluster.key")
    }

    /// The catalogue of event types that was fetched last; may be deleted.
    pub(crate) fn event_types(&self) -> PathBuf {
        self.root.join("event-types.json")
    }

    /// Tells this directory from a copy of it.
    pub(crate) fn original(&self) -> PathBuf {
        self.root.join("original")
    }

    /// Held while a process uses the directory.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// Reads a file; none if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error("read", path, source)),
    }
}

/// Reads a text file; none if there is none.
pub(crate) fn read_text(path: &Path) -> Result<Option<String>, FileError> {
    let Some(bytes) = read(path)? else {
        return Ok(None);
    };
    String::from_utf8(bytes).map(Some).map_err(|_utf8| {
        error(
            "read",
            path,
            io::Error::new(io::ErrorKind::InvalidData, "it is not text"),
        )
    })
}

/// How the name of a file ends that is being written, after a dot and its name.
const UNFINISHED: &str = ".new";

/// Writes a file whole: afterwards it has the new content or, after a crash, the old one.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let mut writing = Writing::begin(path)?;
    writing.append(content)?;
    writing.finish()
}

/// A file that is written whole, in pieces.
#[derive(Debug)]
pub(crate) struct Writing {
    file: File,
    temporary: PathBuf,
    path: PathBuf,
}

impl Writing {
    /// Begins; what is at the path stays until the end.
    pub(crate) fn begin(path: &Path) -> Result<Self, FileError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory_of(path).join(format!(".{name}{UNFINISHED}"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|source| error("write", path, about_folder(path, source)))?;
        Ok(Self {
            file,
            temporary,
            path: path.to_owned(),
        })
    }

    /// Writes a piece.
    pub(crate) fn append(&mut self, content: &[u8]) -> Result<(), FileError> {
        let written = self.file.write_all(content);
        written.map_err(|source| error("write", &self.path, source))
    }

    /// Puts it in its place, on disk when this returns.
    pub(crate) fn finish(self) -> Result<(), FileError> {
        let attempt = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::rename(&self.temporary, &self.path)?;
            File::open(directory_of(&self.path))?.sync_all()
        };
        attempt().map_err(|source| error("write", &self.path, source))
    }
}

/// A file that is made cannot be what is not found.
fn about_folder(path: &Path, source: io::Error) -> io::Error {
    if source.kind() != io::ErrorKind::NotFound {
        return source;
    }
    let folder = directory_of(path).display();
    io::Error::new(source.kind(), format!("there is no folder {folder}"))
}

/// The directory of a file.
fn directory_of(path: &Path) -> &Path {
    // A bare file name has an empty parent, which is no directory to open.
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
}

/// Whether a file of this name is what [`write`] leaves where a crash ends it half-way.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

/// Removes a file; none is fine.
pub(crate) fn remove(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(error("remove", path, source)),
    }
}

/// Takes the directory for this process; dropped with it.
pub(crate) fn take_lock(data: &DataDir) -> Result<File, FileError> {
    let path = data.lock();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|source| error("open", &path, source))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(
        |errno| {
            let source = if errno == rustix::io::Errno::WOULDBLOCK {
                io::Error::new(io::ErrorKind::WouldBlock, "another process runs this core")
            } else {
                io::Error::from(errno)
            };
            error("lock", &path, source)
        },
    )?;
    Ok(file)
}

/// Several byte strings in one file, each behind its length (big-endian, 4 bytes).
pub(crate) fn join_blocks(blocks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for block in blocks {
        out.extend_from_slice(&u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(block);
    }
    out
}

/// Reads what [`join_blocks`] wrote; none if it is something else.
pub(crate) fn split_blocks(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_at_checked(4)?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let (block, rest) = rest.split_at_checked(length)?;
        blocks.push(block.to_vec());
        bytes = rest;
    }
    Some(blocks)
}

pub(crate) fn error(doing: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError {
        doing,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_replaced_whole_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("homecore-files-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.toml");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(read_text(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let error = write(Path::new("/no-such-folder/a.toml"), b"").unwrap_err();
        assert!(
            format!("{:?}", error.source).contains("there is no folder /no-such-folder"),
            "{error:?}"
        );
    }

    #[test]
    fn a_bare_file_name_is_in_this_directory() {
        let path = PathBuf::from(format!("homecore-test-{}.tmp", std::process::id()));
        write(&path, b"here").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some(b"here".as_slice()));
        remove(&path).unwrap();
    }

    #[test]
    fn blocks_come_back() {
        let blocks = vec![b"leaf".to_vec(), Vec::new(), b"ca".to_vec()];
        assert_eq!(split_blocks(&join_blocks(&blocks)), Some(blocks));
        assert_eq!(split_blocks(&[0, 0, 0, 9, 1]), None);
    }
}
