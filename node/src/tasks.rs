//! Every background task of a core: named, stopped together, awaited.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

type Names = Vec<&'static str>;

/// The tasks of one core.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    /// Names of those that run.
    running: Arc<Mutex<Names>>,
}

impl Tasks {
    /// Runs a task until it ends or the core stops waiting for it. A panic in it is logged and
    /// stops the core: no part of it may be missing unnoticed.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, running) = (self.stop.clone(), Arc::clone(&self.running));
        lock(&running).push(name);
        let inner = self.tracker.spawn(task);
        self.tracker.spawn(async move {
            if let Err(error) = inner.await
                && error.is_panic()
            {
                tracing::error!(task = name, "a background task panicked; this core stops");
                stop.cancel();
            }
            let mut running = lock(&running);
            if let Some(place) = running.iter().position(|other| *other == name) {
                running.swap_remove(place);
            }
        });
    }

    /// Cancelled when the core is to stop.
    pub(crate) fn stop_signal(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Waits for all tasks to end, but no longer than `deadline`; the names of those that did not.
    pub(crate) async fn finish(&self, deadline: Duration) -> Vec<&'static str> {
        self.stop.cancel();
        self.tracker.close();
        match tokio::time::timeout(deadline, self.tracker.wait()).await {
            Ok(()) => Vec::new(),
            Err(_elapsed) => lock(&self.running).clone(),
        }
    }
}

fn lock(names: &Mutex<Names>) -> MutexGuard<'_, Names> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_named() {
        let tasks = Tasks::default();
        let stop = tasks.stop_signal();
        tasks.spawn("good", async move { stop.cancelled().await });
        tasks.spawn("short", async {});
        tasks.spawn("deaf", std::future::pending());
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, ["deaf"]);
    }
}
