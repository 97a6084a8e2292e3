//! This core as a member of its cluster: the platform store, who it is, and what it may open.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use homecore_raft::command::{Command, Rejection, Response};
use homecore_raft::directory::Directory;
use homecore_raft::records::{Core, CoreAddresses, CoreState};
use homecore_raft::{Handle, WriteError};
use homecore_types::{Clock, CoreId, Entropy, NodeId};
use rustls::pki_types::CertificateDer;
use thiserror::Error;

use crate::disk::Disk;
use crate::rpc::peers::Peers;
use crate::rpc::pki::{self, PkiError};
use crate::rpc::secrets::{ClusterKey, PlatformSecrets, SealError};
use crate::rpc::tls::Identity;

/// Everything that services of one core share. Cheap to clone behind its `Arc`.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The platform store.
    pub(crate) platform: Handle,
    /// Who this core is.
    pub(crate) identity: Identity,
    /// Its name.
    pub(crate) core: CoreId,
    /// What opens the platform's secrets.
    pub(crate) key: ClusterKey,
    /// Channels to the others.
    pub(crate) peers: Peers,
    /// The members at the time of joining: whom to listen to before the platform has arrived here.
    pub(crate) first_members: BTreeSet<u64>,
    /// Where this core can be reached.
    pub(crate) addresses: CoreAddresses,
    /// Whether an operator wants no new users here until the next start.
    pub(crate) drained: AtomicBool,
    /// Room on its disk.
    pub(crate) disk: Arc<Disk>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Chance.
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Why a certificate could not be given.
#[derive(Debug, Error)]
pub(crate) enum SignError {
    /// The platform store has not arrived here yet.
    #[error("this core does not know the cluster's secrets yet")]
    NotYet,
    /// The sealed secrets do not open.
    #[error(transparent)]
    Sealed(#[from] SealError),
    /// The request or the CA is unusable.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// The platform's rules refuse it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The platform could not take it.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It answered something that does not belong to the command.
    #[error("the platform answered {0} to a {1} command")]
    Unexpected(Box<Response>, &'static str),
}

impl Cluster {
    /// What this core knows of the platform now.
    pub(crate) fn directory(&self) -> Arc<Directory> {
        self.platform.directory()
    }

    /// Whether a node may call this core.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        if self.directory().cluster().is_none() {
            return self.first_members.contains(&node.0);
        }
        self.platform.is_member(node)
    }

    /// Whether a node was a member and was removed for good.
    pub(crate) fn was_removed(&self, node: NodeId) -> bool {
        self.directory()
            .core_by_node(node)
            .is_some_and(|core| core.state == CoreState::Removed)
    }

    /// The platform's secrets.
    pub(crate) fn secrets(&self) -> Result<PlatformSecrets, SignError> {
        let directory = self.directory();
        let sealed = directory.secrets().ok_or(SignError::NotYet)?;
        Ok(self.key.open(sealed)?)
    }

    /// Signs a member's request with the cluster's CA.
    pub(crate) fn sign(
        &self,
        request: &[u8],
        node: NodeId,
    ) -> Result<Vec<CertificateDer<'static>>, SignError> {
        let secrets = self.secrets()?;
        Ok(pki::sign(
            request,
            node,
            self.identity.cluster(),
            self.identity.ca(),
            secrets.ca_key.expose(),
            &*self.clock,
        )?)
    }

    /// This core's own record.
    pub(crate) fn own_record(&self) -> Option<Arc<Core>> {
        self.directory().core(&self.core).cloned()
    }

    /// A command that answers `Done`, or why not.
    pub(crate) async fn done(
        &self,
        command: Command,
        name: &'static str,
    ) -> Result<(), CommandError> {
        match self.effect(command).await? {
            Response::Done => Ok(()),
            other => Err(CommandError::Unexpected(Box::new(other), name)),
        }
    }

    /// What a command answers that took effect, or why it did not.
    pub(crate) async fn effect(&self, command: Command) -> Result<Response, CommandError> {
        match self.platform.write(command).await? {
            Response::Rejected(rejection) => Err(rejection.into()),
            other => Ok(other),
        }
    }
}
