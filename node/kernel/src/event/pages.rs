//! Events page by page, so that a facade can stream an answer of any length with bounded memory.

use homecore_types::UserId;

use super::read::{Collected, Reading};
use super::stored::StoredEvent;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::reply::Reply;

/// A piece of an answer. All events come before the first deletions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsPart {
    /// Events, in the order asked for.
    Events(Vec<StoredEvent>),
    /// Tombstones, newest first.
    Deletions(Vec<StoredEvent>),
}

impl EventsPart {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Events(items) | Self::Deletions(items) => items.is_empty(),
        }
    }
}

/// The rest of an answer to `events.get`. Dropping it ends the reading.
#[derive(Debug)]
pub struct EventPages {
    kernel: Kernel,
    user: UserId,
    first: Option<EventsPart>,
    /// None while a part is being read, and after the last.
    reading: Option<Reading>,
    has_deletions: bool,
}

impl EventPages {
    pub(crate) fn new(
        kernel: Kernel,
        user: UserId,
        first: Option<EventsPart>,
        reading: Reading,
    ) -> Self {
        let has_deletions = reading.has_deletions();
        Self {
            kernel,
            user,
            first,
            reading: Some(reading),
            has_deletions,
        }
    }

    /// Whether the answer has a list of deletions, be it empty.
    #[must_use]
    pub fn has_deletions(&self) -> bool {
        self.has_deletions
    }

    /// The next part that is not empty; none at the end.
    ///
    /// # Errors
    /// Of the store. The reading is over then.
    pub async fn next(&mut self) -> Result<Option<EventsPart>, Error> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Ok(Some(first));
        }
        while let Some(mut reading) = self.reading.take() {
            let (part, reading) = self
                .kernel
                .read(&self.user, move |view, _| {
                    let part = reading.next(view);
                    (part, reading)
                })
                .await?;
            let Some(part) = part? else { break };
            self.reading = Some(reading);
            if !part.is_empty() {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }

    /// The whole answer, where it cannot be streamed.
    ///
    /// # Errors
    /// If it is too large, or of the store.
    pub async fn collect(mut self) -> Result<Reply, Error> {
        let mut collected = Collected::default();
        while let Some(part) = self.next().await? {
            collected.push(part)?;
        }
        Ok(collected.into_reply(self.has_deletions))
    }
}
