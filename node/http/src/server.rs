//! From sockets to [`App`]: how many connections, how long a header may take and how large it may
//! be, and how everything ends.
//!
//! When all connections are taken the next ones wait in the kernel's queue; liveness probes should
//! therefore have a listener of their own ([`Server`] with the same [`App`]). On a stop no more is
//! accepted, answers in progress are finished, and what is left at the deadline is cut.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures_util::future;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Peer};
use crate::context::Limits;
use crate::unread::{self, Lingering};

/// Pause after a failed accept: out of file descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Streams of one HTTP/2 connection.
const H2_STREAMS_MAX: u32 = 128;
/// hyper's lower bound for its read buffer.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

/// Why serving ended early.
#[derive(Debug, Error)]
pub enum ServerError {
    /// There is nothing to listen on.
    #[error("no listener was given")]
    NoListener,
    /// At the deadline connections were still busy; they were cut.
    #[error("{0} connections were cut at the drain deadline")]
    Cut(usize),
}

/// Serves an [`App`].
#[derive(Debug)]
pub struct Server {
    app: App,
    limits: Limits,
    connections: Arc<Semaphore>,
}

impl Server {
    /// A server with the limits of the app's context.
    #[must_use]
    pub fn new(app: App) -> Self {
        let limits = app.context().limits.clone();
        let connections = Arc::new(Semaphore::new(limits.connections_max.max(1)));
        Self {
            app,
            limits,
            connections,
        }
    }

    /// Serves until `stop`, then drains.
    ///
    /// # Errors
    /// When there is no listener, or connections had to be cut at the end.
    pub async fn serve(
        self,
        listeners: Vec<TcpListener>,
        stop: CancellationToken,
    ) -> Result<(), ServerError> {
        if listeners.is_empty() {
            return Err(ServerError::NoListener);
        }
        let graceful = GracefulShutdown::new();
        let builder = self.builder();
        let accepting = listeners
            .into_iter()
            .map(|listener| self.accept(listener, &builder, &graceful, &stop));
        let mut sets: Vec<JoinSet<()>> = future::join_all(accepting).await;

        let drained = tokio::time::timeout(self.limits.drain_timeout, graceful.shutdown()).await;
        let mut cut = 0;
        for set in &mut sets {
            while set.try_join_next().is_some() {}
            cut += set.len();
            set.shutdown().await;
        }
        if drained.is_err() && cut > 0 {
            Err(ServerError::Cut(cut))
        } else {
            Ok(())
        }
    }

    fn builder(&self) -> auto::Builder<TokioExecutor> {
        let limits = &self.limits;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_read_timeout)
            .max_buf_size(limits.header_bytes_max.max(BUFFER_BYTES_MIN));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_concurrent_streams(H2_STREAMS_MAX)
            .keep_alive_interval(limits.header_read_timeout)
            .keep_alive_timeout(limits.header_read_timeout);
        builder
    }

    /// Accepts until `stop` and returns the connections that are still open.
    async fn accept(
        &self,
        listener: TcpListener,
        builder: &auto::Builder<TokioExecutor>,
        graceful: &GracefulShutdown,
        stop: &CancellationToken,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        loop {
            let permit = tokio::select! {
                () = stop.cancelled() => return tasks,
                Some(_ended) = tasks.join_next() => continue,
                permit = Arc::clone(&self.connections).acquire_owned() => match permit {
                    Ok(permit) => permit,
                    Err(_closed) => return tasks,
                },
            };
            let accepted = tokio::select! {
                () = stop.cancelled() => return tasks,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection =
                        self.connection(stream, peer, builder.clone(), graceful.watcher(), permit);
                    tasks.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The life of one connection.
    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        builder: auto::Builder<TokioExecutor>,
        watcher: Watcher,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + 'static {
        let app = self.app.clone();
        let (patience, h2c) = (self.limits.header_read_timeout, self.limits.h2c);
        async move {
            let _permit = permit;
            let metrics = Arc::clone(&app.context().metrics);
            metrics.connections.fetch_add(1, Ordering::Relaxed);
            metrics.connections_open.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            let greeted = Greeted::new(stream, patience, h2c);
            let (stream, unread) = Lingering::new(greeted, &app.context().limits);
            let service = service_fn(move |mut request: Request<Incoming>| {
                let (app, unread) = (app.clone(), Arc::clone(&unread));
                async move {
                    request.extensions_mut().insert(Peer(peer));
                    Ok::<_, std::convert::Infallible>(unread::answer(&app, request, &unread).await)
                }
            });
            let io = TokioIo::new(stream);
            let connection = builder
                .serve_connection_with_upgrades(io, service)
                .into_owned();
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(error, "a connection ended badly");
            }
            metrics.connections_open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A stream that fails when its first bytes do not come in time, or are those of HTTP/2 where that is
/// not wanted. hyper-util first looks which version a client speaks, even if it was told to speak one
/// only, and hyper's own header timeout does not run yet.
#[derive(Debug)]
struct Greeted<S> {
    inner: S,
    /// What is still to come of the preface, while all that came is its beginning.
    preface: Option<&'static [u8]>,
    missing: usize,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// What a client of HTTP/2 says first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl<S> Greeted<S> {
    fn new(inner: S, patience: Duration, h2c: bool) -> Self {
        Self {
            inner,
            preface: (!h2c).then_some(PREFACE),
            missing: PREFACE.len(),
            deadline: Some(Box::pin(tokio::time::sleep(patience))),
        }
    }

    /// Looks at the next bytes.
    fn greet(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.missing = self.missing.saturating_sub(bytes.len());
        if self.missing == 0 {
            self.deadline = None;
        }
        if let Some(preface) = self.preface {
            let common = preface
                .iter()
                .zip(bytes)
                .take_while(|(a, b)| a == b)
                .count();
            if common == preface.len() {
                return Err(io::Error::other("HTTP/2 is not spoken here"));
            }
            self.preface = if common == bytes.len() {
                preface.get(common..)
            } else {
                None
            };
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let greeting = self.deadline.is_some() || self.preface.is_some();
        if greeting && let Some(new) = buf.filled().get(before..) {
            self.greet(new)?;
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
