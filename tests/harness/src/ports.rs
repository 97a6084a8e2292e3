//! Ports for the processes of a test. Tests run at the same time in many processes, and a port
//! that was free a moment ago may be another test's by now: so a block of ports is held by a lock
//! on a file, which the system releases when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context as _, bail, ensure};

/// How many ports one lease holds, at most.
pub const PORTS_AT_ONCE_MAX: u16 = 16;

/// Below the range that systems give to outgoing connections.
const FIRST: u16 = 20_000;
const BLOCKS: u16 = 600;

/// Neighbouring ports on the loopback address, free for TCP and UDP, held until dropped.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    count: u16,
    _lock: File,
}

impl Ports {
    /// Takes `count` neighbouring ports.
    ///
    /// # Errors
    /// When `count` is too large, or no block is free.
    pub fn lease(count: u16) -> anyhow::Result<Self> {
        let locks = std::env::temp_dir().join("homecore-test-ports");
        Self::lease_in(&locks, count)
    }

    fn lease_in(locks: &Path, count: u16) -> anyhow::Result<Self> {
        ensure!(
            (1..=PORTS_AT_ONCE_MAX).contains(&count),
            "{count} ports at once: a lease holds 1 to {PORTS_AT_ONCE_MAX}"
        );
        std::fs::create_dir_all(locks)
            .with_context(|| format!("cannot make {}", locks.display()))?;
        // Begin at another block in every process, so that most leases succeed at the first try.
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let process = u16::try_from(std::process::id() % u32::from(BLOCKS)).unwrap_or(0);
        for _ in 0..BLOCKS {
            let block = (process.wrapping_mul(7) + NEXT.fetch_add(1, Ordering::Relaxed)) % BLOCKS;
            let first = FIRST + block * PORTS_AT_ONCE_MAX;
            let path = locks.join(first.to_string());
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            if lock.try_lock().is_ok() && (first..first + count).all(is_free) {
                return Ok(Self {
                    first,
                    count,
                    _lock: lock,
                });
            }
        }
        bail!(
            "no {count} neighbouring ports are free from {FIRST} on; see {}",
            locks.display()
        )
    }

    /// The first port.
    #[must_use]
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The port at an index.
    ///
    /// # Errors
    /// When the lease has fewer.
    pub fn port(&self, index: u16) -> anyhow::Result<u16> {
        ensure!(
            index < self.count,
            "port {index} of a lease of {}",
            self.count
        );
        Ok(self.first + index)
    }

    /// The loopback address with the port at an index.
    ///
    /// # Errors
    /// When the lease has fewer.
    pub fn address(&self, index: u16) -> anyhow::Result<SocketAddr> {
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port(index)?)))
    }
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn leases_do_not_overlap_and_are_given_back() {
        let leases: Vec<Ports> = (0..40)
            .map(|_| Ports::lease(PORTS_AT_ONCE_MAX).unwrap())
            .collect();
        let ports: BTreeSet<u16> = leases
            .iter()
            .flat_map(|lease| (0..16).map(|i| lease.port(i).unwrap()))
            .collect();
        assert_eq!(ports.len(), 640);
        for port in ports {
            assert!(is_free(port));
        }
    }

    #[test]
    fn a_held_block_and_a_used_port_are_passed_over() {
        let locks = tempfile::tempdir().unwrap();
        let held = Ports::lease_in(locks.path(), 2).unwrap();
        let used = TcpListener::bind(held.address(1).unwrap()).unwrap();
        // Two more rounds than there are blocks: each would come by the held one.
        let mut others = Vec::new();
        for _ in 0..20 {
            let other = Ports::lease_in(locks.path(), 2).unwrap();
            assert_ne!(other.first(), held.first());
            others.push(other);
        }
        let first = held.first();
        drop(held);
        assert!(!is_free(first + 1), "free by the lock, but still used");
        drop(used);
        assert!(is_free(first + 1));
    }

    #[test]
    fn bounds_are_kept() {
        assert!(Ports::lease(0).is_err());
        assert!(Ports::lease(17).is_err());
        let lease = Ports::lease(3).unwrap();
        assert_eq!(lease.address(2).unwrap().port(), lease.first() + 2);
        assert!(lease.port(3).is_err());
    }
}
