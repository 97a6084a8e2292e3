//! The journal in SQLite: one table, one connection that writes, one disk sync for all that waits.
//!
//! Callers put their rows in a queue and block. One of them takes everything that is queued, writes
//! it in one transaction, and answers all of it ([`turns`]): while one sync is under way the next
//! group forms.
//!
//! Positions are given out here, not by SQLite (`AUTOINCREMENT` writes one page more with each
//! commit); what was forgotten is noted in the same transaction, so that none is used twice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use homecore_store::journal::EachRow;
use homecore_store::{Journal, Position, StoreError};
use homecore_types::{UserId, seal};
use rusqlite::Connection;

use crate::{fault, files};

mod turns;
mod writer;

use turns::Turns;
use writer::Writer;

/// The format of the journal, in `user_version`. What is in its rows says its own.
const FORMAT: i64 = 2;
/// Rows forgotten in one transaction, so that appends need not wait long.
const FORGOTTEN_AT_ONCE_MAX: u64 = 5_000;

const TABLES: &str = "
    CREATE TABLE row (
        position INTEGER PRIMARY KEY,
        user     TEXT NOT NULL,
        changes  BLOB NOT NULL
    ) STRICT;
    CREATE TABLE state (
        one       INTEGER PRIMARY KEY CHECK (one = 1),
        forgotten INTEGER NOT NULL
    ) STRICT;
    INSERT INTO state (one, forgotten) VALUES (1, 0);
    PRAGMA user_version = 2;
";

/// What the writer tells everyone.
#[derive(Debug, Default)]
struct Figures {
    last: AtomicU64,
    bytes: AtomicU64,
    forgotten: AtomicU64,
    syncs: AtomicU64,
}

/// A core's journal.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    figures: Arc<Figures>,
    turns: Turns,
}

impl SqliteJournal {
    /// Opens a journal and makes it if it is not there.
    ///
    /// # Errors
    /// [`StoreError::UnknownFormat`], [`StoreError::Corrupted`], or of the disk.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let doing = || format!("opening the journal {}", path.display());
        if let Some(folder) = path.parent() {
            files::ensure_path(folder).map_err(fault::io(doing()))?;
            drop(files::create_file(path).map_err(fault::io(doing()))?);
            files::sync_folder(folder).map_err(fault::io(doing()))?;
        }
        let connection = connect(path)?;
        prepare(&connection).map_err(fault::sql(&doing()))?;
        check_format(&connection, path)?;
        let figures = Arc::new(measure(&connection).map_err(fault::sql(&doing()))?);
        let writer = Writer::new(connection, Arc::clone(&figures));
        Ok(Self {
            path: path.to_owned(),
            figures,
            turns: Turns::new(writer),
        })
    }

    /// Disk syncs made for appends since it was opened. With group commit they are fewer than
    /// appends.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.figures.syncs.load(Ordering::Relaxed)
    }
}

impl Journal for SqliteJournal {
    fn append(&self, commits: Vec<(UserId, Vec<u8>)>) -> Result<Position, StoreError> {
        self.turns.append(commits)
    }

    fn replay(&self, from: Position, each: &mut EachRow<'_>) -> Result<(), StoreError> {
        let reading = |error| fault::sql("reading the journal")(error);
        let from: i64 = fault::number(from.0, "a position")?;
        // A connection of its own: appends go on meanwhile.
        let connection = connect(&self.path)?;
        let mut statement = connection
            .prepare(
                "SELECT position, user, changes FROM row WHERE position > ?1 ORDER BY position",
            )
            .map_err(reading)?;
        let mut rows = statement.query([from]).map_err(reading)?;
        while let Some(row) = rows.next().map_err(reading)? {
            let position: i64 = row.get(0).map_err(reading)?;
            let user: String = row.get(1).map_err(reading)?;
            let user = UserId::parse(user).map_err(|error| StoreError::Corrupted {
                what: format!("the journal at {position}: {error}"),
            })?;
            let changes = row.get_ref(2).map_err(reading)?;
            let changes = changes
                .as_blob()
                .map_err(rusqlite::Error::from)
                .map_err(reading)?;
            let place = [&position.to_be_bytes()[..], user.as_str().as_bytes()];
            let Some(changes) = seal::unsealed(changes, &place) else {
                return Err(StoreError::Corrupted {
                    what: format!("{} at {position} is not what it was", self.path.display()),
                });
            };
            each(
                Position(fault::number(position, "a position")?),
                &user,
                changes,
            )?;
        }
        Ok(())
    }

    fn forget_through(&self, position: Position) -> Result<(), StoreError> {
        let end = position.min(self.last());
        loop {
            let forgotten = self.figures.forgotten.load(Ordering::Acquire);
            if forgotten >= end.0 {
                return Ok(());
            }
            let through = Position(end.0.min(forgotten.saturating_add(FORGOTTEN_AT_ONCE_MAX)));
            self.turns.alone(|writer| writer.forget(through))?;
        }
    }

    fn last(&self) -> Position {
        Position(self.figures.last.load(Ordering::Acquire))
    }

    /// What its rows take. The file may be larger: room that was used once is used again.
    fn size_bytes(&self) -> Result<u64, StoreError> {
        Ok(self.figures.bytes.load(Ordering::Relaxed))
    }
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let connect = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(10))?;
        // Only this order works: the vacuum mode is chosen before there is anything.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 2000;
             PRAGMA journal_size_limit = 16777216;
             PRAGMA cache_size = -4096;
             PRAGMA trusted_schema = OFF;",
        )?;
        Ok(connection)
    };
    connect().map_err(fault::sql(&format!(
        "opening the journal {}",
        path.display()
    )))
}

/// Makes the tables of an empty file, in one transaction.
fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    let pages: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if pages > 0 {
        return Ok(());
    }
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} COMMIT;"))
}

fn check_format(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let what = format!("the journal {}", path.display());
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(fault::sql(&format!("reading the format of {what}")))?;
    match found {
        FORMAT => Ok(()),
        older if older < FORMAT => Err(StoreError::Corrupted {
            what: format!("{what} has the format {older}"),
        }),
        newer => Err(StoreError::UnknownFormat {
            what,
            found: fault::number(newer, "a format")?,
            known: fault::number(FORMAT, "a format")?,
        }),
    }
}

fn measure(connection: &Connection) -> rusqlite::Result<Figures> {
    let forgotten: i64 =
        connection.query_row("SELECT forgotten FROM state WHERE one = 1", [], |row| {
            row.get(0)
        })?;
    let (last, rows, bytes): (Option<i64>, i64, Option<i64>) = connection.query_row(
        "SELECT max(position), count(*), sum(length(changes)) FROM row",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    // None of these is ever negative.
    let forgotten = forgotten.unsigned_abs();
    let bytes = bytes.unwrap_or(0).unsigned_abs() + rows.unsigned_abs() * writer::ROW_BYTES;
    Ok(Figures {
        last: AtomicU64::new(last.unwrap_or(0).unsigned_abs().max(forgotten)),
        bytes: AtomicU64::new(bytes),
        forgotten: AtomicU64::new(forgotten),
        syncs: AtomicU64::new(0),
    })
}
