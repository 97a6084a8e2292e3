//! The connection that writes the journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use homecore_store::{Position, StoreError};
use homecore_types::{UserId, seal};
use rusqlite::{Connection, ErrorCode};

use super::Figures;
use crate::fault;

/// What a row takes beside its changes, about.
pub(super) const ROW_BYTES: u64 = 64;
/// Unused pages that the file keeps for what comes next (64 MB); more go back to the disk.
const FREE_PAGES_MAX: i64 = 16_384;

/// What one caller appends.
pub(super) type Rows = Vec<(UserId, Vec<u8>)>;

/// Owns the connection that writes.
pub(super) struct Writer {
    connection: Connection,
    figures: Arc<Figures>,
    /// Why nothing is written any more.
    poisoned: Option<String>,
}

/// Why a transaction did not end well.
struct Failed {
    error: rusqlite::Error,
    /// Whether what it wrote may be in the file all the same.
    in_doubt: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, figures: Arc<Figures>) -> Self {
        Self {
            connection,
            figures,
            poisoned: None,
        }
    }

    /// Writes the rows of each of a group in one transaction, with one disk sync; says for each where
    /// its last row stands.
    pub(super) fn append(&mut self, group: &[Rows]) -> Vec<Result<Position, StoreError>> {
        let before = self.figures.last.load(Ordering::Acquire);
        let outcome = self.sound().and_then(|()| {
            let written = self.transaction(|connection| insert(connection, before, group));
            written.map_err(|failed| self.judge(failed, "appending to the journal"))
        });
        match outcome {
            Ok((last, bytes)) => {
                self.figures.syncs.fetch_add(1, Ordering::Relaxed);
                self.figures.bytes.fetch_add(bytes, Ordering::Relaxed);
                self.figures.last.store(last, Ordering::Release);
                let mut position = before;
                let ends = group.iter().map(|rows| {
                    position += u64::try_from(rows.len()).unwrap_or(u64::MAX);
                    Ok(Position(position))
                });
                ends.collect()
            }
            Err(error) => group.iter().map(|_| Err(again(&error))).collect(),
        }
    }

    /// Deletes the rows through a position.
    pub(super) fn forget(&mut self, through: Position) -> Result<(), StoreError> {
        self.sound()?;
        let position: i64 = fault::number(through.0, "a position")?;
        let forgotten = self.transaction(|connection| {
            let (rows, bytes): (i64, Option<i64>) = connection
                .prepare_cached(
                    "SELECT count(*), sum(length(changes)) FROM row WHERE position <= ?1",
                )?
                .query_row([position], |row| Ok((row.get(0)?, row.get(1)?)))?;
            connection
                .prepare_cached("DELETE FROM row WHERE position <= ?1")?
                .execute([position])?;
            connection
                .prepare_cached("UPDATE state SET forgotten = max(forgotten, ?1) WHERE one = 1")?
                .execute([position])?;
            Ok(bytes.unwrap_or(0).unsigned_abs() + rows.unsigned_abs() * ROW_BYTES)
        });
        let bytes = forgotten
            .map_err(|failed| self.judge(failed, "forgetting what is no longer needed"))?;
        self.figures.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.figures
            .forgotten
            .fetch_max(through.0, Ordering::AcqRel);
        self.shrink()
            .map_err(fault::sql("making the journal smaller"))
    }

    /// Gives pages back that a burst of writes left unused.
    fn shrink(&self) -> rusqlite::Result<()> {
        let free: i64 = self
            .connection
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if free <= FREE_PAGES_MAX {
            return Ok(());
        }
        // A few at a time: somebody may be waiting to append.
        let sql = format!(
            "PRAGMA incremental_vacuum({})",
            (free - FREE_PAGES_MAX).min(2_048)
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }

    fn transaction<T>(
        &self,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Failed> {
        let run = |sql| {
            self.connection
                .prepare_cached(sql)
                .and_then(|mut s| s.execute([]))
        };
        let undone = |error| {
            // After some errors SQLite has undone it already.
            let undone = self.connection.is_autocommit() || run("ROLLBACK").is_ok();
            Failed {
                error,
                in_doubt: !undone,
            }
        };
        run("BEGIN IMMEDIATE").map_err(undone)?;
        let value = write(&self.connection).map_err(undone)?;
        run("COMMIT").map(|_rows| value).map_err(|error| {
            // A full disk fails before the record that makes a commit valid is written. Of any
            // other failure, of a sync above all, nobody can tell what a restart will find.
            let full = error.sqlite_error_code() == Some(ErrorCode::DiskFull);
            let failed = undone(error);
            Failed {
                in_doubt: failed.in_doubt || !full,
                ..failed
            }
        })
    }

    fn sound(&self) -> Result<(), StoreError> {
        match &self.poisoned {
            Some(reason) => Err(StoreError::Poisoned {
                reason: reason.clone(),
            }),
            None => Ok(()),
        }
    }

    fn judge(&mut self, failed: Failed, doing: &str) -> StoreError {
        if !failed.in_doubt {
            return fault::sql(doing)(failed.error);
        }
        let reason = format!("{doing}: {}", failed.error);
        tracing::error!(reason, "the journal stops: what is on disk is in doubt");
        self.poisoned = Some(reason.clone());
        StoreError::Poisoned { reason }
    }
}

/// Writes a group's rows after `last`. Returns the last position and the bytes they take.
fn insert(connection: &Connection, mut last: u64, group: &[Rows]) -> rusqlite::Result<(u64, u64)> {
    let mut bytes = 0;
    let mut sealed = Vec::new();
    let mut insert = connection
        .prepare_cached("INSERT INTO row (position, user, changes) VALUES (?1, ?2, ?3)")?;
    for (user, changes) in group.iter().flatten() {
        last += 1;
        // The four bytes of the checksum are part of what a row takes.
        bytes += u64::try_from(changes.len() + 4).unwrap_or(u64::MAX) + ROW_BYTES;
        let position = i64::try_from(last)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        sealed.clear();
        sealed.extend_from_slice(changes);
        let place = [&position.to_be_bytes()[..], user.as_str().as_bytes()];
        seal::seal(&mut sealed, &place);
        insert.execute((position, user.as_str(), &sealed))?;
    }
    Ok((last, bytes))
}

/// The same error for each of a group.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Poisoned { reason } => StoreError::Poisoned {
            reason: reason.clone(),
        },
        StoreError::Full { doing } => StoreError::Full {
            doing: doing.clone(),
        },
        other => {
            let source = std::error::Error::source(other).map(ToString::to_string);
            StoreError::engine(other.to_string(), source.unwrap_or_default())
        }
    }
}
