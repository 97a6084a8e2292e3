//! redb 4: one file, one table per key space, crash-safe.
//!
//! A commit is not synced by itself: after a crash redb opens with the whole state of the last synced
//! commit, and the log replays the rest. Every [`COMMITS_PER_SYNC`]th commit is synced, because redb
//! frees no page before that.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use ::redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    TableDefinition, WriteTransaction,
};

use homecore_types::seal;

use super::{Batch, Engine, EngineError, Pair, collect};
use crate::files;
use crate::keys::Space;

type Bytes = &'static [u8];

/// Pages that redb keeps. Routing never reads the engine, and behind this is the system's cache: more would
/// only hold what the directory was read from at the start.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Commits that share one sync.
const COMMITS_PER_SYNC: u32 = 64;
const FILE: &str = "state.redb";

/// An open redb database.
pub struct Redb {
    path: PathBuf,
    db: Database,
    /// The last commit. None only while another runs: a reader would keep its pages from being freed.
    reader: Option<Reader>,
    unsynced: u32,
}

/// Reads as of one commit.
struct Reader {
    transaction: ReadTransaction,
    /// At the position of their space's number, those that were asked for: after most commits that is one
    /// or two, and each is looked up by its name.
    tables: [OnceCell<ReadOnlyTable<Bytes, Bytes>>; Space::ALL.len()],
}

impl Reader {
    fn begin(db: &Database) -> Result<Self, EngineError> {
        Ok(Self {
            transaction: db.begin_read().map_err(because("begin to read"))?,
            tables: std::array::from_fn(|_| OnceCell::new()),
        })
    }

    fn table(&self, space: Space) -> Result<&ReadOnlyTable<Bytes, Bytes>, EngineError> {
        let place = self
            .tables
            .get(usize::from(space.number()))
            .ok_or(EngineError::Closed)?;
        if let Some(table) = place.get() {
            return Ok(table);
        }
        let table = self
            .transaction
            .open_table(definition(space))
            .map_err(because("open a table"))?;
        Ok(place.get_or_init(|| table))
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn because<E: Into<::redb::Error>>(doing: &'static str) -> impl FnOnce(E) -> EngineError {
    move |source| EngineError::Redb {
        doing,
        source: Box::new(source.into()),
    }
}

fn definition(space: Space) -> TableDefinition<'static, Bytes, Bytes> {
    TableDefinition::new(space.name())
}

/// Makes those that are not there: a reader cannot.
fn make_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    for space in Space::ALL {
        transaction
            .open_table(definition(space))
            .map_err(because("open a table"))?;
    }
    Ok(())
}

impl Redb {
    /// Opens or creates the database of a folder.
    ///
    /// # Errors
    /// When redb cannot read what is there, or another process holds it.
    pub fn open(dir: &Path) -> Result<Self, EngineError> {
        let path = dir.join(FILE);
        let db = Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
            .map_err(because("open its database"))?;
        let mut redb = Self {
            path,
            db,
            reader: None,
            unsynced: 0,
        };
        redb.write(Durability::Immediate, make_tables)?;
        files::sync_dir(dir)?;
        Ok(redb)
    }

    fn table(&self, space: Space) -> Result<&ReadOnlyTable<Bytes, Bytes>, EngineError> {
        self.reader
            .as_ref()
            .ok_or(EngineError::Closed)?
            .table(space)
    }

    /// redb checks its pages after a crash only; so each value has a checksum.
    fn unsealed(&self, space: Space, key: &[u8], value: &[u8]) -> Result<Vec<u8>, EngineError> {
        let unsealed = seal::unsealed(value, &[key]);
        unsealed
            .map(<[u8]>::to_vec)
            .ok_or_else(|| EngineError::Changed {
                path: self.path.clone(),
                space,
            })
    }

    fn write(
        &mut self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.reader = None;
        let mut transaction = self
            .db
            .begin_write()
            .map_err(because("begin a transaction"))?;
        transaction
            .set_durability(durability)
            .map_err(because("set the durability"))?;
        change(&transaction)?;
        transaction.commit().map_err(because("commit"))?;
        self.reader = Some(Reader::begin(&self.db)?);
        self.unsynced = match durability {
            Durability::Immediate => 0,
            _ => self.unsynced.saturating_add(1),
        };
        Ok(())
    }
}

impl Engine for Redb {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let value = self.table(space)?.get(key).map_err(because("read a key"))?;
        value
            .map(|value| self.unsealed(space, key, value.value()))
            .transpose()
    }

    fn scan(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let items = self
            .table(space)?
            .range::<&[u8]>((start, Bound::Unbounded))
            .map_err(because("scan a table"))?;
        let items = items.map(|item| {
            let (key, value) = item.map_err(because("scan a table"))?;
            let unsealed = self.unsealed(space, key.value(), value.value())?;
            Ok((key.value().to_vec(), unsealed))
        });
        collect(items, limit)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), EngineError> {
        let sync = self.unsynced.saturating_add(1) >= COMMITS_PER_SYNC;
        let durability = if sync {
            Durability::Immediate
        } else {
            Durability::None
        };
        let mut sealed = Vec::new();
        self.write(durability, |transaction| {
            for (space, changes) in batch.iter() {
                let mut table = transaction
                    .open_table(definition(space))
                    .map_err(because("open a table"))?;
                for (key, value) in changes {
                    match value {
                        Some(value) => {
                            sealed.clear();
                            sealed.extend_from_slice(value);
                            seal::seal(&mut sealed, &[key]);
                            table.insert(key.as_slice(), sealed.as_slice())
                        }
                        None => table.remove(key.as_slice()),
                    }
                    .map_err(because("change a key"))?;
                }
            }
            Ok(())
        })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    fn clear(&mut self) -> Result<(), EngineError> {
        self.write(Durability::Immediate, |transaction| {
            for space in Space::ALL {
                transaction
                    .delete_table(definition(space))
                    .map_err(because("empty a table"))?;
            }
            make_tables(transaction)
        })
    }

    fn close(mut self: Box<Self>) -> Result<(), EngineError> {
        self.sync()
    }

    fn crash_safe(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        let metadata = std::fs::metadata(&self.path)
            .map_err(files::because("tell the size of", &self.path))?;
        Ok(metadata.len())
    }
}
