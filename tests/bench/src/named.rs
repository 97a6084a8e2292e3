//! A third peer of names: BIND, what most zones are served with. Used where it is installed, never
//! downloaded.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use homecore_harness::{Ports, Process, fatal, wait_until};

use crate::names::{Expected, ask};
use crate::nsd::{write, zone};

const PLACES: [&str; 3] = ["/usr/sbin/named", "/usr/bin/named", "/usr/local/sbin/named"];
/// As many threads as a core has UDP sockets.
const THREADS: &str = "2";

/// Where it is, if it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// One that runs, until dropped.
#[derive(Debug)]
pub(crate) struct Named {
    process: Process,
    address: SocketAddr,
    _ports: Ports,
}

impl Named {
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
        let config = directory.join("named.conf");
        write(&directory.join("named.zone"), &zone(domain, names)?)?;
        write(&config, &configuration(place, domain, address))?;
        let mut command = Command::new(program);
        // In the foreground, and what it says to standard error.
        command
            .arg("-g")
            .args(["-n", THREADS])
            .arg("-c")
            .arg(&config);
        let mut process = Process::start("named", command, directory)?;
        let probe = names.first().context("a zone without names")?;
        wait_until(Duration::from_secs(20), "BIND answers", async || {
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
        "options {{\n    directory \"{directory}\";\n    listen-on port {} {{ {}; }};\n    \
         listen-on-v6 {{ none; }};\n    recursion no;\n    dnssec-validation no;\n    notify no;\n    \
         minimal-responses yes;\n    pid-file none;\n    \
         session-keyfile \"{directory}/named.key\";\n    \
         managed-keys-directory \"{directory}\";\n}};\ncontrols {{ }};\n\
         zone \"{domain}\" {{\n    type primary;\n    file \"{directory}/named.zone\";\n}};\n",
        address.port(),
        address.ip()
    )
}
