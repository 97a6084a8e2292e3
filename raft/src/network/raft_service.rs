//! Consensus messages from other cores.
//!
//! Who may call is decided in front of this service, by certificate: see
//! [`Handle::is_member`](crate::Handle::is_member). It says who calls, too ([`Caller`]).

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{Stream, StreamExt as _};
use homecore_proto::raft::raft_server::{Raft, RaftServer};
use homecore_proto::raft::{Frame, SnapshotPart};
use homecore_types::NodeId;
use homecore_types::limits::RPC_MESSAGE_BYTES_MAX;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult, VoteRequest};
use openraft::storage::Snapshot;
use tonic::{Request, Response, Status, Streaming};

use crate::handle::Handle;
use crate::network::{frame, snapshots};
use crate::types::TypeConfig;

/// The node that calls, as what lets it through knows it: an extension of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(pub NodeId);

/// Serves the consensus protocol of one core.
#[derive(Clone, Debug)]
pub struct RaftService {
    handle: Handle,
    /// One snapshot is received at a time.
    receiving: Arc<tokio::sync::Mutex<()>>,
    /// A caller that said where another node is was named in the log.
    warned: Arc<AtomicBool>,
}

impl RaftService {
    /// The service, ready to be added to a router.
    #[must_use]
    pub fn server(handle: Handle) -> RaftServer<Self> {
        RaftServer::new(Self {
            handle,
            receiving: Arc::default(),
            warned: Arc::default(),
        })
        .max_decoding_message_size(RPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(RPC_MESSAGE_BYTES_MAX)
    }
}

impl RaftService {
    /// A candidate's question, after a note of where the candidate is: nobody says that of another.
    fn question(&self, request: &Request<Frame>) -> Result<VoteRequest<TypeConfig>, Status> {
        let packed = request.get_ref();
        let message: VoteRequest<TypeConfig> = frame::unpack(packed)?;
        let candidate = message.vote.leader_id.node_id;
        match request.extensions().get() {
            Some(Caller(node)) if node.0 == candidate => {
                self.handle.told_address(candidate, &packed.from);
            }
            _ if packed.from.is_empty() || self.warned.swap(true, Ordering::Relaxed) => {}
            caller => {
                let caller = caller.map(|Caller(node)| node.0);
                tracing::warn!(
                    ?caller,
                    node = candidate,
                    "a core says where another one is; it is not believed"
                );
            }
        }
        Ok(message)
    }
}

/// openraft answers only with an error when it has stopped.
fn stopped(error: impl std::error::Error) -> Status {
    Status::unavailable(format!(
        "this core takes no part in consensus any more: {error}"
    ))
}

fn answer<T: serde::Serialize>(message: &T) -> Result<Response<Frame>, Status> {
    frame::pack(message).map(Response::new)
}

#[tonic::async_trait]
impl Raft for RaftService {
    type AppendStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn append(
        &self,
        request: Request<Streaming<Frame>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        // The first message that cannot be read ends the stream: taking a later one would leave a
        // hole in what was sent.
        let failure = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&failure);
        let input = futures_util::stream::unfold(request.into_inner(), move |mut messages| {
            let noted = Arc::clone(&noted);
            async move {
                let read: Result<Option<AppendEntriesRequest<TypeConfig>>, Status> =
                    match messages.message().await {
                        Ok(Some(packed)) => frame::unpack(&packed).map(Some),
                        Ok(None) => Ok(None),
                        Err(status) => Err(status),
                    };
                match read {
                    Ok(request) => request.map(|request| (request, messages)),
                    Err(status) => {
                        *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
                        None
                    }
                }
            }
        });
        let answers = self
            .handle
            .raft()
            .stream_append(input)
            .map(|answer| match answer {
                Ok(result) => frame::pack::<StreamAppendResult<TypeConfig>>(&result),
                Err(fatal) => Err(stopped(fatal)),
            });
        let last = futures_util::stream::once(async move {
            failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
                .map(Err)
        });
        let answers = answers.chain(last.filter_map(std::future::ready));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let message = self.question(&request)?;
        answer(&self.handle.raft().vote(message).await.map_err(stopped)?)
    }

    async fn pre_vote(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let message = self.question(&request)?;
        answer(
            &self
                .handle
                .raft()
                .pre_vote(message)
                .await
                .map_err(stopped)?,
        )
    }

    async fn transfer_leader(&self, request: Request<Frame>) -> Result<Response<Frame>, Status> {
        let message = frame::unpack(request.get_ref())?;
        answer(
            &self
                .handle
                .raft()
                .handle_transfer_leader(message)
                .await
                .map_err(stopped)?,
        )
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<Frame>, Status> {
        let Ok(_receiving) = self.receiving.try_lock() else {
            return Err(Status::resource_exhausted(
                "another snapshot is being received",
            ));
        };
        let dir = self.handle.snapshot_dir();
        let (header, file) =
            snapshots::receive(self.handle.ground(), request.into_inner(), &dir).await?;
        let snapshot = Snapshot {
            meta: header.meta,
            snapshot: file,
        };
        let installed = self
            .handle
            .raft()
            .install_full_snapshot(header.vote, snapshot)
            .await;
        answer(&installed.map_err(stopped)?)
    }
}

#[cfg(test)]
mod tests;
