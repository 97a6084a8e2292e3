//! The sockets: everything that is bounded, is bounded here.
//!
//! A UDP socket has one task, which reads, answers and sends in turn: an answer is a few
//! microseconds of CPU, so a task for each packet would only be a queue without an end. Where that
//! is not enough there are several sockets on one address (`SO_REUSEPORT`), among which the kernel
//! spreads the clients. When packets come faster than they are answered they are lost in the
//! kernel's buffer, which is what a DNS client expects. TCP has a bounded number of connections,
//! in all and for each network; each is served in order, with a time limit on every wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homecore_types::{Entropy, SystemEntropy, limits};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::handler::{Handler, Transport};
use crate::limit::{Limiter, RateLimit};
use crate::source::ZoneSource;
use crate::stats::Stats;

mod bind;
mod tcp;
mod udp;

pub use bind::BindError;
use bind::Sockets;

/// How long connections may take to end once the server is told to stop.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Addresses for UDP. On a machine with several addresses name each instead of `0.0.0.0`: the
    /// kernel chooses the sender of an answer, and may choose another than was asked.
    pub udp: Vec<SocketAddr>,
    /// Addresses for TCP. Port 0 takes the port that UDP got on the same address.
    pub tcp: Vec<SocketAddr>,
    /// UDP sockets for each address; more than one on Linux only.
    pub sockets_per_address: usize,
    /// TCP connections open at once.
    pub tcp_connections_max: usize,
    /// TCP connections open at once from one network (/24, /56).
    pub tcp_connections_per_network_max: usize,
    /// A connection without a query for this long is closed; sooner when most are taken.
    pub tcp_idle: Duration,
    /// The rate limit; `None` is none.
    pub rate_limit: Option<RateLimit>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            udp: Vec::new(),
            tcp: Vec::new(),
            sockets_per_address: 2,
            tcp_connections_max: limits::DNS_TCP_CONNECTIONS_MAX,
            tcp_connections_per_network_max: limits::DNS_TCP_CONNECTIONS_MAX / 8,
            tcp_idle: limits::DNS_TCP_IDLE,
            rate_limit: Some(RateLimit::default()),
        }
    }
}

/// Why a server that was running stopped.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A socket could not be handed to the runtime.
    #[error("a DNS socket cannot be served")]
    Register(#[source] std::io::Error),
    /// A task ended although nobody told it to.
    #[error("a task of the DNS server ended")]
    Task(#[source] Option<tokio::task::JoinError>),
}

/// A server whose sockets are bound.
#[derive(Debug)]
pub struct Server {
    sockets: Sockets,
    worker: Worker,
    limits: tcp::Limits,
}

/// What every task of the server shares.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    handler: Arc<Handler>,
    stats: Arc<Stats>,
    started: Instant,
}

impl Worker {
    fn respond(&self, message: &[u8], from: SocketAddr, transport: Transport, reply: &mut Vec<u8>) {
        let now_us = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.handler
            .respond(message, from, transport, now_us, reply);
    }
}

impl Server {
    /// Binds every address, or none. Nothing is answered before [`Server::serve`].
    ///
    /// # Errors
    /// [`BindError`] names the address, and what to do where that is known.
    pub fn bind(options: &Options, source: Arc<dyn ZoneSource>) -> Result<Self, BindError> {
        let sockets = Sockets::bind(options)?;
        let mut seed = [0_u8; 8];
        SystemEntropy.fill(&mut seed);
        let seed = u64::from_be_bytes(seed);
        let limiter = options.rate_limit.map(|limit| Limiter::new(limit, seed));
        let stats = Arc::new(Stats::default());
        let handler = Arc::new(Handler::new(source, limiter, Arc::clone(&stats)));
        for (protocol, addresses) in [
            ("udp", sockets.udp_addresses()),
            ("tcp", sockets.tcp_addresses()),
        ] {
            for address in addresses {
                info!(protocol, %address, "dns bound");
            }
        }
        Ok(Self {
            sockets,
            worker: Worker {
                handler,
                stats,
                started: Instant::now(),
            },
            limits: tcp::Limits {
                connections_max: options.tcp_connections_max.max(1),
                per_network_max: options.tcp_connections_per_network_max.max(1),
                idle: options.tcp_idle,
            },
        })
    }

    /// The UDP addresses, with the ports that were given for port 0.
    #[must_use]
    pub fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.udp_addresses()
    }

    /// The TCP addresses, likewise.
    #[must_use]
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.tcp_addresses()
    }

    /// The counters, which live on while the server serves.
    #[must_use]
    pub fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.worker.stats)
    }

    /// Answers until `shutdown` is cancelled; connections then end after the query they are at.
    ///
    /// # Errors
    /// When a task ends that should not. All others are stopped then too.
    pub async fn serve(self, shutdown: CancellationToken) -> Result<(), ServeError> {
        let stop = shutdown.child_token();
        let mut tasks = JoinSet::new();
        for socket in self.sockets.udp {
            let socket =
                tokio::net::UdpSocket::from_std(socket.socket).map_err(ServeError::Register)?;
            tasks.spawn(udp::serve(socket, self.worker.clone(), stop.clone()));
        }
        let connections = tcp::Connections::new(self.limits);
        for listener in self.sockets.tcp {
            let listener =
                tokio::net::TcpListener::from_std(listener.socket).map_err(ServeError::Register)?;
            let connections = Arc::clone(&connections);
            tasks.spawn(tcp::serve(
                listener,
                connections,
                self.worker.clone(),
                stop.clone(),
            ));
        }

        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            if !stop.is_cancelled() {
                warn!("a task of the dns server ended by itself");
                outcome = Err(ServeError::Task(ended.err()));
                stop.cancel();
            }
        }
        info!("dns stopped");
        outcome
    }
}
