//! TCP: the accepting task and the connections (RFC 7766).
//!
//! Who holds connections open holds them from others, so there is a limit for each network besides
//! the one for all, and the time without a query shrinks when most are taken.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{SHUTDOWN_GRACE, Worker};
use crate::handler::Transport;
use crate::stats::{Stats, count};

/// Longest query; the connection of a longer one is closed.
const QUERY_BYTES_MAX: usize = 4_096;
/// A client that has begun a query must send it whole, and must take its answer, within this time,
/// or within the idle time if that is shorter.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);
/// Queries on one connection; the client opens another for more.
const QUERIES_PER_CONNECTION_MAX: usize = 10_000;
const READ_BUFFER_BYTES: usize = 1_024;
/// Rest after a failed accept: the usual cause, too many open files, does not pass at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// An idle connection looks up this often before its time is over, and ends sooner when three of
/// four connections are taken.
const IDLE_SLICES: u32 = 10;

/// How many connections, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) per_network_max: usize,
    pub(super) idle: Duration,
}

/// The connections open now, of all listeners together.
#[derive(Debug)]
pub(super) struct Connections {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_network: BTreeMap<u64, usize>,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            open: Mutex::default(),
        })
    }

    /// A place for a connection, if there is one.
    fn enter(self: &Arc<Self>, from: IpAddr, stats: &Arc<Stats>) -> Option<Place> {
        let network = network(from);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = open.by_network.get(&network).copied().unwrap_or(0);
        if open.total >= self.limits.connections_max || theirs >= self.limits.per_network_max {
            return None;
        }
        open.total = open.total.saturating_add(1);
        open.by_network.insert(network, theirs.saturating_add(1));
        drop(open);
        count(&stats.tcp_open);
        Some(Place {
            connections: Arc::clone(self),
            stats: Arc::clone(stats),
            network,
        })
    }

    fn leave(&self, network: u64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        let left = open
            .by_network
            .get(&network)
            .copied()
            .unwrap_or(0)
            .saturating_sub(1);
        if left == 0 {
            open.by_network.remove(&network);
        } else {
            open.by_network.insert(network, left);
        }
    }

    /// Most places are taken.
    fn is_pressed(&self) -> bool {
        let total = self
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .total;
        total.saturating_mul(4) > self.limits.connections_max.saturating_mul(3)
    }
}

/// A place among the connections, given back when dropped.
#[derive(Debug)]
struct Place {
    connections: Arc<Connections>,
    stats: Arc<Stats>,
    network: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.leave(self.network);
        self.stats
            .tcp_open
            .fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The /24 or /56 of an address; the top bit tells the families apart.
fn network(from: IpAddr) -> u64 {
    match from.to_canonical() {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
        IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 72).unwrap_or(0) | (1 << 63),
    }
}

pub(super) async fn serve(
    listener: TcpListener,
    connections: Arc<Connections>,
    worker: Worker,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let mut stopped = std::pin::pin!(stop.cancelled());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopped => break,
            Some(_ended) = tasks.join_next(), if !tasks.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                let Some(place) = connections.enter(from.ip(), &worker.stats) else {
                    count(&worker.stats.tcp_rejected);
                    continue;
                };
                count(&worker.stats.tcp_accepted);
                tasks.spawn(connection(
                    stream,
                    from,
                    place,
                    worker.clone(),
                    stop.clone(),
                ));
            }
            Err(error) => {
                warn!(%error, "a dns connection cannot be accepted");
                tokio::select! {
                    () = &mut stopped => break,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if timeout(SHUTDOWN_GRACE, drained).await.is_err() {
        tasks.shutdown().await;
    }
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    place: Place,
    worker: Worker,
    stop: CancellationToken,
) {
    if let Err(error) = converse(stream, from, &place, &worker, &stop).await {
        debug!(%error, "a dns connection ended early");
    }
}

/// Answers the queries of one connection, one after the other.
async fn converse(
    stream: TcpStream,
    from: SocketAddr,
    place: &Place,
    worker: &Worker,
    stop: &CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, reader);
    let mut query = Vec::new();
    let mut reply = Vec::new();
    let mut framed = Vec::new();
    let patience = TRANSFER_TIMEOUT.min(place.connections.limits.idle);
    for _ in 0..QUERIES_PER_CONNECTION_MAX {
        let begun = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            begun = has_begun(&mut reader, &place.connections) => begun?,
        };
        if !begun {
            return Ok(());
        }
        let len = usize::from(timeout(patience, reader.read_u16()).await??);
        if len > QUERY_BYTES_MAX {
            return Ok(());
        }
        query.resize(len, 0);
        timeout(patience, reader.read_exact(&mut query)).await??;
        worker.respond(&query, from, Transport::Tcp, &mut reply);
        // Whatever is not to be answered at all is not a client.
        let Ok(len) = u16::try_from(reply.len()) else {
            return Ok(());
        };
        if len == 0 {
            return Ok(());
        }
        // Length and message in one write, so that they leave in one segment (RFC 7766 §8).
        framed.clear();
        framed.extend_from_slice(&len.to_be_bytes());
        framed.extend_from_slice(&reply);
        timeout(patience, writer.write_all(&framed)).await??;
    }
    Ok(())
}

/// Waits for the first byte of a query; false when the connection is at its end or idle too long.
/// Nothing is taken from the reader, so that giving up in the middle loses nothing.
async fn has_begun(
    reader: &mut BufReader<OwnedReadHalf>,
    connections: &Connections,
) -> io::Result<bool> {
    let slice = connections.limits.idle / IDLE_SLICES;
    for _ in 0..IDLE_SLICES {
        match timeout(slice, reader.fill_buf()).await {
            Ok(bytes) => return Ok(!bytes?.is_empty()),
            Err(_elapsed) if connections.is_pressed() => return Ok(false),
            Err(_elapsed) => {}
        }
    }
    Ok(false)
}
