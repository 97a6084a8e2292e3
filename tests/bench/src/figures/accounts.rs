//! Many accounts whose home is one core, and few of them at work: what the core needs of memory, and
//! how long somebody waits who comes back after a long time.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Core, CoreOptions};
use homecore_types::UserId;
use rustix::fs::{Advice, fadvise};
use tokio::time::sleep;

use super::idle::until_ready;
use crate::aim::{Aim, Target};
use crate::crowd::Crowd;
use crate::load::{self, Lane, Measured};
use crate::people::{self, Person};
use crate::table::{Table, megabytes, or_dash, rate, span};
use crate::wire::{Connection, request};
use crate::{Effort, machine};

/// One account of so many is at work.
const ACTIVE: u64 = 100;
/// Clients that read their latest 20 events, and clients that write events for them.
const READERS: usize = 24;
const WRITERS: usize = 8;
/// Accounts that somebody comes back to.
const COLD: u64 = 500;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);
/// What was aimed at.
const MEMORY_MAX: f64 = 300e6;
const COLD_MAX: Duration = Duration::from_millis(5);

pub(crate) async fn run(effort: Effort, count: u64) -> anyhow::Result<Vec<Table>> {
    let count = effort.pick(count, 1_000);
    let cold = effort.pick(COLD, 100).min(count / 4);
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let options = CoreOptions::founder("core-a", "homecore-bench-admin-key");
    let mut core = Core::prepare(directory.path(), options)?;
    let crowd = Crowd::new(core.id(), count)?;
    crowd.found(&mut core).await?;
    let began = Instant::now();
    crowd.move_in(&core.data()).await?;
    let filled = began.elapsed();
    let began = Instant::now();
    core.start()?;
    let ready = until_ready(&mut core, began, START_TIMEOUT).await?;
    let (address, pid) = (people::address(&core)?, core.process()?.id());
    let memory_ready = machine::resident_bytes(pid);

    let active: Vec<Person> = (0..count / ACTIVE)
        .map(|number| person(&crowd, address, number * ACTIVE))
        .collect();
    let watch = Watch::start(pid);
    let worked = work(&active, 2 * effort.window(), pid).await?;
    let memory_most = watch.end().await;

    // Everybody else, each only once: first those whose files the system may still hold in memory.
    let step = count / (2 * cold).max(1);
    let strangers = |first: u64| (0..cold).map(move |n| (2 * n + first) * step + 1);
    let warm = first_requests(&crowd, address, strangers(0)).await?;
    forget_files(&core.data(), &crowd, strangers(1)).await?;
    let from_disk = first_requests(&crowd, address, strangers(1)).await?;
    let again = first_requests(&crowd, address, strangers(1)).await?;
    let memory_end = machine::resident_bytes(pid);

    let mut table = Table::new(
        &format!("{count} accounts on one core, 1 % active"),
        &["", "requests", "p50", "p99", "core's memory"],
    );
    let each = |measured: &Measured| format!("{} asked", measured.answers);
    for (label, asked, measured, memory) in [
        (
            "active accounts",
            rate(worked.per_second()),
            &worked,
            memory_most,
        ),
        ("first request to a cold account", each(&warm), &warm, None),
        (
            "the same, its files read from the disk",
            each(&from_disk),
            &from_disk,
            None,
        ),
        ("second request", each(&again), &again, memory_end),
    ] {
        table.row([
            label.to_owned(),
            asked,
            span(measured.quantile(0.5)),
            span(measured.quantile(0.99)),
            or_dash(memory.map(megabytes)),
        ]);
        if let Some(complaint) = measured.complaint(label) {
            table.note(complaint);
        }
    }
    if let Some(most) = memory_most.max(memory_end) {
        add_memory(&mut table, count, most);
    }
    for (what, measured) in [("", &warm), (", files from the disk", &from_disk)] {
        add_cold(&mut table, what, measured);
    }
    table.note(format!(
        "ready {} after its start, with {}; the accounts were made in {}",
        span(ready),
        or_dash(memory_ready.map(megabytes)),
        span(filled)
    ));
    table.note(format!(
        "{} accounts active: {READERS} clients read the latest 20 events of each in turn, {WRITERS} write one to each; memory is the most that was resident meanwhile, and at the end",
        active.len()
    ));
    table.print();
    Ok(vec![table])
}

fn add_memory(table: &mut Table, count: u64, most: u64) {
    #[expect(clippy::cast_precision_loss, reason = "memory, far below 2^52 bytes")]
    let ratio = most as f64 / MEMORY_MAX;
    table.aim(Aim {
        what: format!("memory with {count} accounts, 1 % active"),
        ours: megabytes(most),
        beside: "300 MB allowed".to_owned(),
        ratio,
        target: Target::AtMost(1.0),
    });
}

fn add_cold(table: &mut Table, what: &str, measured: &Measured) {
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let took = measured.quantile(quantile);
        table.aim(Aim {
            what: format!("{name} of the first request to a cold account{what}"),
            ours: span(took),
            beside: format!("{} allowed", span(COLD_MAX)),
            ratio: took.as_secs_f64() / COLD_MAX.as_secs_f64(),
            target: Target::AtMost(1.0),
        });
    }
}

fn person(crowd: &Crowd, home: SocketAddr, number: u64) -> Person {
    Person {
        username: crowd.username(number),
        home,
        token: crowd.token(number),
    }
}

/// The request for a person's latest 20 events.
fn latest(person: &Person) -> Vec<u8> {
    let path = format!("/{}/events?limit=20", person.username);
    request("GET", &path, person.home, Some(&person.token), None)
}

/// Has clients read and write for all of them in turn.
async fn work(active: &[Person], time: Duration, pid: u32) -> anyhow::Result<Measured> {
    ensure!(!active.is_empty(), "nobody is active");
    let mut lanes = Vec::new();
    for (clients, writes) in [(WRITERS, true), (READERS, false)] {
        for client in 0..clients.min(active.len()) {
            let mine = active.iter().skip(client).step_by(clients);
            lanes.extend(lane(mine.cloned().collect(), writes));
        }
    }
    load::run(lanes, time, &[pid]).await
}

/// A client that writes an event, or reads the latest, for one of them after the other.
fn lane(people: Vec<Person>, writes: bool) -> Option<Lane> {
    let address = people.first()?.home;
    let (mut number, mut turn) = (0, people.into_iter().cycle());
    Some(Lane {
        address,
        expected: if writes { 201 } else { 200 },
        make: Box::new(move |buffer| {
            number += 1;
            if let Some(person) = turn.next() {
                let asked = if writes {
                    person.event(number)
                } else {
                    latest(&person)
                };
                buffer.extend_from_slice(&asked);
            }
        }),
    })
}

/// Asks for the latest events of accounts, one after the other.
async fn first_requests(
    crowd: &Crowd,
    address: SocketAddr,
    numbers: impl Iterator<Item = u64>,
) -> anyhow::Result<Measured> {
    let mut connection = Connection::open(address).await?;
    let mut measured = Measured::empty()?;
    let began = Instant::now();
    for number in numbers {
        let request = latest(&person(crowd, address, number));
        let asked = Instant::now();
        let answer = connection.ask(&request).await?;
        if answer.status == 200 {
            measured.answered(asked.elapsed());
        } else {
            measured.failed(|| format!("{} {}", answer.status, answer.text()));
        }
    }
    measured.time = began.elapsed();
    Ok(measured)
}

/// Has the system forget what it holds of accounts' files, so that the next to read them waits for the
/// disk.
async fn forget_files(
    data: &Path,
    crowd: &Crowd,
    numbers: impl Iterator<Item = u64>,
) -> anyhow::Result<()> {
    let ids = numbers
        .map(|number| crowd.id(number))
        .collect::<Result<Vec<_>, _>>()?;
    let users = data.join("users");
    tokio::task::spawn_blocking(move || {
        let shards = std::fs::read_dir(&users)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()?;
        ids.iter().try_for_each(|id| forget(&shards, id))
    })
    .await?
}

fn forget(shards: &[PathBuf], id: &UserId) -> anyhow::Result<()> {
    let folders = shards.iter().map(|shard| shard.join(id.as_str()));
    let folder = folders.into_iter().find(|folder| folder.is_dir());
    let folder = folder.with_context(|| format!("{id} has no folder"))?;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.is_file() {
            let file = File::open(&path)?;
            // What is not on the disk yet would stay.
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// Looks at a process's memory over and over.
struct Watch {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Option<u64>>,
}

impl Watch {
    fn start(pid: u32) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut most = None;
            while !told.load(Ordering::Relaxed) {
                most = most.max(machine::resident_bytes(pid));
                sleep(LOOK).await;
            }
            most
        });
        Self { stop, task }
    }

    /// The most that it was.
    async fn end(self) -> Option<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_default()
    }
}
