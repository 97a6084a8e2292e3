//! The peer of names: nsd, an authoritative server that does nothing else and is known for its
//! speed. Used where it is installed, never downloaded.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use homecore_harness::{Ports, Process, fatal, wait_until};

use crate::names::{Expected, ask};

/// Where systems put it; the second is not in everybody's `PATH`.
const PLACES: [&str; 4] = [
    "/usr/bin/nsd",
    "/usr/sbin/nsd",
    "/usr/local/sbin/nsd",
    "/opt/homebrew/sbin/nsd",
];
/// As many processes as a core has UDP sockets.
const SERVERS: usize = 2;

/// Where it is, if it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// One that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Nsd {
    process: Process,
    address: SocketAddr,
    _ports: Ports,
}

impl Nsd {
    /// Starts one that knows these names of a domain, and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) async fn start(
        program: &Path,
        directory: &Path,
        domain: &str,
        names: &[String],
    ) -> anyhow::Result<Self> {
        let ports = Ports::lease(1)?;
        let address = ports.address(0)?;
        let config = directory.join("nsd.conf");
        write(&directory.join("zone"), &zone(domain, names)?)?;
        write(&config, &configuration(directory, domain, address)?)?;
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(&config);
        let mut process = Process::start("nsd", command, directory)?;
        let probe = names.first().context("a zone without names")?;
        wait_until(Duration::from_secs(20), "nsd answers", async || {
            if let Some(status) = process.exited()? {
                return Err(fatal(format!("it ended: {status}: {}", process.log_tail())));
            }
            ask(address, probe, Expected::Hit).await.map(Some)
        })
        .await?;
        Ok(Self {
            process,
            address,
            _ports: ports,
        })
    }

    /// Where it answers.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process group.
    pub(crate) fn group(&self) -> u32 {
        self.process.id()
    }
}

/// Writes a file that a name server reads.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// A zone file with these names.
///
/// # Errors
/// Never: a string takes everything.
pub(crate) fn zone(domain: &str, names: &[String]) -> anyhow::Result<String> {
    let mut text = format!(
        "$ORIGIN {domain}.\n$TTL 300\n@ IN SOA ns.{domain}. admin.{domain}. 1 3600 600 86400 60\n\
         @ IN NS ns.{domain}.\nns IN A 127.0.0.1\n"
    );
    for name in names {
        writeln!(text, "{name}. IN A 127.0.0.1")?;
    }
    Ok(text)
}

fn configuration(directory: &Path, domain: &str, address: SocketAddr) -> anyhow::Result<String> {
    let directory = directory
        .to_str()
        .context("a temporary directory whose path is no text")?;
    Ok(format!(
        "server:\n  ip-address: {}@{}\n  server-count: {SERVERS}\n  reuseport: yes\n  \
         username: \"\"\n  chroot: \"\"\n  zonesdir: \"{directory}\"\n  database: \"\"\n  \
         pidfile: \"{directory}/nsd.pid\"\n  xfrdfile: \"{directory}/xfrd.state\"\n  \
         zonelistfile: \"{directory}/zone.list\"\n  xfrdir: \"{directory}\"\n  rrl-ratelimit: 0\n\
         remote-control:\n  control-enable: no\n\
         zone:\n  name: \"{domain}\"\n  zonefile: \"{directory}/zone\"\n",
        address.ip(),
        address.port()
    ))
}
