//! The tables of a user's database, how a connection is set up, and every statement.
//!
//! Documents have a number of their own (the rowid), which entries point at: a scan is a range of
//! the entries' key and one look-up for each document found. A document's own entries are kept
//! in its row as well, so that replacing them needs no second index. Behind a body stands a checksum
//! over it and over what its row says of it, because SQLite has none: see `seal`.

use std::path::Path;
use std::time::Duration;

use homecore_store::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::engine::SqliteOptions;
use crate::fault;

/// The format of a user's database, in `user_version`. Another layout is another number.
pub(crate) const FORMAT: i64 = 3;

/// How long a connection waits for a lock. Only closing and opening the same user's database take
/// any that another connection could meet.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// SQLite's way to the files for a database that one process alone uses: its connections share the log's index and
/// their locks in memory, and the process holds one lock on the file, which keeps others out. The usual way makes a
/// file for the index when the first connection comes, removes it after the last, and asks the system for a lock
/// twice in each read.
const ONE_PROCESS: &str = "unix-excl";

/// Statements of one connection that stay prepared.
const PREPARED_MAX: usize = 32;

/// The table of entries.
macro_rules! entries {
    () => {
        "CREATE TABLE entry (
        place    INTEGER NOT NULL,
        key      BLOB NOT NULL,
        id       TEXT NOT NULL,
        document INTEGER NOT NULL,
        PRIMARY KEY (place, key, id, document)
    ) STRICT, WITHOUT ROWID;"
    };
}

/// Everything of [`FORMAT`].
pub(crate) const TABLES: &str = concat!(
    "
    CREATE TABLE document (
        number     INTEGER PRIMARY KEY,
        kind       INTEGER NOT NULL,
        id         TEXT NOT NULL,
        rev        INTEGER NOT NULL,
        seq        INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        deleted    INTEGER NOT NULL,
        entries    BLOB NOT NULL,
        body       BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX document_by_id ON document (kind, id);
    CREATE UNIQUE INDEX document_by_seq ON document (seq);
",
    entries!(),
    "
    CREATE TABLE history (
        number     INTEGER PRIMARY KEY,
        kind       INTEGER NOT NULL,
        id         TEXT NOT NULL,
        rev        INTEGER NOT NULL,
        seq        INTEGER NOT NULL,
        written_at INTEGER NOT NULL,
        deleted    INTEGER NOT NULL,
        body       BLOB NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX history_by_rev ON history (kind, id, rev);
    CREATE TABLE state (
        one     INTEGER PRIMARY KEY CHECK (one = 1),
        applied INTEGER NOT NULL,
        seq     INTEGER NOT NULL
    ) STRICT;
"
);

/// Sets the state of a new database.
pub(crate) const STATE_INSERT: &str = "INSERT INTO state (one, applied, seq) VALUES (1, ?1, 0)";
/// The applied position and the last change.
pub(crate) const STATE_SELECT: &str = "SELECT applied, seq FROM state WHERE one = 1";
/// Sets both.
pub(crate) const STATE_UPDATE: &str = "UPDATE state SET applied = ?1, seq = ?2 WHERE one = 1";
/// A document.
pub(crate) const DOCUMENT: &str = "SELECT kind, id, rev, seq, written_at, deleted, body \
     FROM document WHERE kind = ?1 AND id = ?2";
/// What is needed to replace a document.
pub(crate) const DOCUMENT_ENTRIES: &str =
    "SELECT number, entries FROM document WHERE kind = ?1 AND id = ?2";
/// Writes a document's first version, unless there is one.
pub(crate) const DOCUMENT_INSERT: &str = "INSERT INTO document \
     (kind, id, rev, seq, written_at, deleted, entries, body) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (kind, id) DO NOTHING";
/// Writes a document's next version.
pub(crate) const DOCUMENT_UPDATE: &str = "UPDATE document \
     SET rev = ?2, seq = ?3, written_at = ?4, deleted = ?5, entries = ?6, body = ?7 \
     WHERE number = ?1";
/// Keeps the present version of a document.
pub(crate) const HISTORY_KEEP: &str = "INSERT OR REPLACE INTO history \
     (kind, id, rev, seq, written_at, deleted, body) \
     SELECT kind, id, rev, seq, written_at, deleted, body FROM document WHERE number = ?1";
/// Forgets the kept versions of a document.
pub(crate) const HISTORY_DROP: &str = "DELETE FROM history WHERE kind = ?1 AND id = ?2";
/// Kept versions.
pub(crate) const HISTORY: &str = "SELECT kind, id, rev, seq, written_at, deleted, body \
     FROM history WHERE kind = ?1 AND id = ?2 AND rev > ?3 ORDER BY rev LIMIT ?4";
/// Puts a document under a key.
pub(crate) const ENTRY_INSERT: &str =
    "INSERT OR IGNORE INTO entry (place, key, id, document) VALUES (?1, ?2, ?3, ?4)";
/// Takes it away.
pub(crate) const ENTRY_DELETE: &str =
    "DELETE FROM entry WHERE place = ?1 AND key = ?2 AND id = ?3 AND document = ?4";
/// All of a kind.
pub(crate) const LIST: &str = "SELECT kind, id, rev, seq, written_at, deleted, body \
     FROM document WHERE kind = ?1 ORDER BY id LIMIT ?2";
/// All of a kind, after an id.
pub(crate) const LIST_AFTER: &str = "SELECT kind, id, rev, seq, written_at, deleted, body \
     FROM document WHERE kind = ?1 AND id > ?3 ORDER BY id LIMIT ?2";
/// What changed.
pub(crate) const CHANGES: &str = "SELECT kind, id, rev, seq, written_at, deleted, body \
     FROM document WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// Every document with its number and entries, for checking: reads the whole table.
pub(crate) const DOCUMENTS_ALL: &str = "SELECT kind, id, rev, seq, written_at, deleted, body, number, entries \
     FROM document NOT INDEXED ORDER BY number";
/// Every kept version, for checking: reads the whole table.
pub(crate) const HISTORY_ALL: &str = "SELECT kind, id, rev, seq, written_at, deleted, body, number \
     FROM history NOT INDEXED ORDER BY number";
/// Whether an entry is there.
pub(crate) const ENTRY_IS_THERE: &str =
    "SELECT 1 FROM entry WHERE place = ?1 AND key = ?2 AND id = ?3 AND document = ?4";
/// Whose the entries are, for checking: reads the whole table.
pub(crate) const ENTRIES_OWNERS: &str = "SELECT document FROM entry";
/// What SQLite itself finds wrong, at most 100 lines.
pub(crate) const PAGES_CHECK: &str = "PRAGMA integrity_check(100)";
/// Documents that only the index by id knows: it alone is read, and the table by number. Where another has the
/// number now, the index knows both; where it knows one only, it is the index that is damaged.
pub(crate) const LOST_BY_ID: &str = "SELECT i.kind, i.id, i.number \
     FROM document AS i INDEXED BY document_by_id \
     LEFT JOIN document AS d NOT INDEXED ON d.number = i.number \
     WHERE d.number IS NULL OR ((d.kind, d.id) <> (i.kind, i.id) AND i.number IN \
        (SELECT number FROM document INDEXED BY document_by_id GROUP BY number HAVING count(*) > 1)) \
     ORDER BY i.kind, i.id";
/// Changes that only the index by change knows, with the document's present place if it has one.
pub(crate) const LOST_BY_SEQ: &str = "SELECT i.seq, i.number, d.kind, d.id \
     FROM document AS i INDEXED BY document_by_seq \
     LEFT JOIN document AS d NOT INDEXED ON d.number = i.number \
     WHERE d.number IS NULL OR d.seq < i.seq ORDER BY i.seq";
/// Documents that only entries know.
pub(crate) const LOST_BY_ENTRY: &str = "SELECT DISTINCT id, document FROM entry \
     WHERE NOT EXISTS (SELECT 1 FROM document AS d NOT INDEXED WHERE d.number = entry.document)";
/// Documents that are there more than once, the present one of each first: reads the whole table.
pub(crate) const DOCUMENTS_TWICE: &str = "SELECT kind, id, rev, seq, number FROM document NOT INDEXED \
     WHERE (kind, id) IN (SELECT kind, id FROM document NOT INDEXED GROUP BY kind, id HAVING count(*) > 1) \
     ORDER BY kind, id, seq DESC";
/// Indexes by name while rows are set aside, made from the tables: those that were there may be damaged.
pub(crate) const REPAIR_INDEXES_MAKE: &str =
    "CREATE INDEX IF NOT EXISTS repair_document ON document (kind, id);
    CREATE INDEX IF NOT EXISTS repair_history ON history (kind, id, rev);";
/// They go again.
pub(crate) const REPAIR_INDEXES_DROP: &str =
    "DROP INDEX IF EXISTS repair_document; DROP INDEX IF EXISTS repair_history;";
/// Whether a version is kept.
pub(crate) const HISTORY_HAS: &str =
    "SELECT 1 FROM history INDEXED BY repair_history WHERE kind = ?1 AND id = ?2 AND rev = ?3";
/// Takes away a document that is there twice.
pub(crate) const DOCUMENT_DELETE: &str = "DELETE FROM document WHERE number = ?1";
/// Where damaged documents and versions go, as they are; made when there is one. Types are not checked, for they may
/// be damaged, too.
pub(crate) const SET_ASIDE_MAKE: &str = "CREATE TABLE IF NOT EXISTS set_aside \
     (former, kind, id, rev, seq, written_at, deleted, entries, body)";
/// Whether anything ever went there.
pub(crate) const SET_ASIDE_IS_THERE: &str =
    "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'set_aside'";
/// What may refer to something in it: reads the whole table.
pub(crate) const SET_ASIDE_ALL: &str = "SELECT body, entries FROM set_aside";
/// A document, its former versions, or one of them goes there.
pub(crate) const SET_ASIDE_DOCUMENT: &str = "INSERT INTO set_aside \
     SELECT 0, kind, id, rev, seq, written_at, deleted, entries, body FROM document WHERE number = ?1";
/// See [`SET_ASIDE_DOCUMENT`]. They stay where another row has the name: it may be that one whose name is right.
pub(crate) const SET_ASIDE_HISTORY: &str = "INSERT INTO set_aside \
     SELECT 1, h.kind, h.id, h.rev, h.seq, h.written_at, h.deleted, NULL, h.body \
     FROM document AS d CROSS JOIN history AS h INDEXED BY repair_history ON (h.kind, h.id) = (d.kind, d.id) \
     WHERE d.number = ?1 AND NOT EXISTS (SELECT 1 FROM document AS o INDEXED BY repair_document \
        WHERE (o.kind, o.id) = (d.kind, d.id) AND o.number <> ?1)";
/// See [`SET_ASIDE_DOCUMENT`].
pub(crate) const SET_ASIDE_VERSION: &str = "INSERT INTO set_aside \
     SELECT 1, kind, id, rev, seq, written_at, deleted, NULL, body FROM history WHERE number = ?1";
/// Former versions of a document that was set aside, as in [`SET_ASIDE_HISTORY`].
pub(crate) const HISTORY_DROP_OF: &str = "DELETE FROM history INDEXED BY repair_history \
     WHERE (kind, id) = (SELECT d.kind, d.id FROM document AS d WHERE d.number = ?1 \
        AND NOT EXISTS (SELECT 1 FROM document AS o INDEXED BY repair_document \
            WHERE (o.kind, o.id) = (d.kind, d.id) AND o.number <> ?1))";
/// How much was set aside.
pub(crate) const SET_ASIDE_COUNT: &str = "SELECT count(*) FROM set_aside";
/// What the index by id alone says the names of documents are: it is read whole.
pub(crate) const NAMES_BY_INDEX: &str =
    "SELECT number, kind, id FROM document INDEXED BY document_by_id ORDER BY kind, id";
/// A document as in [`DOCUMENTS_ALL`].
pub(crate) const DOCUMENT_NUMBERED: &str = "SELECT kind, id, rev, seq, written_at, deleted, body, number, entries \
     FROM document WHERE number = ?1";
/// Gives a document its name back.
pub(crate) const DOCUMENT_RENAME: &str = "UPDATE document SET kind = ?2, id = ?3 WHERE number = ?1";
/// Documents of a kind as in [`DOCUMENTS_ALL`]; reads the whole table.
pub(crate) const DOCUMENTS_OF: &str = "SELECT kind, id, rev, seq, written_at, deleted, body, number, entries \
     FROM document NOT INDEXED WHERE kind = ?1";
/// One former version.
pub(crate) const VERSION_DELETE: &str = "DELETE FROM history WHERE number = ?1";
/// All indexes, and the table of entries, are no more; their pages stay, of no use to anybody until [`VACUUM`]. To drop
/// them would free the pages that they lead to, and where an index is damaged they may be those of a document.
pub(crate) const INDEXES_FORGET: &str = "PRAGMA writable_schema = ON;
    DELETE FROM sqlite_schema WHERE tbl_name = 'entry' OR name IN ('document_by_id', 'document_by_seq', 'history_by_rev');
    PRAGMA writable_schema = RESET;";
/// Writes the file anew, from the tables.
pub(crate) const VACUUM: &str = "VACUUM";
/// Former versions that no document has, or of a document that is as old as they are or older.
macro_rules! headless {
    () => {
        "FROM history AS h WHERE NOT EXISTS (SELECT 1 FROM document AS d \
         WHERE d.kind = h.kind AND d.id = h.id AND d.rev > h.rev)"
    };
}
/// How many there are.
pub(crate) const HEADLESS_COUNT: &str = concat!("SELECT count(*) ", headless!());
/// They go aside.
pub(crate) const HEADLESS_SET_ASIDE: &str = concat!(
    "INSERT INTO set_aside SELECT 1, h.kind, h.id, h.rev, h.seq, h.written_at, h.deleted, NULL, h.body ",
    headless!()
);
/// See [`HEADLESS_SET_ASIDE`].
pub(crate) const HEADLESS_DROP: &str = concat!(
    "DELETE FROM history WHERE number IN (SELECT h.number ",
    headless!(),
    ")"
);
/// And anew, as in [`TABLES`].
pub(crate) const INDEXES_MAKE: &str = concat!(
    "CREATE UNIQUE INDEX document_by_id ON document (kind, id);
    CREATE UNIQUE INDEX document_by_seq ON document (seq);
    CREATE UNIQUE INDEX history_by_rev ON history (kind, id, rev);",
    entries!()
);

/// A scan with its bounds and direction. The join is a CROSS JOIN because SQLite keeps the order
/// of those: entries first.
macro_rules! scan {
    ($bounds:literal, $direction:literal) => {
        concat!(
            "SELECT d.kind, d.id, d.rev, d.seq, d.written_at, d.deleted, d.body, e.key \
             FROM entry e CROSS JOIN document d ON d.number = e.document \
             WHERE e.place = ?1 AND ",
            $bounds,
            " ORDER BY e.key ",
            $direction,
            ", e.id ",
            $direction,
            " LIMIT ?2"
        )
    };
}

/// Ascending, from a key.
pub(crate) const SCAN_UP: &str = scan!("e.key >= ?3", "ASC");
/// Ascending, from a key to another.
pub(crate) const SCAN_UP_TO: &str = scan!("e.key >= ?3 AND e.key < ?4", "ASC");
/// Ascending, after an entry.
pub(crate) const SCAN_UP_AFTER: &str = scan!("(e.key, e.id) > (?3, ?4)", "ASC");
/// Ascending, after an entry, to a key.
pub(crate) const SCAN_UP_AFTER_TO: &str = scan!("(e.key, e.id) > (?3, ?4) AND e.key < ?5", "ASC");
/// Descending, from the end down to a key.
pub(crate) const SCAN_DOWN: &str = scan!("e.key >= ?3", "DESC");
/// Descending, from below a key down to another.
pub(crate) const SCAN_DOWN_TO: &str = scan!("e.key >= ?3 AND e.key < ?4", "DESC");
/// Descending, from before an entry down to a key.
pub(crate) const SCAN_DOWN_AFTER: &str = scan!("e.key >= ?3 AND (e.key, e.id) < (?4, ?5)", "DESC");

/// Opens a connection to a database that is there.
pub(crate) fn connect(
    path: &Path,
    options: &SqliteOptions,
    what: &str,
) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opening = |error| fault::sql(&format!("opening {what}"))(error);
    let connection =
        Connection::open_with_flags_and_vfs(path, flags, ONE_PROCESS).map_err(opening)?;
    connection.busy_timeout(LOCK_TIMEOUT).map_err(opening)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_MAX);
    // Plans do not depend on bound values: otherwise each use of a statement compiles it anew.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
        .map_err(opening)?;
    // NORMAL: the journal, not this file, is what makes an acknowledged write durable.
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -{};
             PRAGMA mmap_size = {};
             PRAGMA journal_size_limit = {};
             PRAGMA temp_store = MEMORY;
             PRAGMA trusted_schema = OFF;",
            options.cache_bytes / 1024,
            options.mmap_bytes,
            options.log_bytes_kept,
        ))
        .map_err(opening)?;
    check_format(&connection, what)?;
    Ok(connection)
}

/// Gives back the pages that a connection keeps, except those that an open transaction changed. The next
/// to use it reads them from the system's cache; what is prepared stays.
pub(crate) fn rest(connection: &Connection, what: &str) {
    if let Err(error) = connection.release_memory() {
        // They stay, as they would without this.
        tracing::debug!(%error, "the pages of {what} were not given back");
    }
}

fn check_format(connection: &Connection, what: &str) -> Result<(), StoreError> {
    let found: i64 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(fault::sql(&format!("reading the format of {what}")))?;
    if found == FORMAT {
        return Ok(());
    }
    if found < FORMAT {
        return Err(StoreError::Corrupted {
            what: format!("{what} has the format {found}"),
        });
    }
    Err(StoreError::UnknownFormat {
        what: what.to_owned(),
        found: fault::number(found, "a format")?,
        known: fault::number(FORMAT, "a format")?,
    })
}

#[cfg(test)]
mod tests;
