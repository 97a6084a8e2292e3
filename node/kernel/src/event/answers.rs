//! Short answers to `events.get`, kept between requests: who looks again and again finds most often
//! that nothing changed, and then nothing is read.
//!
//! An answer holds while the user's stamp of content
//! ([`homecore_store::Users::stamp_of_content`]) is the one that was taken before it was read, and
//! for the very access that it was read with: of an access that changed there is another object
//! ([`crate::access::cache`]), so nobody is shown what former permissions opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use homecore_types::Millis;
use serde_json::Value;

use super::read::KnownEvents;
use super::stored::StoredEvent;
use crate::access::Access;

/// About how much memory answers may take.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an answer takes beside its events.
const OVERHEAD_BYTES: usize = 512;
/// Queries that are longer are answered anew.
const QUERY_BYTES_MAX: usize = 1_024;

/// A question, by the access that asks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// The address of the access, which is kept with the answer: no other has it meanwhile.
    access: usize,
    query: String,
}

impl Question {
    /// None if it is longer than what is kept, or has a credential in it.
    pub(crate) fn of(access: &Arc<Access>, params: &Value) -> Option<Self> {
        if params.get("auth").is_some() {
            return None;
        }
        let query = params.to_string();
        (query.len() <= QUERY_BYTES_MAX).then(|| Self {
            access: Arc::as_ptr(access).addr(),
            query,
        })
    }
}

/// An answer.
#[derive(Debug)]
struct Answer {
    stamp: u64,
    events: KnownEvents,
    /// Holds the address that the question has.
    _access: Arc<Access>,
}

/// Answers of all users. Half of the memory is for those that were asked for since the other half was
/// full; what was not asked for meanwhile goes.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    recent: HashMap<Question, Arc<Answer>>,
    recent_bytes: usize,
    former: HashMap<Question, Arc<Answer>>,
}

impl Answers {
    /// The answer as it is now, if it is known as of the user's present stamp.
    pub(crate) fn find(
        &self,
        question: &Question,
        stamp: u64,
        now: Millis,
    ) -> Option<Vec<StoredEvent>> {
        let answer = self.kept().find(question)?;
        if answer.stamp != stamp {
            return None;
        }
        answer.events.answer(now)
    }

    /// Keeps what was read after the stamp was taken.
    pub(crate) fn keep(
        &self,
        question: Question,
        stamp: u64,
        access: &Arc<Access>,
        events: KnownEvents,
    ) {
        let answer = Arc::new(Answer {
            stamp,
            events,
            _access: Arc::clone(access),
        });
        self.kept().insert(question, answer);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, question: &Question) -> Option<Arc<Answer>> {
        if let Some(answer) = self.recent.get(question) {
            return Some(Arc::clone(answer));
        }
        let (question, answer) = self.former.remove_entry(question)?;
        self.insert(question, Arc::clone(&answer));
        Some(answer)
    }

    fn insert(&mut self, question: Question, answer: Arc<Answer>) {
        let more = bytes(&question, &answer);
        if self.recent_bytes + more > BYTES_MAX / 2 {
            self.former = std::mem::take(&mut self.recent);
            self.recent_bytes = 0;
        }
        self.former.remove(&question);
        if let Some((question, replaced)) = self.recent.remove_entry(&question) {
            self.recent_bytes -= bytes(&question, &replaced);
        }
        self.recent_bytes += more;
        self.recent.insert(question, answer);
    }
}

fn bytes(question: &Question, answer: &Answer) -> usize {
    OVERHEAD_BYTES + question.query.len() + answer.events.bytes()
}

#[cfg(test)]
mod tests;
