//! The thread that owns the machine.
//!
//! Everything that touches the machine is a closure sent here and run in turn: applying, queries,
//! snapshot chunks. The queue is bounded; a caller waits for room without blocking a runtime worker.

use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::ground::Ground;
use crate::machine::{Machine, MachineError};

/// Closures waiting for the machine.
const QUEUED_MAX: usize = 1024;

/// The machine's thread has ended.
#[derive(Clone, Copy, Debug, Error)]
#[error("the platform store was stopped")]
pub(crate) struct MachineStopped;

type Work = Box<dyn FnOnce(&mut Machine) + Send>;

enum Job {
    Run(Work),
    /// Ends the thread: with the mark of a clean stop, or as a crash would.
    Stop {
        clean: bool,
        done: oneshot::Sender<Result<(), MachineError>>,
    },
}

/// Access to the machine. Clones reach the same one.
#[derive(Clone)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// Hands the machine to a thread of its own, or to a task if there are no threads. It ends when told
    /// to, or when every clone of this is gone.
    pub(crate) fn spawn(
        ground: &dyn Ground,
        machine: Machine,
    ) -> io::Result<(Self, Option<JoinHandle<()>>)> {
        let (jobs, mut receive) = mpsc::channel(QUEUED_MAX);
        if !ground.has_threads() {
            tokio::spawn(async move {
                let mut machine = Some(machine);
                while machine.is_some()
                    && let Some(job) = receive.recv().await
                {
                    machine = machine.and_then(|machine| serve(machine, job));
                }
            });
            return Ok((Self { jobs }, None));
        }
        let thread = thread::Builder::new()
            .name("raft-machine".to_owned())
            .spawn(move || {
                let mut machine = Some(machine);
                while machine.is_some()
                    && let Some(job) = receive.blocking_recv()
                {
                    machine = machine.and_then(|machine| serve(machine, job));
                }
            })?;
        Ok((Self { jobs }, Some(thread)))
    }

    /// Runs `work` on the machine and gives back what it returns.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Machine) -> T + Send + 'static,
    ) -> Result<T, MachineStopped> {
        let (done, wait) = oneshot::channel();
        let work: Work = Box::new(move |machine| {
            if done.send(work(machine)).is_err() {
                tracing::debug!("the answer of the platform store was not waited for");
            }
        });
        self.jobs
            .send(Job::Run(work))
            .await
            .map_err(|_| MachineStopped)?;
        wait.await.map_err(|_| MachineStopped)
    }

    /// Runs `work` some time, if there is room in the queue. For clean-up from `Drop`.
    pub(crate) fn run_later(&self, work: impl FnOnce(&mut Machine) + Send + 'static) -> bool {
        self.jobs.try_send(Job::Run(Box::new(work))).is_ok()
    }

    /// Ends the thread after what is queued.
    pub(crate) async fn stop(
        &self,
        clean: bool,
    ) -> Result<Result<(), MachineError>, MachineStopped> {
        let (done, wait) = oneshot::channel();
        self.jobs
            .send(Job::Stop { clean, done })
            .await
            .map_err(|_| MachineStopped)?;
        wait.await.map_err(|_| MachineStopped)
    }
}

/// Does one job; none when it was the last.
fn serve(mut machine: Machine, job: Job) -> Option<Machine> {
    match job {
        Job::Run(work) => {
            work(&mut machine);
            Some(machine)
        }
        Job::Stop { clean, done } => {
            let closed = if clean {
                machine.close()
            } else {
                drop(machine);
                Ok(())
            };
            if done.send(closed).is_err() {
                tracing::debug!("nobody waited for the platform store to stop");
            }
            None
        }
    }
}
