//! The state as a group of commands sees and changes it: what is stored, with the group's own changes
//! over it. Cores, DNS records and configuration are read from the directory, which has them whole.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use homecore_types::CoreId;

use super::MachineError;
use crate::codec::{CodecError, Hex};
use crate::directory::Directory;
use crate::engine::{Batch, Engine, Pair};
use crate::keys::{Cores, Space, Table};
use crate::records::Core;

/// Reads one value of an engine.
pub(super) fn load<T: Table>(
    engine: &dyn Engine,
    key: &T::Key,
) -> Result<Option<T::Value>, MachineError> {
    let key = T::key(key);
    engine
        .get(T::SPACE, &key)?
        .map(|bytes| decode::<T>(&key, &bytes))
        .transpose()
}

/// Decodes a stored value, naming its key if it cannot be.
pub(super) fn decode<T: Table>(key: &[u8], bytes: &[u8]) -> Result<T::Value, MachineError> {
    T::decode(bytes).map_err(|source| unreadable(T::SPACE, key, source))
}

fn unreadable(space: Space, key: &[u8], source: CodecError) -> MachineError {
    MachineError::Value {
        space,
        key: Hex(key).to_string(),
        source,
    }
}

/// The stored state contradicts itself.
pub(super) fn inconsistent(space: Space, key: &[u8], what: &'static str) -> MachineError {
    MachineError::Inconsistent {
        space,
        key: Hex(key).to_string(),
        what,
    }
}

/// A group of commands being applied.
pub(super) struct Transaction<'a> {
    engine: &'a dyn Engine,
    batch: Batch,
    directory: Directory,
    /// Cores whose stored form is written once, at the end of the group: every registration counts
    /// one more user of one of them.
    changed_cores: BTreeSet<CoreId>,
    index: u64,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(engine: &'a dyn Engine, directory: Directory) -> Self {
        let (batch, changed_cores) = (Batch::default(), BTreeSet::new());
        Self {
            engine,
            batch,
            directory,
            changed_cores,
            index: 0,
        }
    }

    /// Says which entry the changes to come are of.
    pub(super) fn begin(&mut self, index: u64) {
        self.index = index;
    }

    /// Index of the entry that is being applied.
    pub(super) fn index(&self) -> u64 {
        self.index
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn directory_mut(&mut self) -> &mut Directory {
        &mut self.directory
    }

    pub(super) fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>, MachineError> {
        let key = T::key(key);
        match self.batch.change(T::SPACE, &key) {
            Some(change) => change.map(|bytes| decode::<T>(&key, bytes)).transpose(),
            None => {
                let stored = self.engine.get(T::SPACE, &key)?;
                stored.map(|bytes| decode::<T>(&key, &bytes)).transpose()
            }
        }
    }

    pub(super) fn put<T: Table>(
        &mut self,
        key: &T::Key,
        value: &T::Value,
    ) -> Result<(), MachineError> {
        let key = T::key(key);
        let bytes = T::encode(value).map_err(|source| unreadable(T::SPACE, &key, source))?;
        self.batch.put(T::SPACE, key, bytes);
        Ok(())
    }

    pub(super) fn delete<T: Table>(&mut self, key: &T::Key) {
        self.batch.delete(T::SPACE, T::key(key));
    }

    /// Items behind a key, changes of this group included. None come only at the end of the space.
    pub(super) fn scan(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, MachineError> {
        let none = BTreeMap::new();
        let changes = self.batch.space(space).unwrap_or(&none);
        let mut after = after.map(<[u8]>::to_vec);
        loop {
            let stored = self.engine.scan(space, after.as_deref(), limit)?;
            let end = stored.last().map(|(key, _)| key.clone());
            let range = (
                after.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
                end.as_deref().map_or(Bound::Unbounded, Bound::Included),
            );
            let over = changes
                .range::<[u8], _>(range)
                .map(|(k, v)| (k.clone(), v.clone()));
            let items = overlay(stored, over);
            if !items.is_empty() || end.is_none() {
                return Ok(items);
            }
            after = end;
        }
    }

    /// Sets a core as it now is.
    pub(super) fn put_core(&mut self, core: Core) {
        self.changed_cores.insert(core.id.clone());
        let generation = self.index;
        self.directory.set_core(core.into(), generation);
    }

    /// Counts a user more or less on a core.
    pub(super) fn count_user(&mut self, core: &CoreId, more: bool) {
        if self.directory.count_user(core, more) {
            self.changed_cores.insert(core.clone());
        }
    }

    /// The changes, and the directory behind them.
    pub(super) fn finish(mut self) -> Result<(Batch, Directory), MachineError> {
        for id in std::mem::take(&mut self.changed_cores) {
            let core = self.directory.core_or_removed(id.as_str()).cloned();
            if let Some(core) = core {
                self.put::<Cores>(&id, &core)?;
            }
        }
        Ok((self.batch, self.directory))
    }
}

/// Items in order, with changes (or earlier values) laid over them: a value replaces, none removes.
pub(super) fn overlay(
    items: Vec<Pair>,
    over: impl Iterator<Item = (Vec<u8>, Option<Vec<u8>>)>,
) -> Vec<Pair> {
    let mut over = over.peekable();
    if over.peek().is_none() {
        return items;
    }
    let mut merged: BTreeMap<_, _> = items.into_iter().collect();
    for (key, value) in over {
        match value {
            Some(value) => merged.insert(key, value),
            None => merged.remove(&key),
        };
    }
    merged.into_iter().collect()
}
