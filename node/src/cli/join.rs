//! `homecore join`: a new machine becomes a core, then serves.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use homecore_raft::identity;
use homecore_types::{CoreId, Secret};
use serde_json::json;

use super::init::texts;
use super::reach::{Reach, is_loopback, is_loopback_url};
use super::{answer, block_on, say, serve};
use crate::config::{
    Answers, Config, Sources, default_path, load, parse_domain, parse_host_port, render,
};
use crate::original::Accepted;
use crate::rpc::files::{self, DataDir};
use crate::rpc::join::{Credential, JoinError, join};
use crate::rpc::token::JoinToken;
use crate::telemetry;

/// With a shared secret, cores that start at the same time wait this long for each other.
const SEEDS_PATIENCE: Duration = Duration::from_secs(300);

/// `homecore join`.
#[derive(Debug, Args)]
pub(super) struct JoinArgs {
    /// As `homecore invite` printed it
    token: Option<String>,
    /// Join with a secret that the cluster was given too, instead of a token
    #[arg(long, value_name = "FILE", conflicts_with = "token", requires = "seed")]
    secret_file: Option<PathBuf>,
    /// With --secret-file: a core of the cluster; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    seed: Vec<String>,
    /// With --secret-file: the name of this core
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Configuration file; written if there is none
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Override a key; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where this core keeps everything
    #[arg(long, value_name = "DIR", default_value = "/var/lib/homecore")]
    data: String,
    /// Where apps reach this core [default: https://ID.DOMAIN/ of the cluster]
    #[arg(long)]
    url: Option<String>,
    /// An address of this core, for the zone and the other cores; may be repeated. Needed where the
    /// platform has a domain
    #[arg(long, value_name = "ADDR")]
    ip: Vec<IpAddr>,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    http_listen: String,
    /// Where other cores connect [default: 0.0.0.0:4002 with --ip, else 127.0.0.1:4002]
    #[arg(long, value_name = "ADDR:PORT")]
    rpc_listen: Option<String>,
    /// The host:port at which other cores reach it [default: the first --ip, or as --rpc-listen]
    #[arg(long, value_name = "HOST:PORT")]
    rpc_advertise: Option<String>,
    /// The platform's domain, where it has one [default: as the token says]
    #[arg(long)]
    domain: Option<String>,
    /// Answer DNS here; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    dns_listen: Vec<String>,
    /// Only become a member; do not serve
    #[arg(long)]
    no_serve: bool,
    /// Answer in JSON: one line when this machine is a member, one when it serves
    #[arg(long)]
    pub(super) json: bool,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    with_parent: bool,
}

/// Joins, then serves.
pub(super) fn run(args: JoinArgs) -> anyhow::Result<()> {
    if args.with_parent {
        serve::end_with_parent()?;
    }
    let credential = credential(&args)?;
    let domain = domain(&args, &credential)?;
    let core = match (&credential, &args.id) {
        (Credential::Token(token), None) => token.core.clone(),
        (Credential::Token(token), Some(id)) => {
            ensure!(
                token.core.as_str() == id,
                "the token is for {}, not for {id}",
                token.core
            );
            token.core.clone()
        }
        (Credential::Shared { .. }, Some(id)) => {
            CoreId::parse(id.clone()).with_context(|| format!("--id {id:?}"))?
        }
        (Credential::Shared { .. }, None) => bail!("--id is needed with --secret-file"),
    };
    let path = args
        .config
        .clone()
        .or_else(default_path)
        .unwrap_or_else(|| PathBuf::from("homecore.toml"));
    let written = if path.try_exists()? {
        None
    } else {
        Some(NewFile::write(&path, &args, &core, domain.as_deref())?)
    };
    let loaded = load(&Sources {
        file: Some(path.clone()),
        set: args.set.clone(),
    });
    let config = match loaded {
        Ok(config) => config,
        Err(error) if written.is_some() => bail!("nothing was written: {error}"),
        Err(error) => return Err(error.into()),
    };
    ensure!(
        config.core.id == core,
        "{} is the configuration of {}, but this is to become {core}",
        path.display(),
        config.core.id
    );
    reachable(&args, &config, &credential)?;
    if let Some(domain) = domain.filter(|_| written.is_some()) {
        in_zone(&config, &domain)?;
    }
    telemetry::start(&config.log)?;
    become_member(&config, &credential)?;
    if let Some(file) = written {
        file.keep();
    }
    if args.json {
        let member = json!({"member": true, "core": core.as_str(), "config": path});
        answer(&member.to_string())?;
    }
    if args.no_serve {
        if args.json {
            return Ok(());
        }
        return answer(&format!(
            "{core} is a member. Start it: homecore serve --config {}",
            path.display()
        ));
    }
    serve::serve(config, Accepted::Original, args.json)
}

fn credential(args: &JoinArgs) -> anyhow::Result<Credential> {
    match (&args.token, &args.secret_file) {
        (Some(token), None) => Ok(Credential::Token(JoinToken::parse(token)?)),
        (None, Some(file)) => {
            let secret = files::read_text(file)?
                .with_context(|| format!("there is no file {}", file.display()))?;
            ensure!(
                secret.trim().len() >= 16,
                "{} holds fewer than 16 characters",
                file.display()
            );
            for seed in &args.seed {
                parse_host_port(seed.clone())
                    .map_err(|error| anyhow::anyhow!("--seed: {error}"))?;
            }
            Ok(Credential::Shared {
                secret: Secret::new(secret.trim()),
                seeds: args.seed.clone(),
            })
        }
        _ => bail!(
            "give the token that `homecore invite --id NAME` printed on a core of the cluster"
        ),
    }
}

/// The platform's domain, as far as it is known before the cluster was asked.
fn domain(args: &JoinArgs, credential: &Credential) -> anyhow::Result<Option<String>> {
    let told = match credential {
        Credential::Token(token) => token.domain.clone(),
        Credential::Shared { .. } => None,
    };
    match (&args.domain, told) {
        (Some(given), Some(told)) => {
            let same = parse_domain(given.clone()).is_ok_and(|given| given == told);
            ensure!(same, "the domain of this platform is {told}, not {given}");
            Ok(Some(told))
        }
        (given, told) => Ok(told.or_else(|| given.clone())),
    }
}

/// The zone answers for a core's users with its addresses: without any, they would be nowhere.
fn in_zone(config: &Config, domain: &str) -> anyhow::Result<()> {
    let core = &config.core;
    ensure!(
        !core.ipv4.is_empty() || !core.ipv6.is_empty() || core.cname.is_some(),
        "{id}.{domain} has no address: give --ip ADDR, at which people and the other cores reach \
         this machine",
        id = core.id
    );
    Ok(())
}

/// A core that tells a cluster on other machines to find it at 127.0.0.1 would never be reached: said
/// before the token is used up. A URL that was given on purpose is taken: apps may be on this machine only,
/// as with containers whose ports are published at localhost.
fn reachable(args: &JoinArgs, config: &Config, credential: &Credential) -> anyhow::Result<()> {
    let cluster = match credential {
        Credential::Token(token) => &token.addresses,
        Credential::Shared { seeds, .. } => seeds,
    };
    if cluster.iter().all(|address| is_loopback(address)) {
        return Ok(());
    }
    ensure!(
        !is_loopback(&config.cluster.advertise),
        "the other cores cannot reach this one at {}: give --ip ADDR, or --rpc-listen and \
         --rpc-advertise HOST:PORT",
        config.cluster.advertise
    );
    ensure!(
        args.url.is_some() || !is_loopback_url(&config.core.url),
        "apps cannot reach this core at {}: give --url and --http-listen",
        config.core.url
    );
    Ok(())
}

/// A configuration that is taken away again unless the cluster accepted this core with it: the next try
/// may be with other flags.
struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    fn write(
        path: &Path,
        args: &JoinArgs,
        core: &CoreId,
        domain: Option<&str>,
    ) -> anyhow::Result<Self> {
        write_config(path, args, core, domain)?;
        Ok(Self {
            path: path.to_owned(),
            kept: false,
        })
    }

    fn keep(mut self) {
        self.kept = true;
        say(&format!("{} is written", self.path.display()));
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = files::remove(&self.path)
        {
            say(&format!("{} is left behind: {error}", self.path.display()));
        }
    }
}

fn write_config(
    path: &Path,
    args: &JoinArgs,
    core: &CoreId,
    domain: Option<&str>,
) -> anyhow::Result<()> {
    let reach = Reach::of(
        args.rpc_listen.as_deref(),
        args.rpc_advertise.as_deref(),
        &args.ip,
        None,
    );
    let url = match (&args.url, domain) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(_)) => None,
        (None, None) => Some(format!("http://{}/", args.http_listen)),
    };
    let answers = Answers {
        core_id: core.to_string(),
        data: args.data.clone(),
        url,
        ipv4: texts(&args.ip, IpAddr::is_ipv4),
        ipv6: texts(&args.ip, IpAddr::is_ipv6),
        http_listen: args.http_listen.clone(),
        rpc_listen: reach.listen,
        rpc_advertise: reach.advertise,
        dns_listen: args.dns_listen.clone(),
        domain: domain.map(str::to_owned),
        join_secret_file: args.secret_file.as_ref().map(|f| f.display().to_string()),
        ..Answers::default()
    };
    files::write(path, render(&answers).as_bytes())?;
    Ok(())
}

fn become_member(config: &Config, credential: &Credential) -> anyhow::Result<()> {
    let data = DataDir::open(&config.core.data)?;
    let _lock = files::take_lock(&data)?;
    if let Some(member) = identity::load(&data.platform())? {
        ensure!(
            member.core == config.core.id,
            "{} holds the data of {}, not of {}",
            data.root().display(),
            member.core,
            config.core.id
        );
        tracing::info!(core = %member.core, "this machine is a member already");
        return Ok(());
    }
    block_on(async {
        let patience = match credential {
            Credential::Token(_) => Duration::ZERO,
            Credential::Shared { .. } => SEEDS_PATIENCE,
        };
        let patient = async {
            loop {
                match join(&data, &config.core.id, &config.addresses(), credential).await {
                    Err(JoinError::Unreachable { attempts }) if !patience.is_zero() => {
                        tracing::info!(attempts, "no core answered yet; trying again");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                    result => break result,
                }
            }
        };
        let identity = if patience.is_zero() {
            patient.await?
        } else {
            tokio::time::timeout(patience, patient)
                .await
                .context("no core of the cluster answered within five minutes")??
        };
        tracing::info!(core = %identity.core, node = %identity.node, "joined");
        Ok(())
    })
}
