//! Closures on their way to a store thread and their results on the way back.
//!
//! A write's result is kept until the group it belongs to is on disk, so running and answering are
//! two steps; the trait objects hide each request's own types from the threads.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::writer::Writer;
use crate::engine::View;
use crate::error::StoreError;

/// How running a write went, as far as the shard needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// It returned `Ok`.
    Well,
    /// It returned `Err`; what it wrote before still counts, but no user is created.
    Refused,
    /// It panicked.
    Panicked,
}

/// A write that waits, then has run, then is answered.
pub(super) trait WriteJob: Send {
    /// Runs it; at most once.
    fn run(&mut self, writer: &mut Writer<'_>) -> Ran;
    /// Answers the caller, if it still waits.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// A read that waits, then is run and answered.
pub(super) trait ReadJob: Send {
    /// Whether anybody still waits for it.
    fn is_wanted(&self) -> bool;
    /// Runs it; at most once. False if it panicked.
    fn run(&mut self, view: &dyn View) -> bool;
    /// Answers the caller.
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

struct Job<F, T> {
    work: Option<F>,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<F, T> Job<F, T> {
    fn new(work: F) -> (Self, Answer<T>) {
        let (answer, receiver) = oneshot::channel();
        (
            Self {
                work: Some(work),
                result: None,
                answer,
            },
            receiver,
        )
    }

    fn finish(self, outcome: Result<(), StoreError>) {
        let answer = outcome.and_then(|()| self.result.ok_or_else(panicked));
        if self.answer.send(answer).is_err() {
            // The caller went away; what was written stays written.
            tracing::debug!("nobody waits for the answer of a store request");
        }
    }
}

/// The answer to a request whose closure panicked.
pub(super) fn panicked() -> StoreError {
    StoreError::engine(
        "running a request",
        "its code panicked; nothing of it was kept",
    )
}

/// Packs a write.
pub(super) fn write_job<F, R, E>(work: F) -> (Box<dyn WriteJob>, Answer<Result<R, E>>)
where
    F: FnOnce(&mut Writer<'_>) -> Result<R, E> + Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    let (job, answer) = Job::new(work);
    (Box::new(job), answer)
}

/// Packs a read.
pub(super) fn read_job<F, R>(work: F) -> (Box<dyn ReadJob>, Answer<R>)
where
    F: FnOnce(&dyn View) -> R + Send + 'static,
    R: Send + 'static,
{
    let (job, answer) = Job::new(work);
    (Box::new(job), answer)
}

impl<F, R, E> WriteJob for Job<F, Result<R, E>>
where
    F: FnOnce(&mut Writer<'_>) -> Result<R, E> + Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    fn run(&mut self, writer: &mut Writer<'_>) -> Ran {
        let Some(work) = self.work.take() else {
            return Ran::Panicked;
        };
        match guarded(|| work(writer)) {
            Some(result) => {
                let ran = if result.is_ok() {
                    Ran::Well
                } else {
                    Ran::Refused
                };
                self.result = Some(result);
                ran
            }
            None => Ran::Panicked,
        }
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        self.finish(outcome);
    }
}

impl<F, R> ReadJob for Job<F, R>
where
    F: FnOnce(&dyn View) -> R + Send + 'static,
    R: Send + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn run(&mut self, view: &dyn View) -> bool {
        let Some(work) = self.work.take() else {
            return false;
        };
        self.result = guarded(|| work(view));
        self.result.is_some()
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        self.finish(outcome);
    }
}

/// Runs a closure of a request so that its panic costs that request, not the thread. What it
/// touched is undone or dropped by the caller: hence the assertion.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).map_err(discard).ok()
}

/// A panic's payload may hold what the request held, so it is not logged; the panic hook has said
/// where it happened.
fn discard(_payload: Box<dyn Any + Send>) {
    tracing::error!("the code of a store request panicked");
}
