//! Each run has a process of its own: this test's program, told by its environment what to run. Chance
//! that is drawn below us begins anew with a process, and nothing is left over from another run.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bugs::Bug;
use crate::run::{self, Outcome};
use crate::tally::Tally;

const SEED: &str = "HOMECORE_SIM_SEED";
const BUG: &str = "HOMECORE_SIM_BUG";
const TRACE: &str = "HOMECORE_SIM_TRACE";
/// A filter of log lines, to look closer.
const LOG: &str = "HOMECORE_SIM_LOG";
/// Read in `src/entropy.c`.
const ENTROPY: &str = "HOMECORE_SIM_ENTROPY";
/// The test that is one run.
const TEST: &str = "process::one_run";
/// What the last line of a run that found something begins with.
const WRONG: &str = "WRONG ";

#[expect(clippy::disallowed_methods, reason = "what to run")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) wrong: Option<String>,
    /// All that it printed.
    pub(crate) output: String,
}

impl Ended {
    /// How many events there were, and how often cores were looked at.
    pub(crate) fn steps(&self) -> String {
        let mut lines = self.output.lines().rev();
        let count = |line: &str| {
            line.trim()
                .split_once("looked ")
                .map(|(_, times)| format!("looked {times}"))
        };
        lines.find_map(count).unwrap_or_default()
    }
}

impl Ended {
    /// How often each fault took effect.
    pub(crate) fn tally(&self) -> Tally {
        let line = self.line("faults ");
        line.and_then(Tally::parse).unwrap_or_default()
    }

    /// How long it was, in simulated time.
    pub(crate) fn lasted(&self) -> Duration {
        let line = self.line("lasted ").and_then(|it| it.strip_suffix(" ms"));
        Duration::from_millis(line.and_then(|it| it.parse().ok()).unwrap_or(0))
    }

    fn line(&self, begins: &str) -> Option<&str> {
        let mut lines = self.output.lines().rev();
        lines.find_map(|line| line.strip_prefix(begins))
    }
}

/// How to see a run again.
pub(crate) fn replay(seed: u64, bug: Option<Bug>) -> String {
    let bug = bug.map_or_else(String::new, |bug| format!("{BUG}={} ", bug.name()));
    format!(
        "{SEED}={seed} {bug}cargo nextest run -p homecore-sim-tests --run-ignored all --no-capture -E 'test({TEST})'"
    )
}

/// Runs a seed in a process of its own.
pub(crate) fn spawn(seed: u64, bug: Option<Bug>) -> Ended {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            TEST,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(SEED, seed.to_string())
        .env(ENTROPY, seed.to_string())
        .stdin(Stdio::null());
    match bug {
        Some(bug) => command.env(BUG, bug.name()),
        None => command.env_remove(BUG),
    };
    let output = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found = stdout
        .lines()
        .find_map(|line| line.strip_prefix(WRONG))
        .map(str::to_owned);
    let died = (!output.status.success() && found.is_none())
        .then(|| format!("the process ended with {}: {stderr}", output.status));
    Ended {
        wrong: found.or(died),
        output: stdout,
    }
}

/// Logs, if asked to. Called when the runtime has drawn its chance, which is the same then with logs.
pub(crate) fn log() {
    if let Some(filter) = variable(LOG) {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .init();
    }
}

/// One run, as its environment says.
#[test]
#[ignore = "started by the other tests, or by hand"]
fn one_run() {
    let Some(seed) = variable(SEED).and_then(|seed| seed.parse().ok()) else {
        return;
    };
    if variable(ENTROPY).is_none() {
        // By hand: as the other tests start it.
        let ended = spawn(seed, variable(BUG).and_then(|name| Bug::from_name(&name)));
        print!("{}", ended.output);
        assert_eq!(ended.wrong, None);
        return;
    }
    let bug = variable(BUG).map(|name| Bug::from_name(&name).expect("no such bug"));
    // Files are synced for real; in memory that costs nothing.
    let shared_memory = Path::new("/dev/shm");
    let root = if shared_memory.is_dir() {
        tempfile::tempdir_in(shared_memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let verbose = variable(TRACE).is_some();
    let Outcome { wrong, trace } = run::run(seed, bug, Path::new(root.path()), verbose);
    print!("{trace}");
    if let Some(wrong) = wrong {
        println!("{WRONG}{}", wrong.replace('\n', " "));
    }
}
