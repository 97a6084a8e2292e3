//! What becomes of a body that nobody read: the client may still be sending it when its request is
//! refused.
//!
//! hyper then closes the connection without saying so. What the client goes on to write is answered
//! with a reset, on which its system throws the answer away; and the next request on the connection
//! fails as well. So here, around all of [`App`] and with no slot of it taken:
//!
//! - a rest that is small is read and thrown away, then the answer is given and the connection goes
//!   on;
//! - of any other the answer says `Connection: close`. Only the sending side is closed then, and what
//!   the client still sends is thrown away for a while ([`Lingering`]);
//! - who expects to be asked for the body (`Expect: 100-continue`) is not asked.
//!
//! HTTP/2 needs none of it: there a stream ends alone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use crate::app::App;
use crate::context::Limits;
use crate::upload;

/// Bytes of a rest that is read before the answer.
const REST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes thrown away at once after it.
const PIECE_BYTES: usize = 8 * 1024;

/// What a connection was left with; nothing: every body was read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Bytes that may still come.
    bytes: AtomicU64,
    /// How long they may take.
    millis: AtomicU64,
}

impl Unread {
    /// A body that is as long as one may be is let go by whole; of one whose length nobody said, or a false one,
    /// twice what a file may have.
    fn leave(&self, limits: &Limits, announced: Option<u64>, longest: Duration) {
        let announced = announced.filter(|bytes| *bytes <= upload::most(limits));
        let usual = limits.upload_bytes_max.saturating_mul(2);
        let bytes = announced.unwrap_or(usual).max(REST_BYTES_MAX);
        let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
        self.millis.store(millis, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Release);
    }

    /// Bytes that may still come, and in which time.
    fn left(&self) -> Option<(u64, Duration)> {
        let bytes = self.bytes.load(Ordering::Acquire);
        let millis = self.millis.load(Ordering::Relaxed);
        (bytes > 0).then(|| (bytes, Duration::from_millis(millis)))
    }
}

/// Answers a request and sees to its body. `unread` is told when the connection must linger.
pub(crate) async fn answer(app: &App, request: Request<Incoming>, unread: &Unread) -> Response {
    if request.body().is_end_stream() || request.version() >= Version::HTTP_2 {
        return app.handle(request.map(Body::new)).await;
    }
    let expects = request.headers().contains_key(EXPECT);
    let announced = request.body().size_hint().upper();
    let longest = upload::time_allowed(&app.context().limits, request.headers());
    let (back, mut returned) = oneshot::channel();
    let lend = |body| {
        Body::new(Lent {
            body: Some(body),
            asked: !expects,
            back: Some(back),
        })
    };
    let mut response = app.handle(request.map(lend)).await;
    // Whoever still has it reads it to its end.
    let Ok(Rest { mut body, asked }) = returned.try_recv() else {
        return response;
    };
    let limits = &app.context().limits;
    if !asked || !read_rest(&mut body, limits.body_stall_timeout).await {
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        unread.leave(limits, announced, longest);
    }
    response
}

/// Throws the rest of a body away; whether that was all of it.
async fn read_rest(body: &mut Incoming, patience: Duration) -> bool {
    if body.size_hint().lower() > REST_BYTES_MAX {
        return false;
    }
    let deadline = Instant::now() + patience;
    let mut gone = 0_u64;
    while gone <= REST_BYTES_MAX {
        match timeout_at(deadline, body.frame()).await {
            Ok(None) => return true,
            Ok(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                gone = gone.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            }
            Ok(Some(Err(_))) | Err(_) => return false,
        }
    }
    false
}

/// A body that was not read to its end.
#[derive(Debug)]
struct Rest {
    body: Incoming,
    /// Whether the client was asked for it.
    asked: bool,
}

/// A body that comes back when it is dropped early.
#[derive(Debug)]
struct Lent {
    body: Option<Incoming>,
    asked: bool,
    back: Option<oneshot::Sender<Rest>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (asked, body) = (self.asked, self.body.take());
        if let Some(body) = body.filter(|body| !body.is_end_stream())
            && let Some(back) = self.back.take()
        {
            // Where nobody waits for it any more, it is dropped.
            drop(back.send(Rest { body, asked }));
        }
    }
}

impl hyper::body::Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        // hyper asks the client as soon as somebody wants to read.
        self.asked = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// A connection that, when a body was left unread, is closed in two steps: first what is sent, then,
/// when the client has closed too or has had its time, the rest.
#[derive(Debug)]
pub(crate) struct Lingering<S> {
    inner: S,
    unread: Arc<Unread>,
    /// Silence after which the client has had its time.
    patience: Duration,
    /// Since the first step: when the time is over, now and at the latest, and how much may still come.
    closing: Option<Closing>,
}

#[derive(Debug)]
struct Closing {
    over: Pin<Box<Sleep>>,
    latest: Instant,
    bytes_left: u64,
}

impl<S> Lingering<S> {
    /// The connection, and what says that a body was left unread.
    pub(crate) fn new(inner: S, limits: &Limits) -> (Self, Arc<Unread>) {
        let unread = Arc::<Unread>::default();
        let lingering = Self {
            inner,
            unread: Arc::clone(&unread),
            patience: limits.body_stall_timeout,
            closing: None,
        };
        (lingering, unread)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Lingering<S> {
    /// Throws away what comes, to the end of it or of a bound. An error is an end.
    fn poll_silence(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let Some(closing) = &mut self.closing else {
            return Poll::Ready(());
        };
        let mut space = [0; PIECE_BYTES];
        loop {
            if closing.over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut piece = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut piece));
            let length = u64::try_from(piece.filled().len()).unwrap_or(u64::MAX);
            if read.is_err() || length == 0 || length > closing.bytes_left {
                return Poll::Ready(());
            }
            closing.bytes_left -= length;
            let next = Instant::now() + self.patience;
            closing.over.as_mut().reset(next.min(closing.latest));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            let Some((bytes_left, longest)) = self.unread.left() else {
                return Poll::Ready(Ok(()));
            };
            let now = Instant::now();
            let over = Box::pin(sleep_until(now + self.patience.min(longest)));
            self.closing = Some(Closing {
                over,
                latest: now + longest,
                bytes_left,
            });
        }
        self.poll_silence(cx).map(Ok)
    }

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

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}
