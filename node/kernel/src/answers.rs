//! Short answers to `events.get` and `streams.get`, kept between requests: who looks again and again finds
//! most often that nothing changed, and then nothing is read.
//!
//! An answer holds while the user's stamp of content
//! ([`homecore_store::Users::stamp_of_content`]) is the one that was taken before it was read, and
//! for the very access that it was read with: of an access that changed there is another object
//! ([`crate::access::cache`]), so nobody is shown what former permissions opened. And it
//! holds while the platform declares the same account streams.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use homecore_types::{Millis, UserId};
use serde_json::Value;

use crate::access::Access;
use crate::actor::Actor;
use crate::event::read::KnownEvents;
use crate::event::stored::StoredEvent;
use crate::kernel::Kernel;
use crate::method::Method;
use crate::reply::Reply;
use crate::stream::schema::Schema;

/// About how much memory answers may take.
const ANSWERS_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What an answer takes beside its events: the fields of an account, where no other answer has them.
const ANSWER_BYTES: usize = 3 * 1024;
/// Replies that are longer are made anew.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// Queries that are longer are answered anew.
const QUERY_BYTES_MAX: usize = 1_024;

/// A question, by the access that asks it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    /// The address of the access. While there is an answer, no other access has it.
    access: usize,
    method: Method,
    /// The parameters, JSON.
    query: Vec<u8>,
}

impl Question {
    /// None if it is longer than what is kept, or has a credential in it.
    fn of(access: &Arc<Access>, method: Method, params: &Value) -> Option<Self> {
        if params.get("auth").is_some() {
            return None;
        }
        let mut query = Short(Vec::new());
        serde_json::to_writer(&mut query, params).ok()?;
        Some(Self {
            access: Arc::as_ptr(access).addr(),
            method,
            query: query.0,
        })
    }
}

/// Takes a text that is not too long, and no more of one that is.
struct Short(Vec<u8>);

impl io::Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > QUERY_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A question, and the state that it was asked of.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    question: Question,
    state: State,
}

/// The user's stamp, and the account streams as the platform declares them: held, so that no later ones
/// have their address.
#[derive(Clone, Debug)]
struct State {
    stamp: u64,
    schema: Arc<Schema>,
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.stamp == other.stamp && Arc::ptr_eq(&self.schema, &other.schema)
    }
}

impl Kernel {
    /// A question to which an answer may be known, or may be kept if it is read from now on: what
    /// changes meanwhile makes it void.
    pub(crate) fn asked(&self, actor: &Actor, method: Method, params: &Value) -> Option<Asked> {
        let question = Question::of(&actor.access, method, params)?;
        let state = State {
            stamp: self.users().stamp_of_content(&actor.owner.id)?,
            schema: self.schema(),
        };
        Some(Asked { question, state })
    }
}

/// What is kept of an answer.
#[derive(Debug)]
pub(crate) enum Known {
    /// Events: account fields among them have the time of each request.
    Events(KnownEvents),
    /// All of it.
    Reply(Reply),
}

impl Known {
    /// About what it takes in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Events(events) => events.bytes(),
            Self::Reply(reply) => reply.as_bytes().len(),
        }
    }
}

/// An answer.
#[derive(Debug)]
struct Answer {
    user: UserId,
    state: State,
    known: Known,
    /// Holds the address that the question has, and nothing of the access.
    _access: Weak<Access>,
}

/// Answers of all users. Half of the memory is for those that were asked for since the other half was
/// full; what was not asked for meanwhile goes.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: Mutex<Kept>,
}

impl Answers {
    /// The events that answer as it is now, if they are known as of the present state.
    pub(crate) fn events(&self, asked: &Asked, now: Millis) -> Option<Vec<StoredEvent>> {
        match &self.find(asked)?.known {
            Known::Events(events) => events.answer(now),
            Known::Reply(_) => None,
        }
    }

    /// The reply, if it is known as of the present state.
    pub(crate) fn reply(&self, asked: &Asked) -> Option<Reply> {
        match &self.find(asked)?.known {
            Known::Reply(reply) => Some(reply.clone()),
            Known::Events(_) => None,
        }
    }

    fn find(&self, asked: &Asked) -> Option<Arc<Answer>> {
        let (found, gone) = self.kept().find(&asked.question, &asked.state);
        drop(gone);
        found
    }

    /// Keeps what was read since it was asked for.
    pub(crate) fn keep(&self, asked: Asked, actor: &Actor, known: Known) {
        if matches!(&known, Known::Reply(reply) if reply.as_bytes().len() > REPLY_BYTES_MAX) {
            return;
        }
        let answer = Arc::new(Answer {
            user: actor.owner.id.clone(),
            state: asked.state,
            known,
            _access: Arc::downgrade(&actor.access),
        });
        let gone = self.kept().insert(asked.question, answer);
        drop(gone);
    }

    /// Forgets a user who is removed.
    pub(crate) fn forget(&self, user: &UserId) {
        let gone = self.kept().forget(user);
        drop(gone);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Kept {
    recent: HashMap<Question, Arc<Answer>>,
    recent_bytes: usize,
    former: HashMap<Question, Arc<Answer>>,
}

/// What is no longer kept: to be dropped when the lock is free, for it may be much.
#[must_use]
#[derive(Debug, Default)]
struct Gone {
    many: HashMap<Question, Arc<Answer>>,
    #[expect(dead_code, reason = "it is only dropped")]
    one: Option<Arc<Answer>>,
}

impl Kept {
    /// The answer of a state; one of another state goes.
    fn find(&mut self, question: &Question, state: &State) -> (Option<Arc<Answer>>, Gone) {
        if let Some(answer) = self.recent.get(question)
            && answer.state == *state
        {
            return (Some(Arc::clone(answer)), Gone::default());
        }
        if let Some(void) = self.remove_recent(question) {
            return (None, Gone::one(void));
        }
        match self.former.remove_entry(question) {
            Some((question, answer)) if answer.state == *state => {
                let gone = self.insert(question, Arc::clone(&answer));
                (Some(answer), gone)
            }
            Some((_, void)) => (None, Gone::one(void)),
            None => (None, Gone::default()),
        }
    }

    fn insert(&mut self, question: Question, answer: Arc<Answer>) -> Gone {
        let mut gone = Gone {
            one: self
                .remove_recent(&question)
                .or_else(|| self.former.remove(&question)),
            ..Gone::default()
        };
        let more = bytes(&question, &answer);
        if self.recent_bytes + more > ANSWERS_BYTES_MAX / 2 {
            let recent = std::mem::take(&mut self.recent);
            gone.many = std::mem::replace(&mut self.former, recent);
            self.recent_bytes = 0;
        }
        self.recent_bytes += more;
        self.recent.insert(question, answer);
        gone
    }

    fn remove_recent(&mut self, question: &Question) -> Option<Arc<Answer>> {
        let (question, answer) = self.recent.remove_entry(question)?;
        self.recent_bytes -= bytes(&question, &answer);
        Some(answer)
    }

    fn forget(&mut self, user: &UserId) -> Gone {
        let is_theirs = |_: &Question, answer: &mut Arc<Answer>| answer.user == *user;
        let mut gone: HashMap<_, _> = self.recent.extract_if(is_theirs).collect();
        let recent = gone
            .iter()
            .map(|(question, answer)| bytes(question, answer));
        self.recent_bytes -= recent.sum::<usize>();
        gone.extend(self.former.extract_if(is_theirs));
        Gone {
            many: gone,
            one: None,
        }
    }
}

impl Gone {
    fn one(answer: Arc<Answer>) -> Self {
        Self {
            one: Some(answer),
            ..Self::default()
        }
    }
}

fn bytes(question: &Question, answer: &Answer) -> usize {
    ANSWER_BYTES + question.query.len() + answer.known.bytes()
}

#[cfg(test)]
mod tests;
