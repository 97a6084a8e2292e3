//! Connections between cores that a test can make swallow everything, as a broken network does: no
//! error, no end, and what was under way arrives late when it is whole again.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use homecore_raft::network::refuses;
use homecore_raft::{Caller, PeerError, Peers, Presence};
use homecore_types::NodeId;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Request, Status};

/// How often a broken wire is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Which wires are broken, from whom to whom.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    broken: Mutex<BTreeSet<(u64, u64)>>,
}

impl Wires {
    fn is_broken(&self, link: (u64, u64)) -> bool {
        self.broken.lock().unwrap().contains(&link)
    }

    /// Cuts a node off from others, both ways.
    pub(crate) fn isolate(&self, node: NodeId, others: &[NodeId]) {
        let mut broken = self.broken.lock().unwrap();
        for other in others.iter().filter(|other| **other != node) {
            broken.insert((node.0, other.0));
            broken.insert((other.0, node.0));
        }
    }

    /// Mends everything.
    pub(crate) fn mend(&self) {
        self.broken.lock().unwrap().clear();
    }
}

/// Channels of one core, without TLS.
#[derive(Debug)]
pub(crate) struct Plain {
    from: NodeId,
    wires: Arc<Wires>,
}

impl Plain {
    pub(crate) fn new(from: NodeId, wires: &Arc<Wires>) -> Self {
        Self {
            from,
            wires: Arc::clone(wires),
        }
    }
}

impl Peers for Plain {
    fn channel(&self, node: NodeId, core: &str, rpc: &str) -> Result<Channel, PeerError> {
        // What a certificate says where there is TLS.
        let endpoint = Endpoint::from_shared(format!("http://{rpc}"))
            .and_then(|endpoint| endpoint.user_agent(self.from.to_string()))
            .map_err(|error| PeerError {
                node,
                core: core.to_owned(),
                rpc: rpc.to_owned(),
                source: Box::new(error),
            })?;
        let (link, wires) = ((self.from.0, node.0), Arc::clone(&self.wires));
        let connector = tower::service_fn(move |uri: Uri| {
            let wires = Arc::clone(&wires);
            async move {
                while wires.is_broken(link) {
                    sleep(LOOK).await;
                }
                let stream = TcpStream::connect(uri.authority().unwrap().as_str()).await?;
                stream.set_nodelay(true)?;
                let pause = Box::pin(sleep(LOOK));
                Ok::<_, io::Error>(TokioIo::new(Wire {
                    stream,
                    wires,
                    link,
                    pause,
                    _presence: None,
                }))
            }
        });
        Ok(endpoint
            .connect_timeout(Duration::from_secs(1))
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector))
    }

    fn is_gone<'a>(&'a self, rpc: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(refuses(rpc))
    }
}

/// Tells the service who calls.
pub(crate) fn name_caller(mut request: Request<()>) -> Result<Request<()>, Status> {
    let agent = request.metadata().get("user-agent");
    let text = agent.and_then(|agent| agent.to_str().ok());
    let node = text.and_then(|text| text.split(' ').next()?.parse().ok());
    if let Some(node) = node {
        request.extensions_mut().insert(Caller(NodeId(node)));
    }
    Ok(request)
}

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    wires: Arc<Wires>,
    link: (u64, u64),
    pause: Pin<Box<Sleep>>,
    _presence: Option<Presence>,
}

impl Wire {
    /// The end that was connected to: the other one breaks.
    pub(crate) fn accepted(stream: TcpStream, wires: &Arc<Wires>, presence: Presence) -> Self {
        Self {
            stream,
            wires: Arc::clone(wires),
            link: (0, 0),
            pause: Box::pin(sleep(LOOK)),
            _presence: Some(presence),
        }
    }

    /// Ready when the wire is whole.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.wires.is_broken(self.link) {
            ready!(self.pause.as_mut().poll(cx));
            self.pause.as_mut().reset(Instant::now() + LOOK);
        }
        Poll::Ready(())
    }
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_whole(cx));
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_whole(cx));
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
