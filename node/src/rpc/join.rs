//! Becoming a member: the new machine's side.
//!
//! The key is made here and never leaves; the certificate, the CA and the cluster key come back.
//! Files are written in an order that makes an interrupted join repeatable: the identity last, so
//! that a directory either holds a member or can still become one with the same token and key.

use std::sync::Arc;
use std::time::Duration;

use homecore_proto::membership::enrolment_client::EnrolmentClient;
use homecore_proto::membership::{Admission, JoinRequest, join_reply};
use homecore_raft::identity::Identity as NodeIdentity;
use homecore_raft::records::CoreAddresses;
use homecore_types::{ClusterId, CoreId, NodeId, Secret};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use super::enrolment::{JOIN_VERSION, admission_proof, join_proof, wire_addresses};
use super::files::{self, DataDir, FileError};
use super::peers::{self, ChannelError};
use super::pki::{self, PkiError};
use super::secrets::{ClusterKey, hex, sha256_hex};
use super::tls::{PinnedAuthority, TlsError};
use super::token::JoinToken;

/// One attempt at one address may take this long.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// By what a core may join.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// A one-time token.
    Token(JoinToken),
    /// A secret that every core was given beforehand, and where to find some.
    Shared {
        /// The secret.
        secret: Secret,
        /// `host:port` of cores to try.
        seeds: Vec<String>,
    },
}

/// Why this machine did not become a member.
#[derive(Debug, Error)]
pub(crate) enum JoinError {
    /// The cluster said no.
    #[error("the cluster refused ({reason}): {message}")]
    Refused {
        /// One word.
        reason: String,
        /// Its sentence.
        message: String,
    },
    /// Nobody answered.
    #[error(
        "no core answered: {attempts}. Check that one of them runs and that its gRPC port is reachable from here, then repeat the same command"
    )]
    Unreachable {
        /// address: why; …
        attempts: String,
    },
    /// The answer does not come from the cluster that the secret belongs to.
    #[error("the core that answered does not know the join secret: it is not of this cluster")]
    Impostor,
    /// The answer makes no sense.
    #[error("the cluster's answer cannot be used: {0}")]
    Answer(String),
    /// The token is for another core.
    #[error("the token is for {token}, but this machine is configured as {configured}")]
    OtherCore {
        /// In the token.
        token: CoreId,
        /// In the configuration.
        configured: CoreId,
    },
    /// Files.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keys.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Identity file.
    #[error("cannot write this core's identity")]
    Identity(#[source] homecore_raft::identity::IdentityError),
}

enum Attempt {
    Failed(String),
    Fatal(JoinError),
}

/// Joins and writes this core's files; the platform store is started afterwards.
pub(crate) async fn join(
    data: &DataDir,
    core: &CoreId,
    addresses: &CoreAddresses,
    credential: &Credential,
) -> Result<NodeIdentity, JoinError> {
    if let Credential::Token(token) = credential
        && token.core != *core
    {
        return Err(JoinError::OtherCore {
            token: token.core.clone(),
            configured: core.clone(),
        });
    }
    let key_pem = match files::read_text(&data.node_key())? {
        Some(key) => key,
        None => {
            let key = pki::new_key()?;
            files::write(&data.node_key(), key.as_bytes())?;
            key
        }
    };
    let request = pki::signing_request(&key_pem)?;
    let tries = match credential {
        Credential::Token(token) => &token.addresses,
        Credential::Shared { seeds, .. } => seeds,
    };
    let mut failures = Vec::new();
    for address in tries {
        match attempt(address, core, addresses, credential, &request).await {
            Ok((admission, ca)) => return write_files(data, core, &admission, &ca),
            Err(Attempt::Failed(why)) => failures.push(format!("{address}: {why}")),
            Err(Attempt::Fatal(error)) => return Err(error),
        }
    }
    Err(JoinError::Unreachable {
        attempts: failures.join("; "),
    })
}

async fn attempt(
    address: &str,
    core: &CoreId,
    addresses: &CoreAddresses,
    credential: &Credential,
    request: &[u8],
) -> Result<(Admission, CertificateDer<'static>), Attempt> {
    let pinned = PinnedAuthority::new(match credential {
        Credential::Token(token) => Some(token.ca_fingerprint.clone()),
        Credential::Shared { .. } => None,
    });
    let mut client = connect(address, &pinned).await?;
    let key = pki::key_of_request(request).map_err(|e| Attempt::Fatal(e.into()))?;
    let mut message = JoinRequest {
        version: JOIN_VERSION,
        core: core.to_string(),
        signing_request: request.to_vec().into(),
        addresses: Some(wire_addresses(addresses)),
        ..JoinRequest::default()
    };
    let ca = pinned.seen();
    match (credential, &ca) {
        (Credential::Token(token), _) => message.secret = token.secret.expose().to_owned(),
        (Credential::Shared { secret, .. }, Some(ca)) => {
            message.proof = join_proof(secret, ca, core, &key).to_vec().into();
        }
        (Credential::Shared { .. }, None) => {
            return Err(Attempt::Failed("its CA is not known".to_owned()));
        }
    }
    let reply = tokio::time::timeout(ATTEMPT_TIMEOUT, client.join(message))
        .await
        .map_err(|_elapsed| Attempt::Failed("no answer in time".to_owned()))?
        .map_err(|status| Attempt::Failed(reach(&status)))?
        .into_inner();
    match reply.result {
        Some(join_reply::Result::Admission(admission)) => {
            let ca = ca.unwrap_or_else(|| CertificateDer::from(admission.ca_certificate.to_vec()));
            check(credential, &admission, &ca)?;
            Ok((admission, ca))
        }
        Some(join_reply::Result::Refusal(refusal)) if refusal.reason == "unavailable" => {
            Err(Attempt::Failed(refusal.message))
        }
        Some(join_reply::Result::Refusal(refusal)) => Err(Attempt::Fatal(JoinError::Refused {
            reason: refusal.reason,
            message: refusal.message,
        })),
        None => Err(Attempt::Fatal(JoinError::Answer("it is empty".to_owned()))),
    }
}

/// Connects and completes the handshake, so that the CA of the other side is known.
async fn connect(
    address: &str,
    pinned: &Arc<PinnedAuthority>,
) -> Result<EnrolmentClient<tonic::transport::Channel>, Attempt> {
    let config = pinned
        .client_config()
        .map_err(|e| Attempt::Fatal(e.into()))?;
    let channel = peers::channel(address, pki::ANY_CORE, config)
        .map_err(|error: ChannelError| Attempt::Failed(error.to_string()))?;
    let mut client = EnrolmentClient::new(channel);
    if pinned.seen().is_none() {
        // An empty request is refused by the service, but only after the handshake.
        let probe = tokio::time::timeout(ATTEMPT_TIMEOUT, client.join(JoinRequest::default()));
        match probe.await {
            Ok(Ok(_refused)) => {}
            Ok(Err(status)) => return Err(Attempt::Failed(reach(&status))),
            Err(_elapsed) => return Err(Attempt::Failed("no answer in time".to_owned())),
        }
    }
    Ok(client)
}

/// The innermost reason why a call did not get through.
fn reach(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(next) = cause {
        text = next.to_string();
        cause = next.source();
    }
    text
}

/// That the admission is for us and, with a shared secret, from the cluster that knows it.
fn check(
    credential: &Credential,
    admission: &Admission,
    ca: &CertificateDer<'_>,
) -> Result<(), Attempt> {
    let leaf = admission
        .certificate_chain
        .first()
        .ok_or_else(|| Attempt::Fatal(JoinError::Answer("no certificate".to_owned())))?;
    if let Credential::Shared { secret, .. } = credential {
        let expected = admission_proof(secret, ca, &sha256_hex(leaf));
        if !Secret::new(hex(&expected)).matches(&hex(&admission.proof)) {
            return Err(Attempt::Fatal(JoinError::Impostor));
        }
    }
    let (node, cluster) = pki::node_of(&CertificateDer::from(leaf.to_vec()))
        .map_err(|error| Attempt::Fatal(JoinError::Pki(error)))?;
    if node.0 != admission.node || cluster != admission.cluster {
        return Err(Attempt::Fatal(JoinError::Answer(
            "its certificate is for another node".to_owned(),
        )));
    }
    Ok(())
}

fn write_files(
    data: &DataDir,
    core: &CoreId,
    admission: &Admission,
    ca: &CertificateDer<'_>,
) -> Result<NodeIdentity, JoinError> {
    let cluster = ClusterId::parse(admission.cluster.clone())
        .map_err(|_form| JoinError::Answer("its cluster id is malformed".to_owned()))?;
    if ClusterKey::from_text(&admission.platform_secrets).is_none() {
        return Err(JoinError::Answer("its cluster key is malformed".to_owned()));
    }
    let mut chain: Vec<Vec<u8>> = admission
        .certificate_chain
        .iter()
        .map(|c| c.to_vec())
        .collect();
    if chain
        .last()
        .is_none_or(|last| last.as_slice() != ca.as_ref())
    {
        chain.push(ca.to_vec());
    }
    files::write(&data.node_certificate(), &files::join_blocks(&chain))?;
    let members: Vec<u64> = admission.members.iter().map(|member| member.node).collect();
    let members = serde_json::to_vec(&members)
        .map_err(|error| JoinError::Answer(format!("its members cannot be noted: {error}")))?;
    files::write(&data.first_members(), &members)?;
    files::write(&data.cluster_key(), admission.platform_secrets.as_bytes())?;
    let identity = NodeIdentity {
        cluster,
        node: NodeId(admission.node),
        core: core.clone(),
    };
    homecore_raft::identity::store(&data.platform(), &identity).map_err(JoinError::Identity)?;
    Ok(identity)
}
