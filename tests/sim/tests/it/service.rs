//! What a simulated core serves to others: the real services of the platform store, behind the same
//! question of membership as in `node/src/rpc/server.rs`, and the creation of accounts.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use homecore_proto::platform::users_server::{Users, UsersServer};
use homecore_proto::platform::{
    CreateUserReply, CreateUserRequest, FindAccessReply, FindAccessRequest, Refusal,
    create_user_reply,
};
use homecore_raft::{Caller, Handle, PeerError, Peers, PlatformService, RaftService};
use homecore_types::{NodeId, UserId, Username};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint, Server, Uri};
use tonic::{Request, Response, Status};

use crate::accounts::{Accounts, NewAccount};
use crate::bugs::Bug;
use crate::net::{Host, Net};
use crate::twice::Again;
use crate::wire::Wire;

/// As in `node/src/rpc/peers.rs`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// As in `node/src/rpc/server.rs`.
const SERVER_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Where a machine's core listens.
pub(crate) fn address(host: Host) -> String {
    format!("core-{host}.sim:7000")
}

fn host_at(address: &str) -> Option<Host> {
    address
        .strip_prefix("core-")?
        .strip_suffix(".sim:7000")?
        .parse()
        .ok()
}

/// Channels of one life of a core.
#[derive(Clone, Debug)]
pub(crate) struct SimPeers {
    pub(crate) net: Net,
    pub(crate) host: Host,
    pub(crate) life: u64,
    pub(crate) node: NodeId,
}

impl Peers for SimPeers {
    fn channel(&self, node: NodeId, core: &str, rpc: &str) -> Result<Channel, PeerError> {
        let failed = |source| PeerError {
            node,
            core: core.to_owned(),
            rpc: rpc.to_owned(),
            source,
        };
        let endpoint = Endpoint::from_shared(format!("http://{rpc}"))
            .map_err(|error| failed(error.into()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let to = host_at(rpc).ok_or_else(|| failed("no address of a machine".into()))?;
        let this = self.clone();
        let connector = tower::service_fn(move |_uri: Uri| {
            let this = this.clone();
            async move {
                let me = (this.host, this.life);
                let wire = this.net.connect(me, this.node, to, node).await?;
                Ok::<_, std::io::Error>(TokioIo::new(wire))
            }
        });
        Ok(endpoint.connect_with_connector_lazy(connector))
    }

    fn is_gone<'a>(&'a self, rpc: &'a str) -> BoxFuture<'a, bool> {
        let asked = host_at(rpc).map(|to| self.net.refuses((self.host, self.life), to));
        Box::pin(async move {
            match asked {
                Some(asked) => asked.await,
                None => false,
            }
        })
    }
}

/// Serves until the core's life ends.
pub(crate) fn serve(
    platform: &Handle,
    accounts: Accounts,
    first_members: Vec<NodeId>,
    incoming: mpsc::Receiver<Wire>,
    again: Again,
) {
    let members = MembersOnly {
        platform: platform.clone(),
        bug: accounts.bug,
        first_members: first_members.into(),
        consensus: false,
    };
    let voters = MembersOnly {
        consensus: true,
        ..members.clone()
    };
    let stop = again.stop.clone();
    let router = Server::builder()
        .layer(again)
        .http2_keepalive_interval(Some(SERVER_KEEP_ALIVE))
        .http2_keepalive_timeout(Some(SERVER_KEEP_ALIVE))
        .add_service(InterceptedService::new(
            RaftService::server(platform.clone()),
            voters,
        ))
        .add_service(InterceptedService::new(
            PlatformService::server(platform.clone()),
            members.clone(),
        ))
        .add_service(InterceptedService::new(
            UsersServer::new(Creation(accounts)),
            members,
        ));
    let connected = platform.clone();
    let incoming = ReceiverStream::new(incoming)
        .map(move |wire| Ok::<_, std::io::Error>(wire.held(connected.presence())));
    tokio::spawn(router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()));
}

/// Lets through only present members.
#[derive(Clone, Debug)]
struct MembersOnly {
    platform: Handle,
    bug: Option<Bug>,
    /// Who was a member when this core joined: all it knows at first.
    first_members: Arc<[NodeId]>,
    consensus: bool,
}

impl Interceptor for MembersOnly {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let Some(Caller(node)) = request.extensions().get().copied() else {
            return Err(Status::unauthenticated(
                "a core's certificate is needed here",
            ));
        };
        let is_member = if self.platform.directory().cluster().is_none() {
            self.first_members.contains(&node)
        } else {
            self.platform.is_member(node)
        };
        let consents = self.platform.in_consensus(node)
            || (self.platform.may_be_new(node) && self.bug != Some(Bug::StrangerLeads));
        let lets_in = is_member || (self.consensus && consents);
        if lets_in {
            Ok(request)
        } else {
            Err(Status::permission_denied(format!("{node} is no member")))
        }
    }
}

/// Creates accounts that other cores reserved.
#[derive(Debug)]
struct Creation(Accounts);

#[tonic::async_trait]
impl Users for Creation {
    async fn create(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserReply>, Status> {
        let request = request.into_inner();
        let bad = |error: homecore_types::IdError| Status::invalid_argument(error.to_string());
        let account = NewAccount {
            reservation: request.reservation,
            user: UserId::parse(request.user).map_err(bad)?,
            username: Username::parse(request.username).map_err(bad)?,
        };
        let index = self.0.create(account).await.map_err(Status::unavailable)?;
        // In place of the token of the first access: from which log index on the user is there.
        let result = match index {
            Some(index) => create_user_reply::Result::Token(index.to_string()),
            None => create_user_reply::Result::Refusal(Refusal::default()),
        };
        Ok(Response::new(CreateUserReply {
            result: Some(result),
        }))
    }

    /// Accounts of the simulation have no accesses.
    async fn find_access(
        &self,
        _request: Request<FindAccessRequest>,
    ) -> Result<Response<FindAccessReply>, Status> {
        Ok(Response::new(FindAccessReply::default()))
    }
}
