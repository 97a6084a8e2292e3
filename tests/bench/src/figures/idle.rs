//! What a core needs before anybody asks it anything: the time until `/readyz` says yes, when it
//! founds a cluster and when it starts again on what is there, and the memory it holds then and
//! after a while; beside a bare HTTP server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions};
use tokio::time::sleep;

use crate::aim::{Aim, Target};
use crate::bare::{Bare, Replies};
use crate::machine;
use crate::table::{Table, or_dash, ratio, span};
use crate::wire::{Connection, request};
use crate::{Effort, people};

/// Longest time that a core may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is asked whether it is ready: the times are exact to this.
const ASKED_EVERY: Duration = Duration::from_millis(2);
/// What was aimed at.
const READY_MAX: Duration = Duration::from_millis(200);
const MEMORY_MAX_MB: f64 = 25.0;
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// What one start gave.
#[derive(Clone, Copy, Debug)]
struct Started {
    ready: Duration,
    memory: Option<u64>,
    memory_later: Option<u64>,
    idle_processor: Option<Duration>,
}

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let idle = effort.pick(Duration::from_secs(10), Duration::from_secs(1));
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let options = CoreOptions::founder("core-a", "homecore-bench-admin-key");
    let mut core = Core::prepare(directory.path(), options)?;
    let mut starts = vec![("first start", start(&mut core, idle).await?)];
    let users = effort.pick(50, 5);
    people::register(people::address(&core)?, "somebody", users).await?;
    core.stop(STOP_TIMEOUT).await?;
    starts.push(("started again", start(&mut core, idle).await?));
    core.kill()?;
    starts.push(("started again after kill -9", start(&mut core, idle).await?));
    core.stop(STOP_TIMEOUT).await?;
    let bare = bare(directory.path(), idle).await?;

    let mut table = Table::new(
        "start and rest (one core, alone)",
        &[
            "",
            "until ready",
            "memory then",
            "after rest",
            "to bare",
            "CPU while resting",
        ],
    );
    for (label, started) in starts.iter().copied().chain([("a bare axum server", bare)]) {
        table.row([
            label.to_owned(),
            span(started.ready),
            megabytes(started.memory),
            megabytes(started.memory_later),
            or_dash(
                started
                    .memory_later
                    .zip(bare.memory_later)
                    .map(|(ours, theirs)| ratio(as_megabytes(ours), as_megabytes(theirs))),
            ),
            or_dash(started.idle_processor.map(span)),
        ]);
    }
    if let Some((_, again)) = starts.get(1) {
        add_aims(&mut table, again);
    }
    table.note(format!(
        "memory is what is resident; rest is {} without a request; {users} users from the second start on",
        span(idle)
    ));
    table.print();
    Ok(vec![table])
}

/// What a core may take that is started again.
fn add_aims(table: &mut Table, started: &Started) {
    table.aim(Aim {
        what: "ready after a start".to_owned(),
        ours: span(started.ready),
        beside: format!("{} allowed", span(READY_MAX)),
        ratio: started.ready.as_secs_f64() / READY_MAX.as_secs_f64(),
        target: Target::AtMost(1.0),
    });
    if let Some(memory) = started.memory_later {
        table.aim(Aim {
            what: "memory of an idle core".to_owned(),
            ours: megabytes(Some(memory)),
            beside: format!("{MEMORY_MAX_MB} MB allowed"),
            ratio: as_megabytes(memory) / MEMORY_MAX_MB,
            target: Target::AtMost(1.0),
        });
    }
}

/// Starts a core and lets it rest.
async fn start(core: &mut Core, idle: Duration) -> anyhow::Result<Started> {
    let started = Instant::now();
    core.start()?;
    let ready = until_ready(core, started, START_TIMEOUT).await?;
    rest(core.process()?.id(), ready, idle).await
}

/// Waits for the first 200 of a core's `/readyz`; the time since `started`.
///
/// # Errors
/// When it takes longer than `within`, with the end of the core's log.
pub(crate) async fn until_ready(
    core: &mut Core,
    started: Instant,
    within: Duration,
) -> anyhow::Result<Duration> {
    let address = people::address(core)?;
    let ask = request("GET", "/readyz", address, None, None);
    loop {
        let took = started.elapsed();
        ensure!(
            took < within && core.is_running(),
            "not ready after {took:?}\n{}",
            core.log_tail()
        );
        // Refused connections are what is waited out here.
        if let Ok(mut connection) = Connection::open(address).await
            && let Ok(answer) = connection.ask(&ask).await
            && answer.status == 200
        {
            return Ok(started.elapsed());
        }
        sleep(ASKED_EVERY).await;
    }
}

async fn bare(directory: &std::path::Path, idle: Duration) -> anyhow::Result<Started> {
    let started = Instant::now();
    let bare = Bare::start(directory, &Replies::new()).await?;
    let ready = started.elapsed();
    rest(bare.pid(), ready, idle).await
}

async fn rest(pid: u32, ready: Duration, idle: Duration) -> anyhow::Result<Started> {
    let memory = machine::resident_bytes(pid);
    let before = machine::processor_time(&[pid]);
    sleep(idle).await;
    let after = machine::processor_time(&[pid]);
    Ok(Started {
        ready,
        memory,
        memory_later: machine::resident_bytes(pid),
        idle_processor: before
            .zip(after)
            .and_then(|(before, after)| after.checked_sub(before)),
    })
}

fn megabytes(bytes: Option<u64>) -> String {
    or_dash(bytes.map(|bytes| format!("{:.1} MB", as_megabytes(bytes))))
}

#[expect(clippy::cast_precision_loss, reason = "memory, far below 2^52 bytes")]
fn as_megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
