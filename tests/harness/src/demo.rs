//! A whole cluster by one command: `homecore demo`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use homecore_client::Client;
use homecore_types::Secret;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tempfile::TempDir;

use crate::binary::find_binary;
use crate::ports::Ports;
use crate::process::{Process, tail_of};
use crate::wait::{fatal, wait_until};

/// HTTP and DNS each have this many ports.
const CORES_MAX: u16 = crate::ports::PORTS_AT_ONCE_MAX / 2;

/// What demo to start.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// How many cores, at most eight.
    pub cores: u16,
    /// Where to keep everything; a temporary directory if not said.
    pub dir: Option<PathBuf>,
    /// Whether to put the sample users and recording in.
    pub sample: bool,
    /// How long it may take until all cores are ready.
    pub within: Duration,
    /// The binary; looked for if not said.
    pub binary: Option<PathBuf>,
}

impl DemoOptions {
    /// A demo of so many cores, without sample.
    #[must_use]
    pub fn cores(cores: u16) -> Self {
        Self {
            cores,
            dir: None,
            sample: false,
            within: Duration::from_secs(60),
            binary: None,
        }
    }
}

/// One core of a demo.
#[derive(Clone, Debug, Deserialize)]
pub struct DemoCore {
    /// Its name.
    pub id: String,
    /// Where apps reach it; ends in a slash.
    pub url: String,
    /// Its process.
    pub pid: i32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    ready: bool,
    domain: String,
    dns: Option<String>,
    admin_key: Secret,
    dir: PathBuf,
    cores: Vec<DemoCore>,
}

/// A running demo, ended when dropped.
#[derive(Debug)]
pub struct Demo {
    ready: Ready,
    // Fields are dropped in this order: the processes first, then what they used.
    process: Process,
    _ports: Ports,
    _dir: Option<TempDir>,
}

impl Demo {
    /// Starts a demo and waits until it says that it is ready. Core `i` serves at the `i`-th of
    /// eight ports that belong to this demo, and answers DNS at the `i`-th of eight more.
    ///
    /// # Errors
    /// When there is no binary, or the demo ends or takes too long; with the end of its log.
    pub async fn start(options: DemoOptions) -> anyhow::Result<Self> {
        ensure!(
            options.cores <= CORES_MAX,
            "{} cores: at most {CORES_MAX}",
            options.cores
        );
        let binary = match options.binary {
            Some(binary) => binary,
            None => find_binary()?,
        };
        let temporary = match options.dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("cannot make a temporary directory")?),
        };
        let dir = match (&options.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(dir)) => dir.path().join("demo"),
            (None, None) => bail!("no directory for the demo"),
        };
        let logs = temporary.as_ref().map_or(dir.as_path(), TempDir::path);
        std::fs::create_dir_all(logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let ports = Ports::lease(crate::ports::PORTS_AT_ONCE_MAX)?;
        let mut command = Command::new(binary);
        command
            .args(["demo", "--json", "--cores", &options.cores.to_string()])
            .args(["--port", &ports.first().to_string()])
            .args(["--dns-port", &ports.port(CORES_MAX)?.to_string()])
            .arg("--dir")
            .arg(&dir);
        if !options.sample {
            command.arg("--no-sample");
        }
        let mut process = Process::start("demo", command, logs)?;
        let ready = wait_for_ready(&mut process, options.within).await;
        let ready = ready.with_context(|| logs_of(&process, &dir))?;
        if ready.cores.len() != usize::from(options.cores) {
            bail!(
                "asked for {} cores, got {}",
                options.cores,
                ready.cores.len()
            );
        }
        Ok(Self {
            ready,
            process,
            _ports: ports,
            _dir: temporary,
        })
    }

    /// The platform's domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.ready.domain
    }

    /// Where DNS is answered, `ADDR:PORT`.
    #[must_use]
    pub fn dns(&self) -> Option<&str> {
        self.ready.dns.as_deref()
    }

    /// The administrators' key.
    #[must_use]
    pub fn admin_key(&self) -> &Secret {
        &self.ready.admin_key
    }

    /// Where the demo keeps everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.ready.dir
    }

    /// The cores.
    #[must_use]
    pub fn cores(&self) -> &[DemoCore] {
        &self.ready.cores
    }

    /// A core by its index.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn core(&self, index: usize) -> anyhow::Result<&DemoCore> {
        let count = self.ready.cores.len();
        self.ready
            .cores
            .get(index)
            .with_context(|| format!("core {index} of {count}"))
    }

    /// A client that asks the core at an index first.
    ///
    /// # Errors
    /// When there are fewer cores.
    pub fn client(&self, index: usize) -> anyhow::Result<Client> {
        Ok(Client::new(&self.core(index)?.url)?)
    }

    /// Signals one core by its process id: `KILL` for a power cut, `STOP` and `CONT` for a machine
    /// that hangs. Do not signal a core again after it has ended: the id may be another's by then.
    ///
    /// # Errors
    /// When there is no such core or process.
    pub fn signal(&self, index: usize, signal: Signal) -> anyhow::Result<()> {
        let core = self.core(index)?;
        let pid = Pid::from_raw(core.pid).filter(|pid| !pid.is_init());
        let pid = pid.with_context(|| format!("{} has no process id", core.id))?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {}", core.id))
    }

    /// The ends of the logs of the demo and of each core, for messages.
    #[must_use]
    pub fn log_tail(&self) -> String {
        logs_of(&self.process, &self.ready.dir)
    }

    /// The process that runs the demo.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Demo {
    #[expect(
        clippy::print_stderr,
        reason = "the logs of a failed test belong to its output"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tail());
        }
    }
}

/// The cores of a demo log to `{dir}/{core}/log`.
fn logs_of(process: &Process, dir: &Path) -> String {
    let mut logs = vec![process.log_tail()];
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path().join("log")).collect();
    paths.sort();
    logs.extend(
        paths
            .iter()
            .filter(|path| path.is_file())
            .map(|path| tail_of(path)),
    );
    logs.join("\n")
}

/// The demo prints one line of JSON when it is ready.
async fn wait_for_ready(process: &mut Process, within: Duration) -> anyhow::Result<Ready> {
    wait_until(within, "the demo's ready line", async || {
        // Whether it ended is asked first: what it printed before is complete then.
        let ended = process.exited()?;
        let printed = process.stdout()?;
        let complete = printed
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        for line in complete.filter(|line| line.starts_with('{')) {
            let ready: Ready = serde_json::from_str(line)
                .map_err(|error| fatal(format!("it is not understood: {error}: {line}")))?;
            if ready.ready {
                return Ok(Some(ready));
            }
        }
        match ended {
            Some(status) => Err(fatal(format!(
                "the demo ended before it was ready: {status}"
            ))),
            None => Ok(None),
        }
    })
    .await
}

#[cfg(test)]
mod tests;
