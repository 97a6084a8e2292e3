//! Durable event writes: `POST /{user}/events` by 1, 50 and 500 users at once, each over a kept
//! connection, every 201 counted; beside a loop that writes records of the same size to a file in
//! the same directory and waits for the disk after each, and PostgreSQL inserting rows of that size,
//! where it is installed.

use std::path::Path;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions};
use rusqlite::{Connection, OpenFlags};

use crate::aim::{Aim, Target};
use crate::load::{self, Lane};
use crate::people::{self, Person};
use crate::postgres::{self, Postgres};
use crate::table::{Table, or_dash, rate, ratio, say, span};
use crate::{Effort, disk};

/// Events that show how large a record is.
const SAMPLES: u32 = 20;

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let mut cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let core = people::address(cluster.core(0)?)?;
    let data = cluster.core(0)?.data();
    let group = cluster.core_mut(0)?.process()?.id();
    let users = effort.pick(500, 50);
    say(&format!("\nwrites: registering {users} users ..."));
    let everybody = people::register(core, "writer", users).await?;
    let first = everybody.first().context("nobody was registered")?;
    first.write_events(SAMPLES.into()).await?;
    let record = record_bytes(&data.join("journal.sqlite"))?;

    let mut table = Table::new(
        "durable event writes (one core)",
        &[
            "",
            "homecore",
            "fdatasync loop",
            "ratio",
            "PostgreSQL",
            "ratio",
            "p50",
            "p99",
            "core's CPU each",
        ],
    );
    let postgres = match postgres::find() {
        Some(programs) => Some(Postgres::start(&programs, record).await?),
        None => None,
    };
    for count in [1, 50, 500] {
        let Some(some) = everybody.get(..count) else {
            continue;
        };
        // Before and after, so that both meet the same state of the disk.
        let before = disk::synced_writes_per_second(&data, record, effort.window() / 4).await?;
        let lanes = some.iter().map(writer).collect();
        let measured = load::run(lanes, effort.window(), &[group]).await?;
        let after = disk::synced_writes_per_second(&data, record, effort.window() / 4).await?;
        let peer = f64::midpoint(before, after);
        let inserts = match &postgres {
            Some(postgres) => Some(postgres.inserts_per_second(count, effort.window()).await?),
            None => None,
        };
        let rated = measured.per_second();
        let label = format!("{count} user{}", if count == 1 { "" } else { "s" });
        table.row([
            label.clone(),
            rate(rated),
            rate(peer),
            ratio(rated, peer),
            or_dash(inserts.map(rate)),
            or_dash(inserts.map(|inserts| ratio(rated, inserts))),
            span(measured.quantile(0.5)),
            span(measured.quantile(0.99)),
            or_dash(measured.processor_per_answer().map(span)),
        ]);
        if let Some(complaint) = measured.complaint(&label) {
            table.note(complaint);
        }
        let mut aim = |beside: &str, peer: f64, target| {
            table.aim(Aim {
                what: format!("durable event writes, {label}"),
                ours: rate(rated),
                beside: format!("{beside} {}", rate(peer)),
                ratio: rated / peer.max(f64::EPSILON),
                target: Target::AtLeast(target),
            });
        };
        match count {
            1 => aim("fdatasync", peer, 0.8),
            500 => {
                aim("fdatasync", peer, 20.0);
                if let Some(inserts) = inserts {
                    aim("PostgreSQL", inserts, 3.0);
                }
            }
            _ => {}
        }
    }
    if postgres.is_none() {
        table.note("PostgreSQL is not installed: it is not beside it");
    }
    table.note(format!(
        "a record of the loop has {record} bytes, as one event has in the journal"
    ));
    table.print();
    Ok(vec![table])
}

/// Somebody who writes one event after the other.
fn writer(person: &Person) -> Lane {
    let person = person.clone();
    let mut number = 0;
    Lane {
        address: person.home,
        expected: 201,
        make: Box::new(move |buffer| {
            number += 1;
            buffer.extend_from_slice(&person.event(number));
        }),
    }
}

/// Bytes that the latest events have in the core's journal.
fn record_bytes(journal: &Path) -> anyhow::Result<usize> {
    let connection = Connection::open_with_flags(journal, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .with_context(|| format!("cannot open {}", journal.display()))?;
    let bytes: f64 = connection
        .query_row(
            "SELECT avg(length(changes)) FROM
             (SELECT changes FROM row ORDER BY position DESC LIMIT ?1)",
            [SAMPLES],
            |row| row.get(0),
        )
        .context("cannot read the size of records in the journal")?;
    ensure!((1.0..1e6).contains(&bytes), "records of {bytes} bytes");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in the range that was just checked"
    )]
    let bytes = bytes as usize;
    Ok(bytes)
}
