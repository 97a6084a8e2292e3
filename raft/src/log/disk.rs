//! The log's SQLite file: its tables, how it is opened, and the statements on it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, params};

use crate::identity::Identity;
use crate::log::LogError;
use crate::log::tail::end_of;
use crate::types::{self, Entry, LogId, Vote};

pub(super) const FILE: &str = "log.sqlite";
/// The format of the tables; entries carry their own (see [`types::FORMAT`]).
const FORMAT: u64 = 1;

/// How hard a transaction is pushed to the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// Synced before the commit returns.
    Full,
    /// In the file; synced with the next full one.
    Lazy,
}

/// What the file held when it was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recovered {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    pub(super) last: Option<LogId>,
}

/// The writer's connection.
pub(super) struct Disk {
    connection: Connection,
    path: PathBuf,
    sync: Sync,
}

impl Disk {
    /// Opens the file, and says whether it was empty.
    pub(super) fn open(path: &Path, identity: &Identity) -> Result<(Self, bool), LogError> {
        let error = |doing| {
            move |source| LogError::Database {
                path: path.to_path_buf(),
                doing,
                source,
            }
        };
        let connection = Connection::open(path).map_err(error("open the log"))?;
        connection
            .busy_timeout(Duration::from_secs(5))
            .map_err(error("set a timeout"))?;
        // FULL: the write-ahead log is synced at every commit.
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL;
                 PRAGMA synchronous = FULL;
                 PRAGMA wal_autocheckpoint = 2000;
                 PRAGMA journal_size_limit = 67108864;",
            )
            .map_err(error("configure the log"))?;
        let disk = Self {
            connection,
            path: path.to_path_buf(),
            sync: Sync::Full,
        };
        let fresh = disk.prepare(identity)?;
        Ok((disk, fresh))
    }

    /// Makes the tables, or checks whose they are.
    fn prepare(&self, identity: &Identity) -> Result<bool, LogError> {
        self.connection
            .execute_batch(
                "CREATE TABLE IF NOT EXISTS meta (
                     name  TEXT PRIMARY KEY,
                     value BLOB NOT NULL
                 ) STRICT, WITHOUT ROWID;
                 CREATE TABLE IF NOT EXISTS entry (
                     idx  INTEGER PRIMARY KEY,
                     data BLOB NOT NULL
                 ) STRICT;",
            )
            .map_err(|source| self.error("make the tables", source))?;
        let owner = format!("{} of cluster {}", identity.node, identity.cluster);
        match self.meta("format")? {
            None => {
                self.put_meta("owner", owner.as_bytes())?;
                self.put_meta("format", &FORMAT.to_be_bytes())?;
                Ok(true)
            }
            Some(bytes) => {
                let found = <[u8; 8]>::try_from(bytes).map_or(u64::MAX, u64::from_be_bytes);
                if found != FORMAT {
                    let path = self.path.clone();
                    return Err(LogError::UnknownFormat {
                        path,
                        found,
                        known: FORMAT,
                    });
                }
                let found = self.meta("owner")?.unwrap_or_default();
                if found != owner.as_bytes() {
                    return Err(LogError::OtherNode {
                        path: self.path.clone(),
                        found: String::from_utf8_lossy(&found).into_owned(),
                        expected: owner,
                    });
                }
                Ok(false)
            }
        }
    }

    /// Reads what openraft needs before anything else, and looks for holes.
    pub(super) fn recover(&self) -> Result<Recovered, LogError> {
        let vote = self.decoded("vote")?;
        let committed = self.decoded::<Option<LogId>>("committed")?.flatten();
        let purged: Option<LogId> = self.decoded("purged")?;
        let (first, last, count) = self
            .connection
            .query_row(
                "SELECT min(idx), max(idx), count(*) FROM entry",
                [],
                |row| {
                    Ok((
                        row.get::<_, Option<i64>>(0)?,
                        row.get::<_, Option<i64>>(1)?,
                        row.get::<_, i64>(2)?,
                    ))
                },
            )
            .map_err(|source| self.error("read the bounds", source))?;
        let last = match (first, last) {
            (Some(first), Some(last)) => {
                let purged_end = end_of(purged);
                let gapless = last.saturating_sub(first).saturating_add(1) == count;
                if !gapless || index(first) > purged_end {
                    return Err(LogError::Hole { index: purged_end });
                }
                let range = index(last)..index(last).saturating_add(1);
                let found = read(&self.connection, &self.path, range, usize::MAX)?;
                found.entries.first().map(|entry| entry.log_id).max(purged)
            }
            _ => purged,
        };
        Ok(Recovered {
            vote,
            committed,
            purged,
            last,
        })
    }

    /// Runs `work` in one transaction.
    pub(super) fn transact(
        &mut self,
        sync: Sync,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), LogError> {
        let path = &self.path;
        let error = |doing| {
            move |source| LogError::Database {
                path: path.clone(),
                doing,
                source,
            }
        };
        if self.sync != sync {
            let level = match sync {
                Sync::Full => "FULL",
                Sync::Lazy => "NORMAL",
            };
            self.connection
                .pragma_update(None, "synchronous", level)
                .map_err(error("set the sync level"))?;
            self.sync = sync;
        }
        let transaction = self.connection.transaction().map_err(error("begin"))?;
        work(&transaction).map_err(error("write"))?;
        transaction.commit().map_err(error("commit"))
    }

    /// Closes the file, which moves the write-ahead log into it.
    pub(super) fn close(self) -> Result<(), LogError> {
        let Self {
            connection, path, ..
        } = self;
        connection
            .close()
            .map_err(|(_, source)| LogError::Database {
                path,
                doing: "close the log",
                source,
            })
    }

    fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        self.connection
            .query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|source| self.error("read the head", source))
    }

    fn put_meta(&self, name: &str, value: &[u8]) -> Result<(), LogError> {
        self.connection
            .execute(
                "INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)",
                params![name, value],
            )
            .map(drop)
            .map_err(|source| self.error("write the head", source))
    }

    fn decoded<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LogError> {
        self.meta(name)?
            .map(|bytes| types::decode(&bytes))
            .transpose()
            .map_err(|source| self.damaged(name, source))
    }

    fn error(&self, doing: &'static str, source: rusqlite::Error) -> LogError {
        LogError::Database {
            path: self.path.clone(),
            doing,
            source,
        }
    }

    fn damaged(&self, what: &str, source: crate::codec::CodecError) -> LogError {
        LogError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
            source,
        }
    }
}

/// Opens a second connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, LogError> {
    let error = |source| LogError::Database {
        path: path.to_path_buf(),
        doing: "open the log",
        source,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(error)?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(error)?;
    Ok(connection)
}

/// Entries found on disk, and whether the byte limit ended them.
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) cut: bool,
}

/// Reads entries in order, at least one, until the range or `bytes_max` ends.
pub(super) fn read(
    connection: &Connection,
    path: &Path,
    range: Range<u64>,
    bytes_max: usize,
) -> Result<Found, LogError> {
    let error = |source| LogError::Database {
        path: path.to_path_buf(),
        doing: "read entries",
        source,
    };
    let mut statement = connection
        .prepare_cached("SELECT idx, data FROM entry WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")
        .map_err(error)?;
    let mut rows = statement
        .query([row_id(range.start), row_id(range.end)])
        .map_err(error)?;
    let mut found = Found {
        entries: Vec::new(),
        cut: false,
    };
    let mut bytes = 0_usize;
    while let Some(row) = rows.next().map_err(error)? {
        let data = row
            .get_ref(1)
            .and_then(|value| Ok(value.as_blob()?))
            .map_err(error)?;
        bytes = bytes.saturating_add(data.len());
        if bytes > bytes_max && !found.entries.is_empty() {
            found.cut = true;
            break;
        }
        let damaged = |source| LogError::Damaged {
            path: path.to_path_buf(),
            what: format!("entry {}", row.get::<_, i64>(0).unwrap_or_default()),
            source,
        };
        found.entries.push(types::decode(data).map_err(damaged)?);
    }
    Ok(found)
}

/// SQLite's integers are signed; indexes stay far below.
pub(super) fn row_id(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn index(row_id: i64) -> u64 {
    u64::try_from(row_id).unwrap_or(0)
}
