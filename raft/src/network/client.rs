//! Consensus messages to other cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use homecore_proto::raft::Frame;
use homecore_proto::raft::raft_client::RaftClient;
use homecore_types::limits::RPC_MESSAGE_BYTES_MAX;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RPCTypes,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory};
use thiserror::Error;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};

use crate::ground::Ground;
use crate::log::LogStore;
use crate::network::{Links, frame, snapshots};
use crate::state_machine::SnapshotFile;
use crate::types::{Member, TypeConfig};

/// A replication stream whose oldest request is not answered within this time is given up: longer
/// than openraft's own budget, which is one heartbeat, because an answer waits for a disk sync.
const APPEND_STALL: Duration = Duration::from_secs(2);
/// First pause after a peer could not be reached, doubled each time …
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// … up to this.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Makes a client for each peer.
#[derive(Debug)]
pub(crate) struct Network {
    ground: Arc<dyn Ground>,
    log: LogStore,
    node: u64,
    links: Links,
}

impl Network {
    pub(crate) fn new(ground: Arc<dyn Ground>, log: LogStore, node: u64, links: Links) -> Self {
        Self {
            ground,
            log,
            node,
            links,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, member: &Member) -> PeerClient {
        PeerClient {
            ground: Arc::clone(&self.ground),
            log: self.log.clone(),
            node: self.node,
            target,
            member: member.clone(),
            links: self.links.clone(),
        }
    }
}

/// Sends to one peer.
#[derive(Debug)]
pub(crate) struct PeerClient {
    ground: Arc<dyn Ground>,
    log: LogStore,
    node: u64,
    target: u64,
    member: Member,
    links: Links,
}

type RpcResult<T> = Result<T, RPCError<TypeConfig>>;
type Answers<'s> = BoxStream<'s, RpcResult<StreamAppendResult<TypeConfig>>>;

impl PeerClient {
    fn client(&self) -> RpcResult<RaftClient<Channel>> {
        let channel = self
            .links
            .channel(self.target, Some(&self.member))
            .map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        Ok(RaftClient::new(channel)
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX))
    }

    fn timed_out(&self, action: RPCTypes, timeout: Duration) -> Timeout<TypeConfig> {
        Timeout {
            action,
            id: self.node,
            target: self.target,
            timeout,
        }
    }

    /// One question, one answer, within the time that openraft gives.
    async fn unary<T, R, F>(
        &self,
        action: RPCTypes,
        message: &T,
        limit: Duration,
        call: impl FnOnce(RaftClient<Channel>, Request<Frame>) -> F,
    ) -> RpcResult<R>
    where
        T: serde::Serialize,
        R: serde::de::DeserializeOwned,
        F: Future<Output = Result<tonic::Response<Frame>, Status>>,
    {
        let client = self.client()?;
        let mut packed = frame::pack(message).map_err(|status| rpc_error(&status))?;
        if matches!(action, RPCTypes::Vote) {
            self.links.own_address().clone_into(&mut packed.from);
        }
        let mut request = Request::new(packed);
        request.set_timeout(limit);
        match tokio::time::timeout(limit, call(client, request)).await {
            Err(_) => Err(RPCError::Timeout(self.timed_out(action, limit))),
            Ok(Err(status)) => Err(rpc_error(&status)),
            Ok(Ok(answer)) => frame::unpack(answer.get_ref()).map_err(|status| rpc_error(&status)),
        }
    }
}

/// What a peer needs next is not in the log any more.
#[derive(Debug, Error)]
#[error("what the peer needs next was purged: it needs a snapshot")]
struct Purged;

impl Purged {
    /// Whether a request says so. openraft has entries in mind that it found purged when it looked for
    /// them, sends a request without any, looks again, and would go on like that for ever. After an
    /// error it thinks again, and sends a snapshot.
    fn is_cause(log: &LogStore, request: &AppendEntriesRequest<TypeConfig>) -> bool {
        let next = request
            .prev_log_id
            .map_or(0, |previous| previous.index.saturating_add(1));
        request.entries.is_empty() && log.is_purged(next)
    }

    fn error() -> RPCError<TypeConfig> {
        RPCError::Network(NetworkError::new(&Self))
    }
}

/// A peer that cannot be reached is left alone for a while; other errors are tried again at once.
pub(crate) fn rpc_error(status: &Status) -> RPCError<TypeConfig> {
    match status.code() {
        Code::Unavailable
        | Code::FailedPrecondition
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::Unimplemented => RPCError::Unreachable(Unreachable::new(status)),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => RPCError::Network(NetworkError::new(status)),
    }
}

impl NetBackoff<TypeConfig> for PeerClient {
    fn backoff(&self) -> Option<Backoff> {
        let pauses = std::iter::successors(Some(BACKOFF_FIRST), |pause| {
            Some(pause.saturating_mul(2).min(BACKOFF_MAX))
        });
        Some(Backoff::new(pauses))
    }
}

impl NetVote<TypeConfig> for PeerClient {
    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.unary(
            RPCTypes::Vote,
            &rpc,
            option.soft_ttl(),
            |mut client, request| async move { client.vote(request).await },
        )
        .await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<TypeConfig>> {
        self.unary(
            RPCTypes::Vote,
            &rpc,
            option.soft_ttl(),
            |mut client, request| async move { client.pre_vote(request).await },
        )
        .await
    }
}

impl NetTransferLeader<TypeConfig> for PeerClient {
    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<TypeConfig>> {
        let limit = option.soft_ttl();
        self.unary(
            RPCTypes::TransferLeader,
            &rpc,
            limit,
            |mut client, request| async move { client.transfer_leader(request).await },
        )
        .await
    }
}

impl NetStreamAppend<TypeConfig> for PeerClient {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<Answers<'s>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft pauses after an error where the next request is taken. A channel to a peer that
            // is gone fails without taking any, so one is taken first: else nothing would ever pause.
            let mut input = input;
            let Some(first) = input.next().await else {
                let none: Answers<'s> = Box::pin(futures_util::stream::empty());
                return Ok(none);
            };
            if Purged::is_cause(&self.log, &first) {
                return Err(Purged::error());
            }
            let purged = Arc::new(AtomicBool::new(false));
            let (log, noted) = (self.log.clone(), Arc::clone(&purged));
            let input =
                futures_util::stream::iter([first])
                    .chain(input)
                    .take_while(move |request| {
                        let is_cause = Purged::is_cause(&log, request);
                        noted.fetch_or(is_cause, Ordering::Relaxed);
                        std::future::ready(!is_cause)
                    });
            let mut client = self.client()?;
            let sent = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&sent);
            // The stream ends at a message that cannot be encoded: a later one must not arrive
            // without it. openraft sees a request without an answer and begins anew.
            let requests = input
                .map(|request| frame::pack(&request))
                .take_while(|packed| {
                    if let Err(status) = packed {
                        tracing::error!(%status, "cannot encode entries for a peer");
                    }
                    std::future::ready(packed.is_ok())
                });
            let requests = requests.filter_map(move |packed| {
                counted.fetch_add(1, Ordering::Relaxed);
                std::future::ready(packed.ok())
            });
            let limit = APPEND_STALL;
            let opened = tokio::time::timeout(limit, client.append(requests)).await;
            let answers = match opened {
                Err(_) => {
                    let error = self.timed_out(RPCTypes::AppendEntries, limit);
                    return Err(RPCError::Timeout(error));
                }
                Ok(Err(status)) => return Err(rpc_error(&status)),
                Ok(Ok(response)) => response.into_inner(),
            };
            let reading = Some(Reading {
                answers,
                sent,
                received: 0,
                purged,
            });
            let peer = &*self;
            let stream: Answers<'s> = Box::pin(futures_util::stream::unfold(
                reading,
                move |reading| async move {
                    let mut reading = reading?;
                    match reading.next(peer).await {
                        None => None,
                        Some(Ok(answer)) => Some((Ok(answer), Some(reading))),
                        Some(Err(error)) => Some((Err(error), None)),
                    }
                },
            ));
            Ok(stream)
        })
    }
}

/// The answers of one replication stream.
struct Reading {
    answers: Streaming<Frame>,
    sent: Arc<AtomicU64>,
    received: u64,
    /// The questions ended because of [`Purged`].
    purged: Arc<AtomicBool>,
}

impl Reading {
    /// The next answer. A stream on which nothing was asked may be silent for ever; one that owes an
    /// answer may not.
    async fn next(
        &mut self,
        peer: &PeerClient,
    ) -> Option<RpcResult<StreamAppendResult<TypeConfig>>> {
        let mut owed_before = false;
        loop {
            let Ok(message) = tokio::time::timeout(APPEND_STALL, self.answers.message()).await
            else {
                let owed = self.sent.load(Ordering::Relaxed) > self.received;
                if owed && owed_before {
                    let error = peer.timed_out(RPCTypes::AppendEntries, APPEND_STALL);
                    return Some(Err(RPCError::Timeout(error)));
                }
                owed_before = owed;
                continue;
            };
            self.received = self.received.saturating_add(1);
            return match message {
                Ok(None) if self.purged.load(Ordering::Relaxed) => Some(Err(Purged::error())),
                Ok(None) => None,
                Ok(Some(answer)) => {
                    Some(frame::unpack(&answer).map_err(|status| rpc_error(&status)))
                }
                Err(status) => Some(Err(rpc_error(&status))),
            };
        }
    }
}

impl NetSnapshot<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotFile;

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.client()?;
        let limit = option.soft_ttl();
        let sending = snapshots::send(Arc::clone(&self.ground), client, &vote, snapshot);
        tokio::select! {
            sent = tokio::time::timeout(limit, sending) => match sent {
                Err(_) => Err(self.timed_out(RPCTypes::InstallSnapshot, limit).into()),
                Ok(Err(status)) => Err(rpc_error(&status).into()),
                Ok(Ok(response)) => Ok(response),
            },
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}

#[cfg(test)]
mod tests;
