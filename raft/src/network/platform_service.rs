//! What a core asks of the leader: to propose, to tell the read index, to tell who lives.
//!
//! A question that reaches a core which does not lead is answered so; it is never passed on.

use std::time::Duration;

use bytes::Bytes;
use homecore_proto::platform::platform_server::{Platform, PlatformServer};
use homecore_proto::platform::{
    Applied, Liveness, LivenessReply, LivenessRequest, NotLeader, Peer, ProposeReply,
    ProposeRequest, ReadIndexReply, ReadIndexRequest, liveness_reply, propose_reply,
    read_index_reply,
};
use homecore_types::limits::{
    PLATFORM_READ_TIMEOUT, PLATFORM_WRITE_TIMEOUT, RPC_MESSAGE_BYTES_MAX,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::handle::{Attempt, Handle, PeerLiveness};
use crate::network::frame;
use crate::types::{self, FORMAT};

/// Serves the platform store of one core to the others.
#[derive(Clone, Debug)]
pub struct PlatformService {
    handle: Handle,
}

impl PlatformService {
    /// The service, ready to be added to a router.
    #[must_use]
    pub fn server(handle: Handle) -> PlatformServer<Self> {
        PlatformServer::new(Self { handle })
            .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }
}

#[tonic::async_trait]
impl Platform for PlatformService {
    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeReply>, Status> {
        let ProposeRequest { format, command } = request.into_inner();
        frame::check_format(format)?;
        let command = types::decode(&command).map_err(|error| {
            Status::failed_precondition(format!(
                "the command is unknown to this release: {error}. Run the same release on all cores"
            ))
        })?;
        let deadline = after(PLATFORM_WRITE_TIMEOUT);
        let result = match self.handle.propose_here(command, deadline).await {
            Attempt::Done((response, index)) => propose_reply::Result::Applied(Applied {
                format: u32::from(FORMAT),
                response: types::encode(&response)
                    .map(Bytes::from)
                    .map_err(|error| Status::internal(error.to_string()))?,
                log_index: index,
            }),
            Attempt::NotLeader { leader } => propose_reply::Result::NotLeader(NotLeader { leader }),
            Attempt::Refused { reason } | Attempt::Unreachable { reason } => {
                propose_reply::Result::Refused(reason)
            }
            Attempt::Unknown { reason } => propose_reply::Result::Unknown(reason),
            Attempt::Incompatible { reason } => return Err(Status::failed_precondition(reason)),
            Attempt::Stopped => return Err(Status::unavailable("the platform store was stopped")),
        };
        Ok(Response::new(ProposeReply {
            result: Some(result),
        }))
    }

    async fn read_index(
        &self,
        _request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexReply>, Status> {
        let result = match self
            .handle
            .read_index_here(after(PLATFORM_READ_TIMEOUT))
            .await
        {
            Attempt::Done(index) => read_index_reply::Result::LogIndex(index),
            Attempt::NotLeader { leader } => {
                read_index_reply::Result::NotLeader(NotLeader { leader })
            }
            Attempt::Refused { reason }
            | Attempt::Unreachable { reason }
            | Attempt::Unknown { reason }
            | Attempt::Incompatible { reason } => read_index_reply::Result::Refused(reason),
            Attempt::Stopped => return Err(Status::unavailable("the platform store was stopped")),
        };
        Ok(Response::new(ReadIndexReply {
            result: Some(result),
        }))
    }

    async fn liveness(
        &self,
        _request: Request<LivenessRequest>,
    ) -> Result<Response<LivenessReply>, Status> {
        let status = self.handle.status();
        let result = match self.handle.liveness_here() {
            Some(peers) => liveness_reply::Result::Liveness(Liveness {
                term: status.term,
                leader: status.node.0,
                peers: peers.into_iter().map(peer).collect(),
            }),
            None => {
                let leader = status.leader.map(|leader| leader.0);
                liveness_reply::Result::NotLeader(NotLeader { leader })
            }
        };
        Ok(Response::new(LivenessReply {
            result: Some(result),
        }))
    }
}

fn peer(peer: PeerLiveness) -> Peer {
    let millis = |silent: Duration| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
    Peer {
        node: peer.node.0,
        voter: peer.voter,
        silent_ms: peer.silent.map(millis),
        matched: peer.matched,
    }
}

fn after(limit: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(limit).unwrap_or(now)
}
