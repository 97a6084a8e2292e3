//! Deletions of streams step by step, so that a facade can tell of any number of events with bounded
//! memory, and other calls on the user get their turn between two steps.

use std::sync::Arc;

use homecore_types::limits;
use serde_json::Value;

use super::delete::{self, DeleteStream, EventChange, Step, StreamsDeleteError};
use crate::Method;
use crate::actor::Actor;
use crate::audit::entry::Draft;
use crate::audit::page;
use crate::error::Error;
use crate::kernel::Kernel;
use crate::reply::Reply;

/// What a call of `streams.delete` does.
#[derive(Debug)]
pub enum StreamDeleted {
    /// The stream is in the trash: this is the answer.
    Trashed(Reply),
    /// It is being deleted for good.
    ForGood(Box<StreamDeletion>),
}

/// The rest of a deletion. Dropping it ends the deletion where it is; asking again goes on.
#[derive(Debug)]
pub struct StreamDeletion {
    kernel: Kernel,
    actor: Actor,
    asked: Arc<DeleteStream>,
    /// What the first step changed.
    first: Option<Vec<EventChange>>,
    /// The entry of the audit log, until it is written.
    draft: Option<Draft>,
    /// Events told of so far.
    events: usize,
}

impl Kernel {
    /// `streams.delete`: checks everything that can be refused and takes the first step.
    ///
    /// # Errors
    /// As spec/pryv-api §5.5.
    pub async fn stream_delete(
        &self,
        actor: &Actor,
        params: &Value,
    ) -> Result<StreamDeleted, Error> {
        let draft = self.draft(actor, Method::StreamsDelete);
        let asked = match DeleteStream::parse(params) {
            Ok(asked) => Arc::new(asked),
            Err(invalid) => return Err(self.refused(actor, draft, invalid.into()).await),
        };
        let mut deletion = StreamDeletion {
            kernel: self.clone(),
            actor: actor.clone(),
            asked,
            first: None,
            draft: Some(draft),
            events: 0,
        };
        match deletion.step(true).await? {
            Step::Trashed(reply) => Ok(StreamDeleted::Trashed(reply)),
            Step::Going(changes) | Step::Gone(changes) => {
                deletion.first = Some(changes);
                Ok(StreamDeleted::ForGood(Box::new(deletion)))
            }
        }
    }
}

impl StreamDeleted {
    /// The whole answer, where it cannot be streamed.
    ///
    /// # Errors
    /// If it is too large, or as [`StreamDeletion::next`].
    pub async fn collect(self) -> Result<Reply, Error> {
        let mut deletion = match self {
            Self::Trashed(reply) => return Ok(reply),
            Self::ForGood(deletion) => deletion,
        };
        let mut all = Vec::new();
        while let Some(changes) = deletion.next().await? {
            all.extend(changes);
            if all.len() > limits::COLLECTED_ITEMS_MAX && !deletion.is_over() {
                return Err(StreamsDeleteError::TooMany.into());
            }
        }
        Ok(delete::reply_of(&all, &deletion.asked.id))
    }
}

impl StreamDeletion {
    /// Which events were changed next; none at the end, when the stream is gone.
    ///
    /// # Errors
    /// Of the store, or if another call has made the deletion impossible. It is over then.
    pub async fn next(&mut self) -> Result<Option<Vec<EventChange>>, Error> {
        let changes = match self.first.take() {
            Some(changes) => changes,
            None if self.is_over() => return Ok(None),
            None => match self.step(false).await? {
                Step::Going(changes) | Step::Gone(changes) => changes,
                // Only a first step puts a stream into the trash.
                Step::Trashed(_) => Vec::new(),
            },
        };
        self.events += changes.len();
        Ok(Some(changes))
    }

    /// `{"id": …}` of the stream, as JSON text.
    #[must_use]
    pub fn deletion(&self) -> String {
        delete::deletion_of(&self.asked.id)
    }

    fn is_over(&self) -> bool {
        self.draft.is_none()
    }

    /// One step. The entry of the audit log is in the commit of the last one.
    async fn step(&mut self, first: bool) -> Result<Step, Error> {
        let Some(draft) = self.draft.clone() else {
            return Ok(Step::Gone(Vec::new()));
        };
        let user = self.actor.owner.id.clone();
        let covered = self.kernel.settings().audit.covers(draft.action());
        let (context, actor, asked) = (
            self.kernel.context(),
            self.actor.clone(),
            Arc::clone(&self.asked),
        );
        let in_commit = draft.clone();
        let result = self
            .kernel
            .write(&user, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                writer.attempt(|tx| {
                    let step = delete::step(tx, &context, &mut trees, &actor, &asked, first)?;
                    if covered && !matches!(step, Step::Going(_)) {
                        page::append(tx, &context, &[in_commit.finish()])?;
                    }
                    Ok::<_, StreamsDeleteError>(step)
                })
            })
            .await;
        let result = match result {
            Ok(result) => result.map_err(Error::from),
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(step) => {
                if !matches!(step, Step::Going(_)) {
                    self.draft = None;
                    self.kernel
                        .tell(&user, Method::StreamsDelete.id(), || draft);
                    self.kernel.used(&self.actor, Method::StreamsDelete.id());
                }
                Ok(step)
            }
            Err(error) => {
                self.draft = None;
                Err(self.kernel.refused(&self.actor, draft, error).await)
            }
        }
    }
}

impl Drop for StreamDeletion {
    /// A deletion that was given up leaves its entry too.
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            let draft = draft.counted(self.events, false);
            // Nobody can wait here; what waits is written in a moment.
            self.kernel.note_now(&self.actor.owner.id, draft);
        }
    }
}

#[cfg(test)]
mod tests;
