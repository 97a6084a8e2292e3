//! `homecore init`: a commented configuration after a few questions, or from flags.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{bail, ensure};
use clap::Args;
use homecore_types::{CoreId, SystemEntropy};
use serde_json::json;

use super::reach::{Reach, is_loopback};
use super::{answer, say};
use crate::config::{Answers, Sources, load, parse_domain, parse_url, render};
use crate::rpc::{files, secrets};

/// How often a question is asked.
const TRIES_MAX: usize = 5;

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
    /// An address of this core, for the zone and the other cores; may be repeated
    #[arg(long, value_name = "ADDR")]
    ip: Vec<IpAddr>,
    /// Where this core keeps everything
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:3000")]
    http_listen: String,
    /// Where other cores connect [default: 0.0.0.0:4002 with --ip or --domain, else 127.0.0.1:4002]
    #[arg(long, value_name = "ADDR:PORT")]
    rpc_listen: Option<String>,
    /// The host:port at which other cores reach it [default: the first --ip, or the host of the URL]
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
    /// Answer in JSON
    #[arg(long)]
    pub(super) json: bool,
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
    let mut ips = args.ip.clone();
    let ask = |given, what: &str, default: &str, check: fn(&str) -> Result<(), String>| {
        ask(asking, given, what, default, check, &mut prompt)
    };
    let core_id = ask(args.core_id, "Name of this core", "core-a", check_id)?;
    let domain = ask(
        args.domain,
        "Domain of the platform (empty: none)",
        "",
        check_domain,
    )?;
    let domain = Some(domain).filter(|domain| !domain.is_empty());
    let default_url = match &domain {
        Some(domain) => format!("https://{core_id}.{domain}/"),
        None => format!("http://{}/", args.http_listen),
    };
    let url = ask(
        args.url,
        "Where apps reach this core",
        &default_url,
        check_url,
    )?;
    if domain.is_some() && ips.is_empty() {
        let what =
            "Address at which people and other cores reach this machine (empty: its name alone)";
        let ip = ask(None, what, "", check_ip)?;
        ips.extend(ip.parse::<IpAddr>());
    }
    // A name of the platform's is told to other cores; without a domain it is a single machine's.
    let reach = Reach::of(
        args.rpc_listen.as_deref(),
        args.rpc_advertise.as_deref(),
        &ips,
        domain.as_ref().map(|_| url.as_str()),
    );
    let data = ask(
        args.data,
        "Directory for its data",
        "/var/lib/homecore",
        |_| Ok(()),
    )?;
    let answers = Answers {
        core_id,
        data,
        url: Some(url),
        ipv4: texts(&ips, IpAddr::is_ipv4),
        ipv6: texts(&ips, IpAddr::is_ipv6),
        hosting: None,
        http_listen: args.http_listen,
        rpc_listen: reach.listen,
        rpc_advertise: reach.advertise,
        dns_listen: args.dns_listen,
        domain,
        found: false,
        admin_access_key: Some(secrets::random_text(&SystemEntropy).expose().to_owned()),
        join_secret_file: args.join_secret_file,
        service_name: args.service_name,
    };
    // What is written must be what `serve` accepts: anything wrong in the flags shows up here, before the file
    // that may be there is touched.
    let draft = path.with_added_extension("draft");
    files::write(&draft, render(&answers).as_bytes())?;
    let accepted = load(&Sources {
        file: Some(draft.clone()),
        set: Vec::new(),
    });
    files::remove(&draft)?;
    if let Err(error) = accepted {
        bail!("nothing was written: {error}");
    }
    files::write(&path, render(&answers).as_bytes())?;
    let shown = path.display();
    if args.json {
        return answer(&json!({ "config": path, "core": answers.core_id }).to_string());
    }
    answer(&next_steps(&answers, &shown.to_string()))
}

/// What to do with the file.
fn next_steps(answers: &Answers, shown: &str) -> String {
    let reached = answers
        .rpc_advertise
        .as_deref()
        .unwrap_or(&answers.rpc_listen);
    let note = if is_loopback(reached) {
        " (none can join: give --ip)"
    } else {
        ""
    };
    format!(
        "{shown} is written, readable by you alone: it holds the administrators' key.\n\
         Start the first core:     homecore serve --found --config {shown}\n\
         Invite another machine:   homecore invite --id core-b --config {shown}{note}\n\
         Other cores reach it at   {reached}"
    )
}

/// What was given, or what is typed: asked again while it cannot be used, a few times.
fn ask(
    asking: bool,
    given: Option<String>,
    what: &str,
    default: &str,
    check: fn(&str) -> Result<(), String>,
    prompt: &mut dyn FnMut(&str) -> anyhow::Result<String>,
) -> anyhow::Result<String> {
    if let Some(value) = given {
        return match check(&value) {
            Ok(()) => Ok(value),
            Err(problem) => bail!("{problem}"),
        };
    }
    if !asking {
        return Ok(default.to_owned());
    }
    let question = if default.is_empty() {
        format!("{what}: ")
    } else {
        format!("{what} [{default}]: ")
    };
    for _ in 0..TRIES_MAX {
        let typed = prompt(&question)?;
        if typed.is_empty() {
            return Ok(default.to_owned());
        }
        match check(&typed) {
            Ok(()) => return Ok(typed),
            Err(problem) => say(&problem),
        }
    }
    bail!("nothing was written: no answer could be used; all of it can also be given by flags")
}

fn check_id(text: &str) -> Result<(), String> {
    match CoreId::parse(text.to_owned()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{text:?} cannot name a core: {error}")),
    }
}

fn check_domain(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    parse_domain(text.to_owned()).map(drop)
}

fn check_url(text: &str) -> Result<(), String> {
    parse_url(text.to_owned()).map(drop)
}

fn prompt(question: &str) -> anyhow::Result<String> {
    let mut out = std::io::stderr().lock();
    out.write_all(question.as_bytes())?;
    out.flush()?;
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn check_ip(text: &str) -> Result<(), String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => Ok(()),
        Err(error) => Err(format!("{text:?}: {error}")),
    }
}

/// The addresses of one kind.
pub(super) fn texts(ips: &[IpAddr], kind: fn(&IpAddr) -> bool) -> Vec<String> {
    let of_kind = ips.iter().filter(|ip| kind(ip));
    of_kind.map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(given: Option<&str>, typed: &[&str]) -> anyhow::Result<String> {
        let mut typed = typed.iter().map(|text| (*text).to_owned());
        let mut prompt = |_: &str| Ok(typed.next().unwrap_or_default());
        let given = given.map(str::to_owned);
        ask(true, given, "Name", "core-a", check_id, &mut prompt)
    }

    #[test]
    fn a_bad_answer_is_asked_for_again() {
        assert_eq!(asked(None, &["Core A", "core-b"]).unwrap(), "core-b");
        assert_eq!(asked(None, &["Core A", ""]).unwrap(), "core-a");
        assert!(asked(None, &["A"; 9]).is_err());
        assert!(asked(Some("Core A"), &["core-b"]).is_err());
    }

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: InitArgs,
    }

    /// Listen and advertise, as the file that these flags make is read.
    fn written(name: &str, flags: &[&str]) -> (String, String) {
        let name = format!("homecore-init-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(name);
        let shown = path.display().to_string();
        let line = ["init", "--yes", "--force", "--config", &shown];
        let line = <Line as clap::Parser>::parse_from(line.iter().chain(flags));
        run(line.args).unwrap();
        let read = load(&Sources {
            file: Some(path.clone()),
            set: Vec::new(),
        });
        std::fs::remove_file(&path).unwrap();
        let cluster = read.unwrap().cluster;
        (cluster.listen.to_string(), cluster.advertise)
    }

    #[test]
    fn a_wrong_flag_leaves_the_file_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("homecore.toml");
        std::fs::write(&path, "kept").unwrap();
        let shown = path.display().to_string();
        let line = ["init", "--yes", "--force", "--config", &shown];
        let wrong = ["--rpc-listen", "nonsense"];
        let line = <Line as clap::Parser>::parse_from(line.iter().chain(&wrong));
        let refused = run(line.args).unwrap_err().to_string();
        assert!(refused.starts_with("nothing was written: "), "{refused}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_core_that_others_shall_reach_says_where() {
        let (here, all) = ("127.0.0.1:4002", "0.0.0.0:4002");
        for (flags, listen, advertise) in [
            (&[][..], here, here),
            (&["--ip", "192.0.2.1"], all, "192.0.2.1:4002"),
            (
                &["--domain", "example.com", "--ip", "192.0.2.1"],
                all,
                "192.0.2.1:4002",
            ),
            (&["--domain", "example.com"], all, "core-a.example.com:4002"),
            (
                &["--domain", "example.com", "--rpc-listen", here],
                here,
                here,
            ),
        ] {
            let found = written("reach", flags);
            assert_eq!(
                found,
                (listen.to_owned(), advertise.to_owned()),
                "{flags:?}"
            );
        }
    }
}
