//! An answer of events that must be whole.

use homecore_types::limits;

use super::ReadError;
use crate::event::pages::EventsPart;
use crate::event::stored::StoredEvent;
use crate::reply::{ObjectWriter, Reply};

/// Bytes that a result may have where it must be collected.
pub(super) const COLLECTED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Events where an answer must be whole, as in a batch; bounded in number and bytes.
#[derive(Debug, Default)]
pub struct Collected {
    events: Vec<StoredEvent>,
    deletions: Vec<StoredEvent>,
    bytes: usize,
}

impl Collected {
    /// Adds a part.
    ///
    /// # Errors
    /// [`ReadError::TooMany`].
    pub fn push(&mut self, part: EventsPart) -> Result<(), ReadError> {
        let (list, part) = match part {
            EventsPart::Events(part) => (&mut self.events, part),
            EventsPart::Deletions(part) => (&mut self.deletions, part),
        };
        self.bytes += part.iter().map(|event| event.json.len()).sum::<usize>();
        list.extend(part);
        let items = self.events.len() + self.deletions.len();
        if items > limits::COLLECTED_ITEMS_MAX || self.bytes > COLLECTED_BYTES_MAX {
            return Err(ReadError::TooMany);
        }
        Ok(())
    }

    /// `{"events": […], "eventDeletions"?: […]}`.
    #[must_use]
    pub fn into_reply(self, with_deletions: bool) -> Reply {
        let mut reply = ObjectWriter::new();
        reply.array(
            "events",
            self.events.iter().map(|event| event.json.as_ref()),
        );
        if with_deletions {
            reply.array(
                "eventDeletions",
                self.deletions.iter().map(|event| event.json.as_ref()),
            );
        }
        reply.finish()
    }
}
