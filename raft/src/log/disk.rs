//! The log's SQLite file: its tables, how it is opened, and the statements on it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, Transaction, params};

use crate::log::LogError;
use crate::log::medium::{Bounds, Change, Each, Medium, MediumReader, Sync};
use crate::log::synced::{self, Mark};

pub(super) const FILE: &str = "log.sqlite";
/// The format of the tables; entries carry their own (see `types::FORMAT`).
const FORMAT: u64 = 2;

/// The writer's connection.
pub(crate) struct Disk {
    connection: Connection,
    path: PathBuf,
    sync: Sync,
    /// Commits that were synced so far, of all times.
    synced: u64,
}

impl Disk {
    /// Opens the file, and says whether it was empty.
    pub(crate) fn open(path: &Path, owner: &str) -> Result<(Self, bool), LogError> {
        let error = |doing| {
            move |source| LogError::Database {
                path: path.to_path_buf(),
                doing,
                source,
            }
        };
        // Before SQLite looks, which forgets what comes after the first damage.
        let most = synced::most(path).map_err(|source| LogError::Io {
            path: path.to_path_buf(),
            source,
        })?;
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
        let mut disk = Self {
            connection,
            path: path.to_path_buf(),
            sync: Sync::Full,
            synced: 0,
        };
        // Closing moves the write-ahead log away, and with it what it says: not if it is refused.
        disk.moves_on_close(false)?;
        let note = disk.meta(synced::NOTE).ok().flatten();
        disk.synced = note.and_then(|n| Mark::find(&n)).map_or(0, Mark::after);
        if most > disk.synced {
            return Err(LogError::Shortened {
                path: path.to_path_buf(),
                found: disk.synced,
                synced: most,
            });
        }
        disk.moves_on_close(true)?;
        let fresh = disk.prepare(owner)?;
        disk.settle()?;
        Ok((disk, fresh))
    }

    fn moves_on_close(&self, moves: bool) -> Result<(), LogError> {
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !moves)
            .map(drop)
            .map_err(|source| self.error("configure the log", source))
    }

    /// Writes what is found once more, and syncs it. A process that was killed, or whose sync failed, may
    /// have left what is only in the system's memory; what this core relies on from here on is on the disk.
    fn settle(&self) -> Result<(), LogError> {
        let settled = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()));
        match settled {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                // There is no room to write it elsewhere: what was written is synced where it is.
                let path = synced::wal_of(&self.path);
                File::open(&path)
                    .and_then(|file| file.sync_all())
                    .map_err(|source| LogError::Io { path, source })
            }
            settled => settled.map_err(|source| self.error("settle the log", source)),
        }
    }

    /// Makes the tables, or checks whose they are.
    fn prepare(&self, owner: &str) -> Result<bool, LogError> {
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
                        expected: owner.to_owned(),
                    });
                }
                Ok(false)
            }
        }
    }

    /// Runs `work` in one transaction.
    fn transact(
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

    /// What an error means: one that says that the disk is full, and left nothing behind, is told apart.
    ///
    /// SQLite says so before it writes the last page of a commit, without which there is no commit, and
    /// never of a sync.
    fn judged(&self, error: LogError) -> LogError {
        match error {
            LogError::Database { path, source, .. }
                if source.sqlite_error_code() == Some(ErrorCode::DiskFull)
                    && self.connection.is_autocommit() =>
            {
                LogError::Full { path }
            }
            error => error,
        }
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

    fn error(&self, doing: &'static str, source: rusqlite::Error) -> LogError {
        LogError::Database {
            path: self.path.clone(),
            doing,
            source,
        }
    }
}

impl Medium for Disk {
    fn note(&self, name: &str) -> Result<Option<Vec<u8>>, LogError> {
        self.meta(name)
    }

    fn bounds(&self) -> Result<Option<Bounds>, LogError> {
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
        Ok(first.zip(last).map(|(first, last)| Bounds {
            first: index(first),
            last: index(last),
            count: index(count),
        }))
    }

    fn commit(&mut self, sync: Sync, changes: &[Change<'_>]) -> Result<(), LogError> {
        let mark = Mark {
            synced: self.synced,
            full: sync == Sync::Full,
        };
        let committed = self.transact(sync, |transaction| {
            let note = Change::Note {
                name: synced::NOTE,
                value: &mark.to_bytes(),
            };
            changes
                .iter()
                .chain([&note])
                .try_for_each(|change| make(transaction, change))
        });
        committed.map_err(|error| self.judged(error))?;
        self.synced = mark.after();
        Ok(())
    }

    fn reader(&self) -> Result<Box<dyn MediumReader>, LogError> {
        Ok(Box::new(Reader {
            connection: open_reader(&self.path)?,
            path: self.path.clone(),
        }))
    }

    /// Closes the file, which moves the write-ahead log into it.
    fn close(self: Box<Self>) -> Result<(), LogError> {
        let Self {
            connection, path, ..
        } = *self;
        connection
            .close()
            .map_err(|(_, source)| LogError::Database {
                path,
                doing: "close the log",
                source,
            })
    }
}

fn make(transaction: &Transaction<'_>, change: &Change<'_>) -> rusqlite::Result<()> {
    match change {
        Change::Append { first, rows } => {
            // Not OR REPLACE: writing over an entry that was not truncated is a fault.
            let mut insert =
                transaction.prepare_cached("INSERT INTO entry (idx, data) VALUES (?1, ?2)")?;
            for (index, row) in (*first..).zip(*rows) {
                insert.execute(params![row_id(index), row])?;
            }
            Ok(())
        }
        Change::Note { name, value } => transaction
            .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)")?
            .execute(params![name, value])
            .map(drop),
        Change::DeleteAfter(after) => {
            let after = after.map_or(-1, row_id);
            transaction
                .execute("DELETE FROM entry WHERE idx > ?1", [after])
                .map(drop)
        }
        Change::DeleteUpTo(upto) => transaction
            .execute("DELETE FROM entry WHERE idx <= ?1", [row_id(*upto)])
            .map(drop),
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

/// A second connection.
struct Reader {
    connection: Connection,
    path: PathBuf,
}

impl MediumReader for Reader {
    fn read(&self, range: Range<u64>, each: &mut Each<'_>) -> Result<(), LogError> {
        let error = |source| LogError::Database {
            path: self.path.clone(),
            doing: "read entries",
            source,
        };
        let mut statement = self
            .connection
            .prepare_cached("SELECT idx, data FROM entry WHERE idx >= ?1 AND idx < ?2 ORDER BY idx")
            .map_err(error)?;
        let mut rows = statement
            .query([row_id(range.start), row_id(range.end)])
            .map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            let at = row.get(0).map_err(error)?;
            let data = row
                .get_ref(1)
                .and_then(|value| Ok(value.as_blob()?))
                .map_err(error)?;
            if !each(index(at), data)? {
                break;
            }
        }
        Ok(())
    }
}

/// SQLite's integers are signed; indexes stay far below.
fn row_id(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

fn index(row_id: i64) -> u64 {
    u64::try_from(row_id).unwrap_or(0)
}
