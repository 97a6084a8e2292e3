//! The gRPC listener: mutual TLS, bounded, every call checked against the present membership.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homecore_proto::membership::enrolment_server::EnrolmentServer;
use homecore_proto::membership::membership_server::MembershipServer;
use homecore_proto::platform::users_server::UsersServer;
use homecore_raft::{Caller, Handle, PlatformService, RaftService};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};

use super::connection::Connection;
use super::enrolment::Enrolment;
use super::membership::Membership;
use super::pki;
use super::users::Users;
use crate::cluster::Cluster;
use crate::tasks::Tasks;

/// Connections that other cores (and strangers) may hold open.
const CONNECTIONS_MAX: usize = 512;
/// At a stop, calls of other cores that are under way may take this long: what they ask for is closed.
const CALLS_END_WITHIN: Duration = Duration::from_millis(500);
/// A caller must finish its handshake within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of callers without a certificate.
const STRANGERS_MAX: usize = 32;
/// How long one of those may live.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(30);
/// Concurrent calls of one connection.
const STREAMS_MAX: u32 = 256;

/// What is served to other cores.
#[derive(Debug)]
pub(crate) struct Services {
    /// This core.
    pub(crate) cluster: Arc<Cluster>,
    /// Joining.
    pub(crate) enrolment: Enrolment,
    /// Looking after members.
    pub(crate) membership: Membership,
    /// Creating reserved accounts.
    pub(crate) users: Users,
}

/// Serves until `stop`. The listener is bound already, so that a port in use is known early.
pub(crate) fn spawn(
    tasks: &Tasks,
    listener: TcpListener,
    services: Services,
    stop: CancellationToken,
) -> Result<(), super::tls::TlsError> {
    let acceptor = TlsAcceptor::from(services.cluster.identity.server_config()?);
    let platform = services.cluster.platform.clone();
    let (sender, receiver) = mpsc::channel(64);
    tasks.spawn(
        "rpc-accept",
        accept(listener, acceptor, platform, sender, stop.clone()),
    );
    let members = MembersOnly {
        cluster: Arc::clone(&services.cluster),
        consensus: false,
    };
    let voters = MembersOnly {
        consensus: true,
        ..members.clone()
    };
    let platform = &services.cluster.platform;
    let router = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .add_service(InterceptedService::new(
            RaftService::server(platform.clone()),
            voters,
        ))
        .add_service(InterceptedService::new(
            PlatformService::server(platform.clone()),
            members.clone(),
        ))
        .add_service(InterceptedService::new(
            UsersServer::new(services.users).max_decoding_message_size(64 * 1024),
            members.clone(),
        ))
        .add_service(InterceptedService::new(
            MembershipServer::new(services.membership).max_decoding_message_size(64 * 1024),
            members,
        ))
        .add_service(EnrolmentServer::new(services.enrolment).max_decoding_message_size(64 * 1024));
    let incoming = ReceiverStream::new(receiver).map(Ok::<_, std::io::Error>);
    tasks.spawn("rpc-serve", async move {
        let stopped = stop.clone();
        let serving = router.serve_with_incoming_shutdown(incoming, stopped.cancelled_owned());
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::error!(error = %crate::telemetry::chain(&error), "the core-to-core listener failed");
                stop.cancel();
            },
            // A stream of log entries ends only when its other end lets go of it, which a core that hangs
            // or is gone does not.
            () = gone_by(&stop) => tracing::debug!("calls of other cores are cut off"),
        }
    });
    Ok(())
}

/// Completes when calls that are under way at a stop have had their time.
async fn gone_by(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(CALLS_END_WITHIN).await;
}

#[derive(Clone, Debug)]
struct Slots {
    members: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    platform: Handle,
    sender: mpsc::Sender<Connection>,
    stop: CancellationToken,
) {
    let slots = Slots {
        members: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        strangers: Arc::new(Semaphore::new(STRANGERS_MAX)),
    };
    let mut handshakes = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        while handshakes.try_join_next().is_some() {}
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a core's connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(slot) = Arc::clone(&slots.members).try_acquire_owned() else {
            tracing::warn!(%peer, "too many connections of cores; one was dropped");
            continue;
        };
        let (acceptor, sender, slots) = (acceptor.clone(), sender.clone(), slots.clone());
        let platform = platform.clone();
        handshakes.spawn(async move {
            shake_hands(stream, peer, acceptor, &platform, slot, &slots, sender).await;
        });
    }
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    platform: &Handle,
    slot: OwnedSemaphorePermit,
    slots: &Slots,
    sender: mpsc::Sender<Connection>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let known = stream.get_ref().1.peer_certificates().is_some();
            let connection = if known {
                Connection::of_core(stream, slot, platform.presence())
            } else {
                // Joining takes a few calls; who has no certificate needs no more.
                drop(slot);
                let Ok(slot) = Arc::clone(&slots.strangers).try_acquire_owned() else {
                    tracing::debug!(%peer, "too many callers without a certificate");
                    return;
                };
                Connection::of_stranger(stream, slot, tokio::time::sleep(STRANGER_TIMEOUT))
            };
            if sender.send(connection).await.is_err() {
                tracing::debug!(%peer, "stopping; a new connection was dropped");
            }
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a caller was refused by TLS"),
        Err(_elapsed) => tracing::debug!(%peer, "a caller did not finish its handshake"),
    }
}

/// Lets through only callers whose certificate names a present member, and tells the service which.
#[derive(Clone, Debug)]
pub(crate) struct MembersOnly {
    cluster: Arc<Cluster>,
    /// For the consensus service: a core that is being removed still counts until the others have
    /// agreed to do without it.
    consensus: bool,
}

/// Marks the refusal of a core that was removed: it may stop.
const REMOVED: &str = "homecore-removed";

/// Whether another core said that this one was removed.
pub(crate) fn says_removed(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && status.metadata().contains_key(REMOVED)
}

impl Interceptor for MembersOnly {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let certificates = request
            .peer_certs()
            .ok_or_else(|| Status::unauthenticated("a core's certificate is needed here"))?;
        let leaf = certificates
            .first()
            .ok_or_else(|| Status::unauthenticated("a core's certificate is needed here"))?;
        let (node, cluster) =
            pki::node_of(leaf).map_err(|error| Status::unauthenticated(error.to_string()))?;
        if cluster != self.cluster.identity.cluster().as_str() {
            return Err(Status::permission_denied(
                "the certificate is of another cluster",
            ));
        }
        let platform = &self.cluster.platform;
        if self.consensus && (platform.in_consensus(node) || platform.may_be_new(node)) {
            request.extensions_mut().insert(Caller(node));
            return Ok(request);
        }
        if self.cluster.was_removed(node) {
            let mut metadata = MetadataMap::new();
            metadata.insert(REMOVED, MetadataValue::from_static("true"));
            return Err(Status::with_metadata(
                Code::PermissionDenied,
                format!("node {node} was removed from this cluster"),
                metadata,
            ));
        }
        if !self.cluster.is_member(node) {
            tracing::debug!(%node, "a caller is not a member, or not known here yet");
            return Err(Status::permission_denied(format!(
                "node {node} is not a member of this cluster, or not known here yet"
            )));
        }
        request.extensions_mut().insert(Caller(node));
        Ok(request)
    }
}
