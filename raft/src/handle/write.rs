//! Writes, from any core.
//!
//! A write goes to the leader: proposed here if this core leads, else sent there, once, with no hop
//! beyond. Who does not lead says who does, and is not asked to pass it on. While nobody leads it
//! waits and tries again. A try that may have worked is repeated only
//! if the command gives the same answer when it arrives twice; else the caller is told that the
//! outcome is unknown.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use homecore_proto::platform::{Applied, NotLeader, ProposeRequest, propose_reply};
use homecore_types::limits::{COMMAND_BYTES_MAX, PLATFORM_WRITE_TIMEOUT};
use openraft::errors::{ClientWriteError, RaftError};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::{Code, Request, Status};

use crate::command::{Command, Response};
use crate::handle::read::{NO_QUORUM, deadline};
use crate::handle::search::Search;
use crate::handle::{Attempt, Handle, Inner, WriteError};
use crate::network::frame;
use crate::types::{self, FORMAT};

/// How long the leader may take over a write that can be repeated, before it is sent again.
const REPEATABLE_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before the next try, doubled each time …
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// What a caller is told to wait who finds no leader: about an election.
const RETRY_AFTER: Duration = Duration::from_secs(2);

impl Handle {
    /// Has a command applied. After `Ok` it is acknowledged by a majority and, unless this core lags
    /// far behind, visible in this core's own directory.
    ///
    /// # Errors
    /// See [`WriteError`]: each says whether the write may have happened. Comes after at most
    /// [`PLATFORM_WRITE_TIMEOUT`].
    pub async fn write(&self, command: Command) -> Result<Response, WriteError> {
        let inner = &self.inner;
        let encoded =
            types::encode(&command)
                .map(Bytes::from)
                .map_err(|error| WriteError::Incompatible {
                    reason: error.to_string(),
                })?;
        if encoded.len() > COMMAND_BYTES_MAX {
            return Err(WriteError::TooLarge {
                bytes: encoded.len(),
                most: COMMAND_BYTES_MAX,
            });
        }
        let Ok(_permit) = inner.writes.try_acquire() else {
            return Err(WriteError::Busy);
        };
        let mut deadline = deadline(PLATFORM_WRITE_TIMEOUT);
        let repeatable = is_repeatable(&command);
        let mut pause = PAUSE_FIRST;
        let mut last = "no core leads the platform".to_owned();
        let mut maybe_written = false;
        let mut search = Search::default();
        loop {
            if inner.has_stopped() && !maybe_written {
                return Err(WriteError::Stopped);
            }
            if inner.outage.is_certain() {
                deadline = Instant::now();
                last = NO_QUORUM.to_owned();
            }
            if inner.has_stopped() || Instant::now() >= deadline {
                return Err(if maybe_written {
                    WriteError::Unknown { reason: last }
                } else {
                    WriteError::Unavailable {
                        retry_after: RETRY_AFTER,
                        reason: last,
                    }
                });
            }
            let mut at_once = false;
            let asked = search.next(inner);
            let attempt = match asked {
                None => Attempt::NotLeader { leader: None },
                Some(choice) => {
                    let until = patience(repeatable, deadline);
                    let attempt = inner.attempt(choice.node, &command, &encoded, until).await;
                    at_once = search.note(choice, &attempt, inner.node());
                    attempt
                }
            };
            match attempt {
                Attempt::Done((response, index)) => {
                    inner.outage.answered();
                    // Acknowledged either way; a core that lags far behind shows it a little later.
                    if !inner.wait_applied(index, deadline).await {
                        tracing::warn!(raft_index = index, "a write is not applied here yet");
                    }
                    return Ok(response);
                }
                Attempt::Unknown { reason } if repeatable => {
                    maybe_written = true;
                    last = reason;
                }
                Attempt::Unknown { reason } => return Err(WriteError::Unknown { reason }),
                Attempt::Refused { reason } | Attempt::Unreachable { reason } => last = reason,
                Attempt::NotLeader { .. } => {}
                // The leader may run another release than a core that was only asked for it.
                Attempt::Incompatible { reason } if asked.is_some_and(|asked| asked.guess) => {
                    last = reason;
                }
                Attempt::Incompatible { reason } => {
                    return Err(if maybe_written {
                        WriteError::Unknown { reason }
                    } else {
                        WriteError::Incompatible { reason }
                    });
                }
                Attempt::Stopped => continue,
            }
            if at_once {
                continue;
            }
            inner.outage.suspect();
            sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = pause.saturating_mul(2).min(PAUSE_MAX);
        }
    }

    /// Proposes a command, if this core leads.
    pub(crate) async fn propose_here(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Attempt<(Response, u64)> {
        self.inner.propose_here(command, deadline).await
    }
}

impl Inner {
    async fn attempt(
        &self,
        node: u64,
        command: &Command,
        encoded: &Bytes,
        until: Until,
    ) -> Attempt<(Response, u64)> {
        let proposed = async {
            if node == self.node() {
                self.propose_here(command.clone(), until.here).await
            } else {
                self.propose_at(node, encoded, until.elsewhere).await
            }
        };
        tokio::select! {
            attempt = self.outage.watch(proposed) => attempt,
            () = self.outage.certain() => Attempt::Unknown {
                reason: NO_QUORUM.to_owned(),
            },
        }
    }

    async fn propose_here(&self, command: Command, deadline: Instant) -> Attempt<(Response, u64)> {
        if self.has_stopped() {
            return Attempt::Stopped;
        }
        let Ok(_permit) = self.proposals.try_acquire() else {
            return Attempt::Refused {
                reason: "the leader has too many writes under way".to_owned(),
            };
        };
        let command = self.complete(command);
        match timeout_at(deadline, self.raft.client_write(command)).await {
            Err(_) => Attempt::Unknown {
                reason: "no quorum acknowledged it in time".to_owned(),
            },
            Ok(Ok(written)) => Attempt::Done((written.data, written.log_id.index)),
            Ok(Err(RaftError::Fatal(error))) => Attempt::Unknown {
                reason: format!("consensus stopped: {error}"),
            },
            Ok(Err(RaftError::APIError(error))) => match error {
                ClientWriteError::ForwardToLeader(forward) => Attempt::NotLeader {
                    leader: forward.leader_id,
                },
                ClientWriteError::LogEntryDiscarded(_) => Attempt::Unknown {
                    reason: "another leader took over meanwhile".to_owned(),
                },
                ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_) => Attempt::Refused {
                    reason: error.to_string(),
                },
            },
        }
    }

    /// Adds what only the leader knows.
    fn complete(&self, mut command: Command) -> Command {
        if let Command::ReserveUser(reserve) = &mut command {
            reserve.live = self.live_cores();
            // The proposer knows sooner than the leader that a core has died.
            reserve
                .live
                .retain(|core| !reserve.unreached.contains(core));
        }
        command
    }

    async fn propose_at(
        &self,
        leader: u64,
        encoded: &Bytes,
        deadline: Instant,
    ) -> Attempt<(Response, u64)> {
        let mut client = match self.platform(leader) {
            Ok(client) => client,
            Err(error) => {
                return Attempt::Unreachable {
                    reason: crate::report(&error),
                };
            }
        };
        let message = ProposeRequest {
            format: u32::from(FORMAT),
            command: encoded.clone(),
        };
        let mut request = Request::new(message);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        match timeout_at(deadline, client.propose(request)).await {
            Err(_) => Attempt::Unknown {
                reason: "the leader did not answer in time".to_owned(),
            },
            Ok(Err(status)) => failed(&status),
            Ok(Ok(reply)) => match reply.into_inner().result {
                Some(propose_reply::Result::Applied(applied)) => decoded(&applied),
                Some(propose_reply::Result::NotLeader(NotLeader { leader })) => {
                    Attempt::NotLeader { leader }
                }
                Some(propose_reply::Result::Refused(reason)) => Attempt::Refused { reason },
                Some(propose_reply::Result::Unknown(reason)) => Attempt::Unknown { reason },
                None => Attempt::Unknown {
                    reason: "the leader's answer is empty".to_owned(),
                },
            },
        }
    }
}

/// How long one try may take.
#[derive(Clone, Copy)]
struct Until {
    here: Instant,
    elsewhere: Instant,
}

fn patience(repeatable: bool, deadline: Instant) -> Until {
    let sooner = Instant::now()
        .checked_add(REPEATABLE_TIMEOUT)
        .unwrap_or(deadline)
        .min(deadline);
    Until {
        here: deadline,
        elsewhere: if repeatable { sooner } else { deadline },
    }
}

fn decoded(applied: &Applied) -> Attempt<(Response, u64)> {
    let response = frame::check_format(applied.format).and_then(|()| {
        types::decode(&applied.response).map_err(|error| Status::internal(error.to_string()))
    });
    match response {
        Ok(response) => Attempt::Done((response, applied.log_index)),
        Err(status) => Attempt::Unknown {
            reason: format!(
                "applied, but the answer cannot be read: {}",
                status.message()
            ),
        },
    }
}

/// Whether a failed call can have reached the leader.
fn failed(status: &Status) -> Attempt<(Response, u64)> {
    let reason = status.message().to_owned();
    match status.code() {
        Code::FailedPrecondition | Code::Unimplemented => Attempt::Incompatible { reason },
        Code::ResourceExhausted => Attempt::Refused { reason },
        Code::PermissionDenied | Code::Unauthenticated => Attempt::Unreachable { reason },
        Code::Unavailable if never_connected(status) => Attempt::Unreachable { reason },
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Attempt::Unknown { reason },
    }
}

fn never_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether a command that arrives twice has one effect and gives one answer (see [`Command`]). Not
/// those that overwrite: the second could undo what someone else wrote in between.
fn is_repeatable(command: &Command) -> bool {
    match command {
        Command::Found(_)
        | Command::ReserveUser(_)
        | Command::AdoptUser { .. }
        | Command::CommitUser { .. }
        | Command::ReleaseUser { .. }
        | Command::PutJoinToken { .. }
        | Command::AdmitCore { .. }
        | Command::CreateInvitations { .. }
        | Command::ResolveAccessRequest { .. }
        | Command::RenameUser { .. }
        | Command::SetEmails(_)
        // An alias is drawn once: nobody who freed it takes it again.
        | Command::FreeAliases { .. }
        | Command::HoldNames(_)
        | Command::Sweep { .. } => true,
        Command::DeleteUser { .. }
        | Command::RevokeJoinToken { .. }
        | Command::AnnounceCore { .. }
        | Command::SetCoreAvailable { .. }
        | Command::RemoveCore { .. }
        | Command::PutDnsRecord { .. }
        | Command::DeleteDnsRecord { .. }
        | Command::PutAccessRequest { .. }
        | Command::PutConfig { .. }
        | Command::UpdateUser { .. }
        // The second could take what was freed in between.
        | Command::TakeAlias { .. } => false,
    }
}
