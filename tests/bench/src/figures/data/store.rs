//! What a large store costs, beside a small one: the latest events of many, the memory of a long answer,
//! and how reads fare while others write all they can. Both came as archives.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::Core;
use tokio::task::JoinSet;

use super::{START_TIMEOUT, STOP_TIMEOUT, Who, archive, get, made};
use crate::aim::{Aim, Target};
use crate::load::{self, Measured};
use crate::people::{Person, READ};
use crate::table::{Table, megabytes, or_dash, rate, say, span};
use crate::wire::{Connection, request};
use crate::{Effort, machine};

/// Events of the small store.
const SMALL: u64 = 10_000;
/// Events of one streamed answer.
const STREAMED: u64 = 100_000;
/// What the read of a large store is.
const LATEST: &str = READ;
const OF_STREAM: &str = "events?streams%5B%5D=bench&limit=20&fromTime=1&toTime=9000000000";
const OF_TYPE: &str = "events?types%5B%5D=count/generic&limit=20&fromTime=1&toTime=9000000000";
/// What a read may take while others write all they can.
const READ_MAX: Duration = Duration::from_millis(20);

/// Both tables: moving in and out, and the large store.
pub(super) async fn run(
    effort: Effort,
    directory: &Path,
    core: &mut Core,
    events: u64,
    writers: &[Person],
) -> anyhow::Result<[Table; 2]> {
    let mut moved = archive::table();
    let mut table = Table::new(
        "one user's store",
        &["", "homecore", "p50", "p99", "CPU each", "more memory"],
    );
    let mut latest = Vec::new();
    let mut large = None;
    for (name, size) in [("smallstore", SMALL.min(events)), ("largestore", events)] {
        say(&format!("\ndata: a store of {size} events ..."));
        let users = core.data().join("users");
        let before = bytes_below(&users)?;
        let person = archive::bring(core, directory, name, size, &mut moved).await?;
        let bytes = bytes_below(&users)?.saturating_sub(before);
        moved.note(format!(
            "{size} events take {} of disk, {} bytes each",
            megabytes(bytes),
            bytes / size.max(1)
        ));
        let pid = core.process()?.id();
        let who = Who::of(person);
        for (label, path) in [
            ("latest 20", LATEST),
            ("of a stream", OF_STREAM),
            ("of a type", OF_TYPE),
        ] {
            let measured = load::run(vec![get(&who, path)], effort.window(), &[pid]).await?;
            if path == LATEST {
                latest.push(measured.quantile(0.5).as_secs_f64());
            }
            row(&mut table, &format!("{label} of {size}"), &measured);
        }
        large = Some(who);
    }
    let who = large.context("no store")?;
    if let [small, large] = latest[..] {
        table.aim(Aim {
            what: format!("p50 of the latest 20 of {events} events"),
            ours: span(Duration::from_secs_f64(large)),
            beside: format!("of 10000 {}", span(Duration::from_secs_f64(small))),
            ratio: large / small.max(f64::EPSILON),
            target: Target::AtMost(1.5),
        });
    }
    again(core, &who.person, &mut table).await?;
    let pid = core.process()?.id();
    let count = events.min(STREAMED);
    let (took, more) = streamed(&who.person, count, pid).await?;
    once(
        &mut table,
        &format!("{count} events in one answer"),
        took,
        more,
    );
    while_others_write(effort, &who, writers, pid, &mut table).await?;
    table.note("processor time is the core's, of whatever it did meanwhile");
    archive::export(core, directory, &who.person, events, &mut moved).await?;
    table.print();
    moved.print();
    Ok([table, moved])
}

/// The first answer of a core that was started again.
async fn again(core: &mut Core, person: &Person, table: &mut Table) -> anyhow::Result<()> {
    core.stop(STOP_TIMEOUT).await?;
    core.restart(START_TIMEOUT).await?;
    let pid = core.process()?.id();
    let before = machine::resident_bytes(pid);
    let path = format!("/{}/{LATEST}", person.username);
    let asked = request("GET", &path, person.home, Some(&person.token), None);
    let mut connection = Connection::open(person.home).await?;
    let begun = Instant::now();
    connection.ask(&asked).await?.expect(200)?;
    let took = begun.elapsed();
    let more = more(machine::resident_bytes(pid), before);
    once(table, "latest 20, first answer after a start", took, more);
    Ok(())
}

async fn while_others_write(
    effort: Effort,
    who: &Who,
    writers: &[Person],
    pid: u32,
    table: &mut Table,
) -> anyhow::Result<()> {
    let load = tokio::spawn(write_all(writers.to_vec(), effort.window() * 2));
    let measured = load::run(vec![get(who, LATEST)], effort.window(), &[pid]).await?;
    let writes = load.await.context("the writers ended")??;
    row(table, "latest 20 while others write", &measured);
    let slowest = measured.quantile(0.99);
    table.aim(Aim {
        what: "p99 of a read under full write load".to_owned(),
        ours: span(slowest),
        beside: format!("{} allowed", span(READ_MAX)),
        ratio: slowest.as_secs_f64() / READ_MAX.as_secs_f64(),
        target: Target::AtMost(1.0),
    });
    let label = format!("the writes of {} users meanwhile", writers.len());
    row(table, &label, &writes);
    Ok(())
}

fn row(table: &mut Table, label: &str, measured: &Measured) {
    table.row([
        label.to_owned(),
        rate(measured.per_second()),
        span(measured.quantile(0.5)),
        span(measured.quantile(0.99)),
        or_dash(measured.processor_per_answer().map(span)),
        or_dash(None),
    ]);
    if let Some(complaint) = measured.complaint(label) {
        table.note(complaint);
    }
}

/// A row of something that was done once.
fn once(table: &mut Table, label: &str, took: Duration, more: Option<u64>) {
    let dash = || or_dash(None);
    let more = or_dash(more.map(megabytes));
    table.row([label.to_owned(), dash(), span(took), dash(), dash(), more]);
}

async fn write_all(people: Vec<Person>, time: Duration) -> anyhow::Result<Measured> {
    let lane = |person: Person| {
        let who = Who::of(person.clone());
        made(&who, 201, move |number| person.event(number))
    };
    load::run(people.into_iter().map(lane).collect(), time, &[]).await
}

/// Reads many events in one answer: how long it takes, and how much more memory the core has at most.
async fn streamed(
    person: &Person,
    events: u64,
    pid: u32,
) -> anyhow::Result<(Duration, Option<u64>)> {
    let path = format!("/{}/events?limit={events}", person.username);
    let asked = request("GET", &path, person.home, Some(&person.token), None);
    let before = machine::resident_bytes(pid);
    let begun = Instant::now();
    let mut connection = Connection::open(person.home).await?;
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let answer = connection.ask(&asked).await?;
        // Those of the account are among them.
        let count = answer.text().matches("\"streamIds\":").count();
        anyhow::Ok((answer.status, count))
    });
    let mut most = before;
    let (status, count) = loop {
        tokio::select! {
            done = reading.join_next() => break done.context("the answer was lost")???,
            () = tokio::time::sleep(Duration::from_millis(5)) => {
                most = most.max(machine::resident_bytes(pid));
            }
        }
    };
    ensure!(status == 200, "answered {status}");
    ensure!(
        u64::try_from(count)? == events,
        "{count} of {events} events came"
    );
    Ok((begun.elapsed(), more(most, before)))
}

fn more(most: Option<u64>, before: Option<u64>) -> Option<u64> {
    most.zip(before)
        .map(|(most, before)| most.saturating_sub(before))
}

/// Bytes of all files in a folder and below.
fn bytes_below(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let file = entry.metadata()?;
        bytes += if file.is_dir() {
            bytes_below(&entry.path())?
        } else {
            file.len()
        };
    }
    Ok(bytes)
}
