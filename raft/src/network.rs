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
use std::time::Duration;

use futures_util::future::BoxFuture;
use homecore_types::NodeId;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::Instant;
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

/// So long it counts where a node says it is. One that nobody reaches says it again with every question for a
/// vote; where it is reached, the directory learns it before; and what was wrong, or is no more, ends by itself.
const TOLD_LASTS: Duration = Duration::from_secs(30);
/// Longest address that a node can say it is at: a name of 253 bytes, and a port.
const ADDRESS_BYTES_MAX: usize = 259;

/// The channels that are open. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    peers: Arc<dyn Peers>,
    view: View,
    own_address: Arc<str>,
    open: Arc<Mutex<BTreeMap<u64, Link>>>,
    told: Arc<Mutex<BTreeMap<u64, Told>>>,
}

/// Where a node says it is, which may be news to the directory.
#[derive(Debug)]
struct Told {
    rpc: String,
    /// What was known then: anything else that the directory says is younger.
    instead_of: String,
    at: Instant,
}

#[derive(Clone, Debug)]
struct Link {
    rpc: String,
    channel: Channel,
}

impl Links {
    pub(crate) fn new(peers: Arc<dyn Peers>, view: View, own_address: String) -> Self {
        Self {
            peers,
            view,
            own_address: own_address.into(),
            open: Arc::default(),
            told: Arc::default(),
        }
    }

    /// Where this core is reached.
    pub(crate) fn own_address(&self) -> &str {
        &self.own_address
    }

    /// Takes note of where a node says it is. It may be one without whose vote the directory cannot learn it;
    /// a channel there fails unless it is that node.
    pub(crate) fn told(&self, node: u64, rpc: &str, fallback: Option<&Member>) {
        if rpc.is_empty() || rpc.len() > ADDRESS_BYTES_MAX {
            return;
        }
        let known = self.known(node, fallback).map(|(_, known)| known);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        // Only of those who are known: no more than there are cores.
        match known {
            Some(known) if known != rpc => {
                let news = Told {
                    rpc: rpc.to_owned(),
                    instead_of: known,
                    at: Instant::now(),
                };
                let before = told.insert(node, news);
                if before.is_none_or(|before| before.rpc != rpc) {
                    tracing::info!(node, rpc, "a core says that it is at another address");
                }
            }
            _ => drop(told.remove(&node)),
        }
    }

    /// Name and address of a node: those in the directory or, until the directory knows it, those in the
    /// configuration.
    fn known(&self, node: u64, fallback: Option<&Member>) -> Option<(String, String)> {
        let directory = self.view.load();
        match directory.core_by_node(NodeId(node)) {
            Some(core) => Some((core.id.to_string(), core.addresses.rpc.clone())),
            None => fallback.map(|member| (member.core.clone(), member.rpc.clone())),
        }
    }

    /// The channel to a node: where it said itself that it is, if the directory has not changed since; else at
    /// its address in the directory or, until the directory knows it, at the one in the configuration.
    pub(crate) fn channel(
        &self,
        node: u64,
        fallback: Option<&Member>,
    ) -> Result<Channel, PeerError> {
        let (core, known) = self.known(node, fallback).unwrap_or_default();
        let rpc = self.present_address(node, known);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(link) = open.get(&node)
            && link.rpc == rpc
        {
            return Ok(link.channel.clone());
        }
        let channel = self.peers.channel(NodeId(node), &core, &rpc)?;
        let link = Link {
            rpc,
            channel: channel.clone(),
        };
        open.insert(node, link);
        Ok(channel)
    }

    fn present_address(&self, node: u64, known: String) -> String {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        match told.get(&node) {
            Some(news) if news.instead_of == known && news.at.elapsed() < TOLD_LASTS => {
                news.rpc.clone()
            }
            Some(_) => {
                told.remove(&node);
                known
            }
            None => known,
        }
    }

    /// Where a node of the directory is, as far as it is known.
    pub(crate) fn address(&self, node: u64) -> Option<String> {
        let (_, known) = self.known(node, None)?;
        Some(self.present_address(node, known))
    }

    /// Forgets channels to nodes that are no members any more.
    pub(crate) fn retain(&self, member: impl Fn(u64) -> bool) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|node, _| member(*node));
        drop(open);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|node, _| member(*node));
    }
}
