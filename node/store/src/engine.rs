//! What an engine must do for users' data. The suite in [`crate::suite`] says it as tests.
//!
//! All calls block and are made on the store's own threads, never on an async worker.

use std::collections::BTreeSet;

use homecore_types::UserId;

use crate::document::{Document, Kind, Rev, Seq};
use crate::error::StoreError;
use crate::index::Scan;
use crate::journal::Position;
use crate::mutation::Commit;
use crate::transaction::ViewDebug;

/// Where users' databases are.
pub trait Engine: Send + Sync + std::fmt::Debug + 'static {
    /// Makes an empty database that counts as holding the journal up to `applied`: whatever the
    /// journal says of the user before that is of a former user of this id. The database is on
    /// disk when this returns; a crash before leaves all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError::UserExists`], or of the disk.
    fn create(&self, user: &UserId, applied: Position)
    -> Result<Box<dyn UserDatabase>, StoreError>;

    /// Opens a user's database for writing. At most one is open at a time.
    ///
    /// # Errors
    /// [`StoreError::UnknownUser`], [`StoreError::UnknownFormat`], or of the disk.
    fn open(&self, user: &UserId) -> Result<Box<dyn UserDatabase>, StoreError>;

    /// Opens a reader beside the writer: its snapshots never wait for a writer.
    ///
    /// # Errors
    /// As [`Engine::open`].
    fn open_reader(&self, user: &UserId) -> Result<Box<dyn Reader>, StoreError>;

    /// Whether the user has a database here.
    ///
    /// # Errors
    /// Of the disk.
    fn contains(&self, user: &UserId) -> Result<bool, StoreError>;

    /// Removes a user's folder for good, on disk when this returns. The database is closed;
    /// readers may still be open and see the user until they are dropped. Nothing to remove is
    /// no error.
    ///
    /// # Errors
    /// Of the disk.
    fn remove(&self, user: &UserId) -> Result<(), StoreError>;

    /// Every user that has a database here, in the order of ids.
    ///
    /// # Errors
    /// Of the disk.
    fn users(&self) -> Result<Vec<UserId>, StoreError>;

    /// Returns when everything committed so far, of every user, is on disk.
    ///
    /// # Errors
    /// Of the disk; nothing may be forgotten in the journal then.
    fn make_durable(&self) -> Result<(), StoreError>;
}

/// A user's database, open for writing, owned by one thread.
pub trait UserDatabase: ViewDebug + Send {
    /// Opens a transaction. Reads through `self` see its changes, readers do not.
    ///
    /// # Errors
    /// Of the engine.
    fn begin(&mut self) -> Result<(), StoreError>;

    /// Applies a commit inside the open transaction. Mutations at or below the present sequence
    /// number are skipped: they are there already.
    ///
    /// # Errors
    /// [`StoreError::Corrupted`] for a gap in the sequence; or of the engine.
    fn apply(&mut self, commit: &Commit) -> Result<(), StoreError>;

    /// Ends the transaction and records, in it, the last journal position that it holds.
    /// It need not be on disk yet.
    ///
    /// # Errors
    /// Of the engine; the transaction is then undone.
    fn commit(&mut self, applied: Position) -> Result<(), StoreError>;

    /// Undoes the open transaction.
    ///
    /// # Errors
    /// Of the engine.
    fn rollback(&mut self) -> Result<(), StoreError>;

    /// Whether the transaction is still open. An engine may undo it by itself after a failure, also one
    /// of reading that nobody was told of; what was applied is gone then, and [`UserDatabase::commit`]
    /// fails and changes nothing.
    fn is_open(&self) -> bool;

    /// The last journal position that is in the database.
    ///
    /// # Errors
    /// Of the engine.
    fn applied(&self) -> Result<Position, StoreError>;

    /// Gives back the memory that it can do without: others are used more. Nothing that can be seen
    /// changes, whether a transaction is open or not.
    fn rest(&mut self) {}
}

/// A reader of a user's database, owned by one thread at a time.
pub trait Reader: Send + std::fmt::Debug {
    /// Runs `read` on one consistent snapshot.
    ///
    /// # Errors
    /// Of the engine, or of `read`.
    fn snapshot(
        &mut self,
        read: &mut dyn FnMut(&dyn View) -> Result<(), StoreError>,
    ) -> Result<(), StoreError>;

    /// Gives back the memory that it can do without, between two snapshots: others are used more.
    fn rest(&mut self) {}
}

/// Documents of a range, each with the key that it was found under; and whether the range may hold
/// more.
pub type Page = (Vec<(Vec<u8>, Document)>, bool);

/// What can be read of a user.
pub trait View {
    /// The present version of a document, tombstones included.
    ///
    /// # Errors
    /// Of the engine.
    fn get(&self, kind: Kind, id: &str) -> Result<Option<Document>, StoreError>;

    /// The documents of a range, with the key that each was found under. Tombstones keep the
    /// entries that their version was written with.
    ///
    /// # Errors
    /// Of the engine.
    fn scan(&self, scan: &Scan) -> Result<Vec<(Vec<u8>, Document)>, StoreError>;

    /// As [`View::scan`], ending with the document whose body brings all bodies to `bytes`; and
    /// whether the range may hold more. An engine whose documents are not in memory anyway must not
    /// read any beyond that: one may be as large as a body.
    ///
    /// # Errors
    /// Of the engine.
    fn scan_within(&self, scan: &Scan, bytes: usize) -> Result<Page, StoreError> {
        let mut found = self.scan(scan)?;
        let mut more = found.len() == scan.limit;
        let mut sum = 0_usize;
        let enough = found.iter().position(|(_, document)| {
            sum = sum.saturating_add(document.body.len());
            sum >= bytes
        });
        if let Some(last) = enough {
            found.truncate(last + 1);
            more = true;
        }
        Ok((found, more))
    }

    /// Every document of a kind, in the order of ids, tombstones included, at most `limit`,
    /// after the id `after`.
    ///
    /// # Errors
    /// Of the engine.
    fn list(
        &self,
        kind: Kind,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// The present version of what changed after `since`, oldest change first, at most `limit`.
    ///
    /// # Errors
    /// Of the engine.
    fn changes(&self, since: Seq, limit: usize) -> Result<Vec<Document>, StoreError>;

    /// Kept former versions of a document, oldest first, at most `limit`, after `after`.
    ///
    /// # Errors
    /// Of the engine.
    fn history(
        &self,
        kind: Kind,
        id: &str,
        after: Rev,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;

    /// The last change.
    ///
    /// # Errors
    /// Of the engine.
    fn last_seq(&self) -> Result<Seq, StoreError>;

    /// Reads everything of the user and tells `each` what is not as it was written: a document or a kept
    /// version that was changed, an index that does not lead where it should. Takes as long as the user
    /// is large: for checking, not for requests.
    ///
    /// # Errors
    /// Of the engine, where it cannot read on.
    fn check(&self, each: &mut dyn FnMut(String)) -> Result<(), StoreError>;

    /// Which of these bytes are in what was set aside as damaged: what it refers to is not thrown away either.
    /// Reads all of it once.
    ///
    /// # Errors
    /// Of the engine.
    fn named_by_set_aside(
        &self,
        _texts: &BTreeSet<Vec<u8>>,
    ) -> Result<BTreeSet<Vec<u8>>, StoreError> {
        Ok(BTreeSet::new())
    }

    /// How many documents and former versions were set aside as damaged and were not given up since.
    ///
    /// # Errors
    /// Of the engine.
    fn count_set_aside(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Whether it is known, without a look at what is stored, that nothing of these kinds changed after
    /// `since`.
    fn is_unchanged(&self, _kinds: &[Kind], _since: Seq) -> bool {
        false
    }
}
