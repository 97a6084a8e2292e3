//! One core as a process of its own, with a configuration that this file writes: for tests that
//! stop, kill and restart single machines.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use homecore_client::Client;
use serde_json::Value;

use crate::binary::find_binary;
use crate::http::Http;
use crate::network::Place;
use crate::ports::Ports;
use crate::process::{Process, run};
use crate::status::Status;
use crate::wait::{fatal, wait_until};

/// How long one command of the binary may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// What core to make.
#[derive(Clone, Debug)]
pub struct CoreOptions {
    /// Its name.
    pub id: String,
    /// Whether it founds the cluster when it first starts.
    pub found: bool,
    /// The administrators' key, for the founder; the others receive it.
    pub admin_key: Option<String>,
    /// The platform's domain; with it the core answers DNS.
    pub domain: Option<String>,
    /// Further keys, as for `--set`.
    pub set: Vec<String>,
    /// The binary; looked for if not said.
    pub binary: Option<PathBuf>,
    /// A machine of its own; else the loopback address of this one.
    pub place: Option<Place>,
}

impl CoreOptions {
    /// A core that founds a cluster.
    #[must_use]
    pub fn founder(id: &str, admin_key: &str) -> Self {
        let founder = Self {
            found: true,
            ..Self::member(id)
        };
        Self {
            admin_key: Some(admin_key.to_owned()),
            ..founder
        }
    }

    /// A core that is to join.
    #[must_use]
    pub fn member(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            found: false,
            admin_key: None,
            domain: None,
            set: Vec::new(),
            binary: None,
            place: None,
        }
    }
}

/// A core: its files, its ports and, while it runs, its process.
#[derive(Debug)]
pub struct Core {
    options: CoreOptions,
    binary: PathBuf,
    dir: PathBuf,
    // Ended before the ports are given back: fields are dropped in this order.
    process: Option<Process>,
    ports: Ports,
}

impl Core {
    /// Writes a core's configuration below `parent`; starts nothing.
    ///
    /// # Errors
    /// When there is no binary, no port, or the file cannot be written.
    pub fn prepare(parent: &Path, options: CoreOptions) -> anyhow::Result<Self> {
        let binary = match &options.binary {
            Some(binary) => binary.clone(),
            None => find_binary()?,
        };
        let dir = parent.join(&options.id);
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let core = Self {
            options,
            binary,
            dir,
            process: None,
            ports: Ports::lease(3)?,
        };
        let path = core.config();
        std::fs::write(&path, core.configuration()?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(core)
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.options.id
    }

    /// Where apps reach it; ends in a slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}:{}/", self.address(), self.ports.first())
    }

    /// Where the machine is that it runs on.
    fn address(&self) -> Ipv4Addr {
        let place = self.options.place.as_ref();
        place.map_or(Ipv4Addr::LOCALHOST, |place| place.address)
    }

    fn socket(&self, index: u16) -> anyhow::Result<SocketAddr> {
        Ok((self.address(), self.ports.port(index)?).into())
    }

    /// Where other cores reach it.
    ///
    /// # Errors
    /// Never, but for a lease that is too small.
    pub fn rpc(&self) -> anyhow::Result<SocketAddr> {
        self.socket(1)
    }

    /// Where it answers DNS, if it has a domain.
    ///
    /// # Errors
    /// Never, but for a lease that is too small.
    pub fn dns(&self) -> anyhow::Result<SocketAddr> {
        self.socket(2)
    }

    /// Its configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("homecore.toml")
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// A client that asks this core first.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::new(self.url())?)
    }

    /// Runs it: `homecore serve`.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start(&mut self) -> anyhow::Result<()> {
        self.start_with(&[])
    }

    /// Runs it with more flags: `homecore serve …`.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn start_with(&mut self, flags: &[&str]) -> anyhow::Result<()> {
        let mut command = self.command(&[&["serve"], flags].concat());
        self.add_settings(&mut command);
        self.run_as(command)
    }

    /// Makes it a member through a running core, and runs it: `homecore invite` there,
    /// `homecore join` here.
    ///
    /// # Errors
    /// When either refuses.
    pub async fn join(&mut self, through: &Self) -> anyhow::Result<()> {
        let line = through.run(&["invite", "--id", self.id()]).await?;
        let token = line
            .split_whitespace()
            .last()
            .context("the join line is empty")?
            .to_owned();
        self.join_with(&token)
    }

    /// Makes it a member with a token, and runs it: `homecore join`.
    ///
    /// # Errors
    /// When it runs already, or cannot be started.
    pub fn join_with(&mut self, token: &str) -> anyhow::Result<()> {
        let mut command = self.command(&["join", token]);
        self.add_settings(&mut command);
        self.run_as(command)
    }

    /// Waits until it may take traffic (`/readyz`).
    ///
    /// # Errors
    /// When it ends, or is not ready in time; with the end of its log.
    pub async fn wait_ready(&mut self, within: Duration) -> anyhow::Result<()> {
        let url = format!("{}readyz", self.url());
        let what = format!("{} is ready", self.id());
        let http = Http::new()?;
        let process = self.process()?;
        let ready = wait_until(within, &what, async || {
            if let Some(status) = process.exited()? {
                return Err(fatal(format!("it ended: {status}")));
            }
            let reply = http.get(&url, None).await?;
            ensure!(
                reply.status.is_success(),
                "{}: {}",
                reply.status,
                reply.text()
            );
            Ok(Some(()))
        });
        let ready = ready.await;
        ready.with_context(|| process.log_tail())
    }

    /// Its process.
    ///
    /// # Errors
    /// When it was not started.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        let Self {
            process, options, ..
        } = self;
        process
            .as_mut()
            .with_context(|| format!("{} was not started", options.id))
    }

    /// The end of its log, as far as it was started.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process
            .as_ref()
            .map(Process::log_tail)
            .unwrap_or_default()
    }

    /// Whether it was started and has not ended. A paused core runs.
    pub fn is_running(&mut self) -> bool {
        self.process
            .as_mut()
            .is_some_and(|process| matches!(process.exited(), Ok(None)))
    }

    /// Kills it (SIGKILL), as a power cut.
    ///
    /// # Errors
    /// When it was not started.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process()?.kill()
    }

    /// Stops it in its tracks (SIGSTOP), as a machine that hangs.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self) -> anyhow::Result<()> {
        self.process()?.pause()
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.process()?.resume()
    }

    /// Asks it to end (SIGTERM), waits, and checks that it ended well.
    ///
    /// # Errors
    /// When it takes too long or reports a failure; with the end of its log.
    pub async fn stop(&mut self, within: Duration) -> anyhow::Result<()> {
        let process = self.process()?;
        let status = process.stop(within).await?;
        ensure!(status.success(), "{status}\n{}", process.log_tail());
        Ok(())
    }

    /// Runs it again after it has ended, on the same data and ports, and waits until it is ready.
    ///
    /// # Errors
    /// When it still runs, or is not ready in time.
    pub async fn restart(&mut self, within: Duration) -> anyhow::Result<()> {
        self.start()?;
        self.wait_ready(within).await
    }

    /// What it says about the cluster.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> anyhow::Result<Status> {
        let printed = self.run(&["status", "--json"]).await?;
        serde_json::from_str(&printed)
            .with_context(|| format!("the status of {}: {printed}", self.id()))
    }

    /// Runs a command of the binary with this core's configuration; gives what it printed.
    ///
    /// # Errors
    /// When it fails; with what it said.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = run(self.command(arguments), COMMAND_TIMEOUT).await?;
        ensure!(
            output.status.success(),
            "homecore {} at {}: {}: {}",
            arguments.join(" "),
            self.id(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command of the binary with this core's configuration, for whoever looks at it while it runs.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match self.options.place.as_ref().map(|place| &place.enter[..]) {
            Some([program, more @ ..]) => {
                let mut command = Command::new(program);
                command.args(more).arg(&self.binary);
                command
            }
            _ => Command::new(&self.binary),
        };
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .current_dir(&self.dir);
        command
    }

    fn add_settings(&self, command: &mut Command) {
        for setting in &self.options.set {
            command.args(["--set", setting]);
        }
    }

    fn run_as(&mut self, command: Command) -> anyhow::Result<()> {
        if let Some(process) = &mut self.process {
            ensure!(
                process.exited()?.is_some(),
                "{} runs already",
                self.options.id
            );
        }
        // The old process, if there was one, is reaped; its logs go on in the same files.
        self.process = Some(Process::start(&self.options.id, command, &self.dir)?);
        Ok(())
    }

    fn configuration(&self) -> anyhow::Result<String> {
        let quote = |text: &str| Value::from(text).to_string();
        let address = |index| anyhow::Ok(quote(&self.socket(index)?.to_string()));
        let data = self.data();
        let data = data
            .to_str()
            .context("the path of the data directory is no text")?;
        let mut text = format!(
            "[core]\nid = {}\ndata = {}\nurl = {}\nipv4 = [{}]\n\n\
             [http]\nlisten = [{}]\nrate_limits = false\n\n\
             [cluster]\nfound = {}\nlisten = {}\n\n\
             [log]\nformat = \"text\"\n",
            quote(self.id()),
            quote(data),
            quote(&self.url()),
            quote(&self.address().to_string()),
            address(0)?,
            self.options.found,
            address(1)?,
        );
        if let Some(domain) = &self.options.domain {
            text.push_str(&format!(
                "\n[dns]\nactive = true\nlisten = [{}]\ndomain = {}\n",
                address(2)?,
                quote(domain)
            ));
        }
        if let Some(key) = &self.options.admin_key {
            text.push_str(&format!("\n[auth]\nadmin_access_key = {}\n", quote(key)));
        }
        Ok(text)
    }
}
