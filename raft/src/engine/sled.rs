//! sled 0.34: one tree per key space.
//!
//! sled does not fsync on Linux, a batch is not atomic over a power cut, and after one it may open
//! empty without a word (adr/0001). So it is not crash-safe in the sense of the trait: its owner
//! trusts it only after [`Engine::close`], which fsyncs every file itself. Nothing is flushed in
//! between; the log and the snapshots hold the truth.

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::{Batch, Engine, EngineError, Pair, collect};
use crate::files;
use crate::keys::Space;

/// Page cache. sled takes several times as much memory as it is told; small is enough, because
/// routing never reads the engine.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;

/// The file of a database that sled locks while anything of it runs.
const DB_FILE: &str = "db";

/// How long sled's own threads may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How often the end of sled's threads is looked for.
const LOOKS_EVERY: Duration = Duration::from_millis(1);

/// An open sled database.
pub struct Sled {
    dir: PathBuf,
    db: ::sled::Db,
    /// One tree a space, at the position of its number.
    trees: Vec<::sled::Tree>,
}

impl fmt::Debug for Sled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sled")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

fn because(doing: &'static str) -> impl FnOnce(::sled::Error) -> EngineError {
    move |source| EngineError::Sled { doing, source }
}

impl Sled {
    /// Opens or creates a database in a folder.
    ///
    /// # Errors
    /// When sled cannot read what is there, or another process holds it.
    pub fn open(dir: &Path) -> Result<Self, EngineError> {
        let db = ::sled::Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .print_profile_on_drop(false)
            .open()
            .map_err(because("open its database"))?;
        let trees = Space::ALL
            .iter()
            .map(|space| db.open_tree(space.name()).map_err(because("open a tree")))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            dir: dir.to_owned(),
            db,
            trees,
        })
    }

    fn tree(&self, space: Space) -> Result<&::sled::Tree, EngineError> {
        self.trees
            .get(usize::from(space.number()))
            .ok_or(EngineError::Closed)
    }
}

/// Waits until no thread of sled holds a database that was dropped. sled leaves work to a pool of
/// threads and does not wait for it: one of them may still write, and refuse the next who opens.
#[expect(
    clippy::disallowed_methods,
    reason = "on an engine's own thread; sled tells nobody when it has let go"
)]
fn wait_until_let_go(dir: &Path) -> Result<(), EngineError> {
    let path = dir.join(DB_FILE);
    let file = File::open(&path).map_err(files::because("open", &path))?;
    let by = Instant::now() + ENDS_WITHIN;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < by => thread::sleep(LOOKS_EVERY),
            Err(error) => return Err(files::because("lock", &path)(error.into()).into()),
        }
    }
}

impl Engine for Sled {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        let value = self.tree(space)?.get(key).map_err(because("read a key"))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        let tree = self.tree(space)?;
        let items = match after {
            None => tree.iter(),
            Some(after) => tree
                .range::<&[u8], _>((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded)),
        };
        collect(
            items.map(|item| item.map(|(key, value)| (key.to_vec(), value.to_vec()))),
            limit,
        )
        .map_err(because("scan a tree"))
    }

    fn commit(&mut self, batch: Batch) -> Result<(), EngineError> {
        // Key by key: the owner is the only reader, and after a crash none of it is trusted. sled's
        // batches and transactions buy nothing then, and cost memory: what a change leaves behind is
        // freed only after the whole batch.
        for (space, changes) in batch.changes {
            let tree = self.tree(space)?;
            for (key, value) in changes {
                match value {
                    Some(value) => tree.insert(key, value).map(drop),
                    None => tree.remove(key).map(drop),
                }
                .map_err(because("change a key"))?;
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.db.flush().map_err(because("flush"))?;
        Ok(files::sync_tree(&self.dir)?)
    }

    fn clear(&mut self) -> Result<(), EngineError> {
        for tree in &self.trees {
            tree.clear().map_err(because("empty a tree"))?;
        }
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), EngineError> {
        let Self { dir, db, trees } = *self;
        db.flush().map_err(because("flush"))?;
        drop(trees);
        // The last handle writes sled's own snapshot of its page table on drop: sync after it.
        drop(db);
        wait_until_let_go(&dir)?;
        Ok(files::sync_tree(&dir)?)
    }

    fn crash_safe(&self) -> bool {
        false
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        self.db.size_on_disk().map_err(because("tell its size"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A handle stands for a thread of sled's pool that has not ended.
    #[test]
    fn a_close_waits_for_whoever_still_holds_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = Sled::open(dir.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(Space::Names, b"alice".to_vec(), b"1".to_vec());
        engine.commit(batch).unwrap();
        let late = engine.db.clone();
        let (done, closed) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || done.send(Box::new(engine).close()));
            assert!(closed.recv_timeout(Duration::from_millis(100)).is_err());
            drop(late);
            closed.recv().unwrap().unwrap();
        });
        let again = Sled::open(dir.path()).unwrap();
        assert_eq!(
            again.get(Space::Names, b"alice").unwrap(),
            Some(b"1".to_vec())
        );
    }
}
