//! A caller of the port between cores that says what it likes: any bytes as messages, over TLS with any
//! certificate or none.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::{Buf as _, BufMut as _};
use homecore_harness::Core;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SignatureScheme, client, crypto, version};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

/// Every call that cores serve to each other.
pub(crate) const METHODS: [&str; 14] = [
    "/homecore.membership.v1.Enrolment/Join",
    "/homecore.membership.v1.Membership/RenewCertificate",
    "/homecore.membership.v1.Membership/Describe",
    "/homecore.membership.v1.Membership/Remove",
    "/homecore.platform.v1.Users/Create",
    "/homecore.platform.v1.Platform/Propose",
    "/homecore.platform.v1.Platform/ReadIndex",
    "/homecore.platform.v1.Platform/Liveness",
    "/homecore.raft.v1.Raft/Append",
    "/homecore.raft.v1.Raft/Vote",
    "/homecore.raft.v1.Raft/PreVote",
    "/homecore.raft.v1.Raft/TransferLeader",
    "/homecore.raft.v1.Raft/InstallSnapshot",
    "/homecore.platform.v1.Users/FindAccess",
];
/// A name that every core has in its certificate.
const ANY_CORE: &str = "core.homecore.internal";

/// Whom a caller trusts and who it says it is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Whose servers are believed.
    pub(crate) authority: CertificateDer<'static>,
    /// What is shown; nothing: a stranger.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// Of the first certificate of the chain, or not.
    pub(crate) key: String,
}

impl Identity {
    /// Of a core's files: certificates behind their lengths, the authority last.
    pub(crate) fn of(core: &Core) -> anyhow::Result<Self> {
        let stored = std::fs::read(core.data().join("node.crt"))?;
        let mut rest = stored.as_slice();
        let mut chain = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length))?;
            let (certificate, more) = more
                .split_at_checked(length)
                .context("node.crt is cut off")?;
            chain.push(CertificateDer::from(certificate.to_vec()));
            rest = more;
        }
        Ok(Self {
            authority: chain.last().context("node.crt is empty")?.clone(),
            chain,
            key: std::fs::read_to_string(core.data().join("node.key"))?,
        })
    }

    fn config(&self) -> anyhow::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&version::TLS13])?
            .with_root_certificates(roots);
        let mut config = if self.chain.is_empty() {
            builder.with_no_client_auth()
        } else {
            let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
            let key = provider.key_provider.load_private_key(key)?;
            // Whether they belong together is for the other side to find out.
            let shown = CertifiedKey::new(self.chain.clone(), key);
            builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(shown))))
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl client::ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A caller, which connects as often as it is cut off.
#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    identity: Identity,
    channel: Option<Channel>,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, identity: Identity) -> Self {
        Self {
            address,
            identity,
            channel: None,
        }
    }

    /// Calls with these messages; what the other side says of it at its end.
    pub(crate) async fn call(&mut self, method: &'static str, messages: Vec<Vec<u8>>) -> Code {
        match self.attempt(method, messages).await {
            Ok(()) => Code::Ok,
            Err(status) => {
                // It may be gone: who is no member is cut off after a while.
                if matches!(
                    status.code(),
                    Code::Unknown | Code::Unavailable | Code::Cancelled
                ) {
                    self.channel = None;
                }
                status.code()
            }
        }
    }

    async fn attempt(
        &mut self,
        method: &'static str,
        messages: Vec<Vec<u8>>,
    ) -> Result<(), Status> {
        let channel = match &self.channel {
            Some(channel) => channel.clone(),
            None => {
                let opened = open(self.address, &self.identity).await;
                let opened = opened.map_err(|error| Status::unavailable(format!("{error:#}")))?;
                self.channel.insert(opened).clone()
            }
        };
        let mut grpc = Grpc::new(channel);
        grpc.ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(method);
        let stream = tokio_stream::iter(messages.clone());
        if method.ends_with("/Append") {
            let mut answers = grpc
                .streaming(Request::new(stream), path, Bytes)
                .await?
                .into_inner();
            while answers.message().await?.is_some() {}
            return Ok(());
        }
        if method.ends_with("/InstallSnapshot") {
            return grpc
                .client_streaming(Request::new(stream), path, Bytes)
                .await
                .map(drop);
        }
        let message = messages.into_iter().next().unwrap_or_default();
        grpc.unary(Request::new(message), path, Bytes)
            .await
            .map(drop)
    }
}

async fn open(address: SocketAddr, identity: &Identity) -> anyhow::Result<Channel> {
    let connector = TlsConnector::from(Arc::new(identity.config()?));
    let connect = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from(ANY_CORE).map_err(std::io::Error::other)?;
            let tls = connector.connect(name, tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect_with_connector(connect).await?)
}

/// Messages as they are.
#[derive(Clone, Copy, Debug)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length).to_vec()))
    }
}
