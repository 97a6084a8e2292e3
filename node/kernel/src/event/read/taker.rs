//! What is taken of the events that are read, and when a part of the answer is full.

use crate::event::stored::StoredEvent;

/// Events and bytes of one part.
pub(super) const PART_EVENTS: usize = 256;
const PART_BYTES: usize = 1024 * 1024;

/// Events that are answered at once.
#[derive(Default)]
pub(super) struct Part {
    pub(super) events: Vec<StoredEvent>,
    bytes: usize,
}

/// Takes what is asked for: leaves out the first ones, stops at the limit.
pub(super) struct Taker<'a> {
    pub(super) part: &'a mut Part,
    pub(super) skip: &'a mut usize,
    pub(super) limit: &'a mut Option<usize>,
}

impl Taker<'_> {
    pub(super) fn take(&mut self, event: StoredEvent) {
        if *self.skip > 0 {
            *self.skip -= 1;
            return;
        }
        match self.limit {
            Some(0) => return,
            Some(left) => *left -= 1,
            None => {}
        }
        self.part.bytes += event.json.len();
        self.part.events.push(event);
    }

    pub(super) fn is_full(&self) -> bool {
        *self.limit == Some(0)
            || self.part.events.len() >= PART_EVENTS
            || self.part.bytes >= PART_BYTES
    }
}
