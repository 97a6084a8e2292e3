//! Channels to other cores: mutual TLS, and certain that the node reached is the node meant.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use homecore_raft::network::refuses;
use homecore_types::NodeId;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::pki;
use super::tls::{Identity, TlsError};

/// How long a connection may take to come up, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often an idle connection is probed: a partition is noticed by this.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Why no channel could be made.
#[derive(Debug, Error)]
pub(crate) enum ChannelError {
    /// The address is none.
    #[error("{address:?} is no address of a core (host:port)")]
    Address {
        /// As given.
        address: String,
    },
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Makes channels with this core's identity.
#[derive(Clone, Debug)]
pub(crate) struct Peers {
    identity: Identity,
}

impl Peers {
    /// With this identity.
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity }
    }

    /// A channel to a node at an address; connects when it is first used.
    pub(crate) fn open(&self, node: NodeId, address: &str) -> Result<Channel, ChannelError> {
        let name = pki::node_name(node, self.identity.cluster());
        channel(address, &name, self.identity.client_config()?)
    }
}

impl homecore_raft::network::Peers for Peers {
    fn channel(
        &self,
        node: NodeId,
        core: &str,
        rpc: &str,
    ) -> Result<Channel, homecore_raft::PeerError> {
        self.open(node, rpc)
            .map_err(|source| homecore_raft::PeerError {
                node,
                core: core.to_owned(),
                rpc: rpc.to_owned(),
                source: Box::new(source),
            })
    }

    fn is_gone<'a>(&'a self, rpc: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(refuses(rpc))
    }
}

/// A lazy channel over TLS to whoever proves to be `name`.
pub(crate) fn channel(
    address: &str,
    name: &str,
    config: Arc<ClientConfig>,
) -> Result<Channel, ChannelError> {
    let bad = || ChannelError::Address {
        address: address.to_owned(),
    };
    if address
        .rsplit_once(':')
        .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
    {
        return Err(bad());
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_uri| bad())?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let server_name = ServerName::try_from(name.to_owned()).map_err(|_name| bad())?;
    let connector = TlsConnector::from(config);
    let address: Arc<str> = Arc::from(address);
    Ok(
        endpoint.connect_with_connector_lazy(tower::service_fn(move |_uri: Uri| {
            let (connector, server_name, address) =
                (connector.clone(), server_name.clone(), Arc::clone(&address));
            async move {
                let tcp = TcpStream::connect(&*address).await?;
                tcp.set_nodelay(true)?;
                let tls = connector.connect(server_name, tcp).await?;
                Ok::<_, std::io::Error>(TokioIo::new(tls))
            }
        })),
    )
}
