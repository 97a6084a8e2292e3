//! The asynchronous side of `events.get`: an answer that is known is given again, any other is read.

use homecore_store::View;
use serde_json::Value;

use super::merge::Most;
use super::pages::{EventPages, EventsPart};
use super::query::StreamsQuery;
use super::read::{self, Reading};
use crate::actor::Actor;
use crate::answers::Known;
use crate::audit::entry::Draft;
use crate::error::Error;
use crate::kernel::{Context, Kernel};
use crate::method::{Method, Params};

impl Kernel {
    /// `events.get`: checks everything that can be refused, then returns the answer as pages. The
    /// first page has been read already when this returns.
    ///
    /// # Errors
    /// As spec/pryv-api §4.3, §4.4.
    pub async fn events_get(
        &self,
        actor: &Actor,
        params: impl Into<Params> + Send,
    ) -> Result<EventPages, Error> {
        let params = params.into();
        let method = Method::EventsGet.id();
        let now = self.now();
        let draft = Draft::of(actor, method, now).asking(params.shown());
        let user = actor.owner.id.clone();
        let asked = self.asked(actor, Method::EventsGet, &params.value);
        let known = asked.as_ref();
        let known = known.and_then(|asked| self.answers().events(asked, now));
        if let Some(events) = known {
            self.used(actor, method);
            return Ok(EventPages::known(self.clone(), user, events, draft));
        }
        match self.events_open(actor, &params.value).await {
            Ok((first, mut reading)) => {
                self.used(actor, method);
                if let (Some(asked), Some(known)) = (asked, reading.take_known()) {
                    self.answers().keep(asked, actor, Known::Events(known));
                }
                Ok(EventPages::new(self.clone(), user, first, reading, draft))
            }
            Err(error) => {
                self.note(&actor.owner.id, draft.refused(&error)).await;
                Err(error)
            }
        }
    }

    async fn events_open(
        &self,
        actor: &Actor,
        params: &Value,
    ) -> Result<(Option<EventsPart>, Reading), Error> {
        let query = read::EventsGet::parse(params)?;
        if query
            .streams
            .as_ref()
            .is_some_and(StreamsQuery::names_audit)
        {
            // Calls made before this one are to be seen, written or not.
            self.settle_audit_of(&actor.owner.id).await;
        }
        let actor_there = actor.clone();
        let short = query.is_short() && self.has_few_streams(&actor.owner.id);
        let open = move |view: &dyn View, context: &Context| {
            let mut trees = context.trees.for_reading(&actor_there.owner.id);
            let mut reading = read::open(view, context, &mut trees, &actor_there, query)?;
            let first = if short {
                reading.next_within(view, Most::SHORT)?
            } else {
                reading.next(view)?
            };
            Ok::<_, read::ReadError>((first, reading))
        };
        Ok(if short {
            self.read_short(&actor.owner.id, open).await??
        } else {
            self.read(&actor.owner.id, open).await??
        })
    }
}
