//! The end of the log in memory, and where the rest lies.
//!
//! Holds at least every entry that is not on disk yet, and of those that are, as many as fit in
//! [`BYTES_MAX`]: replication and applying read almost only from here.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::log::LogError;
use crate::log::medium::Recovered;
use crate::types::{Entry, LogId, Vote};

/// Bytes of entries kept although they are on disk.
pub(super) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// What is known of the log without reading the disk.
pub(super) struct Tail {
    /// Without holes, up to `last`.
    entries: BTreeMap<u64, (Entry, usize)>,
    bytes: usize,
    /// One past the last entry that is on disk.
    durable_end: u64,
    /// Where the log began when it was empty: 0, but for openraft's test suite.
    began: u64,
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// Counts truncations and purges, so that a read can tell that it overlapped one.
    generation: u64,
}

/// How to read a range.
pub(super) struct Reading {
    /// To compare after the disk was read.
    pub(super) generation: u64,
    /// What must come from the disk, before …
    pub(super) disk: Range<u64>,
    /// … what comes from memory.
    pub(super) cached: Vec<Entry>,
}

impl Tail {
    pub(super) fn new(recovered: Recovered) -> Self {
        Self {
            entries: BTreeMap::new(),
            bytes: 0,
            durable_end: end_of(recovered.last),
            began: 0,
            purged: recovered.purged,
            last: recovered.last,
            vote: recovered.vote,
            committed: recovered.committed,
            generation: 0,
        }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    pub(super) fn commit(&mut self, committed: Option<LogId>) {
        self.committed = committed;
    }

    /// The vote is on disk.
    pub(super) fn voted(&mut self, vote: Vote) {
        self.vote = Some(vote);
    }

    /// How many of the committed entries are on disk here: what this core once held for sure.
    pub(super) fn held_end(&self) -> u64 {
        end_of(self.committed).min(self.durable_end)
    }

    /// Makes entries readable.
    pub(super) fn append(&mut self, entries: Vec<(Entry, usize)>) -> Result<(), LogError> {
        let first = entries.first().map_or(0, |(entry, _)| entry.log_id.index);
        let next = if self.last.is_some() {
            end_of(self.last)
        } else {
            first
        };
        for (expected, (entry, _)) in (next..).zip(&entries) {
            if entry.log_id.index != expected {
                return Err(LogError::Hole { index: expected });
            }
        }
        if self.last.is_none() {
            self.began = first;
        }
        for (entry, bytes) in entries {
            self.last = Some(entry.log_id);
            self.bytes = self.bytes.saturating_add(bytes);
            self.entries.insert(entry.log_id.index, (entry, bytes));
        }
        Ok(())
    }

    /// Everything below `end` is on disk.
    pub(super) fn persisted(&mut self, end: u64) {
        self.durable_end = self.durable_end.max(end.min(end_of(self.last)));
        while self.bytes > BYTES_MAX
            && let Some(first) = self.entries.first_entry()
            && *first.key() < self.durable_end
        {
            let (_, bytes) = first.remove();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// Forgets what follows `last`.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        if end_of(last) >= end_of(self.last) {
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        let gone = self.entries.split_off(&end_of(last));
        self.forget(&gone);
        self.last = last.max(self.purged);
        self.durable_end = self.durable_end.min(end_of(self.last));
    }

    /// Forgets what comes up to `upto`, which may lie beyond the end.
    pub(super) fn purge(&mut self, upto: LogId) {
        self.generation = self.generation.wrapping_add(1);
        let kept = self.entries.split_off(&end_of(Some(upto)));
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(&gone);
        self.purged = self.purged.max(Some(upto));
        if end_of(self.last) <= end_of(self.purged) {
            self.last = self.purged;
            self.durable_end = self.durable_end.max(end_of(self.last));
        }
    }

    fn forget(&mut self, gone: &BTreeMap<u64, (Entry, usize)>) {
        let bytes: usize = gone.values().map(|(_, bytes)| bytes).sum();
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Splits `start..end`, as far as the log has it, into disk and memory.
    pub(super) fn reading(&self, start: u64, end: u64, bytes_max: usize) -> Reading {
        let start = start.max(end_of(self.purged)).max(self.began);
        let end = end.min(end_of(self.last));
        let nothing = Reading {
            generation: self.generation,
            disk: 0..0,
            cached: Vec::new(),
        };
        if start >= end {
            return nothing;
        }
        let cached_from = self
            .entries
            .first_key_value()
            .map_or(end, |(first, _)| *first);
        let mut bytes = 0_usize;
        let mut cached = Vec::new();
        for (entry, size) in self.entries.range(start..end).map(|(_, held)| held) {
            bytes = bytes.saturating_add(*size);
            if bytes > bytes_max && !cached.is_empty() {
                break;
            }
            cached.push(entry.clone());
        }
        Reading {
            disk: start..end.min(cached_from).max(start),
            cached,
            ..nothing
        }
    }
}

/// One past the index of an id.
pub(super) fn end_of(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index.saturating_add(1))
}
