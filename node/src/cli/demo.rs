//! `homecore demo`: a whole cluster on this machine.
//!
//! The cores are processes of their own, started as on real machines: the first founds, each other
//! joins with a token from the first. A second start with the same `--dir` goes on where the first
//! stopped. Whatever goes wrong, nothing is left running: children also end when this process does.

mod cores;
mod sample;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::json;

use super::operate::table;
use super::serve::stop_signal;
use super::{answer, block_on, say};
use cores::{Core, Plan};

/// The zone of the demo.
const DOMAIN: &str = "homecore.test";
/// The cluster must serve within this time.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Cores of one demo.
const CORES_MAX: u16 = 9;

/// `homecore demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many cores
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=i64::from(CORES_MAX)))]
    cores: u16,
    /// First HTTP port; the others follow
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    port: u16,
    /// First DNS port; the others follow
    #[arg(long, default_value_t = 5300, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    dns_port: u16,
    /// Keep the data here [default: a temporary directory, removed at the end]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Register no users and load no recording
    #[arg(long)]
    no_sample: bool,
    /// One JSON line on standard output when ready, and nothing else there
    #[arg(long)]
    json: bool,
}

/// Where the demo lives: a directory of the user's, or one that goes away.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    temporary: bool,
}

impl Home {
    fn open(dir: Option<PathBuf>) -> anyhow::Result<Self> {
        match dir {
            Some(path) => {
                ensure!(
                    path.parent()
                        .is_none_or(|parent| parent.as_os_str().is_empty() || parent.is_dir()),
                    "--dir: the directory {} does not exist",
                    path.parent().unwrap_or(&path).display()
                );
                std::fs::create_dir_all(&path)
                    .with_context(|| format!("--dir: cannot make {}", path.display()))?;
                let path = path.canonicalize()?;
                Ok(Self {
                    path,
                    temporary: false,
                })
            }
            None => {
                let path =
                    std::env::temp_dir().join(format!("homecore-demo-{}", std::process::id()));
                std::fs::create_dir_all(&path)
                    .with_context(|| format!("cannot make {}", path.display()))?;
                Ok(Self {
                    path,
                    temporary: true,
                })
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            say(&format!(
                "homecore: {} is left behind: {error}",
                self.path.display()
            ));
        }
    }
}

/// Runs the demo until Ctrl-C.
pub(super) fn run(args: DemoArgs) -> anyhow::Result<()> {
    let home = Home::open(args.dir.clone())?;
    let plans = plan(&args, &home.path)?;
    block_on(async {
        let stop = stop_signal()?;
        tokio::pin!(stop);
        let mut cores = Vec::new();
        let outcome = tokio::select! {
            result = bring_up(&args, &home.path, &plans, &mut cores) => result.map(Some),
            () = &mut stop => Ok(None),
        };
        let outcome = match outcome {
            Ok(Some(())) => tokio::select! {
                () = &mut stop => Ok(()),
                ended = cores::any_end(&mut cores) => report_end(&ended, &mut cores, &mut stop).await,
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        cores::stop_all(&mut cores).await;
        outcome
    })
}

/// A core ended by itself or was killed: that is what a demo is for, as long as one runs.
async fn report_end(
    first: &str,
    cores: &mut [Core],
    stop: &mut (impl Future<Output = ()> + Unpin),
) -> anyhow::Result<()> {
    let mut ended = first.to_owned();
    loop {
        say(&format!("{ended} has ended; the others go on"));
        ensure!(cores.iter_mut().any(Core::runs), "every core has ended");
        tokio::select! {
            () = &mut *stop => return Ok(()),
            next = cores::any_end(cores) => ended = next,
        }
    }
}

fn plan(args: &DemoArgs, home: &Path) -> anyhow::Result<Vec<Plan>> {
    let mut plans = Vec::new();
    let count = args.cores.max(kept(home)?);
    if count > args.cores {
        say(&format!(
            "{} holds {count} cores: all of them are started, for fewer could not agree on anything",
            home.display()
        ));
    }
    for i in 0..count {
        let (Some(http), Some(dns)) = (args.port.checked_add(i), args.dns_port.checked_add(i))
        else {
            bail!("--port and --dns-port leave no room for {count} cores");
        };
        plans.push(Plan::new(home, &name(i), http, dns));
    }
    ensure!(
        args.port.abs_diff(args.dns_port) >= count,
        "--port and --dns-port overlap: each core takes one port from either on, so keep them at least {count} apart"
    );
    for plan in &plans {
        free_tcp(plan.http_port, "--port")?;
        free_tcp(plan.dns_port, "--dns-port")?;
        let dns = SocketAddr::from((Ipv4Addr::LOCALHOST, plan.dns_port));
        UdpSocket::bind(dns).map(drop).with_context(|| {
            format!(
                "--dns-port: UDP port {} is in use; give another one",
                plan.dns_port
            )
        })?;
    }
    Ok(plans)
}

/// The name of the core at a position.
fn name(position: u16) -> String {
    let letter = char::from(b'a' + u8::try_from(position).unwrap_or(0));
    format!("core-{letter}")
}

/// How many cores an earlier demo left in a directory.
fn kept(home: &Path) -> anyhow::Result<u16> {
    let mut count = 0;
    while count < CORES_MAX && Plan::new(home, &name(count), 0, 0).is_member()? {
        count += 1;
    }
    Ok(count)
}

fn free_tcp(port: u16, flag: &str) -> anyhow::Result<()> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map(drop)
        .with_context(|| format!("{flag}: port {port} is in use; give another one"))
}

async fn bring_up(
    args: &DemoArgs,
    home: &Path,
    plans: &[Plan],
    cores: &mut Vec<Core>,
) -> anyhow::Result<()> {
    let started = async {
        cores::start_all(plans, cores).await?;
        let key = cores::admin_key(plans)?;
        let sample = if args.no_sample {
            None
        } else {
            Some(sample::load(plans).await?)
        };
        cores::wait_until_settled(cores).await?;
        anyhow::Ok((key, sample))
    };
    let (key, sample) = tokio::time::timeout(READY_TIMEOUT, started)
        .await
        .context("the cluster does not serve after a minute; the logs are in --dir")??;
    let dns = format!("127.0.0.1:{}", args.dns_port);
    if args.json {
        let list: Vec<_> = cores
            .iter()
            .map(|core| json!({"id": core.plan.id, "url": core.plan.url(), "pid": core.pid()}))
            .collect();
        let ready = json!({
            "ready": true, "domain": DOMAIN, "dns": dns, "adminKey": key,
            "dir": home.display().to_string(), "cores": list,
        });
        return answer(&ready.to_string());
    }
    answer(&shown(cores, &dns, &key, home, sample.as_ref()).await?)
}

async fn shown(
    cores: &[Core],
    dns: &str,
    key: &str,
    home: &Path,
    sample: Option<&sample::Sample>,
) -> anyhow::Result<String> {
    let roles = cores::status(cores).await?;
    let mut rows = vec![
        ["core", "url", "role", "users", "pid"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for core in cores {
        let status = roles.iter().find(|status| status.core == core.plan.id);
        rows.push(vec![
            core.plan.id.clone(),
            core.plan.url(),
            status.map_or_else(String::new, |s| s.role.clone()),
            status.map_or_else(String::new, |s| s.users.to_string()),
            core.pid().to_string(),
        ]);
    }
    let mut text = format!(
        "{}\n\nDNS {dns} for {DOMAIN} · admin key {key} · data and logs in {}\n",
        table(&rows),
        home.display()
    );
    if let Some(sample) = sample {
        text.push_str(&sample.tour(cores, dns));
    }
    text.push_str("\nCtrl-C stops everything.");
    Ok(text)
}
