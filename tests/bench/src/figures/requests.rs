//! Requests that read: the registry's `/reg/cores`, a 421 for a user of another core, and the 20
//! latest events; beside a bare server that gives the same bytes, with one client and with many.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions};

use crate::aim::{Aim, Target};
use crate::bare::{Bare, Replies, Reply};
use crate::load::{self, Lane, Measured};
use crate::people::{self, Person, READ};
use crate::table::{Table, or_dash, rate, ratio, span};
use crate::wire::{Connection, request};
use crate::{Effort, machine};

/// Clients of the second measurement.
const MANY: usize = 32;
/// Events that the user has: more than are asked for.
const EVENTS: u64 = 200;

/// One kind of request.
#[derive(Debug)]
struct Kind {
    label: &'static str,
    path: String,
    token: Option<String>,
    status: u16,
    /// How much of what the bare server does it is to do.
    aim: f64,
}

impl Kind {
    fn request(&self, host: SocketAddr) -> Vec<u8> {
        request("GET", &self.path, host, self.token.as_deref(), None)
    }
}

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let mut cluster = Cluster::start(ClusterOptions::cores(2)).await?;
    let core = people::address(cluster.core(0)?)?;
    let group = cluster.core_mut(0)?.process()?.id();
    // New users go to the core with the fewest.
    let people = people::register(core, "reader", 4).await?;
    let here = people.iter().find(|person| person.home == core);
    let there = people.iter().find(|person| person.home != core);
    let (here, there) = here
        .zip(there)
        .context("all of four users got the same home")?;
    here.write_events(effort.pick(EVENTS, 30)).await?;
    let kinds = kinds(here, there);

    let mut replies = Replies::new();
    for kind in &kinds {
        let mut connection = Connection::open(core).await?;
        let answer = connection.ask(&kind.request(core)).await?;
        ensure!(
            answer.status == kind.status,
            "{}: {} {}",
            kind.path,
            answer.status,
            answer.text()
        );
        replies.insert(kind.path.clone(), Reply::of(&answer));
    }
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let bare = Bare::start(directory.path(), &replies).await?;

    let mut table = Table::new(
        "requests (one of two cores)",
        &[
            "",
            "homecore",
            "bare axum",
            "ratio",
            "p50",
            "p99",
            "CPU each",
            "bare's CPU each",
        ],
    );
    for (kind, clients) in kinds.iter().flat_map(|kind| [(kind, 1), (kind, MANY)]) {
        // Eight lines, and each is measured twice.
        let time = effort.window() / 2;
        let ours = measure(kind, clients, core, group, time).await?;
        let theirs = measure(kind, clients, bare.address(), bare.pid(), time).await?;
        let label = format!(
            "{}, {clients} client{}",
            kind.label,
            if clients == 1 { "" } else { "s" }
        );
        table.row([
            label.clone(),
            rate(ours.per_second()),
            rate(theirs.per_second()),
            ratio(ours.per_second(), theirs.per_second()),
            span(ours.quantile(0.5)),
            span(ours.quantile(0.99)),
            or_dash(ours.processor_per_answer().map(span)),
            or_dash(theirs.processor_per_answer().map(span)),
        ]);
        table.aim(Aim {
            what: label.clone(),
            ours: rate(ours.per_second()),
            beside: format!("bare axum {}", rate(theirs.per_second())),
            ratio: ours.per_second() / theirs.per_second().max(f64::EPSILON),
            target: Target::AtLeast(kind.aim),
        });
        for complaint in [ours.complaint(&label), theirs.complaint("the bare server")] {
            complaint.into_iter().for_each(|text| table.note(text));
        }
    }
    table.note(format!(
        "{} processors, which the load shares",
        machine::processors()
    ));
    table.print();
    Ok(vec![table])
}

fn kinds(here: &Person, there: &Person) -> [Kind; 4] {
    [
        Kind {
            label: "/reg/cores",
            path: format!("/reg/cores?username={}", there.username),
            token: None,
            status: 200,
            aim: 0.8,
        },
        Kind {
            label: "421",
            path: format!("/{}/events?limit=20", there.username),
            token: Some(there.token.clone()),
            status: 421,
            aim: 0.8,
        },
        Kind {
            label: "20 latest events",
            path: format!("/{}/events?limit=20", here.username),
            token: Some(here.token.clone()),
            status: 200,
            aim: 0.5,
        },
        Kind {
            label: "20 latest events, read each time",
            path: format!("/{}/{READ}", here.username),
            token: Some(here.token.clone()),
            status: 200,
            aim: 0.5,
        },
    ]
}

async fn measure(
    kind: &Kind,
    clients: usize,
    server: SocketAddr,
    group: u32,
    time: std::time::Duration,
) -> anyhow::Result<Measured> {
    let lanes = (0..clients)
        .map(|_| Lane::same(server, kind.request(server), kind.status))
        .collect();
    load::run(lanes, time, &[group]).await
}
