//! One accepted connection of another core: holds its slot as long as it lives, and, of a caller
//! without a certificate, lives no longer than joining takes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use homecore_raft::Presence;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

/// A TLS connection with what bounds it.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    _slot: OwnedSemaphorePermit,
    end: Option<Pin<Box<Sleep>>>,
    _presence: Option<Presence>,
}

impl Connection {
    /// Of a core whose certificate was accepted.
    pub(super) fn of_core(
        stream: TlsStream<TcpStream>,
        slot: OwnedSemaphorePermit,
        presence: Presence,
    ) -> Self {
        Self {
            stream,
            _slot: slot,
            end: None,
            _presence: Some(presence),
        }
    }

    /// Of a caller without a certificate, until `end`.
    pub(super) fn of_stranger(
        stream: TlsStream<TcpStream>,
        slot: OwnedSemaphorePermit,
        end: Sleep,
    ) -> Self {
        Self {
            stream,
            _slot: slot,
            end: Some(Box::pin(end)),
            _presence: None,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = <TlsStream<TcpStream> as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(end) = &mut self.end
            && end.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "a caller without a certificate took too long",
            )));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
