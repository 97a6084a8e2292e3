//! Letting a new core in. The only service for callers without a certificate.
//!
//! With a one-time token: the caller shows the token's secret, over TLS that it pinned to our CA.
//! With a join secret shared beforehand (orchestrators): nobody shows it; the caller proves that it
//! knows the secret *for this CA and this key*, so that a machine in the middle, which must present
//! another CA, gets a proof that is useless here, and we prove the same to the caller.

use std::sync::Arc;

use homecore_proto::membership::{
    Admission, CoreAddresses as WireAddresses, JoinRefusal, JoinReply, JoinRequest, Member,
    enrolment_server, join_reply,
};
use homecore_raft::ReadError;
use homecore_raft::command::{Command, Rejection, Response as Answer};
use homecore_raft::records::{CoreAddresses, JoinToken as TokenRecord};
use homecore_types::{CoreId, NodeId, Secret, limits};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::pki;
use super::secrets::{hex, hmac_sha256, sha256_hex};
use crate::cluster::Cluster;

/// Joins that are looked at at once.
const JOINS_AT_ONCE_MAX: usize = 8;
/// Characters of a stranger's text that are repeated.
const SHOWN_CHARS: usize = 64;
/// The version of the join exchange.
pub(crate) const JOIN_VERSION: u32 = 1;

/// The service.
#[derive(Clone, Debug)]
pub(crate) struct Enrolment {
    cluster: Arc<Cluster>,
    join_secret: Option<Arc<Secret>>,
    platform_config: String,
    slots: Arc<Semaphore>,
}

struct Refused {
    reason: &'static str,
    message: String,
}

fn refused(reason: &'static str, message: impl Into<String>) -> Refused {
    Refused {
        reason,
        message: message.into(),
    }
}

/// As much of a stranger's text as is answered and logged: a log must not grow as strangers like.
fn brief(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

impl Enrolment {
    /// For this core; `join_secret` allows joining without a token.
    pub(crate) fn new(
        cluster: Arc<Cluster>,
        join_secret: Option<Secret>,
        platform_config: String,
    ) -> Self {
        Self {
            cluster,
            join_secret: join_secret.map(Arc::new),
            platform_config,
            slots: Arc::new(Semaphore::new(JOINS_AT_ONCE_MAX)),
        }
    }

    async fn admit(&self, request: JoinRequest) -> Result<Admission, Refused> {
        if request.version != JOIN_VERSION {
            return Err(refused(
                "bad-request",
                format!(
                    "this cluster speaks version {JOIN_VERSION} of joining, the new core version {}: \
                     install the cluster's version of homecore there",
                    request.version
                ),
            ));
        }
        let core = CoreId::parse(request.core.clone()).map_err(|error| {
            refused(
                "bad-request",
                format!("{:?}: {error}", brief(&request.core)),
            )
        })?;
        let key = pki::key_of_request(&request.signing_request)
            .map_err(|error| refused("bad-request", error.to_string()))?;
        let addresses = addresses(request.addresses.clone().unwrap_or_default())
            .map_err(|message| refused("bad-request", message))?;
        let token = self.token_of(&request, &core, &key).await?;
        self.check_address(&core, &addresses.rpc)?;
        let node = self.take(token, core, key, addresses).await?;
        let chain = self
            .cluster
            .sign(&request.signing_request, node)
            .map_err(|error| refused("unavailable", error.to_string()))?;
        let leaf = chain.first().map(|c| sha256_hex(c)).unwrap_or_default();
        let proof = match (&self.join_secret, request.proof.is_empty()) {
            (Some(secret), false) => admission_proof(secret, self.cluster.identity.ca(), &leaf),
            _ => Vec::new(),
        };
        Ok(Admission {
            cluster: self.cluster.identity.cluster().to_string(),
            node: node.0,
            certificate_chain: chain.iter().map(|c| c.to_vec().into()).collect(),
            ca_certificate: self.cluster.identity.ca().to_vec().into(),
            platform_config: self.platform_config.clone(),
            platform_secrets: self.cluster.key.to_text(),
            members: self.members(),
            proof: proof.into(),
        })
    }

    /// The id of the token that this request may consume.
    async fn token_of(
        &self,
        request: &JoinRequest,
        core: &CoreId,
        key: &str,
    ) -> Result<String, Refused> {
        if request.proof.is_empty() {
            let id = sha256_hex(request.secret.as_bytes());
            // Only what an operator made may reach the log: strangers must not write to it.
            return if self.find_token(&id).await?.is_some() {
                Ok(id)
            } else {
                Err(refused("unknown", Rejection::UnknownToken.to_string()))
            };
        }
        let secret = self.join_secret.as_ref().ok_or_else(|| {
            refused(
                "unknown",
                "this cluster has no join secret configured: use a token from `homecore invite`",
            )
        })?;
        let expected = join_proof(secret, self.cluster.identity.ca(), core, key);
        if !Secret::new(hex(&expected)).matches(&hex(&request.proof)) {
            return Err(refused(
                "unknown",
                "the join secret is not the one of this cluster",
            ));
        }
        // The proof stands for a token of its own, one a core and key.
        let id = sha256_hex(&expected);
        let at = self.cluster.clock.now();
        let put = Command::PutJoinToken {
            id: id.clone(),
            core: core.clone(),
            at,
            expires: at + limits::JOIN_TOKEN_TTL,
        };
        let known = self.find_token(&id).await?;
        let fresh = known.is_some_and(|token| token.consumed_by.is_some() || token.expires_at > at);
        if !fresh {
            self.cluster
                .done(put, "PutJoinToken")
                .await
                .map_err(|error| refused("unavailable", error.to_string()))?;
        }
        Ok(id)
    }

    /// A token, looked for in the present state if it is not known here.
    async fn find_token(&self, id: &str) -> Result<Option<TokenRecord>, Refused> {
        let unavailable = |error: ReadError| refused("unavailable", error.to_string());
        let platform = &self.cluster.platform;
        if let Some(token) = platform.join_token(id).await.map_err(unavailable)? {
            return Ok(Some(token));
        }
        platform.current().await.map_err(unavailable)?;
        platform.join_token(id).await.map_err(unavailable)
    }

    /// Two members at one address: messages for one of them reach the other, which refuses them, and the
    /// new one waits for ever. Nothing of the token is used up here.
    fn check_address(&self, core: &CoreId, rpc: &str) -> Result<(), Refused> {
        let directory = self.cluster.directory();
        let other = directory
            .cores()
            .find(|other| other.id != *core && other.addresses.rpc.eq_ignore_ascii_case(rpc));
        other.map_or(Ok(()), |other| {
            let other = &other.id;
            Err(refused(
                "address-taken",
                format!(
                    "{other} is reached at {} already. Repeat the same command, whose token is still good, \
                     with --ip or cluster.advertise as other cores reach this machine; if {other} is gone \
                     for good, first `homecore remove {other}`",
                    brief(rpc)
                ),
            ))
        })
    }

    async fn take(
        &self,
        token: String,
        core: CoreId,
        key: String,
        addresses: CoreAddresses,
    ) -> Result<NodeId, Refused> {
        let at = self.cluster.clock.now();
        let command = Command::AdmitCore {
            token,
            core,
            key,
            addresses,
            at,
        };
        match self.cluster.platform.write(command).await {
            Ok(Answer::Admitted { node }) => Ok(node),
            Ok(Answer::Rejected(rejection)) => {
                Err(refused(reason(&rejection), rejection.to_string()))
            }
            Ok(other) => Err(refused(
                "unavailable",
                format!("unexpected answer: {other}"),
            )),
            Err(error) => Err(refused(
                "unavailable",
                format!("the platform could not take the new core, try again: {error}"),
            )),
        }
    }

    fn members(&self) -> Vec<Member> {
        self.cluster
            .directory()
            .cores()
            .map(|core| Member {
                node: core.node.0,
                core: core.id.to_string(),
                rpc: core.addresses.rpc.clone(),
            })
            .collect()
    }
}

fn reason(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::UnknownToken => "unknown",
        Rejection::TokenExpired => "expired",
        Rejection::TokenConsumed => "already-consumed",
        Rejection::TokenRevoked => "revoked",
        Rejection::TokenForOtherCore { .. } => "other-core",
        Rejection::CoreExists { .. } | Rejection::LabelTaken { .. } => "core-exists",
        _ => "unavailable",
    }
}

/// What a joiner with the shared secret shows.
pub(crate) fn join_proof(secret: &Secret, ca: &[u8], core: &CoreId, key: &str) -> [u8; 32] {
    let message = format!("homecore join 1\n{}\n{core}\n{key}", sha256_hex(ca));
    hmac_sha256(secret.expose().as_bytes(), message.as_bytes())
}

/// What the cluster shows to such a joiner.
pub(crate) fn admission_proof(secret: &Secret, ca: &[u8], leaf_sha256: &str) -> Vec<u8> {
    let message = format!("homecore admit 1\n{}\n{leaf_sha256}", sha256_hex(ca));
    hmac_sha256(secret.expose().as_bytes(), message.as_bytes()).to_vec()
}

/// Checked addresses from the wire.
fn addresses(wire: WireAddresses) -> Result<CoreAddresses, String> {
    let parse = |texts: Vec<String>| -> Result<Vec<_>, String> {
        texts
            .into_iter()
            .map(|text| {
                text.parse()
                    .map_err(|_ip| format!("{:?} is not an IPv4 address", brief(&text)))
            })
            .collect()
    };
    let parse6 = |texts: Vec<String>| -> Result<Vec<_>, String> {
        texts
            .into_iter()
            .map(|text| {
                text.parse()
                    .map_err(|_ip| format!("{:?} is not an IPv6 address", brief(&text)))
            })
            .collect()
    };
    if !wire.url.ends_with('/')
        || !(wire.url.starts_with("http://") || wire.url.starts_with("https://"))
    {
        return Err(format!(
            "core.url {:?} must be an http(s) URL ending in '/'",
            brief(&wire.url)
        ));
    }
    Ok(CoreAddresses {
        rpc: wire.rpc,
        url: wire.url,
        ipv4: parse(wire.ipv4)?,
        ipv6: parse6(wire.ipv6)?,
        cname: Some(wire.cname).filter(|name| !name.is_empty()),
        hosting: Some(wire.hosting).filter(|name| !name.is_empty()),
    })
}

/// Addresses for the wire.
pub(crate) fn wire_addresses(addresses: &CoreAddresses) -> WireAddresses {
    WireAddresses {
        rpc: addresses.rpc.clone(),
        url: addresses.url.clone(),
        ipv4: addresses.ipv4.iter().map(ToString::to_string).collect(),
        ipv6: addresses.ipv6.iter().map(ToString::to_string).collect(),
        cname: addresses.cname.clone().unwrap_or_default(),
        hosting: addresses.hosting.clone().unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl enrolment_server::Enrolment for Enrolment {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let request = request.into_inner();
        if request == JoinRequest::default() {
            // A joiner that wants to see our CA before it says anything.
            return Ok(Response::new(JoinReply { result: None }));
        }
        let asked = brief(&request.core);
        let Ok(_slot) = self.slots.try_acquire() else {
            return Err(Status::resource_exhausted(
                "too many cores join at once; try again",
            ));
        };
        let result = match self.admit(request).await {
            Ok(admission) => {
                tracing::info!(core = %asked, node = admission.node, "a core was admitted");
                join_reply::Result::Admission(admission)
            }
            Err(Refused { reason, message }) => {
                tracing::warn!(core = %asked, reason, message, "a core was refused");
                join_reply::Result::Refusal(JoinRefusal {
                    reason: reason.to_owned(),
                    message,
                })
            }
        };
        Ok(Response::new(JoinReply {
            result: Some(result),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_authority_core_and_key() {
        let secret = Secret::new("shared");
        let (b, c) = (
            CoreId::parse("core-b").unwrap(),
            CoreId::parse("core-c").unwrap(),
        );
        let proof = join_proof(&secret, b"ca", &b, "key");
        assert_ne!(proof, join_proof(&secret, b"other ca", &b, "key"));
        assert_ne!(proof, join_proof(&secret, b"ca", &c, "key"));
        assert_ne!(proof, join_proof(&secret, b"ca", &b, "other key"));
        assert_ne!(proof, join_proof(&Secret::new("other"), b"ca", &b, "key"));
    }

    #[test]
    fn addresses_from_strangers_are_checked() {
        let good = WireAddresses {
            url: "http://a/".into(),
            rpc: "a:1".into(),
            ..Default::default()
        };
        assert!(addresses(good.clone()).is_ok());
        assert!(
            addresses(WireAddresses {
                url: "http://a".into(),
                ..good.clone()
            })
            .is_err()
        );
        assert!(
            addresses(WireAddresses {
                ipv4: vec!["x".into()],
                ..good.clone()
            })
            .is_err()
        );
        // Who sends much is told little.
        let long = "\u{1}".repeat(50_000);
        for bad in [
            WireAddresses {
                url: long.clone(),
                ..good.clone()
            },
            WireAddresses {
                ipv4: vec![long.clone()],
                ..good.clone()
            },
            WireAddresses {
                ipv6: vec![long],
                ..good
            },
        ] {
            assert!(addresses(bad).unwrap_err().len() < 1_000);
        }
    }
}
