//! The demo's processes.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use homecore_proto::membership::{CoreStatus, InviteRequest, StatusRequest};
use homecore_types::SystemEntropy;
use tokio::process::{Child, Command};

use super::DOMAIN;
use crate::cli::client::connect_to;
use crate::cli::say;
use crate::config::{Answers, Sources, load, render};
use crate::rpc::files;
use crate::rpc::secrets;

/// A core gets this long to stop by itself.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// Between questions whether a core serves.
const POLL: Duration = Duration::from_millis(50);
/// The cluster gets this long to make its voters. Later it is shown as it is.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(20);

/// One core as it is to be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) http_port: u16,
    pub(super) dns_port: u16,
    dir: PathBuf,
}

/// One core as a process.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) plan: Plan,
    child: Child,
    pid: u32,
    reported: bool,
}

impl Plan {
    pub(super) fn new(home: &Path, id: &str, http_port: u16, dns_port: u16) -> Self {
        Self {
            id: id.to_owned(),
            http_port,
            dns_port,
            dir: home.join(id),
        }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.http_port)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("homecore.toml")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(super) fn is_member(&self) -> anyhow::Result<bool> {
        Ok(homecore_raft::identity::load(&files::DataDir::at(&self.data()).platform())?.is_some())
    }

    /// Writes the configuration, or brings the ports of an earlier one up to date.
    fn prepare(&self, founds: bool) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))?;
        let kept = self.config().try_exists()?.then(|| {
            load(&Sources {
                file: Some(self.config()),
                set: Vec::new(),
            })
        });
        let (rpc, key) = match kept {
            Some(config) => {
                let config = config?;
                (
                    config.cluster.listen,
                    config.auth.admin_access_key.map(|k| k.expose().to_owned()),
                )
            }
            None => {
                let key = secrets::random_text(&SystemEntropy).expose().to_owned();
                (free_port()?, founds.then_some(key))
            }
        };
        let answers = Answers {
            core_id: self.id.clone(),
            data: self.data().display().to_string(),
            url: Some(self.url()),
            ipv4: vec!["127.0.0.1".to_owned()],
            http_listen: format!("127.0.0.1:{}", self.http_port),
            rpc_listen: rpc.to_string(),
            dns_listen: vec![format!("127.0.0.1:{}", self.dns_port)],
            domain: Some(DOMAIN.to_owned()),
            found: founds,
            admin_access_key: key,
            service_name: Some("homecore demo".to_owned()),
            ..Answers::default()
        };
        let text = render(&answers).replace("# rate_limits = true", "rate_limits = false");
        files::write(&self.config(), text.as_bytes())?;
        Ok(())
    }

    fn spawn(&self, join: Option<String>) -> anyhow::Result<Core> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .with_context(|| format!("cannot write {}", self.log().display()))?;
        let mut command = Command::new(program);
        match join {
            Some(token) => command.arg("join").arg(token),
            None => command.arg("serve"),
        };
        let child = command
            .arg("--config")
            .arg(self.config())
            .arg("--with-parent")
            .stdin(Stdio::null())
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.id))?;
        let pid = child
            .id()
            .with_context(|| format!("{} ended at once", self.id))?;
        Ok(Core {
            plan: self.clone(),
            child,
            pid,
            reported: false,
        })
    }
}

impl Core {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it may take traffic; an error if it ends instead.
    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(2))
            .no_proxy()
            .build()?;
        let url = format!("{}readyz", self.plan.url());
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                bail!(
                    "{} did not start ({status}): {}",
                    self.plan.id,
                    self.last_words()
                );
            }
            if let Ok(response) = client.get(&url).send().await
                && response.status().is_success()
            {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The last line of its log.
    fn last_words(&self) -> String {
        let tail = || -> std::io::Result<String> {
            let mut file = File::open(self.plan.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(4_096)))?;
            let mut bytes = Vec::new();
            file.take(4_096).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        match tail() {
            Ok(text) => text
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("its log is empty")
                .trim_start_matches("homecore: ")
                .to_owned(),
            Err(error) => format!("its log cannot be read: {error}"),
        }
    }
}

/// Starts the first core, and the others with tokens of it, or all of them as the members that
/// they were before.
pub(super) async fn start_all(plans: &[Plan], cores: &mut Vec<Core>) -> anyhow::Result<()> {
    let (first, others) = plans.split_first().context("no cores")?;
    first.prepare(true)?;
    cores.push(first.spawn(None)?);
    let mut joining = Vec::new();
    for plan in others {
        plan.prepare(false)?;
        if plan.is_member()? {
            cores.push(plan.spawn(None)?);
        } else {
            joining.push(plan);
        }
    }
    if let Some(founder) = cores.first_mut() {
        founder.wait_until_ready().await?;
    }
    for plan in joining {
        let mut client = connect_to(&first.data(), &first.id).await?;
        let request = InviteRequest {
            core: plan.id.clone(),
            ttl_seconds: 600,
        };
        let token = client
            .invite(request)
            .await
            .map_err(|status| {
                anyhow::anyhow!(
                    "{} gives no token for {}: {}",
                    first.id,
                    plan.id,
                    status.message()
                )
            })?
            .into_inner()
            .token;
        cores.push(plan.spawn(Some(token))?);
    }
    for core in cores.iter_mut() {
        core.wait_until_ready().await?;
    }
    Ok(())
}

/// The administrators' key, from the founder's configuration.
pub(super) fn admin_key(plans: &[Plan]) -> anyhow::Result<String> {
    let first = plans.first().context("no cores")?;
    let config = load(&Sources {
        file: Some(first.config()),
        set: Vec::new(),
    })?;
    config
        .auth
        .admin_access_key
        .map(|key| key.expose().to_owned())
        .with_context(|| format!("{} has no auth.admin_access_key", first.config().display()))
}

/// What the first core that answers says of all.
pub(super) async fn status(cores: &[Core]) -> anyhow::Result<Vec<CoreStatus>> {
    let first = cores.first().context("no cores")?;
    let mut client = connect_to(&first.plan.data(), &first.plan.id).await?;
    let reply = client
        .status(StatusRequest {})
        .await
        .map_err(|status| anyhow::anyhow!("{}", status.message()))?;
    Ok(reply.into_inner().cores)
}

/// Waits until as many cores vote as will: before that the cluster does not outlive its leader, and
/// the first thing that people try is to kill it.
pub(super) async fn wait_until_settled(cores: &[Core]) -> anyhow::Result<()> {
    let voters = homecore_raft::membership::voters_for(cores.len());
    let settled = async {
        loop {
            let votes = |status: &&CoreStatus| status.role == "leader" || status.role == "voter";
            if status(cores).await?.iter().filter(votes).count() == voters {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(SETTLE_TIMEOUT, settled).await {
        Ok(result) => result,
        Err(_) => {
            say("not every core that should vote does yet; `homecore status` tells");
            Ok(())
        }
    }
}

/// Completes with the name of a core that ended and was not reported yet.
pub(super) async fn any_end(cores: &mut [Core]) -> String {
    loop {
        for core in cores.iter_mut() {
            if !core.reported && !core.runs() {
                core.reported = true;
                return core.plan.id.clone();
            }
        }
        tokio::time::sleep(POLL * 4).await;
    }
}

/// Stops every core, the last first, so that leadership wanders towards the founder.
pub(super) async fn stop_all(cores: &mut [Core]) {
    for core in cores.iter_mut().rev() {
        if !core.runs() {
            continue;
        }
        if let Some(pid) = i32::try_from(core.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM)
        {
            say(&format!("cannot stop {}: {error}", core.plan.id));
        }
    }
    for core in cores.iter_mut() {
        if tokio::time::timeout(STOP_TIMEOUT, core.child.wait())
            .await
            .is_err()
        {
            say(&format!("{} does not stop; it is killed", core.plan.id));
            if let Err(error) = core.child.kill().await {
                say(&format!("cannot kill {}: {error}", core.plan.id));
            }
        }
    }
}

/// A port below the range that the kernel hands out by itself, so that it is still free later.
fn free_port() -> anyhow::Result<SocketAddr> {
    use homecore_types::Entropy as _;
    for _ in 0..64 {
        let mut bytes = [0_u8; 2];
        SystemEntropy.fill(&mut bytes);
        let port = 20_000 + u16::from_be_bytes(bytes) % 12_000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port between 20000 and 32000 for the cores' own traffic")
}
