//! The platform's directory with a thousand users and with many: looking a name up, which must not
//! become slower, the snapshot that a core writes, how long a new core takes to have all of it, and
//! what a user takes of memory. Each size has cores of its own; what the others are beside is the
//! smallest.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions, wait_until};
use tokio::time::sleep;

use super::dns;
use super::idle::until_ready;
use crate::aim::{Aim, Target};
use crate::crowd::{Crowd, Settled};
use crate::load::{self, Lane, Measured};
use crate::names::{self, Expected};
use crate::table::{Table, megabytes, or_dash, rate, span};
use crate::wire::{Connection, request};
use crate::{Effort, machine, people};

/// Users of the smallest directory.
const FEW: u64 = 1_000;
/// Those of the next.
const MANY: u64 = 100_000;
/// Longest time that a core with millions of users may take to start, stop or join.
const LONG: Duration = Duration::from_secs(900);
/// Clients that look names up.
const CLIENTS: usize = 16;
/// Names that they ask for.
const ASKED: u64 = 16_384;
/// Platform commands between two snapshots.
const SNAPSHOT_EVERY: u64 = 500;
/// How long a core rests before its memory is looked at.
const REST: Duration = Duration::from_secs(2);
/// What was aimed at.
const USER_BYTES_MAX: f64 = 200.0;
const SNAPSHOT_MB_PER_SECOND: f64 = 200.0;
const FLAT: f64 = 0.9;

/// What a directory of one size came to.
struct Sized {
    users: u64,
    settled: Settled,
    from_snapshot: Duration,
    again: Duration,
    memory: Option<u64>,
    hits: Measured,
    misses: Measured,
    found: Measured,
    elsewhere: Measured,
    written: Written,
    caught_up: Duration,
    learner_memory: Option<u64>,
}

/// A snapshot that a core wrote.
#[derive(Clone, Copy, Debug)]
struct Written {
    bytes: u64,
    took: Duration,
}

pub(crate) async fn run(effort: Effort, most: u64) -> anyhow::Result<Vec<Table>> {
    let (few, most) = effort.pick((FEW, most), (100, 2_000));
    let mut sizes = vec![few, MANY, most];
    sizes.retain(|size| *size <= most);
    sizes.dedup();
    let mut all = Vec::new();
    for users in sizes {
        let measured = measure(effort, users).await;
        all.push(measured.with_context(|| format!("{users} users"))?);
    }
    let mut tables = vec![lookups(&all), sizes_table(&all)];
    if let (Some((few, more)), [asked, held]) = (all.split_first(), &mut tables[..]) {
        for many in more {
            add_flat(asked, few, many);
        }
        if let Some(many) = more.last() {
            add_bounds(held, few, many);
        }
    }
    for table in &tables {
        table.print();
    }
    Ok(tables)
}

async fn measure(effort: Effort, users: u64) -> anyhow::Result<Sized> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut core = Core::prepare(directory.path(), options("core-a", true))?;
    let crowd = Crowd::new(core.id(), users)?;
    let settled = crowd.found(&mut core).await?;
    let from_snapshot = start(&mut core).await?;
    core.stop(LONG).await?;
    let again = start(&mut core).await?;
    sleep(REST).await;
    let group = core.process()?.id();
    let memory = machine::resident_bytes(group);

    let (hits, misses) = dns::questions(&crowd);
    let time = effort.window() / 2;
    let server = core.dns()?;
    let hits = names::run(server, hits, Expected::Hit, time, &[group]).await?;
    let misses = names::run(server, misses, Expected::Miss, time, &[group]).await?;
    let address = people::address(&core)?;
    let names = crowd.some_names(ASKED);
    let ask = |name: &str| format!("/reg/cores?username={name}");
    let lanes = lookups_of(address, &names, 200, &ask);
    let found = load::run(lanes, time, &[group]).await?;
    let written = write_snapshot(&core, &crowd.username(0)).await?;

    let mut learner = Core::prepare(directory.path(), options("core-b", false))?;
    let began = Instant::now();
    learner.join(&core).await?;
    let caught_up = until_ready(&mut learner, began, LONG).await?;
    let last = dns::whole(&crowd.username(users - 1));
    names::ask(learner.dns()?, &last, Expected::Hit)
        .await
        .context("a core that says it is ready has not all of the directory")?;
    let learns = learner.process()?.id();
    let ask = |name: &str| format!("/{name}/events?limit=20");
    let lanes = lookups_of(people::address(&learner)?, &names, 421, &ask);
    let elsewhere = load::run(lanes, time, &[learns]).await?;
    sleep(REST).await;
    let learner_memory = machine::resident_bytes(learns);
    Ok(Sized {
        users,
        settled,
        from_snapshot,
        again,
        memory,
        hits,
        misses,
        found,
        elsewhere,
        written,
        caught_up,
        learner_memory,
    })
}

fn options(id: &str, founds: bool) -> CoreOptions {
    let mut options = dns::options(id, founds);
    let every = format!("cluster.snapshot_every={SNAPSHOT_EVERY}");
    options.set.push(every);
    options
}

async fn start(core: &mut Core) -> anyhow::Result<Duration> {
    let began = Instant::now();
    core.start()?;
    until_ready(core, began, LONG).await
}

/// Clients that ask for one name after the other.
fn lookups_of(
    address: SocketAddr,
    names: &[String],
    expected: u16,
    ask: &dyn Fn(&str) -> String,
) -> Vec<Lane> {
    let requests: std::sync::Arc<Vec<Vec<u8>>> = names
        .iter()
        .map(|name| request("GET", &ask(name), address, Some("a-token"), None))
        .collect::<Vec<_>>()
        .into();
    (0..CLIENTS)
        .map(|client| {
            let requests = std::sync::Arc::clone(&requests);
            let mut next = client * requests.len() / CLIENTS;
            Lane {
                address,
                expected,
                make: Box::new(move |buffer| {
                    if let Some(request) = requests.get(next % requests.len().max(1)) {
                        buffer.extend_from_slice(request);
                    }
                    next += 1;
                }),
            }
        })
        .collect()
}

/// Has a core write its next snapshot, by platform commands that change nothing: registrations of a
/// name that is taken.
async fn write_snapshot(core: &Core, taken: &str) -> anyhow::Result<Written> {
    let folder = core.data().join("platform/snapshots");
    let before = newest(&folder)?;
    let address = people::address(core)?;
    let refused = people::registration(address, taken);
    let mut connection = Connection::open(address).await?;
    let mut asked = 0;
    while newest(&folder)? == before && !is_writing(&folder)? {
        ensure!(asked < 3 * SNAPSHOT_EVERY, "no snapshot was begun");
        asked += 1;
        let answer = connection.ask(&refused).await?;
        ensure!(answer.status == 409, "{} {}", answer.status, answer.text());
    }
    wait_until(LONG, "the snapshot is written", async || {
        Ok((newest(&folder)? != before && !is_writing(&folder)?).then_some(()))
    })
    .await?;
    let path = newest(&folder)?.context("there is no snapshot")?;
    let file = std::fs::metadata(&path)?;
    // It was made when the writing began, and renamed when all of it was synced.
    let begun = file
        .created()
        .context("the file system keeps no time of creation")?;
    let (seconds, nanos) = (
        u64::try_from(file.ctime())?,
        u32::try_from(file.ctime_nsec())?,
    );
    let ended = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
    Ok(Written {
        bytes: file.len(),
        took: ended.duration_since(begun).unwrap_or_default(),
    })
}

fn newest(folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "hcs") {
            newest = newest.max(Some(path));
        }
    }
    Ok(newest)
}

fn is_writing(folder: &Path) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "part")
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lookups(all: &[Sized]) -> Table {
    let mut table = Table::new(
        "looking names up in the directory",
        &[
            "",
            "DNS hits",
            "CPU each",
            "DNS misses",
            "CPU each",
            "/reg/cores",
            "CPU each",
            "421",
            "CPU each",
        ],
    );
    for sized in all {
        let label = format!("{} users", sized.users);
        let mut row = vec![label.clone()];
        for (what, measured) in sized.asked() {
            row.push(rate(measured.per_second()));
            row.push(or_dash(measured.processor_per_answer().map(span)));
            if let Some(complaint) = measured.complaint(&format!("{label}, {what}")) {
                table.note(complaint);
            }
        }
        table.row(row);
    }
    table.note(format!(
        "{ASKED} questions and more, from everywhere in the directory, the same number for each size; /reg/cores and 421 by {CLIENTS} clients"
    ));
    table
}

fn sizes_table(all: &[Sized]) -> Table {
    let mut table = Table::new(
        "the directory by its size",
        &[
            "",
            "memory",
            "bytes a user",
            "new core's memory",
            "snapshot",
            "written",
            "MB a second",
            "new core has it",
            "MB a second",
            "start from a snapshot",
            "start again",
        ],
    );
    let few = all.first();
    for sized in all {
        let each = few.and_then(|few| sized.bytes_per_user(few));
        table.row([
            format!("{} users", sized.users),
            or_dash(sized.memory.map(megabytes)),
            or_dash(each.map(|bytes| format!("{bytes:.0}"))),
            or_dash(sized.learner_memory.map(megabytes)),
            megabytes(sized.written.bytes),
            span(sized.written.took),
            rate(as_megabytes(sized.written.bytes) / seconds(sized.written.took)),
            span(sized.caught_up),
            rate(as_megabytes(sized.written.bytes) / seconds(sized.caught_up)),
            span(sized.from_snapshot),
            span(sized.again),
        ]);
    }
    table.note("memory is what is resident after a start on what is there; a user is what is more than in the first line");
    table.note("written: from the making of the file until it is synced and renamed; a new core has it when it says that it is ready, from its invitation on");
    if let Some(many) = all.last() {
        table.note(format!(
            "nobody registered: {} users were put into a snapshot file in {}",
            many.users,
            span(many.settled.took)
        ));
    }
    table
}

impl Sized {
    fn asked(&self) -> [(&'static str, &Measured); 4] {
        [
            ("DNS hits", &self.hits),
            ("DNS misses", &self.misses),
            ("/reg/cores", &self.found),
            ("421", &self.elsewhere),
        ]
    }

    /// Memory that one user takes, told from a smaller directory.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    fn bytes_per_user(&self, few: &Self) -> Option<f64> {
        let more = self.memory?.checked_sub(few.memory?)?;
        let users = self.users.checked_sub(few.users).filter(|more| *more > 0)?;
        Some(more as f64 / users as f64)
    }
}

/// A name is found as fast among many as among few.
fn add_flat(table: &mut Table, few: &Sized, many: &Sized) {
    for ((what, before), (_, now)) in few.asked().into_iter().zip(many.asked()) {
        table.aim(Aim {
            what: format!("{what}, {} users", many.users),
            ours: rate(now.per_second()),
            beside: format!("{} users {}", few.users, rate(before.per_second())),
            ratio: now.per_second() / before.per_second().max(f64::EPSILON),
            target: Target::AtLeast(FLAT),
        });
    }
}

fn add_bounds(table: &mut Table, few: &Sized, many: &Sized) {
    if let Some(bytes) = many.bytes_per_user(few) {
        table.aim(Aim {
            what: format!("memory a user, {} users", many.users),
            ours: format!("{bytes:.0} bytes"),
            beside: format!("{USER_BYTES_MAX:.0} bytes allowed"),
            ratio: bytes / USER_BYTES_MAX,
            target: Target::AtMost(1.0),
        });
    }
    let written = as_megabytes(many.written.bytes) / seconds(many.written.took);
    table.aim(Aim {
        what: format!("snapshot written, {} users", many.users),
        ours: format!("{written:.0} MB/s"),
        beside: format!("{SNAPSHOT_MB_PER_SECOND:.0} MB/s wanted"),
        ratio: written / SNAPSHOT_MB_PER_SECOND,
        target: Target::AtLeast(1.0),
    });
}

fn seconds(span: Duration) -> f64 {
    span.as_secs_f64().max(1e-3)
}

#[expect(clippy::cast_precision_loss, reason = "files, far below 2^52 bytes")]
fn as_megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
