//! `callBatch`: many calls, one after the other (spec/pryv-api §1.9).
//!
//! Calls are brought to the store in runs. A run that changes anything is one write request in
//! which every call is an attempt of its own: later calls see what earlier ones wrote, a refused
//! one leaves nothing behind, and the whole run costs one disk sync. `events.get` may read much, so
//! it always goes to a reader by itself and never holds up the thread that writes for many users;
//! `streams.delete` may write much, and goes in steps of its own.

use std::collections::BTreeSet;

use homecore_types::{ErrorId, limits};
use serde_json::Value;
use thiserror::Error;

use crate::account;
use crate::actor::Actor;
use crate::audit::entry::{Draft, Entry};
use crate::audit::page;
use crate::error::{Error, InvalidParameters, Refusal};
use crate::kernel::{Context, Kernel};
use crate::method::{self, Method};
use crate::reply::Reply;
use crate::stream::cache::Trees;
use crate::violation::Violation;

/// Calls of one run.
const RUN_CALLS_MAX: usize = 256;
/// Bytes of results after which no further events are collected, nor streams deleted.
const RESULT_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The calls of a batch, checked for form.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls(Vec<Call>);

#[derive(Clone, Debug, PartialEq)]
struct Call {
    method: String,
    params: Value,
}

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// Its result.
    Done(Reply),
    /// Its error.
    Refused(Error),
    /// The kernel has no such method: a facade may, and answers [`crate::method::UnknownMethod`] if not.
    Foreign {
        /// The method id.
        method: String,
        /// Its parameters.
        params: Value,
    },
}

/// The store could not take a run of calls.
#[derive(Clone, Debug, Error)]
#[error("{message}")]
struct RunFailed {
    id: ErrorId,
    message: String,
}

impl Refusal for RunFailed {
    fn id(&self) -> ErrorId {
        self.id
    }
}

/// The results of a batch are large enough.
#[derive(Debug, Error)]
#[error("the results of this batch are too large to add more events, or to tell of deleted ones")]
struct BatchTooLarge;

impl Refusal for BatchTooLarge {
    fn id(&self) -> ErrorId {
        ErrorId::TooManyResults
    }
}

impl Calls {
    /// Reads the array of calls.
    ///
    /// # Errors
    /// All violations; the batch is refused as a whole then.
    pub fn parse(calls: Value) -> Result<Self, InvalidParameters> {
        let Value::Array(items) = calls else {
            return Err(InvalidParameters(vec![Violation::wrong_type(
                "#",
                &["array"],
            )]));
        };
        if items.len() > limits::BATCH_CALLS_MAX {
            let violation = Violation::too_many("#", limits::BATCH_CALLS_MAX);
            return Err(InvalidParameters(vec![violation]));
        }
        let mut violations = Vec::new();
        let mut calls = Vec::with_capacity(items.len());
        for (i, item) in items.into_iter().enumerate() {
            match call(i, item, &mut violations) {
                Some(call) if violations.is_empty() => calls.push(call),
                _ => {}
            }
        }
        if violations.is_empty() {
            Ok(Self(calls))
        } else {
            Err(InvalidParameters(violations))
        }
    }
}

fn call(i: usize, item: Value, violations: &mut Vec<Violation>) -> Option<Call> {
    let path = format!("#/{i}");
    let Value::Object(mut map) = item else {
        violations.push(Violation::wrong_type(&path, &["object"]));
        return None;
    };
    for name in ["method", "params"] {
        if !map.contains_key(name) {
            violations.push(Violation::missing(&path, name));
        }
    }
    let (method, params) = (map.remove("method")?, map.remove("params")?);
    let Value::String(method) = method else {
        violations.push(Violation::wrong_type(
            &format!("{path}/method"),
            &["string"],
        ));
        return None;
    };
    if !params.is_object() && !params.is_array() {
        violations.push(Violation::wrong_type(
            &format!("{path}/params"),
            &["object", "array"],
        ));
        return None;
    }
    Some(Call { method, params })
}

/// One piece of a batch.
#[derive(Debug)]
enum Step {
    /// Calls for one request to the store.
    Run {
        calls: Vec<(Method, Value)>,
        writes: bool,
    },
    /// A reading of events.
    Events(Value),
    /// A call that cannot share a request to the store.
    Alone(Method, Value),
    /// Not the kernel's.
    Foreign(Call),
}

/// Cuts a batch into steps, in order.
fn steps(calls: Vec<Call>) -> Vec<Step> {
    let mut steps = Vec::new();
    for call in calls {
        let Some(method) = Method::parse(&call.method) else {
            steps.push(Step::Foreign(call));
            continue;
        };
        if method == Method::EventsGet {
            steps.push(Step::Events(call.params));
            continue;
        }
        if method == Method::StreamsDelete || account::shell::is_alone(method, &call.params) {
            steps.push(Step::Alone(method, call.params));
            continue;
        }
        match steps.last_mut() {
            Some(Step::Run { calls, writes }) if calls.len() < RUN_CALLS_MAX => {
                *writes |= method.writes();
                calls.push((method, call.params));
            }
            _ => steps.push(Step::Run {
                calls: vec![(method, call.params)],
                writes: method.writes(),
            }),
        }
    }
    steps
}

/// Runs a batch. Once the calls are well formed each has its own outcome.
///
/// # Errors
/// None at present.
pub(crate) async fn run(
    kernel: &Kernel,
    actor: &Actor,
    Calls(calls): Calls,
) -> Result<Vec<Outcome>, Error> {
    let mut outcomes = Vec::with_capacity(calls.len());
    let mut bytes = 0_usize;
    for step in steps(calls) {
        let from = outcomes.len();
        match step {
            Step::Run { calls, writes } => {
                let methods: Vec<Method> = calls.iter().map(|(method, _)| *method).collect();
                let done = run_calls(kernel, actor, calls, writes).await;
                for (method, outcome) in methods.iter().zip(&done) {
                    if matches!(outcome, Outcome::Done(_)) {
                        kernel.used(actor, method.id());
                    }
                }
                outcomes.extend(done);
            }
            Step::Events(_) | Step::Alone(Method::StreamsDelete, _) if bytes > RESULT_BYTES_MAX => {
                outcomes.push(Outcome::Refused(BatchTooLarge.into()));
            }
            Step::Events(params) => {
                let result = kernel.call(actor, Method::EventsGet, params).await;
                outcomes.push(result.into());
                // A short reading ends without ever waiting, and there may be thousands in a row.
                tokio::task::yield_now().await;
            }
            Step::Alone(method, params) => {
                outcomes.push(kernel.call(actor, method, params).await.into());
            }
            Step::Foreign(call) => {
                outcomes.push(Outcome::Foreign {
                    method: call.method,
                    params: call.params,
                });
            }
        }
        bytes += outcomes.iter().skip(from).map(Outcome::size).sum::<usize>();
    }
    Ok(outcomes)
}

async fn run_calls(
    kernel: &Kernel,
    actor: &Actor,
    calls: Vec<(Method, Value)>,
    writes: bool,
) -> Vec<Outcome> {
    let count = calls.len();
    let actor_there = actor.clone();
    let hears: BTreeSet<Method> = (calls.iter().map(|(method, _)| *method))
        .filter(|method| kernel.audit_listener(method.id()).is_some())
        .collect();
    let done = if writes {
        let context = kernel.context();
        kernel
            .write(&actor.owner.id, move |writer| {
                let mut trees = context.trees.for_writing(writer.user());
                let (mut outcomes, mut entries) = (Vec::with_capacity(count), Entries::new(hears));
                for (method, params) in calls {
                    let trees: &mut dyn Trees = &mut trees;
                    let result =
                        method::write(writer, &context, trees, &actor_there, method, &params);
                    entries.note(&context, &actor_there, method, &params, &result);
                    outcomes.push(Outcome::from(result));
                }
                // In the commit of what was written, once for the whole run.
                let kept = std::mem::take(&mut entries.kept);
                writer.attempt(|tx| page::append(tx, &context, &kept))?;
                Ok((outcomes, entries, trees.into_versioned()))
            })
            .await
            .and_then(|done| done)
            .map(|(outcomes, entries, tree)| {
                kernel.trees().keep_committed(&actor.owner.id, tree);
                (outcomes, entries)
            })
    } else {
        kernel
            .read(&actor.owner.id, move |view, context| {
                let mut trees = context.trees.for_reading(&actor_there.owner.id);
                let trees: &mut dyn Trees = &mut trees;
                let (mut outcomes, mut entries) = (Vec::with_capacity(count), Entries::new(hears));
                for (method, params) in calls {
                    let result = method::read(view, context, trees, &actor_there, method, &params);
                    entries.note(context, &actor_there, method, &params, &result);
                    outcomes.push(Outcome::from(result));
                }
                (outcomes, entries)
            })
            .await
    };
    let done = match done {
        Ok((outcomes, entries)) => {
            let user = &actor.owner.id;
            for (method, entry) in entries.told {
                if let Some(listener) = kernel.audit_listener(method.id()) {
                    listener.tell(user, entry);
                }
            }
            kernel.note_all(user, entries.kept).await;
            Ok(outcomes)
        }
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|error| {
        tracing::warn!(user = %actor.owner.id, %error, "a run of batch calls failed");
        let failed = RunFailed {
            id: error.id(),
            message: error.client_message(),
        };
        (0..count)
            .map(|_| Outcome::Refused(failed.clone().into()))
            .collect()
    })
}

/// What the audit log keeps of a run, and what its listener is told.
#[derive(Debug)]
struct Entries {
    hears: BTreeSet<Method>,
    kept: Vec<Entry>,
    told: Vec<(Method, Entry)>,
}

impl Entries {
    fn new(hears: BTreeSet<Method>) -> Self {
        Self {
            hears,
            kept: Vec::new(),
            told: Vec::new(),
        }
    }

    fn note(
        &mut self,
        context: &Context,
        actor: &Actor,
        method: Method,
        params: &Value,
        result: &Result<Reply, Error>,
    ) {
        let kept = context.settings.audit.covers(method.id());
        let told = self.hears.contains(&method);
        if !kept && !told {
            return;
        }
        let draft = Draft::of(actor, method.id(), context.now());
        let draft = if method.writes() {
            draft
        } else {
            draft.asking(params)
        };
        let entry = draft.ended(result).finish();
        if told {
            self.told.push((method, entry.clone()));
        }
        if kept {
            self.kept.push(entry);
        }
    }
}

impl Outcome {
    fn size(&self) -> usize {
        match self {
            Self::Done(reply) => reply.as_bytes().len(),
            Self::Refused(_) | Self::Foreign { .. } => 0,
        }
    }
}

impl From<Result<Reply, Error>> for Outcome {
    fn from(result: Result<Reply, Error>) -> Self {
        match result {
            Ok(reply) => Self::Done(reply),
            Err(error) => Self::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests;
