//! The operator's calls, over a socket that only the core's own account can open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use homecore_proto::membership::membership_client::MembershipClient;
use homecore_proto::membership::{
    CoreStatus, DescribeRequest, DrainReply, DrainRequest, InviteReply, InviteRequest,
    ListTokensReply, ListTokensRequest, RemoveReply, RemoveRequest, RevokeTokenReply,
    RevokeTokenRequest, StatusReply, StatusRequest, TokenInfo, admin_server,
};
use homecore_raft::command::{Command, Rejection};
use homecore_raft::has_live_quorum;
use homecore_raft::records::{Core, CoreState, JoinToken as TokenRecord};
use homecore_types::{CoreId, Millis};
use tonic::{Request, Response, Status};

use super::membership;
use super::secrets::{random_text, sha256_hex};
use super::token::JoinToken;
use crate::cluster::{Cluster, CommandError};

/// Another core must describe itself within this time to be shown as reachable.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest life of a token.
const TOKEN_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    cluster: Arc<Cluster>,
}

impl Admin {
    /// For this core.
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    /// Addresses to try, this core's first.
    fn addresses(&self) -> Vec<String> {
        let own = self.cluster.addresses.rpc.clone();
        let mut all = vec![own.clone()];
        all.extend(
            self.cluster
                .directory()
                .cores()
                .map(|core| core.addresses.rpc.clone())
                .filter(|a| *a != own),
        );
        all.truncate(8);
        all
    }

    async fn row(&self, core: Arc<Core>, leader_applied: Option<u64>) -> CoreStatus {
        if core.id == self.cluster.core {
            let mut own = membership::describe(&self.cluster);
            own.lag = lag(leader_applied, own.applied);
            return own;
        }
        let described = async {
            let channel = self
                .cluster
                .peers
                .open(core.node, &core.addresses.rpc)
                .ok()?;
            let mut client = MembershipClient::new(channel);
            let answer = client.describe(DescribeRequest {}).await.ok()?;
            Some(answer.into_inner())
        };
        let mut status = match tokio::time::timeout(DESCRIBE_TIMEOUT, described).await {
            Ok(Some(status)) => status,
            Ok(None) | Err(_) => unreachable_row(&core),
        };
        status.users = core.users;
        status.available = core.available;
        status.lag = lag(leader_applied, status.applied);
        status
    }
}

fn lag(leader: Option<u64>, applied: Option<u64>) -> Option<u64> {
    Some(leader?.saturating_sub(applied?))
}

/// The role of a core that does not answer.
const UNREACHABLE: &str = "unreachable";

/// How many more voters may fail before there is no majority, of those that answer now.
fn failures_tolerated(voters: usize, answering: usize) -> u64 {
    let majority = voters / 2 + 1;
    u64::try_from(answering.saturating_sub(majority)).unwrap_or(0)
}

fn unreachable_row(core: &Core) -> CoreStatus {
    CoreStatus {
        core: core.id.to_string(),
        node: core.node.0,
        url: core.addresses.url.clone(),
        rpc: core.addresses.rpc.clone(),
        version: String::new(),
        role: UNREACHABLE.to_owned(),
        state: match core.state {
            CoreState::Joining => "joining",
            CoreState::Serving => "serving",
            CoreState::Removed => "removed",
        }
        .to_owned(),
        applied: None,
        lag: None,
        silent_ms: None,
        users: core.users,
        hosting: core.addresses.hosting.clone().unwrap_or_default(),
        available: core.available,
        certificate_expires_ms: None,
        warning: String::new(),
    }
}

fn status_of(error: &CommandError) -> Status {
    match error {
        CommandError::Rejected(rejection) => Status::failed_precondition(rejection.to_string()),
        CommandError::Write(error) => Status::unavailable(crate::telemetry::chain(error)),
        CommandError::Unexpected(..) => Status::internal(error.to_string()),
    }
}

/// Why a core cannot have an id, and what to do.
fn held(core: &CoreId, holder: &str) -> String {
    let why = match holder {
        "core" => "is a core already",
        "removed-core" => "was a core that was removed, and its id is not given again",
        "user" => "is the name of a user",
        "dns" => "has DNS records",
        _ => "is a word that homecore uses itself",
    };
    format!("{core} {why}: give another --id")
}

fn token_state(token: &TokenRecord, now: Millis) -> &'static str {
    if token.revoked_at.is_some() {
        "revoked"
    } else if token.consumed_by.is_some() {
        "consumed"
    } else if token.expires_at <= now {
        "expired"
    } else {
        "open"
    }
}

#[tonic::async_trait]
impl admin_server::Admin for Admin {
    async fn invite(
        &self,
        request: Request<InviteRequest>,
    ) -> Result<Response<InviteReply>, Status> {
        let request = request.into_inner();
        let core = CoreId::parse(request.core.clone()).map_err(|error| {
            Status::invalid_argument(format!("--id {:?}: {error}", request.core))
        })?;
        let ttl = Duration::from_secs(request.ttl_seconds);
        if ttl.is_zero() || ttl > TOKEN_TTL_MAX {
            return Err(Status::invalid_argument(
                "--ttl must be between 1 second and 30 days",
            ));
        }
        if let Some(holder) = self.cluster.directory().holder(core.as_str()) {
            return Err(Status::failed_precondition(held(&core, holder)));
        }
        let token = JoinToken {
            addresses: self.addresses(),
            ca_fingerprint: sha256_hex(self.cluster.identity.ca()),
            core: core.clone(),
            secret: random_text(&*self.cluster.entropy),
            domain: self
                .cluster
                .directory()
                .config()
                .and_then(|c| c.domain.clone()),
        };
        let at = self.cluster.clock.now();
        let put = Command::PutJoinToken {
            id: token.id(),
            core,
            at,
            expires: at + ttl,
        };
        self.cluster
            .done(put, "PutJoinToken")
            .await
            .map_err(|error| status_of(&error))?;
        Ok(Response::new(InviteReply {
            token: token.to_text(),
            expires_ms: (at + ttl).0,
        }))
    }

    async fn list_tokens(
        &self,
        _request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensReply>, Status> {
        let tokens = self
            .cluster
            .platform
            .join_tokens()
            .await
            .map_err(|error| Status::unavailable(crate::telemetry::chain(&error)))?;
        let now = self.cluster.clock.now();
        let tokens = tokens
            .into_iter()
            .map(|(id, token)| TokenInfo {
                id,
                core: token.core.to_string(),
                issued_ms: token.issued_at.0,
                expires_ms: token.expires_at.0,
                state: token_state(&token, now).to_owned(),
            })
            .collect();
        Ok(Response::new(ListTokensReply { tokens }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenReply>, Status> {
        let id = request.into_inner().id;
        let revoke = Command::RevokeJoinToken {
            id,
            at: self.cluster.clock.now(),
        };
        match self.cluster.done(revoke, "RevokeJoinToken").await {
            Ok(()) => Ok(Response::new(RevokeTokenReply { found: true })),
            Err(CommandError::Rejected(Rejection::UnknownToken)) => {
                Ok(Response::new(RevokeTokenReply { found: false }))
            }
            Err(error) => Err(status_of(&error)),
        }
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        let raft = self.cluster.platform.status();
        let directory = self.cluster.directory();
        let liveness = self.cluster.platform.liveness().await.ok();
        let leader = raft
            .leader
            .and_then(|node| directory.core_by_node(node).cloned());
        let mut rows = futures_util::future::join_all(
            directory
                .cores()
                .map(|core| self.row(Arc::clone(core), raft.last_log)),
        )
        .await;
        for row in &mut rows {
            let peer = liveness
                .iter()
                .flatten()
                .find(|peer| peer.node.0 == row.node);
            row.silent_ms = peer
                .and_then(|peer| peer.silent)
                .map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
        }
        let answering = raft
            .voters
            .iter()
            .filter(|voter| {
                let row = rows.iter().find(|row| row.node == voter.0);
                row.is_some_and(|row| row.role != UNREACHABLE)
            })
            .count();
        Ok(Response::new(StatusReply {
            cluster: self.cluster.identity.cluster().to_string(),
            domain: directory
                .config()
                .and_then(|c| c.domain.clone())
                .unwrap_or_default(),
            core: self.cluster.core.to_string(),
            term: raft.term,
            leader: leader.map(|core| core.id.to_string()).unwrap_or_default(),
            last_applied: raft.applied.unwrap_or(0),
            failures_tolerated: failures_tolerated(raft.voters.len(), answering),
            quorum: liveness.as_deref().is_some_and(has_live_quorum),
            cores: rows,
        }))
    }

    async fn remove(
        &self,
        request: Request<RemoveRequest>,
    ) -> Result<Response<RemoveReply>, Status> {
        Ok(Response::new(
            membership::remove(&self.cluster, request.into_inner()).await,
        ))
    }

    async fn drain(&self, _request: Request<DrainRequest>) -> Result<Response<DrainReply>, Status> {
        let cluster = &self.cluster;
        cluster.drained.store(true, Ordering::Relaxed);
        let close = Command::SetCoreAvailable {
            core: cluster.core.clone(),
            available: false,
        };
        if let Err(error) = cluster.done(close, "SetCoreAvailable").await {
            cluster.drained.store(false, Ordering::Relaxed);
            let why = crate::telemetry::chain(&error);
            return Err(Status::unavailable(format!("nothing was done: {why}")));
        }
        let leadership = if cluster.platform.hand_over().await {
            "and does not lead the platform"
        } else {
            "but still leads the platform, as no other core can now"
        };
        Ok(Response::new(DrainReply {
            message: format!(
                "{} takes no new users until it is started again, {leadership}",
                cluster.core
            ),
        }))
    }
}

/// Serves the operator's socket until the core stops.
pub(crate) fn spawn(
    tasks: &crate::tasks::Tasks,
    socket: tokio::net::UnixListener,
    cluster: Arc<Cluster>,
    accounts: Arc<crate::accounts::Accounts>,
) {
    use homecore_proto::archive::archives_server::ArchivesServer;
    use homecore_proto::membership::admin_server::AdminServer;
    use homecore_proto::membership::mail_templates_server::MailTemplatesServer;
    use homecore_proto::membership::platform_sections_server::PlatformSectionsServer;
    let stop = tasks.stop_signal();
    tasks.spawn("admin-serve", async move {
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(socket);
        let served = tonic::transport::Server::builder()
            .add_service(AdminServer::new(Admin::new(Arc::clone(&cluster))))
            .add_service(MailTemplatesServer::new(
                super::mail_templates::MailTemplates::new(Arc::clone(&cluster)),
            ))
            .add_service(PlatformSectionsServer::new(
                super::sections::PlatformSections::new(Arc::clone(&cluster)),
            ))
            .add_service(ArchivesServer::new(super::archives::Archives::new(
                cluster, accounts,
            )))
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await;
        if let Err(error) = served {
            tracing::error!(error = %crate::telemetry::chain(&error), "the operator's socket failed");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::failures_tolerated;

    #[test]
    fn voters_that_do_not_answer_have_failed_already() {
        assert_eq!([1, 3, 5].map(|all| failures_tolerated(all, all)), [0, 1, 2]);
        assert_eq!(failures_tolerated(3, 2), 0);
        assert_eq!(failures_tolerated(5, 4), 1);
        assert_eq!(failures_tolerated(3, 1), 0);
    }
}
