//! `homecore init`: a commented configuration after a few questions, or from flags.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use homecore_types::{CoreId, SystemEntropy};

use super::answer;
use crate::config::{Answers, Sources, load, render};
use crate::rpc::{files, secrets};

/// `homecore init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to write
    #[arg(long, value_name = "FILE", default_value = "homecore.toml")]
    config: PathBuf,
    /// The name of this core
    #[arg(long, value_name = "ID")]
    core_id: Option<String>,
    /// The platform's domain; none: cores are addressed by their URLs
    #[arg(long)]
    domain: Option<String>,
    /// Where apps reach this core [default: https://ID.DOMAIN/, or http://127.0.0.1:3000/]
    #[arg(long)]
    url: Option<String>,
    /// An address of this core for the zone; may be repeated
    #[arg(long, value_name = "ADDR")]
    ip: Vec<std::net::IpAddr>,
    /// Where this core keeps everything
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    http_listen: String,
    /// Where other cores connect
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:4002")]
    rpc_listen: String,
    /// The host:port at which other cores reach it [default: as --rpc-listen]
    #[arg(long, value_name = "HOST:PORT")]
    rpc_advertise: Option<String>,
    /// Answer DNS here; may be repeated
    #[arg(long, value_name = "ADDR:PORT")]
    dns_listen: Vec<String>,
    /// File with a secret that lets cores join without a token
    #[arg(long, value_name = "FILE")]
    join_secret_file: Option<String>,
    /// The name of the platform
    #[arg(long)]
    service_name: Option<String>,
    /// Ask nothing: take defaults for what is not given
    #[arg(long)]
    yes: bool,
    /// Write over an existing file
    #[arg(long)]
    force: bool,
}

/// Writes the file and says what to do next.
pub(super) fn run(args: InitArgs) -> anyhow::Result<()> {
    let path = args.config.clone();
    ensure!(
        args.force || !path.try_exists()?,
        "{} exists; --force writes over it",
        path.display()
    );
    let asking = !args.yes && std::io::stdin().is_terminal();
    let core_id = ask(asking, args.core_id, "Name of this core", "core-a")?;
    CoreId::parse(core_id.clone()).with_context(|| format!("--core-id {core_id:?}"))?;
    let domain = ask_optional(asking, args.domain, "Domain of the platform (empty: none)")?;
    let default_url = match &domain {
        Some(domain) => format!("https://{core_id}.{domain}/"),
        None => format!("http://{}/", args.http_listen),
    };
    let url = ask(asking, args.url, "Where apps reach this core", &default_url)?;
    let data = ask(
        asking,
        args.data,
        "Directory for its data",
        "/var/lib/homecore",
    )?;
    let answers = Answers {
        core_id,
        data,
        url: Some(url),
        ipv4: args
            .ip
            .iter()
            .filter_map(|ip| only4(*ip))
            .map(|ip| ip.to_string())
            .collect(),
        ipv6: args
            .ip
            .iter()
            .filter_map(|ip| only6(*ip))
            .map(|ip| ip.to_string())
            .collect(),
        hosting: None,
        http_listen: args.http_listen,
        rpc_listen: args.rpc_listen,
        rpc_advertise: args.rpc_advertise,
        dns_listen: args.dns_listen,
        domain,
        found: false,
        admin_access_key: Some(secrets::random_text(&SystemEntropy).expose().to_owned()),
        join_secret_file: args.join_secret_file,
        service_name: args.service_name,
    };
    files::write(&path, render(&answers).as_bytes())?;
    // What was written must be what `serve` accepts: anything wrong in the flags shows up here.
    if let Err(error) = load(&Sources {
        file: Some(path.clone()),
        set: Vec::new(),
    }) {
        files::remove(&path)?;
        bail!("nothing was written: {error}");
    }
    let shown = path.display();
    answer(&format!(
        "{shown} is written, readable by you alone: it holds the administrators' key.\n\
         Start the first core:     homecore serve --found --config {shown}\n\
         Invite another machine:   homecore invite --id core-b --config {shown}"
    ))
}

fn ask(asking: bool, given: Option<String>, what: &str, default: &str) -> anyhow::Result<String> {
    match given {
        Some(value) => Ok(value),
        None if asking => {
            let typed = prompt(&format!("{what} [{default}]: "))?;
            Ok(if typed.is_empty() {
                default.to_owned()
            } else {
                typed
            })
        }
        None => Ok(default.to_owned()),
    }
}

fn ask_optional(asking: bool, given: Option<String>, what: &str) -> anyhow::Result<Option<String>> {
    match given {
        Some(value) => Ok(Some(value)),
        None if asking => Ok(Some(prompt(&format!("{what}: "))?).filter(|typed| !typed.is_empty())),
        None => Ok(None),
    }
}

fn prompt(question: &str) -> anyhow::Result<String> {
    let mut out = std::io::stderr().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn only4(ip: std::net::IpAddr) -> Option<Ipv4Addr> {
    match ip {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    }
}

fn only6(ip: std::net::IpAddr) -> Option<Ipv6Addr> {
    match ip {
        std::net::IpAddr::V6(ip) => Some(ip),
        std::net::IpAddr::V4(_) => None,
    }
}
