//! Reads that must not be behind: the leader tells how far the log reaches, this core waits until it
//! has applied that much, and then answers from its own directory.

use std::sync::{Arc, Weak};
use std::time::Duration;

use homecore_proto::platform::{NotLeader, ReadIndexRequest, read_index_reply};
use homecore_types::limits::PLATFORM_READ_TIMEOUT;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use crate::directory::Directory;
use crate::handle::search::Search;
use crate::handle::{Attempt, Handle, Inner, ReadError};

/// Reads that may wait for a read index.
pub(super) const WAITING_MAX: usize = 16_384;
/// How long one question to the leader may take before it is asked again, perhaps of another.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before the question is repeated.
const PAUSE: Duration = Duration::from_millis(50);

/// Why nothing is asked any more.
pub(super) const NO_QUORUM: &str = "most of the voting cores cannot be reached";

/// Someone who waits for a read index.
pub(super) type Waiting = oneshot::Sender<Result<u64, ReadError>>;

impl Handle {
    /// The platform, no older than the moment of this call: everything acknowledged before, by any
    /// core, is in it. Works on every core. Calls at the same time share one question to the leader.
    ///
    /// # Errors
    /// Without a leader, or when this core cannot keep up, after at most
    /// [`PLATFORM_READ_TIMEOUT`].
    pub async fn current(&self) -> Result<Arc<Directory>, ReadError> {
        if self.inner.has_stopped() {
            return Err(ReadError::Stopped);
        }
        if self.inner.outage.is_certain() {
            return Err(unavailable(NO_QUORUM));
        }
        let deadline = deadline(PLATFORM_READ_TIMEOUT);
        let (answer, wait) = oneshot::channel();
        self.inner
            .reads
            .try_send(answer)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => ReadError::Busy,
                mpsc::error::TrySendError::Closed(_) => ReadError::Stopped,
            })?;
        let index = match timeout_at(deadline, self.inner.outage.watch(wait)).await {
            Err(_) => return Err(unavailable("the leader did not answer in time")),
            Ok(Err(_)) => return Err(ReadError::Stopped),
            Ok(Ok(index)) => index?,
        };
        if self.inner.wait_applied(index, deadline).await {
            Ok(self.directory())
        } else {
            Err(unavailable(
                "this core has not caught up with the leader yet",
            ))
        }
    }

    /// The read index, if this core leads.
    pub(crate) async fn read_index_here(&self, deadline: Instant) -> Attempt<u64> {
        self.inner.read_index_here(deadline).await
    }
}

impl Inner {
    /// Waits until an entry is applied here; false if that takes too long.
    pub(super) async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.applied.clone();
        let reached = timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await;
        matches!(reached, Ok(Ok(_)))
    }

    async fn read_index_here(&self, deadline: Instant) -> Attempt<u64> {
        if self.has_stopped() {
            return Attempt::Stopped;
        }
        let asked = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match timeout_at(deadline, asked).await {
            Err(_) => Attempt::Refused {
                reason: "no quorum confirmed the leader in time".to_owned(),
            },
            Ok(Ok((read, _))) => Attempt::Done(read.index()),
            Ok(Err(RaftError::Fatal(_))) => Attempt::Stopped,
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Attempt::NotLeader {
                    leader: forward.leader_id,
                }
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error)))) => {
                Attempt::Refused {
                    reason: error.to_string(),
                }
            }
        }
    }

    async fn read_index_at(&self, leader: u64, deadline: Instant) -> Attempt<u64> {
        let mut client = match self.platform(leader) {
            Ok(client) => client,
            Err(error) => {
                return Attempt::Unreachable {
                    reason: crate::report(&error),
                };
            }
        };
        let mut request = Request::new(ReadIndexRequest {});
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        match timeout_at(deadline, client.read_index(request)).await {
            Err(_) => Attempt::Unreachable {
                reason: "the leader did not answer in time".to_owned(),
            },
            Ok(Err(status)) if status.code() == Code::FailedPrecondition => Attempt::Incompatible {
                reason: status.message().to_owned(),
            },
            Ok(Err(status)) if status.code() == Code::ResourceExhausted => Attempt::Refused {
                reason: status.message().to_owned(),
            },
            Ok(Err(status)) => Attempt::Unreachable {
                reason: status.to_string(),
            },
            Ok(Ok(reply)) => match reply.into_inner().result {
                Some(read_index_reply::Result::LogIndex(index)) => Attempt::Done(index),
                Some(read_index_reply::Result::NotLeader(NotLeader { leader })) => {
                    Attempt::NotLeader { leader }
                }
                Some(read_index_reply::Result::Refused(reason)) => Attempt::Refused { reason },
                None => Attempt::Refused {
                    reason: "the leader's answer is empty".to_owned(),
                },
            },
        }
    }

    /// Asks until somebody leads and answers.
    pub(super) async fn read_index(&self, deadline: Instant) -> Result<u64, ReadError> {
        let mut reason = "no core leads the platform".to_owned();
        let mut search = Search::default();
        loop {
            if self.has_stopped() {
                return Err(ReadError::Stopped);
            }
            if Instant::now() >= deadline {
                return Err(ReadError::Unavailable { reason });
            }
            let until = question_end(deadline);
            let mut at_once = false;
            let asked = search.next(self);
            let attempt = match asked {
                None => Attempt::NotLeader { leader: None },
                Some(choice) => {
                    let attempt = if choice.node == self.node() {
                        self.read_index_here(until).await
                    } else {
                        self.read_index_at(choice.node, until).await
                    };
                    at_once = search.note(choice, &attempt, self.node());
                    attempt
                }
            };
            match attempt {
                Attempt::Done(index) => {
                    self.outage.answered();
                    return Ok(index);
                }
                Attempt::Stopped => return Err(ReadError::Stopped),
                Attempt::Incompatible { reason } if asked.is_some_and(|asked| !asked.guess) => {
                    return Err(ReadError::Unavailable { reason });
                }
                Attempt::Refused { reason: why }
                | Attempt::Unreachable { reason: why }
                | Attempt::Incompatible { reason: why }
                | Attempt::Unknown { reason: why } => reason = why,
                Attempt::NotLeader { .. } => {}
            }
            if at_once {
                continue;
            }
            self.outage.suspect();
            sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now()))).await;
        }
    }
}

/// Answers reads in rounds: all who came before a round began share its question. Nobody joins a
/// round that is under way, because its answer may be older than what that reader has seen.
pub(super) async fn serve(
    inner: Weak<Inner>,
    mut waiting: mpsc::Receiver<Waiting>,
    stop: CancellationToken,
) {
    let mut round = Vec::new();
    loop {
        let came = tokio::select! {
            () = stop.cancelled() => return,
            came = waiting.recv_many(&mut round, WAITING_MAX) => came,
        };
        let Some(inner) = inner.upgrade().filter(|_| came > 0) else {
            return;
        };
        let answer = tokio::select! {
            () = stop.cancelled() => Err(ReadError::Stopped),
            answer = inner.read_index(deadline(PLATFORM_READ_TIMEOUT)) => answer,
        };
        for reader in round.drain(..) {
            if reader.send(answer.clone()).is_err() {
                tracing::trace!("a reader went away");
            }
        }
    }
}

fn unavailable(reason: &str) -> ReadError {
    ReadError::Unavailable {
        reason: reason.to_owned(),
    }
}

/// When one question to a core is given up.
pub(super) fn question_end(deadline: Instant) -> Instant {
    Instant::now()
        .checked_add(QUESTION_TIMEOUT)
        .unwrap_or(deadline)
        .min(deadline)
}

pub(super) fn deadline(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}
