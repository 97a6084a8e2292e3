//! Events page by page, so that a facade can stream an answer of any length with bounded memory.

use homecore_types::UserId;

use super::read::{Collected, Reading};
use super::stored::StoredEvent;
use crate::audit::entry::Draft;
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
    /// How many items are in it.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Events(items) | Self::Deletions(items) => items.len(),
        }
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
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
    /// The entry of the audit log, until it is noted.
    draft: Option<Draft>,
    /// Items handed on so far.
    items: usize,
}

impl EventPages {
    pub(crate) fn new(
        kernel: Kernel,
        user: UserId,
        first: Option<EventsPart>,
        reading: Reading,
        draft: Draft,
    ) -> Self {
        let has_deletions = reading.has_deletions();
        Self {
            kernel,
            user,
            first,
            reading: unended(reading),
            has_deletions,
            draft: Some(draft),
            items: 0,
        }
    }

    /// An answer that nothing need be read for.
    pub(crate) fn known(
        kernel: Kernel,
        user: UserId,
        events: Vec<StoredEvent>,
        draft: Draft,
    ) -> Self {
        Self {
            kernel,
            user,
            first: Some(EventsPart::Events(events)),
            reading: None,
            has_deletions: false,
            draft: Some(draft),
            items: 0,
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
        let part = self.next_part().await?;
        match (&part, self.draft.take()) {
            (Some(part), draft) => {
                self.items += part.len();
                self.draft = draft;
            }
            (None, Some(draft)) => {
                let draft = draft.counted(self.items, true);
                self.kernel.note(&self.user, draft).await;
            }
            (None, None) => {}
        }
        Ok(part)
    }

    async fn next_part(&mut self) -> Result<Option<EventsPart>, Error> {
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
            self.reading = unended(reading);
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

/// What is known to be over is not asked of the store once more: most answers have one part.
fn unended(reading: Reading) -> Option<Reading> {
    (!reading.has_ended()).then_some(reading)
}

impl Drop for EventPages {
    /// A reading that was given up leaves its entry too.
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            // Nobody can wait here; what waits is written in a moment.
            self.kernel
                .note_now(&self.user, draft.counted(self.items, false));
        }
    }
}
