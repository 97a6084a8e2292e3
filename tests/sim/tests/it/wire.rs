//! One end of a simulated TCP connection.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use homecore_raft::{Caller, Presence};
use homecore_types::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::transport::server::Connected;

use crate::net::{Host, Net, RESEND};

/// Bytes under way in one direction: more have to wait.
const WINDOW: usize = 256 * 1024;

/// One direction of a connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    from: Host,
    to: Host,
    /// With the time of arrival, in order.
    under_way: VecDeque<(Instant, Segment)>,
    bytes: usize,
    last: Option<Instant>,
    /// Nobody reads any more.
    closed: bool,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
enum Segment {
    Data(Bytes),
    End,
    Reset,
}

impl Pipe {
    pub(crate) fn shared(from: Host, to: Host) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            from,
            to,
            under_way: VecDeque::new(),
            bytes: 0,
            last: None,
            closed: false,
            ended: false,
            reader: None,
            writer: None,
        }))
    }

    fn push(&mut self, arrival: Instant, segment: Segment) {
        let arrival = self.last.map_or(arrival, |last| last.max(arrival));
        self.last = Some(arrival);
        if let Segment::Data(data) = &segment {
            self.bytes += data.len();
        } else {
            self.ended = true;
        }
        self.under_way.push_back((arrival, segment));
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    /// The other side says that it knows nothing of the connection.
    pub(crate) fn reset(&mut self, arrival: Instant) {
        if !matches!(self.under_way.back(), Some((_, Segment::Reset))) {
            self.push(arrival, Segment::Reset);
        }
    }

    /// Loses what is under way.
    pub(crate) fn lose(&mut self) {
        self.under_way.clear();
        self.bytes = 0;
        self.last = None;
    }

    pub(crate) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

/// One end.
#[derive(Debug)]
pub(crate) struct Wire {
    net: Net,
    host: Host,
    life: u64,
    /// Who connected, as its certificate would say.
    caller: NodeId,
    input: Arc<Mutex<Pipe>>,
    output: Arc<Mutex<Pipe>>,
    was_reset: bool,
    pause: Pin<Box<Sleep>>,
    /// Where it was accepted: its end is noticed.
    presence: Option<Presence>,
}

impl Connected for Wire {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller(self.caller)
    }
}

impl Wire {
    pub(crate) fn new(
        net: &Net,
        (host, life): (Host, u64),
        caller: NodeId,
        input: Arc<Mutex<Pipe>>,
        output: Arc<Mutex<Pipe>>,
    ) -> Self {
        Self {
            net: net.clone(),
            host,
            life,
            caller,
            input,
            output,
            was_reset: false,
            pause: Box::pin(sleep_until(Instant::now())),
            presence: None,
        }
    }

    /// Holds what notices its end.
    pub(crate) fn held(mut self, presence: Presence) -> Self {
        self.presence = Some(presence);
        self
    }

    fn check(&self) -> io::Result<()> {
        if self.was_reset {
            Err(io::ErrorKind::ConnectionReset.into())
        } else if self.net.is_alive(self.host, self.life) {
            Ok(())
        } else {
            Err(io::ErrorKind::NetworkDown.into())
        }
    }

    /// What has arrived, as far as it has; or when to look again.
    fn arrived(&mut self, buffer: &mut ReadBuf<'_>) -> Arrived {
        let mut pipe = self.input.lock().unwrap();
        let now = Instant::now();
        let Pipe { from, to, .. } = *pipe;
        let Some((arrival, segment)) = pipe.under_way.front_mut() else {
            return Arrived::Nothing;
        };
        if *arrival > now {
            return Arrived::At(*arrival);
        }
        if self.net.is_cut(from, to) {
            return Arrived::At(now + RESEND);
        }
        let data = match segment {
            Segment::End => return Arrived::Read,
            Segment::Reset => {
                self.was_reset = true;
                self.net.trace.detail(format_args!("reset {from}>{to}"));
                return Arrived::Reset;
            }
            Segment::Data(data) => data,
        };
        let taken = data.len().min(buffer.remaining());
        buffer.put_slice(&data[..taken]);
        data.advance(taken);
        if data.is_empty() {
            pipe.under_way.pop_front();
        }
        pipe.bytes -= taken;
        self.net.trace.detail(format_args!("{from}>{to} {taken}"));
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        Arrived::Read
    }
}

enum Arrived {
    Read,
    Reset,
    At(Instant),
    Nothing,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            self.check()?;
            let at = match self.arrived(buffer) {
                Arrived::Read => return Poll::Ready(Ok(())),
                Arrived::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Arrived::At(at) => Some(at),
                Arrived::Nothing => None,
            };
            // Who crashes or resets wakes.
            self.input.lock().unwrap().reader = Some(cx.waker().clone());
            let Some(at) = at else { return Poll::Pending };
            self.pause.as_mut().reset(at);
            ready!(self.pause.as_mut().poll(cx));
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let mut pipe = self.output.lock().unwrap();
        if pipe.closed || pipe.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pipe.bytes >= WINDOW {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let arrival = Instant::now() + self.net.travel();
        pipe.push(arrival, Segment::Data(Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.check())
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.check().is_ok() {
            let mut pipe = self.output.lock().unwrap();
            if !pipe.ended {
                let arrival = Instant::now() + self.net.travel();
                pipe.push(arrival, Segment::End);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.check().is_err() {
            return;
        }
        let mut pipe = self.output.lock().unwrap();
        if !pipe.ended {
            let arrival = Instant::now() + self.net.travel();
            pipe.push(arrival, Segment::End);
        }
        drop(pipe);
        let mut pipe = self.input.lock().unwrap();
        pipe.closed = true;
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
    }
}
