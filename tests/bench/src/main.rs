//! Benchmarks: what homecore does a second, how long it takes and what it needs, each figure beside
//! a peer that was measured in the same run on the same machine. See `README.md` for how to read
//! them.
//!
//! Programs and not tests: a figure depends on the machine and on what else it does, so no figure
//! fails anything. What fails is a wrong answer: every answer is looked at, and only those that are
//! right are counted.

mod aim;
mod bare;
mod crowd;
mod disk;
mod etcd;
mod figures;
mod knot;
mod load;
mod machine;
mod named;
mod names;
mod nsd;
mod people;
mod postgres;
mod results;
mod table;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Figures of homecore beside those of a peer.
///
/// Starts real cores of the release binary on the loopback address, in temporary directories, and
/// ends them. Build both with `cargo build --release -p homecore -p homecore-bench`.
#[derive(Debug, Parser)]
#[command(name = "homecore-bench", version)]
struct Arguments {
    /// Shorter and with fewer users: to see that it works, not to quote
    #[arg(long, global = true)]
    quick: bool,
    /// Also with a debug build: to try the programs; the figures mean nothing
    #[arg(long, global = true, hide = true)]
    allow_debug: bool,
    #[command(subcommand)]
    what: What,
}

/// What to measure.
#[derive(Clone, Debug, Subcommand)]
enum What {
    /// All of it, one after the other
    All {
        #[command(flatten)]
        many: Many,
    },
    /// All of it, into RESULTS.md, its chart and the table of the README
    Results {
        /// The project's root
        #[arg(long, default_value = ".")]
        root: PathBuf,
        #[command(flatten)]
        many: Many,
    },
    /// Durable event writes of 1, 50 and 500 users, beside a loop of write and fdatasync
    Writes,
    /// Registrations on three cores beside argon2 alone; refused ones beside fdatasync
    Registrations,
    /// DNS answers, beside nsd, Knot and BIND where they are installed
    Dns,
    /// The platform's directory with a thousand users and with many
    Directory {
        /// Users of the largest: five million take some ten minutes and 7 GB
        #[arg(long, default_value_t = DIRECTORY_USERS)]
        users: u64,
    },
    /// Many accounts on one core, 1 % of them active
    Accounts {
        /// How many: 100,000 take some minutes to make, and 5 GB
        #[arg(long, default_value_t = ACCOUNTS)]
        accounts: u64,
    },
    /// Time until ready, and the memory of an idle core, beside a bare HTTP server
    Idle,
    /// Lookups, 421 and events.get, beside a bare HTTP server with the same bytes
    Requests,
    /// The data API with one user and fifty, beside recorded figures of the Node.js server; a large store
    Data {
        /// Events of the large store; ten million take 10 GB of disk meanwhile
        #[arg(long, default_value_t = 100_000)]
        events: u64,
    },
    /// Time from the death of the leader to the next acknowledged registration
    Failover,
    /// One large file into a core and out again, with its memory, beside write and sync of a file
    Files,
    /// What a reader notices while others attack the core
    Hostile,
    /// The bare HTTP server that others are measured against
    #[command(hide = true)]
    Bare {
        /// Where to listen
        #[arg(long)]
        listen: SocketAddr,
        /// JSON file of what to answer
        #[arg(long)]
        replies: PathBuf,
    },
}

/// Users of the largest directory, unless more are asked for.
const DIRECTORY_USERS: u64 = 100_000;
/// Accounts on one core, unless more are asked for.
const ACCOUNTS: u64 = 20_000;

/// Sizes of what takes long to make.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Many {
    /// As `directory --users`
    #[arg(long, default_value_t = DIRECTORY_USERS)]
    directory_users: u64,
    /// As `accounts --accounts`
    #[arg(long, default_value_t = ACCOUNTS)]
    accounts: u64,
}

/// How much to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
}

impl Effort {
    /// How long one line of a table is measured.
    pub(crate) fn window(self) -> Duration {
        self.pick(Duration::from_secs(4), Duration::from_millis(800))
    }

    /// The first value, or the second if it shall be quick.
    pub(crate) fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Whatever was begun is dropped: cores end, and temporary folders go.
    let outcome = tokio::select! {
        outcome = run(arguments) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            table::complain(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let What::Bare { listen, replies } = &arguments.what {
        return bare::serve(*listen, replies).await;
    }
    let effort = Effort {
        quick: arguments.quick,
    };
    let binary = machine::find_release_binary(arguments.allow_debug)?;
    let machine = machine::describe(&binary, effort.quick);
    table::say(&machine);
    let mut tables = Vec::new();
    let mut failed = 0;
    for what in arguments.what.parts() {
        match measure(&what, effort).await {
            Ok(more) => tables.extend(more),
            Err(error) => {
                failed += 1;
                table::complain(&format!("{what:?}: {error:#}"));
            }
        }
    }
    let load = machine::load();
    table::say(&load);
    anyhow::ensure!(failed == 0, "{failed} of the figures could not be taken");
    if let What::Results { root, .. } = &arguments.what {
        for path in results::write(root, &format!("{machine}\n{load}"), &tables)? {
            table::say(&format!("written: {}", path.display()));
        }
    }
    Ok(())
}

impl What {
    fn parts(&self) -> Vec<Self> {
        match self {
            Self::All { many } | Self::Results { many, .. } => vec![
                Self::Idle,
                Self::Writes,
                Self::Requests,
                Self::Data { events: 100_000 },
                Self::Dns,
                Self::Directory {
                    users: many.directory_users,
                },
                Self::Accounts {
                    accounts: many.accounts,
                },
                Self::Registrations,
                Self::Failover,
                Self::Files,
                Self::Hostile,
            ],
            one => vec![one.clone()],
        }
    }
}

async fn measure(what: &What, effort: Effort) -> anyhow::Result<Vec<table::Table>> {
    match what {
        What::Writes => figures::writes::run(effort).await,
        What::Registrations => figures::registrations::run(effort).await,
        What::Dns => figures::dns::run(effort).await,
        What::Idle => figures::idle::run(effort).await,
        What::Requests => figures::requests::run(effort).await,
        What::Data { events } => figures::data::run(effort, *events).await,
        What::Failover => figures::failover::run(effort).await,
        What::Files => figures::files::run(effort).await,
        What::Hostile => figures::hostile::run(effort).await,
        What::Directory { users } => figures::directory::run(effort, *users).await,
        What::Accounts { accounts } => figures::accounts::run(effort, *accounts).await,
        What::All { .. } | What::Results { .. } | What::Bare { .. } => Ok(Vec::new()),
    }
}
