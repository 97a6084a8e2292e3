//! A user's database, open for writing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use homecore_store::engine::Page;
use homecore_store::{
    Commit, Document, Entry, Kind, Mutation, Position, Rev, Scan, Seq, StoreError, UserDatabase,
    View,
};
use rusqlite::Connection;

use crate::durable::Durable;
use crate::engine::Handle;
use crate::open_files::Held;
use crate::view::{Place, Rows, entries_of, sealed_entries, unsealed_entries};
use crate::{fault, schema};

/// See [`UserDatabase`].
pub(crate) struct SqliteDatabase {
    connection: Connection,
    /// Let go after the connection is closed.
    held: Held,
    /// Whose it is, for errors.
    what: String,
    durable: Arc<Durable>,
    applied: Position,
    /// The last change, with the open transaction.
    last: Seq,
    /// The last change, without it.
    committed: Seq,
    /// The last change when it was opened.
    opened: Seq,
    /// The last change of each kind since then, or a later one.
    changed: BTreeMap<Kind, Seq>,
}

impl std::fmt::Debug for SqliteDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteDatabase")
            .field("path", &self.held.path())
            .field("applied", &self.applied)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl SqliteDatabase {
    pub(crate) fn new(handle: Handle, durable: Arc<Durable>) -> Result<Self, StoreError> {
        let Handle {
            held,
            connection,
            what,
        } = handle;
        let (applied, last) = Rows {
            connection: &connection,
            what: &what,
        }
        .state()?;
        let applied = Position(applied);
        Ok(Self {
            connection,
            held,
            what,
            durable,
            applied,
            last,
            committed: last,
            opened: last,
            changed: BTreeMap::new(),
        })
    }

    fn rows(&self) -> Rows<'_> {
        Rows {
            connection: &self.connection,
            what: &self.what,
        }
    }

    fn run(&self, sql: &str, doing: &str) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute([]))
            .map(|_rows| ())
            .map_err(|error| fault::sql(&format!("{doing} in {}", self.what))(error))
    }

    fn gone(&self, doing: &str) -> StoreError {
        StoreError::engine(format!("{doing} {}", self.what), "no transaction is open")
    }

    fn put(&self, commit: &Commit, mutation: &Mutation) -> Result<(), StoreError> {
        let writing = |error| fault::sql(&format!("writing {}", self.what))(error);
        let kind = u8::from(mutation.kind);
        let rev: i64 = fault::number(mutation.rev.0, "a revision")?;
        let seq: i64 = fault::number(mutation.seq.0, "a change")?;
        let (at, deleted) = (commit.at.0, mutation.deleted);
        let place = Place {
            kind,
            id: &mutation.id,
            rev,
            seq,
            at,
            deleted,
        };
        let body = &place.sealed(&mutation.body);
        let entries = sealed_entries(kind, &mutation.id, &mutation.entries)?;
        // A first version is seldom of something that is here: it is not looked for before.
        let present = if mutation.rev == Rev(1) {
            None
        } else {
            entries_of(&self.connection, mutation.kind, &mutation.id).map_err(writing)?
        };
        let present = match present {
            Some(present) => Some(present),
            None => {
                let inserted = self
                    .connection
                    .prepare_cached(schema::DOCUMENT_INSERT)
                    .and_then(|mut insert| {
                        insert.execute((kind, &mutation.id, rev, seq, at, deleted, &entries, body))
                    })
                    .map_err(writing)?;
                if inserted == 1 {
                    let number = self.connection.last_insert_rowid();
                    return self.enter(mutation, number, &[]).map_err(writing);
                }
                entries_of(&self.connection, mutation.kind, &mutation.id).map_err(writing)?
            }
        };
        let Some((number, former)) = present else {
            return Err(StoreError::Corrupted {
                what: format!("{}: a document is there and is not", self.what),
            });
        };
        if mutation.drop_history {
            self.connection
                .prepare_cached(schema::HISTORY_DROP)
                .and_then(|mut drop| drop.execute((kind, &mutation.id)))
                .map_err(writing)?;
        }
        if mutation.keep_previous {
            self.connection
                .prepare_cached(schema::HISTORY_KEEP)
                .and_then(|mut keep| keep.execute([number]))
                .map_err(writing)?;
        }
        self.connection
            .prepare_cached(schema::DOCUMENT_UPDATE)
            .and_then(|mut update| update.execute((number, rev, seq, at, deleted, &entries, body)))
            .map_err(writing)?;
        let former = unsealed_entries(kind, &mutation.id, &former).map_err(|damage| {
            StoreError::Corrupted {
                what: format!("{}: {damage}", self.what),
            }
        })?;
        self.enter(mutation, number, &former).map_err(writing)
    }

    /// Brings a document's entries from what they were to what they shall be.
    fn enter(&self, mutation: &Mutation, number: i64, former: &[Entry]) -> rusqlite::Result<()> {
        let id = &mutation.id;
        for entry in former
            .iter()
            .filter(|entry| !mutation.entries.contains(entry))
        {
            let mut delete = self.connection.prepare_cached(schema::ENTRY_DELETE)?;
            delete.execute((entry.index.0, &entry.key, id, number))?;
        }
        let mut insert = self.connection.prepare_cached(schema::ENTRY_INSERT)?;
        for entry in mutation
            .entries
            .iter()
            .filter(|entry| !former.contains(entry))
        {
            insert.execute((entry.index.0, &entry.key, id, number))?;
        }
        Ok(())
    }

    fn try_commit(&self, applied: Position) -> Result<(), StoreError> {
        // SQLite may have ended the transaction by itself. The state would be written all the same, and
        // say that what was undone is there.
        if !self.is_open() {
            return Err(self.gone("committing"));
        }
        let position: i64 = fault::number(applied.0, "a position")?;
        let seq: i64 = fault::number(self.last.0, "a change")?;
        self.connection
            .prepare_cached(schema::STATE_UPDATE)
            .and_then(|mut update| update.execute((position, seq)))
            .map_err(|error| fault::sql(&format!("writing the state of {}", self.what))(error))?;
        // Before it is written: a checkpoint that comes between writes a file too many, not one
        // too few.
        self.durable.note(self.held.path());
        self.run("COMMIT", "committing")
    }
}

impl UserDatabase for SqliteDatabase {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.run("BEGIN IMMEDIATE", "beginning")
    }

    fn apply(&mut self, commit: &Commit) -> Result<(), StoreError> {
        if !self.is_open() {
            return Err(self.gone("writing"));
        }
        for mutation in &commit.mutations {
            if mutation.seq <= self.last {
                continue;
            }
            if mutation.seq != self.last.next() {
                return Err(StoreError::Corrupted {
                    what: format!(
                        "{}: change {} follows change {}",
                        self.what, mutation.seq.0, self.last.0
                    ),
                });
            }
            self.changed.insert(mutation.kind, mutation.seq);
            self.put(commit, mutation)?;
            self.last = mutation.seq;
        }
        Ok(())
    }

    fn commit(&mut self, applied: Position) -> Result<(), StoreError> {
        if let Err(error) = self.try_commit(applied) {
            self.rollback()?;
            return Err(error);
        }
        self.applied = applied;
        self.committed = self.last;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.last = self.committed;
        // SQLite ends a transaction by itself after some errors.
        if self.is_open() {
            self.run("ROLLBACK", "undoing")
        } else {
            Ok(())
        }
    }

    fn is_open(&self) -> bool {
        !self.connection.is_autocommit()
    }

    fn applied(&self) -> Result<Position, StoreError> {
        Ok(self.applied)
    }

    fn rest(&mut self) {
        schema::rest(&self.connection, &self.what);
    }
}

impl View for SqliteDatabase {
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError> {
        self.rows().get(kind, id)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError> {
        self.rows().scan(scan)
    }

    fn scan_within(&self, scan: &Scan, bytes: usize) -> Result<Page, StoreError> {
        self.rows().scan_within(scan, bytes)
    }

    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.rows().list(kind, after, limit)
    }

    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError> {
        self.rows().changes(since, limit)
    }

    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.rows().history(kind, id, after, limit)
    }

    /// With what the open transaction holds; it is not in the database before the commit.
    fn last_seq(&self) -> Result<Seq, StoreError> {
        Ok(self.last)
    }

    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError> {
        self.rows().check(each)
    }

    fn named_by_set_aside(
        &self,
        texts: &BTreeSet<Vec<u8>>,
    ) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        self.rows().named_by_set_aside(texts)
    }

    fn count_set_aside(&self) -> Result<u64, StoreError> {
        self.rows().count_set_aside()
    }

    /// A change that was undone counts until there is another one with its number.
    fn is_unchanged(&self, kinds: &[Kind], since: Seq) -> bool {
        let unchanged = |kind| self.changed.get(kind).is_none_or(|last| *last <= since);
        since >= self.opened && kinds.iter().all(unchanged)
    }
}

#[cfg(test)]
mod tests;
