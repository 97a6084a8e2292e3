//! A second peer of names: Knot DNS. Used where it is installed, never downloaded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use homecore_harness::{Ports, Process, fatal, wait_until};

use crate::names::{Expected, ask};
use crate::nsd::{write, zone};

const PLACES: [&str; 3] = ["/usr/sbin/knotd", "/usr/bin/knotd", "/usr/local/sbin/knotd"];
/// As many threads as a core has UDP sockets.
const WORKERS: usize = 2;

/// Where it is, if it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// One that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Knot {
    process: Process,
    address: SocketAddr,
    _ports: Ports,
}

impl Knot {
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
        let place = directory
            .to_str()
            .context("a temporary directory whose path is no text")?;
        let config = directory.join("knot.conf");
        write(&directory.join("knot.zone"), &zone(domain, names)?)?;
        write(&config, &configuration(place, domain, address))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&config);
        let mut process = Process::start("knot", command, directory)?;
        let probe = names.first().context("a zone without names")?;
        wait_until(Duration::from_secs(20), "Knot answers", async || {
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

fn configuration(directory: &str, domain: &str, address: SocketAddr) -> String {
    format!(
        "server:\n    rundir: \"{directory}\"\n    listen: {}@{}\n    udp-workers: {WORKERS}\n    \
         tcp-workers: 1\n    background-workers: 1\ndatabase:\n    storage: \"{directory}/knot-db\"\n\
         log:\n  - target: stderr\n    any: warning\n\
         zone:\n  - domain: {domain}\n    storage: \"{directory}\"\n    file: knot.zone\n    \
         zonefile-sync: -1\n    journal-content: none\n",
        address.ip(),
        address.port()
    )
}
