//! Consensus traffic between cores, over gRPC.
//!
//! A channel to a peer comes from [`Peers`]: the binary makes them with mutual TLS to the name that
//! belongs to the node id, so that a message meant for one core cannot reach another that took over
//! its address. Here there is one channel per peer, kept until the peer's address changes. It is lazy:
//! it connects when used, and again after it broke.

pub(crate) mod client;
pub(crate) mod frame;
pub mod platform_service;
pub mod raft_service;
pub(crate) mod snapshots;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Debug;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use homecore_types::NodeId;
use thiserror::Error;
use tokio::net::TcpStream;
use tonic::transport::Channel;

use crate::directory::View;
use crate::types::Member;

/// Makes channels to other cores.
pub trait Peers: Debug + Send + Sync + 'static {
    /// A lazy channel to a core at `rpc` (`host:port`) that fails for any other core.
    ///
    /// # Errors
    /// When the address or the name cannot be used.
    fn channel(&self, node: NodeId, core: &str, rpc: &str) -> Result<Channel, PeerError>;

    /// Whether the machine at `rpc` says that nobody listens there any more. No answer is no; so it
    /// is where that cannot be asked.
    fn is_gone<'a>(&'a self, _rpc: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}

/// Whether a TCP port refuses connections: [`Peers::is_gone`] where addresses are the machine's own.
pub async fn refuses(rpc: &str) -> bool {
    let tried = TcpStream::connect(rpc).await;
    tried.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// Why there is no channel to a core.
#[derive(Debug, Error)]
#[error("no channel to core {core} (node {node}) at {rpc:?}")]
pub struct PeerError {
    /// To which node.
    pub node: NodeId,
    /// Its name.
    pub core: String,
    /// Where it should be.
    pub rpc: String,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// The channels that are open. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    peers: Arc<dyn Peers>,
    view: View,
    open: Arc<Mutex<BTreeMap<u64, Link>>>,
}

#[derive(Clone, Debug)]
struct Link {
    rpc: String,
    channel: Channel,
}

impl Links {
    pub(crate) fn new(peers: Arc<dyn Peers>, view: View) -> Self {
        Self {
            peers,
            view,
            open: Arc::default(),
        }
    }

    /// The channel to a node: at its address in the directory or, until the directory knows it, at
    /// the one in the configuration.
    pub(crate) fn channel(
        &self,
        node: u64,
        fallback: Option<&Member>,
    ) -> Result<Channel, PeerError> {
        let directory = self.view.load();
        let core = directory.core_by_node(NodeId(node));
        let (core, rpc) = match (core, fallback) {
            (Some(core), _) => (core.id.as_str(), core.addresses.rpc.as_str()),
            (None, Some(member)) => (member.core.as_str(), member.rpc.as_str()),
            (None, None) => ("", ""),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = open.get(&node)
            && link.rpc == rpc
        {
            return Ok(link.channel.clone());
        }
        let channel = self.peers.channel(NodeId(node), core, rpc)?;
        open.insert(
            node,
            Link {
                rpc: rpc.to_owned(),
                channel: channel.clone(),
            },
        );
        Ok(channel)
    }

    /// Where a node is, as the directory has it.
    pub(crate) fn address(&self, node: u64) -> Option<String> {
        let directory = self.view.load();
        let core = directory.core_by_node(NodeId(node))?;
        Some(core.addresses.rpc.clone())
    }

    /// Forgets channels to nodes that are no members any more.
    pub(crate) fn retain(&self, member: impl Fn(u64) -> bool) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|node, _| member(*node));
    }
}
