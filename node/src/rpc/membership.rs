//! What members ask of each other: renewed certificates, what they say of themselves, and removals
//! that must be decided once.

use std::sync::Arc;

use homecore_proto::membership::{
    CoreStatus, DescribeRequest, RemoveReply, RemoveRequest, RenewReply, RenewRequest,
    membership_server,
};
use homecore_raft::command::Command;
use homecore_raft::records::CoreState;
use homecore_raft::{Caller, Role};
use homecore_types::CoreId;
use tonic::{Request, Response, Status};

use super::pki;
use crate::cluster::{Cluster, CommandError};

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    cluster: Arc<Cluster>,
}

impl Membership {
    /// For this core.
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }
}

/// What this core says of itself.
pub(crate) fn describe(cluster: &Cluster) -> CoreStatus {
    let status = cluster.platform.status();
    let directory = cluster.directory();
    let record = directory.core_or_removed(cluster.core.as_str()).cloned();
    let role = match status.role {
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
        Role::Removed => "removed",
    };
    let state = match record.as_ref().map(|core| core.state) {
        Some(CoreState::Serving) => "serving",
        Some(CoreState::Removed) => "removed",
        Some(CoreState::Joining) | None => "joining",
    };
    CoreStatus {
        core: cluster.core.to_string(),
        node: cluster.identity.node().0,
        url: cluster.addresses.url.clone(),
        rpc: cluster.addresses.rpc.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        role: role.to_owned(),
        state: state.to_owned(),
        applied: status.applied,
        lag: None,
        silent_ms: None,
        users: record.as_ref().map_or(0, |core| core.users),
        hosting: cluster.addresses.hosting.clone().unwrap_or_default(),
        available: record.as_ref().is_some_and(|core| core.available),
        certificate_expires_ms: cluster
            .identity
            .leaf()
            .and_then(|leaf| pki::expiry(&leaf).ok())
            .map(|at| at.0),
        warning: cluster.disk.warning().unwrap_or_default(),
    }
}

/// Why the cluster could not go on without a core: nobody else who votes, or could, is there.
async fn no_successor(cluster: &Cluster, core: &CoreId) -> Option<String> {
    let directory = cluster.directory();
    let node = directory.core(core)?.node;
    let peers = match cluster.platform.liveness().await {
        Ok(peers) => peers,
        Err(error) => return Some(crate::telemetry::chain(&error)),
    };
    let others = directory.cores().filter(|other| other.node != node).count();
    let live = peers
        .iter()
        .filter(|peer| peer.node != node && peer.is_live())
        .count();
    (others > 0 && live == 0)
        .then(|| format!("no other core is alive to go on without {core}; start one first"))
}

/// Removes a core from the platform; from any member.
pub(crate) async fn remove(cluster: &Cluster, request: RemoveRequest) -> RemoveReply {
    let refuse = |message: String| RemoveReply {
        removed: false,
        message,
    };
    let core = match CoreId::parse(request.core.clone()) {
        Ok(core) => core,
        Err(error) => return refuse(format!("{:?} is no core id: {error}", request.core)),
    };
    if let Some(reason) = no_successor(cluster, &core).await {
        return refuse(reason);
    }
    let command = Command::RemoveCore {
        core: core.clone(),
        abandon_users: request.abandon_users,
        at: cluster.clock.now(),
    };
    match cluster.done(command, "RemoveCore").await {
        Ok(()) => RemoveReply {
            removed: true,
            message: format!(
                "{core} is no longer a member: the others do not answer it, its name is not given again. \
                 It stops by itself; its data directory is left as it is. That directory holds the \
                 cluster's keys: destroy it if its machine is not trusted any more."
            ),
        },
        Err(CommandError::Rejected(rejection)) => {
            let hint = match &rejection {
                homecore_raft::command::Rejection::CoreHasUsers { .. } => {
                    "; --abandon-users frees their names and leaves their data on its disk"
                }
                _ => "",
            };
            refuse(format!("{rejection}{hint}"))
        }
        Err(error) => refuse(crate::telemetry::chain(&error)),
    }
}

#[tonic::async_trait]
impl membership_server::Membership for Membership {
    async fn renew_certificate(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<RenewReply>, Status> {
        let Some(Caller(node)) = request.extensions().get().copied() else {
            return Err(Status::unauthenticated(
                "a core's certificate is needed here",
            ));
        };
        let request = request.into_inner();
        let key = pki::key_of_request(&request.signing_request)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let record = self
            .cluster
            .directory()
            .core_by_node(node)
            .cloned()
            .ok_or_else(|| Status::permission_denied("not a member"))?;
        if !record.key.is_empty() && record.key != key {
            return Err(Status::permission_denied("the request is for another key"));
        }
        let chain = self
            .cluster
            .sign(&request.signing_request, node)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(RenewReply {
            certificate_chain: chain.iter().map(|c| c.to_vec().into()).collect(),
        }))
    }

    async fn describe(
        &self,
        _request: Request<DescribeRequest>,
    ) -> Result<Response<CoreStatus>, Status> {
        Ok(Response::new(describe(&self.cluster)))
    }

    async fn remove(
        &self,
        request: Request<RemoveRequest>,
    ) -> Result<Response<RemoveReply>, Status> {
        Ok(Response::new(
            remove(&self.cluster, request.into_inner()).await,
        ))
    }
}
