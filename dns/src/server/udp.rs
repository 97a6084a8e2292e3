//! The task of one UDP socket.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Worker;
use crate::handler::Transport;
use crate::stats::count;

/// A query has one question; what is longer than this is cut by the kernel and then malformed.
const QUERY_BYTES_MAX: usize = 4_096;
const REPLY_BYTES: usize = 2_048;
/// Packets answered before other tasks get their turn.
const BATCH: usize = 64;
/// Rest after an error that is not a single packet's, so that it cannot become a busy loop.
const ERROR_PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn serve(socket: UdpSocket, worker: Worker, stop: CancellationToken) {
    let mut query = vec![0; QUERY_BYTES_MAX];
    let mut reply = Vec::with_capacity(REPLY_BYTES);
    let mut stopped = std::pin::pin!(stop.cancelled());
    loop {
        let ready = tokio::select! {
            biased;
            () = &mut stopped => return,
            ready = socket.readable() => ready,
        };
        let outcome = ready.and_then(|()| drain(&socket, &worker, &mut query, &mut reply));
        match outcome {
            Ok(()) => {}
            Err(error) if is_of_one_packet(&error) => {}
            Err(error) => {
                warn!(%error, "a dns socket cannot be read");
                tokio::select! {
                    () = &mut stopped => return,
                    () = tokio::time::sleep(ERROR_PAUSE) => {}
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Answers what is there, up to a batch.
fn drain(
    socket: &UdpSocket,
    worker: &Worker,
    query: &mut [u8],
    reply: &mut Vec<u8>,
) -> io::Result<()> {
    for _ in 0..BATCH {
        let (len, from) = match socket.try_recv_from(query) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        if !can_be_answered(from) {
            count(&worker.stats.ignored);
            continue;
        }
        worker.respond(
            query.get(..len).unwrap_or_default(),
            from,
            Transport::Udp,
            reply,
        );
        // An answer that does not fit the send buffer now is worth less than the next query.
        if !reply.is_empty() && socket.try_send_to(reply, from).is_err() {
            count(&worker.stats.send_failed);
        }
    }
    Ok(())
}

/// The sender can be an address of a host, and not a service that would answer our answer.
fn can_be_answered(from: SocketAddr) -> bool {
    let host = match from.ip() {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast()),
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast()),
    };
    host && from.port() != 0
}

/// Errors that a socket reports about an earlier answer of ours.
fn is_of_one_packet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::Interrupted
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}
