//! A reader of a user's database: a connection of its own, so that neither waits for the other.

use homecore_store::engine::Reader;
use homecore_store::{StoreError, View};
use rusqlite::Connection;

use crate::engine::Handle;
use crate::open_files::Held;
use crate::view::Rows;
use crate::{fault, schema};

/// See [`Reader`].
pub(crate) struct SqliteReader {
    connection: Connection,
    /// Let go after the connection is closed.
    _held: Held,
    what: String,
}

impl std::fmt::Debug for SqliteReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteReader")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl SqliteReader {
    /// Takes a connection. It is opened for writing like any other, because a reader that comes
    /// first after a crash must put the log in order; the pragma keeps it from doing more.
    pub(crate) fn new(handle: Handle) -> Result<Self, StoreError> {
        let Handle {
            held,
            connection,
            what,
        } = handle;
        connection
            .execute_batch("PRAGMA query_only = ON")
            .map_err(fault::sql(&format!("opening {what} for reading")))?;
        Ok(Self {
            connection,
            _held: held,
            what,
        })
    }

    fn run(&self, sql: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_rows| ())
            .map_err(|error| fault::sql(&format!("reading {}", self.what))(error))
    }
}

impl Reader for SqliteReader {
    fn snapshot(
        &mut self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        // The snapshot is taken by the first statement that reads.
        self.run("BEGIN DEFERRED")?;
        let outcome = read(&Rows {
            connection: &self.connection,
            what: &self.what,
        });
        self.run("ROLLBACK")?;
        outcome
    }

    fn rest(&mut self) {
        schema::rest(&self.connection, &self.what);
    }
}
