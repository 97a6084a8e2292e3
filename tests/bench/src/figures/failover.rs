//! The death of the leader (SIGKILL): how long until the platform decides anything again, and until
//! somebody is registered. The first is a refusal of a taken name, which is one replicated command
//! and needs no home; the second needs a home core that lives too. Beside: etcd with the same timeouts,
//! until a put is acknowledged, where it is installed.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use homecore_harness::{Cluster, ClusterOptions};
use tokio::time::{Instant, sleep, timeout};

use crate::Effort;
use crate::aim::{Aim, Target};
use crate::etcd::{self, Etcd};
use crate::people::{self, registration};
use crate::table::{Table, span};
use crate::wire::Connection;

const UNTIL_DECIDED: &str = "until a platform command is decided (409)";
const UNTIL_REGISTERED: &str = "until somebody is registered (201)";
const CORES: usize = 3;
/// Longest time that is waited for anything.
const PATIENCE: Duration = Duration::from_secs(30);
/// One try: a core may hold a request until there is a leader.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between tries: the times are exact to this.
const PAUSE: Duration = Duration::from_millis(5);
/// When others stand for election after silence, at the earliest and at the latest: the lease of the dead leader,
/// which is the longest election timeout, and then a timeout (`homecore_raft::Timings`).
const ELECTION: (Duration, Duration) = (Duration::from_millis(850), Duration::from_millis(1100));

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let mut cluster = Cluster::start(ClusterOptions::cores(CORES)).await?;
    let first = people::address(cluster.core(0)?)?;
    people::register(first, "taken", 1).await?;
    let rounds = effort.pick(5, 2);
    let mut decided = Vec::new();
    let mut registered = Vec::new();
    for round in 0..rounds {
        let leader = cluster.leader(round % CORES).await?;
        let mut survivors = Vec::new();
        for (index, core) in cluster.cores().iter().enumerate() {
            if index != leader {
                survivors.push(people::address(core)?);
            }
        }
        let killed = Instant::now();
        cluster.core_mut(leader)?.kill()?;
        let (refusal, registration) = tokio::try_join!(
            first_answer(&survivors, killed, 409, |_| "taken00000".to_owned()),
            first_answer(&survivors, killed, 201, |number| {
                format!("after{round}x{number:05}")
            }),
        )?;
        decided.push(refusal);
        registered.push(registration);
        cluster.core_mut(leader)?.restart(PATIENCE).await?;
        cluster.wait_settled(PATIENCE).await?;
    }
    let mut table = Table::new(
        "failover: the leader of three cores is killed",
        &["", "median", "max", "all rounds"],
    );
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut puts = Vec::new();
    if let Some(program) = etcd::find() {
        let mut etcd = Etcd::start(&program, directory.path()).await?;
        for _round in 0..rounds {
            puts.push(etcd.fail_over(PAUSE).await?);
        }
    } else {
        table.note("etcd is not installed: it is not beside it");
    }
    let peer = median(&puts);
    for (label, times) in [
        (UNTIL_DECIDED, decided),
        (UNTIL_REGISTERED, registered),
        ("etcd, until a put is acknowledged", puts),
    ] {
        let (Some(middle), Some(max)) = (median(&times), times.iter().max()) else {
            continue;
        };
        let all: Vec<String> = times.iter().map(|&time| span(time)).collect();
        table.row([label.to_owned(), span(middle), span(*max), all.join(", ")]);
        if let Some(peer) = peer.filter(|_| [UNTIL_DECIDED, UNTIL_REGISTERED].contains(&label)) {
            table.aim(Aim {
                what: format!("failover, {label}"),
                ours: span(middle),
                beside: format!("etcd {}", span(peer)),
                ratio: middle.as_secs_f64() / peer.as_secs_f64().max(f64::EPSILON),
                target: Target::AtMost(0.7),
            });
        }
    }
    table.note(format!(
        "a killed process refuses connections, which the others take as proof; after a machine that falls silent \
         they stand for election {} to {} after the last sign of life, as etcd does after either",
        span(ELECTION.0),
        span(ELECTION.1)
    ));
    table.print();
    Ok(vec![table])
}

/// The middle one.
fn median(times: &[Duration]) -> Option<Duration> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

/// How long after the kill one of the cores first gives this answer. All are asked at once, each
/// again and again, each time about another name if `name` says so.
async fn first_answer(
    cores: &[SocketAddr],
    killed: Instant,
    status: u16,
    name: impl Fn(u32) -> String,
) -> anyhow::Result<Duration> {
    let [one, other] = cores else {
        bail!("{} survivors of {CORES} cores", cores.len());
    };
    let (even, odd) = (|n: u32| name(2 * n), |n: u32| name(2 * n + 1));
    let answered = async {
        tokio::select! {
            answered = insist(*one, status, &even) => answered,
            answered = insist(*other, status, &odd) => answered,
        }
    };
    let answered = timeout(PATIENCE, answered)
        .await
        .with_context(|| format!("no {status} within {PATIENCE:?} of the leader's death"))??;
    Ok(answered - killed)
}

async fn insist(
    core: SocketAddr,
    status: u16,
    name: &impl Fn(u32) -> String,
) -> anyhow::Result<Instant> {
    let tries = u32::try_from(PATIENCE.as_millis() / PAUSE.as_millis())?;
    let mut connection = Connection::open(core).await?;
    for number in 0..tries {
        let request = registration(core, &name(number));
        match timeout(TRY_TIMEOUT, connection.ask(&request)).await {
            Ok(Ok(answer)) if answer.status == status => return Ok(Instant::now()),
            // "Not now": what is waited out here.
            Ok(Ok(_)) => {}
            // The connection is of no more use.
            Ok(Err(_)) | Err(_) => connection = Connection::open(core).await?,
        }
        sleep(PAUSE).await;
    }
    bail!("no {status} from {core} in {tries} tries")
}
