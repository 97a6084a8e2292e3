//! The command line. Each command is a file; this one is the table of them.
//!
//! Answers go to standard output (one JSON line with `--json`), everything else to standard error.
//! Exit codes: 0 done, 1 not done (one sentence says why), 2 wrong usage.

#![expect(
    clippy::doc_markdown,
    reason = "these doc comments are the help texts that people read on a terminal"
)]

mod apply_config;
mod archives;
mod check_config;
mod check_integrity;
mod client;
mod demo;
mod export;
mod healthcheck;
mod import;
mod init;
mod join;
mod mail_template;
mod operate;
mod reach;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use serde_json::json;

use crate::config::{Config, LoadError, Sources, default_path, load};

/// A personal-data platform that runs as a cluster of cores.
#[derive(Debug, Parser)]
#[command(
    name = "homecore",
    version,
    max_term_width = 100,
    after_help = "Try it: homecore demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a whole cluster on this machine, with two users and a real recording, to try things
    #[command(after_help = "Example: homecore demo --cores 3 --dir ./my-cluster")]
    Demo(demo::DemoArgs),
    /// Write a commented configuration, asking for what is not given
    #[command(
        after_help = "Example: homecore init --core-id core-a --domain example.com --ip 192.0.2.1 --yes"
    )]
    Init(init::InitArgs),
    /// Run this machine's core
    #[command(
        after_help = "Example: homecore serve --config /etc/homecore/homecore.toml (the first core, the first time: with --found)"
    )]
    Serve(serve::ServeArgs),
    /// Print the line that makes a new machine a core of this cluster
    #[command(after_help = "Example: homecore invite --id core-b --ttl 2h")]
    Invite(operate::InviteArgs),
    /// Become a core of a cluster, then serve
    #[command(after_help = "Example: homecore join hc1.… --ip 192.0.2.2")]
    Join(join::JoinArgs),
    /// Show the cores: role, state, applied index and lag, users
    #[command(after_help = "Example: homecore status --json")]
    Status(operate::PlainArgs),
    /// Remove a core from the cluster for good
    #[command(after_help = "Example: homecore remove core-b")]
    Remove(operate::RemoveArgs),
    /// List and revoke join tokens
    #[command(subcommand, after_help = "Example: homecore tokens list")]
    Tokens(operate::TokensCommand),
    /// Before a stop: take no new users until the next start, and hand leadership over
    #[command(after_help = "Example: homecore drain")]
    Drain(operate::PlainArgs),
    /// Show and change the words of the mails that people get
    #[command(
        subcommand,
        after_help = "Example: homecore mail-template set reset-password fr --subject 'Mot de passe' --text reset.txt"
    )]
    MailTemplate(mail_template::MailTemplateCommand),
    /// Bring what the configuration says of the whole platform to every core: hostings, invitation_tokens, custom,
    /// service, and of auth trusted_apps, default_auth_url and trusted_auth_urls
    ///
    /// Keys of service and auth that the file leaves out stay as the platform has them; each of hostings,
    /// invitation_tokens and custom replaces the platform's whole. Sections of which the file says nothing stay as
    /// they are. To have no default_auth_url any more, say "".
    #[command(after_help = "Example: homecore apply-config --config /etc/homecore/homecore.toml")]
    ApplyConfig(operate::PlainArgs),
    /// Report every problem of a configuration at once
    #[command(after_help = "Example: homecore check-config --config homecore.toml")]
    CheckConfig(check_config::CheckConfigArgs),
    /// Recompute the hashes of all events and attached files of this core's users, see that their accesses
    /// can be read, and compare the indexes of their databases with what is stored; the core must be stopped,
    /// and what its journal holds is written to the databases first, as at a start
    #[command(
        after_help = "Example: homecore check-integrity --config /etc/homecore/homecore.toml"
    )]
    CheckIntegrity(check_integrity::CheckIntegrityArgs),
    /// Take the users of an archive in, each whole or not at all; the core must run
    #[command(after_help = "Example: homecore import /backup --dry-run; homecore import /backup")]
    Import(import::ImportArgs),
    /// Write users of this core into an archive; the core must run
    #[command(after_help = "Example: homecore export /backup --user alice")]
    Export(export::ExportArgs),
    /// Ask a running core whether it may take traffic; for containers
    #[command(after_help = "Example: homecore healthcheck --url http://127.0.0.1:3000")]
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Print the OpenAPI document that a core of this version serves
    #[command(after_help = "Example: homecore openapi > openapi.json")]
    Openapi,
    /// Print completions for a shell
    #[command(after_help = "Example: homecore completions bash > /etc/bash_completion.d/homecore")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

impl Command {
    /// Whether a program reads the answer: it is told of a failure, too. The demo's only line says
    /// that it is ready.
    fn answers_in_json(&self) -> bool {
        match self {
            Self::Init(args) => args.json,
            Self::Serve(args) => args.json,
            Self::Invite(args) => args.plain.json,
            Self::Join(args) => args.json,
            Self::Status(args) | Self::Drain(args) | Self::ApplyConfig(args) => args.json,
            Self::Remove(args) => args.plain.json,
            Self::Tokens(command) => command.plain().json,
            Self::MailTemplate(command) => command.plain().json,
            Self::CheckConfig(args) => args.json,
            Self::CheckIntegrity(args) => args.json,
            Self::Import(args) => args.json,
            Self::Export(args) => args.json,
            Self::Healthcheck(args) => args.json,
            Self::Demo(_) | Self::Openapi | Self::Completions { .. } => false,
        }
    }
}

/// Which configuration a command works with.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file [default: $HOMECORE_CONFIG, ./homecore.toml, /etc/homecore/homecore.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Override a key; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl ConfigArgs {
    /// The file that is meant.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        self.config.clone().or_else(default_path)
    }

    /// The whole configuration.
    pub(crate) fn load(&self) -> Result<Config, LoadError> {
        load(&Sources {
            file: self.path(),
            set: self.set.clone(),
        })
    }
}

/// A crash must not write keys, tokens and users' data to a file that outlives it, and no other process of
/// this account may look into this one. Root may, still.
fn keep_memory_private() {
    use rustix::process::{DumpableBehavior, set_dumpable_behavior};
    // No log is written yet, and a core serves as well without.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        say(&format!(
            "homecore: core dumps cannot be switched off: {error}"
        ));
    }
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    // Two providers of cryptography, or none, make TLS panic at run time: there is this one. An
    // error only says that one is installed already.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("the TLS provider was installed before");
    }
    // Whatever this program writes is for its own account only.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    keep_memory_private();
    let command = Cli::parse().command;
    let in_json = command.answers_in_json();
    let result = match command {
        Command::Demo(args) => demo::run(args),
        Command::Init(args) => init::run(args),
        Command::Serve(args) => serve::run(&args),
        Command::Invite(args) => operate::invite(args),
        Command::Join(args) => join::run(args),
        Command::Status(args) => operate::status(&args),
        Command::Remove(args) => operate::remove(args),
        Command::Tokens(command) => operate::tokens(command),
        Command::Drain(args) => operate::drain(&args),
        Command::MailTemplate(command) => mail_template::run(command),
        Command::ApplyConfig(args) => apply_config::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::CheckIntegrity(args) => check_integrity::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Healthcheck(args) => healthcheck::run(&args),
        Command::Openapi => openapi(),
        Command::Completions { shell } => completions(shell),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = crate::telemetry::chain(error.as_ref());
            say(&format!("homecore: {message}"));
            if in_json && !error.is::<Told>() {
                let told = answer(&json!({ "error": { "message": message } }).to_string());
                if let Err(error) = told {
                    say(&format!("homecore: {error}"));
                }
            }
            ExitCode::FAILURE
        }
    }
}

/// `homecore openapi`.
fn openapi() -> anyhow::Result<()> {
    let document = homecore_http::openapi::document(crate::capabilities::outlines());
    answer(std::str::from_utf8(&document)?)
}

/// `homecore completions`.
fn completions(shell: clap_complete::Shell) -> anyhow::Result<()> {
    // In memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "homecore", &mut script);
    answer(std::str::from_utf8(&script)?.trim_end())
}

/// A command was not done, and its answer on standard output says so already.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Told(String);

/// One line for people, on standard error. Where it cannot be written, nobody can be told either.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr().lock(), "{line}").unwrap_or_default();
}

/// A command's answer, on standard output.
pub(crate) fn answer(text: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// A small runtime for commands that only ask a core something.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}
