//! A snapshot of one log index, read in pieces while entries go on being applied.
//!
//! No engine feature is needed. Between two pieces, a change of a key that the snapshot has not come to
//! yet first puts the key's old value aside; a piece is what the engine holds now with the values put
//! aside laid over it. What is put aside shrinks as the snapshot passes it, and is bounded: a snapshot
//! too slow for the changes is aborted and begun again later.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::transaction::overlay;
use super::{Machine, MachineError};
use crate::engine::Batch;
use crate::keys::Space;
use crate::snapshot::{Header, Item};

/// Bytes of old values put aside for one snapshot.
const ASIDE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// What an old value costs beside its bytes.
const ASIDE_OVERHEAD: usize = 64;

/// A snapshot that is being read. Owned by whoever writes the file.
#[derive(Debug)]
pub struct SnapshotCursor {
    number: u64,
    header: Header,
    ended: bool,
}

impl SnapshotCursor {
    /// What the snapshot is of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }
}

/// The machine's side of it.
#[derive(Debug)]
pub(super) struct Frozen {
    number: u64,
    /// Position in [`Space::replicated`] of the space being read.
    space: usize,
    /// The last key passed in it.
    after: Option<Vec<u8>>,
    /// Old values of keys that changed, by space and key.
    aside: BTreeMap<Space, BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
    aside_bytes: usize,
}

impl Frozen {
    fn current(&self) -> Option<Space> {
        Space::replicated().get(self.space).copied()
    }

    /// Whether the snapshot has still to come to a key.
    fn awaits(&self, space: Space, key: &[u8]) -> bool {
        match self.current() {
            Some(current) if current == space => {
                self.after.as_deref().is_none_or(|after| key > after)
            }
            // Spaces are read in the order of their numbers.
            Some(current) => space > current,
            None => false,
        }
    }

    fn has(&self, space: Space, key: &[u8]) -> bool {
        self.aside
            .get(&space)
            .is_some_and(|aside| aside.contains_key(key))
    }

    fn put_aside(&mut self, space: Space, key: &[u8], old: Option<Vec<u8>>) {
        self.aside_bytes = self.aside_bytes.saturating_add(cost(key, old.as_deref()));
        self.aside
            .entry(space)
            .or_default()
            .insert(key.to_vec(), old);
    }

    /// Takes what is put aside behind `after`, up to `end` or the end of the space.
    fn take_aside(
        &mut self,
        space: Space,
        end: Option<&[u8]>,
    ) -> BTreeMap<Vec<u8>, Option<Vec<u8>>> {
        // What was passed is never put aside, so all of it is behind `after`.
        let Some(aside) = self.aside.get_mut(&space) else {
            return BTreeMap::new();
        };
        let taken = match end {
            None => std::mem::take(aside),
            Some(end) => {
                let next = aside
                    .range::<[u8], _>((Bound::Excluded(end), Bound::Unbounded))
                    .next()
                    .map(|(key, _)| key.clone());
                match next {
                    None => std::mem::take(aside),
                    Some(next) => {
                        let later = aside.split_off(&next);
                        std::mem::replace(aside, later)
                    }
                }
            }
        };
        let freed = taken.iter().fold(0_usize, |sum, (key, old)| {
            sum.saturating_add(cost(key, old.as_deref()))
        });
        self.aside_bytes = self.aside_bytes.saturating_sub(freed);
        taken
    }
}

fn cost(key: &[u8], old: Option<&[u8]>) -> usize {
    key.len()
        .saturating_add(old.map_or(0, <[u8]>::len))
        .saturating_add(ASIDE_OVERHEAD)
}

impl Machine {
    /// Begins a snapshot of what is applied now.
    ///
    /// # Errors
    /// When another one is being made.
    pub fn begin_snapshot(&mut self) -> Result<SnapshotCursor, MachineError> {
        self.ensure_usable()?;
        if self.frozen.is_some() {
            return Err(MachineError::SnapshotOpen);
        }
        self.snapshots_begun = self.snapshots_begun.wrapping_add(1);
        let number = self.snapshots_begun;
        self.frozen = Some(Frozen {
            number,
            space: 0,
            after: None,
            aside: BTreeMap::new(),
            aside_bytes: 0,
        });
        let header = Header {
            applied: self.applied.clone(),
        };
        Ok(SnapshotCursor {
            number,
            header,
            ended: false,
        })
    }

    /// The next items of a snapshot, some `max_items` of them; none at its end. Each piece is as of the
    /// beginning, whatever was applied since.
    ///
    /// # Errors
    /// When the snapshot was aborted, or the machine fails.
    pub fn next_chunk(
        &mut self,
        cursor: &mut SnapshotCursor,
        max_items: usize,
    ) -> Result<Option<Vec<Item>>, MachineError> {
        self.ensure_usable()?;
        if cursor.ended {
            return Ok(None);
        }
        let frozen = self
            .frozen
            .as_mut()
            .filter(|frozen| frozen.number == cursor.number)
            .ok_or(MachineError::SnapshotAborted)?;
        while let Some(space) = frozen.current() {
            let stored = self
                .engine
                .scan(space, frozen.after.as_deref(), max_items)?;
            let end = stored.last().map(|(key, _)| key.clone());
            let aside = frozen.take_aside(space, end.as_deref());
            let items = overlay(stored, aside.into_iter());
            if end.is_none() {
                frozen.space = frozen.space.saturating_add(1);
            }
            frozen.after = end;
            if !items.is_empty() {
                return Ok(Some(
                    items
                        .into_iter()
                        .map(|(key, value)| (space, key, value))
                        .collect(),
                ));
            }
        }
        self.frozen = None;
        cursor.ended = true;
        Ok(None)
    }

    /// Gives a snapshot up. One that has ended already stays ended.
    pub fn abort_snapshot(&mut self, cursor: &SnapshotCursor) {
        if self
            .frozen
            .as_ref()
            .is_some_and(|frozen| frozen.number == cursor.number)
        {
            self.frozen = None;
        }
    }

    /// Puts old values aside that a batch is about to change under an open snapshot.
    pub(super) fn keep_frozen(&mut self, batch: &Batch) -> Result<(), MachineError> {
        let Some(frozen) = self.frozen.as_mut() else {
            return Ok(());
        };
        for (space, changes) in batch.iter() {
            if space == Space::Meta {
                continue;
            }
            for key in changes.keys() {
                if frozen.awaits(space, key) && !frozen.has(space, key) {
                    let old = self.engine.get(space, key)?;
                    frozen.put_aside(space, key, old);
                }
            }
        }
        if frozen.aside_bytes > ASIDE_BYTES_MAX {
            tracing::warn!(
                bytes = frozen.aside_bytes,
                "snapshot aborted: too much changed meanwhile"
            );
            self.frozen = None;
        }
        Ok(())
    }
}
