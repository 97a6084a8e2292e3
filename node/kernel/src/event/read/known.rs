//! What a short answer was made of, so that it can be made again without reading: a user's own events
//! are the same as long as nothing changes, and account fields have the time of each request.

use std::sync::Arc;

use homecore_types::Millis;

use super::beside::{Beside, account_fields};
use super::taker::{Part, Taker};
use crate::event::account::{AccountEvents, Chosen};
use crate::event::stored::StoredEvent;

/// Most events of an answer that is kept: fewer than a part of an answer may have.
const EVENTS_MAX: usize = 128;
/// Most bytes of their texts.
const BYTES_MAX: usize = 64 * 1024;
/// What an event takes in memory beside its text.
const EVENT_BYTES: usize = 96;

/// Which of the events that a query accepts are answered, and in which order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) ascending: bool,
    pub(super) skip: usize,
    pub(super) limit: Option<usize>,
}

/// An answer's events, as one access is shown them.
#[derive(Debug)]
pub(crate) struct KnownEvents {
    account: Arc<AccountEvents>,
    chosen: Chosen,
    /// Times, in seconds, and events, in the order of the answer.
    events: Vec<(f64, StoredEvent)>,
    bytes: usize,
    /// Whether no event of the user that the query accepts is missing at the end.
    is_whole: bool,
    shape: Shape,
}

impl KnownEvents {
    /// Before anything is read.
    pub(super) fn begin(account: Arc<AccountEvents>, chosen: Chosen, shape: Shape) -> Self {
        Self {
            account,
            chosen,
            events: Vec::new(),
            bytes: 0,
            is_whole: false,
            shape,
        }
    }

    /// One that takes so much memory.
    #[cfg(test)]
    pub(crate) fn sized(bytes: usize) -> Self {
        Self {
            account: Arc::new(AccountEvents::none()),
            chosen: Chosen::default(),
            events: Vec::new(),
            bytes,
            is_whole: true,
            shape: Shape {
                ascending: false,
                skip: 0,
                limit: None,
            },
        }
    }

    /// Adds the next event, as it is answered. False if that is too much to be kept.
    pub(super) fn add(&mut self, time: f64, event: &StoredEvent) -> bool {
        self.bytes += event.json.len();
        self.events.push((time, event.clone()));
        self.events.len() <= EVENTS_MAX && self.bytes <= BYTES_MAX
    }

    /// There are no more.
    pub(super) fn end(&mut self) {
        self.is_whole = true;
    }

    /// About what it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.events.len() * EVENT_BYTES
    }

    /// The answer as it is at a time. None if it has events that were not read: account fields come
    /// before events that are not yet, and a clock may go back.
    pub(crate) fn answer(&self, now: Millis) -> Option<Vec<StoredEvent>> {
        let Shape {
            ascending,
            mut skip,
            mut limit,
        } = self.shape;
        let mut account = account_fields(&self.account, &self.chosen, now, ascending);
        let mut part = Part::default();
        part.events.reserve(self.events.len() + account.len());
        let mut taker = Taker {
            part: &mut part,
            skip: &mut skip,
            limit: &mut limit,
        };
        let mut beside = Beside {
            now: now.as_seconds(),
            ascending,
            account: &mut account,
            audit: None,
        };
        for (time, event) in &self.events {
            let mut held = Some((*time, event.clone()));
            beside.place(&mut held, &mut taker).ok()?;
            if taker.is_full() {
                return Some(part.events);
            }
        }
        if !self.is_whole {
            return None;
        }
        beside.rest(&mut taker).ok()?;
        Some(part.events)
    }
}
