//! Moves the burden of durability from the journal to the users' files, so that the journal stays
//! short.
//!
//! 1. `settled`: the position through which every append has been committed to its user's
//!    database. Found **before** step 2, so that all of it is among what step 2 writes.
//! 2. The engine makes everything committed durable.
//! 3. The journal forgets through that position.
//!
//! A crash before 3 is complete leaves rows that the users' databases hold already; they say so
//! (their applied position), and the rows are skipped. A crash before 2 is complete forgets
//! nothing. A write that arrives between the steps lies above the position. A user whose database
//! failed to take a row holds a ticket, and the position stays below it.
//!
//! If step 2 fails the kernel may have dropped what it could not write, and a later success would
//! say nothing about it (the fsync fallacy): all writing stops, nothing is forgotten any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

use super::shared::{Ended, Shared, chain, spawn};
use crate::error::StoreError;

type Answer = oneshot::Sender<Result<(), StoreError>>;

/// Callers that may wait for a checkpoint.
const WAITING_MAX: usize = 64;

enum Ask {
    /// The journal is long.
    Nudge,
    /// Somebody waits.
    Now(Answer),
    /// Everything is written and closed: the last one.
    Finish,
}

/// The way to the checkpoint thread.
#[derive(Clone, Debug)]
pub(super) struct Checkpoints {
    asks: SyncSender<Ask>,
    finishing: Arc<AtomicBool>,
}

impl Checkpoints {
    /// Asks for one; the receiver tells when it is made.
    pub(super) fn ask(&self) -> Result<oneshot::Receiver<Result<(), StoreError>>, StoreError> {
        let (answer, done) = oneshot::channel();
        self.asks
            .try_send(Ask::Now(answer))
            .map_err(|refused| match refused {
                TrySendError::Full(_) => StoreError::Busy {
                    what: "the queue of checkpoints",
                },
                TrySendError::Disconnected(_) => StoreError::Stopped,
            })?;
        Ok(done)
    }

    /// Asks for one if the journal is long.
    pub(super) fn nudge_if_large(&self, shared: &Shared) {
        let large = shared
            .journal
            .size_bytes()
            .is_ok_and(|bytes| bytes >= shared.options.checkpoint_bytes);
        if large && self.asks.try_send(Ask::Nudge).is_err() {
            tracing::trace!("a checkpoint is under way");
        }
    }

    /// Asks for the last one; the thread ends then.
    pub(super) fn finish(&self) {
        self.finishing.store(true, Ordering::Release);
        if self.asks.try_send(Ask::Finish).is_err() {
            tracing::trace!("the checkpoint thread looks at the flag after its queue");
        }
    }
}

/// Starts the thread.
pub(super) fn start(shared: Arc<Shared>) -> Result<(Checkpoints, Ended), StoreError> {
    let (asks, asked) = sync_channel(WAITING_MAX);
    let finishing = Arc::new(AtomicBool::new(false));
    let checkpoints = Checkpoints {
        asks,
        finishing: Arc::clone(&finishing),
    };
    let ended = spawn("store-checkpoint", move || run(&shared, &asked, &finishing))?;
    Ok((checkpoints, ended))
}

fn run(shared: &Shared, asked: &Receiver<Ask>, finishing: &AtomicBool) {
    loop {
        let ask = match asked.recv_timeout(shared.options.checkpoint_interval) {
            Ok(ask) => ask,
            Err(RecvTimeoutError::Timeout) => Ask::Nudge,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let outcome = run_once(shared);
        if let Err(error) = &outcome {
            tracing::error!(
                error = chain(error),
                "a checkpoint failed; the journal is kept"
            );
        }
        if let Ask::Now(answer) = ask
            && answer.send(outcome).is_err()
        {
            tracing::debug!("nobody waits for the checkpoint");
        }
        // Set only once nothing can be written any more: this checkpoint held all, or the next.
        if finishing.load(Ordering::Acquire) {
            if let Err(error) = run_once(shared) {
                tracing::error!(error = chain(&error), "the last checkpoint failed");
            }
            return;
        }
    }
}

/// Makes one checkpoint, as described above.
pub(super) fn run_once(shared: &Shared) -> Result<(), StoreError> {
    shared.ensure_sound()?;
    let settled = shared.outstanding.settled(shared.journal.as_ref());
    if settled.0 <= shared.counters.checkpointed.load(Ordering::Acquire) {
        return Ok(());
    }
    if let Err(error) = shared.engine.make_durable() {
        shared.poison(&chain(&error));
        return Err(error);
    }
    shared.journal.forget_through(settled)?;
    shared
        .counters
        .checkpointed
        .store(settled.0, Ordering::Release);
    Ok(())
}
