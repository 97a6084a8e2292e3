//! Reading the log in the order of time, page by page, with bounded memory.
//!
//! Pages are ordered by their last time and reach back a bounded span, so the next entry is certain
//! once the page after it cannot hold an earlier one (a later one, when reading backwards).

use std::cmp::Ordering;
use std::collections::BTreeSet;

use homecore_store::{Seq, StoreError, View};

use super::page::{self, PAGE_SPAN_MS};
use crate::event::filter::Filter;
use crate::event::stored::StoredEvent;
use crate::indexes::{self, AUDIT_BY_STREAM};
use crate::stream::store::{AUDIT_ACCESSES, AUDIT_ACTIONS, AUDIT_ROOT, Store};

/// Pages read at once.
const FETCH: usize = 16;
/// Pages looked at for one answer of [`AuditScan::peek`] before it says that it needs another turn.
const PAGES_AT_ONCE: usize = 256;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// An entry of this time, in seconds. [`AuditScan::take`] has it.
    At(f64),
    /// Much was looked at and nothing found yet: ask again, in another turn.
    Unknown,
    /// Nothing.
    Ended,
}

/// A reading of the log.
#[derive(Debug)]
pub struct AuditScan {
    prefix: Vec<u8>,
    descending: bool,
    /// The last key read, and its document.
    after: Option<(Vec<u8>, String)>,
    /// Last time of the last page read, in seconds.
    reached: Option<f64>,
    exhausted: bool,
    /// Entries found and not handed on, the next one last.
    waiting: Vec<Waiting>,
}

/// An entry that was found.
#[derive(Debug)]
struct Waiting {
    /// In seconds.
    time: f64,
    /// The change that wrote its page, and its place there: the order within one moment.
    written: (Seq, usize),
    event: StoredEvent,
}

impl Waiting {
    fn by_age(a: &Self, b: &Self) -> Ordering {
        (a.time.total_cmp(&b.time)).then_with(|| a.written.cmp(&b.written))
    }
}

impl AuditScan {
    /// Begins to read what a filter may accept; none if it asks for nothing of the log.
    #[must_use]
    pub fn open(filter: &Filter, descending: bool) -> Option<Self> {
        let streams = filter.selection.streams();
        let audit: BTreeSet<&str> = streams
            .iter()
            .map(AsRef::as_ref)
            .filter(|id| Store::of(id) == Store::Audit)
            .collect();
        let whole = [AUDIT_ROOT, AUDIT_ACCESSES, AUDIT_ACTIONS]
            .iter()
            .any(|root| audit.contains(root));
        // One stream has a range of its own; more are found in that of the whole log.
        let stream = match (whole, audit.len(), audit.first()) {
            (_, 0, _) | (_, _, None) => return None,
            (false, 1, Some(one)) => *one,
            _ => "",
        };
        Some(Self {
            prefix: indexes::audit_prefix(stream),
            descending,
            after: None,
            reached: None,
            exhausted: false,
            waiting: Vec::new(),
        })
    }

    /// What comes next.
    ///
    /// # Errors
    /// Of the store.
    pub fn peek(&mut self, view: &dyn View, filter: &Filter) -> Result<Next, StoreError> {
        for _ in 0..PAGES_AT_ONCE / FETCH {
            match self.waiting.last() {
                Some(next) if self.is_certain(next.time) => return Ok(Next::At(next.time)),
                None if self.exhausted => return Ok(Next::Ended),
                _ => self.fetch(view, filter)?,
            }
        }
        Ok(Next::Unknown)
    }

    /// The entry that [`Self::peek`] told of.
    pub fn take(&mut self) -> Option<StoredEvent> {
        self.waiting.pop().map(|next| next.event)
    }

    /// Whether no page that was not read yet can hold an entry that comes before one of this time, or
    /// of the same moment.
    fn is_certain(&self, time: f64) -> bool {
        let span = std::time::Duration::from_millis(PAGE_SPAN_MS.unsigned_abs()).as_secs_f64();
        self.exhausted
            || self.reached.is_some_and(|reached| {
                if self.descending {
                    time > reached
                } else {
                    time <= reached - span
                }
            })
    }

    fn fetch(&mut self, view: &dyn View, filter: &Filter) -> Result<(), StoreError> {
        let (from, to) = self.bounds(filter);
        let mut scan = indexes::range(AUDIT_BY_STREAM, &self.prefix, from, to, self.descending);
        scan.limit = FETCH;
        scan.after = self.after.take();
        let pages = view.scan(&scan)?;
        self.exhausted = pages.len() < FETCH;
        for (key, document) in pages {
            let entries = page::decode(&document)?;
            self.reached = entries
                .iter()
                .map(|entry| entry.at)
                .max()
                .map(|at| at.as_seconds());
            for (place, entry) in entries.iter().enumerate() {
                if filter.accepts(&entry.head()) {
                    let event = entry.to_event(&page::event_id(&document.id, place));
                    self.waiting.push(Waiting {
                        time: entry.at.as_seconds(),
                        written: (document.seq, place),
                        event,
                    });
                }
            }
            self.after = Some((key, document.id));
        }
        self.waiting.sort_by(Waiting::by_age);
        if !self.descending {
            self.waiting.reverse();
        }
        Ok(())
    }

    /// Last times of the pages that may hold something of the window.
    fn bounds(&self, filter: &Filter) -> (f64, f64) {
        let span = std::time::Duration::from_millis(PAGE_SPAN_MS.unsigned_abs()).as_secs_f64();
        filter
            .window
            .map_or((f64::NEG_INFINITY, f64::INFINITY), |(from, to)| {
                (from, to + span)
            })
    }
}
