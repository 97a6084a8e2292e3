//! Binding: all addresses or none, with messages that say what to do.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tracing::debug;

use super::Options;

/// Rounds of binding when port 0 is asked for and UDP's port is taken on TCP.
const PORT_ATTEMPTS_MAX: usize = 16;
const TCP_BACKLOG: i32 = 256;
/// What the kernel may hold of queries that wait for their socket's task.
const UDP_RECEIVE_BYTES: usize = 1024 * 1024;

/// Why the server cannot start.
#[derive(Debug, Error)]
pub enum BindError {
    /// Nothing to listen on.
    #[error("no address for DNS is configured; set dns.ip or switch dns.active off")]
    NoAddress,
    /// Ports below 1024 need a capability.
    #[error(
        "DNS may not listen on {protocol} {address}: ports below 1024 need the capability \
         CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE), or use a port \
         from 1024 on and forward port 53 to it"
    )]
    Privileged {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Another program listens there.
    #[error(
        "DNS cannot listen on {protocol} {address}: another program does (find it with \
         `ss -lnup` and `ss -lntp`; often it is systemd-resolved on port 53)"
    )]
    InUse {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The machine does not have the address.
    #[error("DNS cannot listen on {protocol} {address}: this machine has no such address")]
    NoSuchAddress {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("DNS cannot listen on {protocol} {address}")]
    Other {
        /// `udp` or `tcp`.
        protocol: &'static str,
        /// As configured.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl BindError {
    fn new(protocol: &'static str, address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::PermissionDenied if address.port() < 1024 => Self::Privileged {
                protocol,
                address,
                source,
            },
            ErrorKind::AddrInUse => Self::InUse {
                protocol,
                address,
                source,
            },
            ErrorKind::AddrNotAvailable => Self::NoSuchAddress {
                protocol,
                address,
                source,
            },
            _ => Self::Other {
                protocol,
                address,
                source,
            },
        }
    }
}

/// A socket and the address it has.
#[derive(Debug)]
pub(super) struct Bound<S> {
    pub(super) socket: S,
    pub(super) address: SocketAddr,
}

/// All sockets of a server.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: Vec<Bound<UdpSocket>>,
    pub(super) tcp: Vec<Bound<TcpListener>>,
}

impl Sockets {
    pub(super) fn bind(options: &Options) -> Result<Self, BindError> {
        if options.udp.is_empty() && options.tcp.is_empty() {
            return Err(BindError::NoAddress);
        }
        let chooses = options
            .udp
            .iter()
            .chain(&options.tcp)
            .any(|address| address.port() == 0);
        let attempts = if chooses { PORT_ATTEMPTS_MAX } else { 1 };
        for _ in 1..attempts {
            match Self::bind_once(options) {
                Err(BindError::InUse { .. }) => {}
                other => return other,
            }
        }
        Self::bind_once(options)
    }

    fn bind_once(options: &Options) -> Result<Self, BindError> {
        let mut udp = Vec::new();
        let mut chosen = Vec::new();
        for wanted in &options.udp {
            let first = udp.len();
            bind_udp(*wanted, options.sockets_per_address, &mut udp)
                .map_err(|source| BindError::new("udp", *wanted, source))?;
            if let (0, Some(bound)) = (wanted.port(), udp.get(first)) {
                chosen.push(bound.address);
            }
        }
        let mut tcp = Vec::new();
        for wanted in &options.tcp {
            let mut address = *wanted;
            if address.port() == 0
                && let Some(place) = chosen.iter().position(|udp| udp.ip() == address.ip())
            {
                // Each of UDP's ports is taken once: there may be several on one address.
                address = chosen.remove(place);
            }
            let socket =
                bind_tcp(address).map_err(|source| BindError::new("tcp", address, source))?;
            tcp.push(socket);
        }
        Ok(Self { udp, tcp })
    }

    pub(super) fn udp_addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.udp.iter().map(|bound| bound.address).collect();
        addresses.dedup();
        addresses
    }

    pub(super) fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().map(|bound| bound.address).collect()
    }
}

/// Binds the UDP sockets of one address.
fn bind_udp(
    wanted: SocketAddr,
    sockets: usize,
    bound: &mut Vec<Bound<UdpSocket>>,
) -> io::Result<()> {
    let sockets = if cfg!(target_os = "linux") {
        sockets.max(1)
    } else {
        1
    };
    if sockets == 1 {
        let socket = udp_socket(wanted, false)?;
        let address = socket.local_addr()?;
        bound.push(Bound { socket, address });
        return Ok(());
    }
    // SO_REUSEPORT would let a second server of the same user share the port and take half of the
    // queries without anyone noticing. One socket without it finds out, and chooses the port.
    let probe = udp_socket(wanted, false)?;
    let address = probe.local_addr()?;
    drop(probe);
    for _ in 0..sockets {
        bound.push(Bound {
            socket: udp_socket(address, true)?,
            address,
        });
    }
    Ok(())
}

fn udp_socket(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    #[cfg(target_os = "linux")]
    if shared {
        socket.set_reuse_port(true)?;
    }
    #[cfg(not(target_os = "linux"))]
    debug_assert!(!shared);
    if let Err(error) = socket.set_recv_buffer_size(UDP_RECEIVE_BYTES) {
        debug!(%error, "the receive buffer of a dns socket keeps the system's size");
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound<TcpListener>> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for the connections of the last run to be forgotten.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(TCP_BACKLOG)?;
    let socket: TcpListener = socket.into();
    let address = socket.local_addr()?;
    Ok(Bound { socket, address })
}
