//! Everything in ordered maps: for tests, simulation, and platforms small enough to replay.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Batch, Engine, EngineError, Pair, collect};
use crate::keys::Space;

/// An engine without files.
#[derive(Debug, Default)]
pub struct Memory {
    spaces: BTreeMap<Space, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl Engine for Memory {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self
            .spaces
            .get(&space)
            .and_then(|items| items.get(key))
            .cloned())
    }

    fn scan(
        &self,
        space: Space,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, EngineError> {
        let Some(items) = self.spaces.get(&space) else {
            return Ok(Vec::new());
        };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        collect(
            items
                .range::<[u8], _>((start, Bound::Unbounded))
                .map(|(key, value)| Ok((key.clone(), value.clone()))),
            limit,
        )
    }

    fn commit(&mut self, batch: Batch) -> Result<(), EngineError> {
        for (space, changes) in batch.changes {
            let items = self.spaces.entry(space).or_default();
            for (key, value) in changes {
                match value {
                    Some(value) => items.insert(key, value),
                    None => items.remove(&key),
                };
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn clear(&mut self) -> Result<(), EngineError> {
        self.spaces.clear();
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), EngineError> {
        Ok(())
    }

    fn crash_safe(&self) -> bool {
        false
    }

    fn size_bytes(&self) -> Result<u64, EngineError> {
        let bytes: usize = self
            .spaces
            .values()
            .flatten()
            .map(|(key, value)| key.len().saturating_add(value.len()))
            .sum();
        Ok(u64::try_from(bytes).unwrap_or(u64::MAX))
    }
}
