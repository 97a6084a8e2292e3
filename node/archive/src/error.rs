//! What can be wrong with an archive, and where.

use std::fmt;
use std::io;

use thiserror::Error;

/// Where in an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Path inside the archive.
    pub file: String,
    /// Line of it, from 1.
    pub line: Option<u64>,
    /// Field of the record.
    pub field: Option<String>,
}

impl Place {
    /// A whole file.
    #[must_use]
    pub fn file(path: impl Into<String>) -> Self {
        Self {
            file: path.into(),
            ..Self::default()
        }
    }

    /// A line of a file.
    #[must_use]
    pub fn line(path: impl Into<String>, line: u64) -> Self {
        Self {
            file: path.into(),
            line: Some(line),
            field: None,
        }
    }

    /// A field of this record.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.field = Some(name.into());
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(field) = &self.field {
            write!(f, ", field {field:?}")?;
        }
        Ok(())
    }
}

/// What is wrong. Never quotes content.
#[derive(Debug, Error)]
pub enum Fault {
    /// A file that must be there is not.
    #[error("is missing")]
    Missing,
    /// It ends too early.
    #[error("ends too early: it was cut off")]
    Truncated,
    /// It is not what was written.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// It is no JSON object.
    #[error("is no JSON object (column {column})")]
    NotAnObject {
        /// Where the reader stopped.
        column: usize,
    },
    /// A field is not as it must be.
    #[error("{0}")]
    Field(&'static str),
    /// More than this reader takes.
    #[error("is too large: at most {most} {of} are read")]
    TooLarge {
        /// The bound.
        most: u64,
        /// Of what.
        of: &'static str,
    },
    /// Fewer or more records than there should be.
    #[error("has {found} records where there should be {expected}")]
    Count {
        /// As counted.
        found: u64,
        /// As the manifest says, or the format.
        expected: u64,
    },
    /// The key does not open it.
    #[error("cannot be decrypted: wrong passphrase or key, or the file is damaged")]
    WrongKey,
    /// A key is needed.
    #[error("the archive is encrypted: {0}")]
    KeyNeeded(&'static str),
    /// Written by something that this reader does not know.
    #[error("is not supported: {0}")]
    Unsupported(String),
    /// A name that would lead out of the archive.
    #[error("names a file that cannot be in an archive")]
    UnsafeName,
    /// Sections of a user are written one after the other.
    #[error("was closed already: sections are written one after the other")]
    Closed,
    /// The disk failed.
    #[error("cannot be read or written")]
    Io(#[source] io::Error),
}

/// Something wrong at a place.
#[derive(Debug, Error)]
#[error("{place}: {fault}")]
pub struct ArchiveError {
    /// Where.
    pub place: Place,
    /// What.
    #[source]
    pub fault: Box<Fault>,
}

impl ArchiveError {
    /// A fault at a place.
    #[must_use]
    pub fn new(place: Place, fault: Fault) -> Self {
        Self {
            place,
            fault: Box::new(fault),
        }
    }

    /// A fault of a whole file.
    #[must_use]
    pub fn file(path: impl Into<String>, fault: Fault) -> Self {
        Self::new(Place::file(path), fault)
    }

    /// A failure of reading or writing, which may carry a fault of a layer below.
    #[must_use]
    pub fn io(place: Place, error: io::Error) -> Self {
        Self::new(place, Fault::from_io(error))
    }
}

impl Fault {
    /// Carries a fault through a reader.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Carried(self))
    }

    /// What a reader's failure means.
    pub(crate) fn from_io(error: io::Error) -> Self {
        let kind = error.kind();
        match error.downcast::<Carried>() {
            Ok(Carried(fault)) => fault,
            Err(_) if kind == io::ErrorKind::UnexpectedEof => Self::Truncated,
            Err(error)
                if matches!(
                    kind,
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
                ) =>
            {
                Self::Damaged(error.to_string())
            }
            Err(error) => Self::Io(error),
        }
    }
}

/// See [`Fault::into_io`].
#[derive(Debug, Error)]
#[error("{0}")]
struct Carried(Fault);
