//! Generated requests against one core, from the document that it serves: no 500, no hang, no
//! undocumented status, error id, content type or shape, and a core that is as well at the end.
//!
//! A bounded run is part of the suite. `HOMECORE_FUZZ_SECONDS=600 cargo nextest run --profile soak
//! -p homecore-contract-tests fuzz --no-capture` goes on for longer, `HOMECORE_FUZZ_SEED=…` repeats a run,
//! and `HOMECORE_FUZZ_ONLY=events.` keeps to operations whose ids begin so. A request that went wrong is
//! printed as a line for a shell; `HOMECORE_FUZZ_HOLD=1` keeps the core up at the end for it. Build the
//! core first: `cargo build -p homecore`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_contract_tests::fuzz::{
    Answer, Asked, Chance, Document, Operation, World, generate, judge, send,
};
use homecore_harness::{Core, CoreOptions, Http, find_binary};
use serde_json::Value;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const ADMIN_KEY: &str = "the-key-of-the-fuzz-admin";
/// How long a run of the suite goes on.
const SECONDS: u64 = 25;
/// Requests between two looks at whether the users are still as they should be.
const REPAIR_EVERY: u64 = 100;
/// The same, when a token may have ended.
const REPAIR_AFTER: u64 = 15;
/// Faults that are shown.
const FAULTS_MAX: usize = 40;
/// What a core may take after any number of requests.
const RESIDENT_KB_MAX: u64 = 900 * 1024;

/// How often an operation is asked: what hashes a password or makes a user is slow.
fn weight(operation: &Operation) -> usize {
    match operation.id.as_str() {
        id if id.starts_with("auth.register") => 1,
        "auth.login" | "account.changePassword" | "auth.delete" => 2,
        id if id.starts_with("health.") || id.starts_with("gone.") => 1,
        id if id.starts_with("events.") || id.starts_with("streams.") => 12,
        id if id.starts_with("accesses.") || id == "callBatch" => 10,
        _ => 5,
    }
}

#[expect(clippy::disallowed_methods, reason = "the switches of this test alone")]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What went wrong, once for each operation and kind.
#[derive(Debug, Default)]
struct Faults(BTreeMap<String, (u32, String)>);

impl Faults {
    fn add(&mut self, operation: &Operation, what: &str, detail: impl FnOnce() -> String) {
        let key = format!("{} {}: {what}", operation.verb, operation.path);
        let held = self.0.entry(key).or_insert_with(|| (0, detail()));
        held.0 += 1;
    }

    fn shown(&self) -> String {
        let shown = self.0.iter().take(FAULTS_MAX);
        let shown = shown.map(|(what, (times, detail))| format!("{what} ({times}×)\n{detail}\n"));
        shown.collect::<Vec<_>>().join("\n")
    }
}

/// How the answers were.
#[derive(Debug, Default)]
struct Tally {
    statuses: BTreeMap<u16, u64>,
    /// By operation: how many went well, and how many there were.
    operations: BTreeMap<String, (u64, u64)>,
}

impl Tally {
    fn count(&mut self, operation: &Operation, answer: &Answer) {
        *self.statuses.entry(answer.status).or_default() += 1;
        let of = self.operations.entry(operation.id.clone()).or_default();
        of.0 += u64::from(answer.status < 400);
        of.1 += 1;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:?}", self.statuses)?;
        for (id, (well, all)) in &self.operations {
            writeln!(f, "  {id}: {well} of {all} went well")?;
        }
        Ok(())
    }
}

async fn start(dir: &Path) -> anyhow::Result<Core> {
    let mut options = CoreOptions::founder("single", ADMIN_KEY);
    options.set = vec![
        "auth.trusted_apps=*@https://fuzz.example.com".to_owned(),
        "user_account.delete=[\"adminToken\",\"personalToken\"]".to_owned(),
    ];
    let mut core = Core::prepare(dir, options)?;
    core.start()?;
    core.wait_ready(START_TIMEOUT).await?;
    Ok(core)
}

#[tokio::test]
async fn fuzz_generated_requests_are_answered_as_documented() -> anyhow::Result<()> {
    let seconds = setting("HOMECORE_FUZZ_SECONDS").and_then(|text| text.parse().ok());
    let seed = setting("HOMECORE_FUZZ_SEED").and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()).wrapping_mul(0x9E37_79B9));
    let only = setting("HOMECORE_FUZZ_ONLY").unwrap_or_default();
    println!("HOMECORE_FUZZ_SEED={seed}");

    let dir = tempfile::tempdir()?;
    let mut core = start(dir.path()).await?;
    let host: SocketAddr = core
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()?;
    let document = Http::new()?
        .get(&format!("{}openapi.json", core.url()), None)
        .await?;
    let document = document.expect(200)?;
    let printed = std::process::Command::new(find_binary()?)
        .arg("openapi")
        .output()?;
    let printed: Value = serde_json::from_slice(&printed.stdout)?;
    ensure!(
        printed == document,
        "homecore openapi prints another document"
    );
    let document = Document::read(document)?;
    let methods = document
        .operations()
        .iter()
        .map(|operation| operation.id.clone());
    let mut world = World::found(host, ADMIN_KEY, methods.collect()).await?;
    let asked_for = document
        .operations()
        .iter()
        .filter(|o| o.id.starts_with(&only));
    let operations: Vec<&Operation> = asked_for
        .flat_map(|operation| std::iter::repeat_n(operation, weight(operation)))
        .collect();
    ensure!(!operations.is_empty(), "no operation begins with {only}");

    let started = Instant::now();
    let span = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let (mut faults, mut tally) = (Faults::default(), Tally::default());
    let (mut index, mut repaired) = (0_u64, 0_u64);
    let first = operations.first().copied().context("no operation")?;
    while started.elapsed() < span && core.is_running() {
        let at_once: [(&Operation, Asked); 3] = std::array::from_fn(|_| {
            index += 1;
            let mut chance = Chance::of(seed, index);
            let operation = chance.pick(&operations).copied().unwrap_or(first);
            let asked = generate(&document, &world, operation, &mut chance);
            (operation, asked)
        });
        // What requests at once do to each other must be documented, too.
        let [one, two, three] = &at_once;
        let (one, two, three) =
            tokio::join!(send(host, &one.1), send(host, &two.1), send(host, &three.1));
        let mut is_out = false;
        for ((operation, asked), answer) in at_once.iter().zip([one, two, three]) {
            if let Ok(answer) = &answer {
                tally.count(operation, answer);
                world.learn(asked, &answer.body);
                is_out |= answer.status == 403 && names_token(&answer.body);
            }
            if let Err(what) = judge(&document, operation, asked, &answer) {
                faults.add(operation, &what, || detail(host, asked, answer.ok()));
            }
        }
        if index - repaired > if is_out { REPAIR_AFTER } else { REPAIR_EVERY } {
            world.repair().await?;
            repaired = index;
        }
    }
    println!("{index} requests: {tally}");
    if !faults.0.is_empty() && setting("HOMECORE_FUZZ_HOLD").is_some() {
        println!("{}\nthe core is held at {host}", faults.shown());
        std::future::pending::<()>().await;
    }
    let wellness = is_well(&mut core, &mut world).await;
    let wellness =
        wellness.with_context(|| core.process().map(|p| p.log_tail()).unwrap_or_default());
    assert!(
        faults.0.is_empty(),
        "HOMECORE_FUZZ_SEED={seed}, after {index} requests:\n{}\n{wellness:?}",
        faults.shown()
    );
    println!("{} MB resident", wellness? / 1024);
    Ok(())
}

/// An answer, and how to get it again.
fn detail(host: SocketAddr, asked: &Asked, answer: Option<Answer>) -> String {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let body = answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
    let body: String = body.unwrap_or_default().chars().take(600).collect();
    format!("  {body}\n  {}", asked.to_curl(host, dir))
}

fn names_token(body: &[u8]) -> bool {
    String::from_utf8_lossy(body).contains("invalid-access-token")
}

/// Whether a core is ready, serves a user, has had no panic and is no larger than it may be; how many kB
/// it takes.
async fn is_well(core: &mut Core, world: &mut World) -> anyhow::Result<u64> {
    let http = Http::new()?;
    http.get(&format!("{}readyz", core.url()), None)
        .await?
        .expect(200)?;
    world.repair().await?;
    let metrics = http
        .get(&format!("{}metrics", core.url()), None)
        .await?
        .text();
    let count = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<u64>().ok())
    };
    for name in [
        "homecore_http_panicked_total",
        "homecore_http_timed_out_total",
    ] {
        ensure!(count(name) == Some(0), "{name} is {:?}", count(name));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", core.process()?.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let resident = resident.context("the process has no VmRSS")?;
    ensure!(resident < RESIDENT_KB_MAX, "the core takes {resident} kB");
    core.stop(Duration::from_secs(30)).await?;
    Ok(resident)
}
