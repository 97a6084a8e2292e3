//! Whether the platform can be reached at all, so that callers are not kept waiting for what cannot come.
//!
//! A leader that dies is replaced within seconds, and a call waits for that. When nobody leads for
//! longer than [`PATIENCE`] a majority is gone: from then on calls are refused at once, until a
//! question that this core asks by itself, again and again, is answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use homecore_types::limits::PLATFORM_READ_TIMEOUT;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::handle::Inner;
use crate::handle::read::{deadline, question_end};

/// How long nobody may lead before calls are refused at once: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(4);
/// An answer that does not come for so long makes this core ask whether anybody leads.
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// Rest between two questions.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What this core knows of it.
#[derive(Debug, Default)]
pub(super) struct Outage {
    /// Since when no question was answered; none while the last one was.
    since: Mutex<Option<Instant>>,
    began: Notify,
    changed: Notify,
}

impl Outage {
    /// A question or a write found no leader that could answer.
    pub(super) fn suspect(&self) {
        let mut since = self.lock();
        if since.is_none() {
            *since = Some(Instant::now());
            drop(since);
            self.began.notify_one();
            self.changed.notify_waiters();
        }
    }

    /// A leader with a majority answered.
    pub(super) fn answered(&self) {
        let mut since = self.lock();
        if since.take().is_some() {
            drop(since);
            self.changed.notify_waiters();
        }
    }

    /// Whether waiting is of no use.
    pub(super) fn is_certain(&self) -> bool {
        self.certain_at().is_some_and(|at| at <= Instant::now())
    }

    /// Returns when waiting is of no use any more.
    pub(super) async fn certain(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.certain_at() {
                None => changed.await,
                Some(at) => tokio::select! {
                    () = sleep_until(at) => if self.is_certain() {
                        return;
                    },
                    () = changed => {}
                },
            }
        }
    }

    /// Waits for an answer that a leader owes, and looks into it when that takes long.
    pub(super) async fn watch<T>(&self, answer: impl Future<Output = T>) -> T {
        tokio::pin!(answer);
        tokio::select! {
            answer = &mut answer => return answer,
            () = sleep(SUSPICIOUS) => self.suspect(),
        }
        answer.await
    }

    fn certain_at(&self) -> Option<Instant> {
        self.lock().and_then(|since| since.checked_add(PATIENCE))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.lock().is_none()
    }
}

/// Asks for the leader from when it was found missing until it is there again.
pub(super) async fn probe(inner: Weak<Inner>, stop: CancellationToken) {
    loop {
        let Some(strong) = inner.upgrade() else {
            return;
        };
        if strong.outage.is_over() {
            let outage = Arc::clone(&strong.outage);
            drop(strong);
            tokio::select! {
                () = stop.cancelled() => return,
                () = outage.began.notified() => {}
            }
            continue;
        }
        let until = question_end(deadline(PLATFORM_READ_TIMEOUT));
        tokio::select! {
            () = stop.cancelled() => return,
            // An answer is noted where it arrives.
            asked = strong.read_index(until) => if let Err(error) = asked {
                tracing::debug!(%error, "nobody leads yet");
            },
        }
        drop(strong);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(ASK_EVERY) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_certain_only_after_a_while_and_ends_with_an_answer() {
        let outage = Outage::default();
        assert!(!outage.is_certain());
        outage.suspect();
        assert!(!outage.is_certain());
        let began = Instant::now();
        sleep(PATIENCE / 2).await;
        // Found missing again: it counts from the first time.
        outage.suspect();
        outage.certain().await;
        assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
        assert!(outage.is_certain());
        outage.answered();
        assert!(!outage.is_certain());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_late_is_suspicious_and_still_awaited() {
        let outage = Outage::default();
        outage.watch(sleep(SUSPICIOUS / 2)).await;
        assert!(outage.is_over());
        outage.watch(sleep(SUSPICIOUS * 3)).await;
        assert!(!outage.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_certainty_is_not_woken_by_an_outage_that_passed() {
        let outage = Outage::default();
        outage.suspect();
        tokio::select! {
            () = outage.certain() => panic!("it had passed"),
            () = async {
                sleep(PATIENCE / 2).await;
                outage.answered();
                sleep(PATIENCE * 2).await;
            } => {}
        }
    }
}
