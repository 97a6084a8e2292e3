//! DNS answers a second over UDP, for users' names and for names that do not exist; beside nsd
//! and Knot with the same names, where they are installed.

use std::time::Duration;

use anyhow::Context as _;
use homecore_harness::{Cluster, ClusterOptions, wait_until};

use crate::aim::{Aim, Target};
use crate::knot::{self, Knot};
use crate::load::Measured;
use crate::names::{self, Expected, question};
use crate::nsd::{self, Nsd};
use crate::table::{Table, or_dash, rate, ratio, span};
use crate::{Effort, people};

const DOMAIN: &str = "bench.test";
/// Different names that do not exist.
const MISSES: usize = 1_024;

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let options = ClusterOptions {
        domain: Some(DOMAIN.to_owned()),
        // One network asks everything here; the limit would be all that is measured.
        set: vec!["dns.rrl_per_second=0".to_owned()],
        ..ClusterOptions::cores(1)
    };
    let mut cluster = Cluster::start(options).await?;
    let core = cluster.core(0)?;
    let (http, server) = (people::address(core)?, core.dns()?);
    let group = cluster.core_mut(0)?.process()?.id();
    let people = people::register(http, "named", effort.pick(100, 10)).await?;
    let names: Vec<String> = people
        .iter()
        .map(|person| format!("{}.{DOMAIN}", person.username))
        .collect();
    let last = names.last().context("nobody was registered")?;
    wait_until(
        Duration::from_secs(20),
        "the last name is answered",
        async || names::ask(server, last, Expected::Hit).await.map(Some),
    )
    .await?;
    let hits: Vec<_> = names.iter().map(|name| question(name)).collect();
    let misses: Vec<_> = (0..MISSES)
        .map(|number| question(&format!("nobody{number}.{DOMAIN}")))
        .collect();

    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let peer = match nsd::find() {
        Some(program) => Some(Nsd::start(&program, directory.path(), DOMAIN, &names).await?),
        None => None,
    };
    let knot = match knot::find() {
        Some(program) => Some(Knot::start(&program, directory.path(), DOMAIN, &names).await?),
        None => None,
    };
    let mut table = Table::new(
        "DNS answers over UDP (one core)",
        &[
            "",
            "homecore",
            "nsd",
            "ratio",
            "Knot",
            "ratio",
            "p50",
            "p99",
            "CPU each",
            "nsd's CPU each",
        ],
    );
    let peers = Peers { nsd: peer, knot };
    let mut hits_per_second = None;
    for (label, questions, expected) in [
        ("hits", hits, Expected::Hit),
        ("misses", misses, Expected::Miss),
    ] {
        let time = effort.window();
        let ours = names::run(server, questions.clone(), expected, time, &[group]).await?;
        let (nsd, knot) = peers.run(questions, expected, time).await?;
        let rated = ours.per_second();
        add(&mut table, label, &ours, nsd.as_ref(), knot.as_ref());
        match hits_per_second {
            None => hits_per_second = Some(rated),
            Some(hits) => table.aim(Aim {
                what: "DNS misses".to_owned(),
                ours: rate(rated),
                beside: format!("its hits {}", rate(hits)),
                ratio: rated / f64::max(hits, f64::EPSILON),
                target: Target::AtLeast(0.9),
            }),
        }
    }
    if peers.nsd.is_none() {
        table.note("nsd is not installed: there is nothing beside it");
    }
    table.note("the load is on the same processors and takes its part of them: compare CPU each");
    table.print();
    Ok(vec![table])
}

/// What stands beside it, where it is installed.
struct Peers {
    nsd: Option<Nsd>,
    knot: Option<Knot>,
}

impl Peers {
    /// Both asked the same, one after the other.
    async fn run(
        &self,
        questions: Vec<Vec<u8>>,
        expected: Expected,
        time: Duration,
    ) -> anyhow::Result<(Option<Measured>, Option<Measured>)> {
        let nsd = match &self.nsd {
            Some(nsd) => {
                let (groups, questions) = ([nsd.group()], questions.clone());
                Some(names::run(nsd.address(), questions, expected, time, &groups).await?)
            }
            None => None,
        };
        let knot = match &self.knot {
            Some(knot) => {
                let groups = [knot.group()];
                Some(names::run(knot.address(), questions, expected, time, &groups).await?)
            }
            None => None,
        };
        Ok((nsd, knot))
    }
}

fn add(
    table: &mut Table,
    label: &str,
    ours: &Measured,
    nsd: Option<&Measured>,
    knot: Option<&Measured>,
) {
    let rated = ours.per_second();
    let theirs = |peer: Option<&Measured>| or_dash(peer.map(|peer| rate(peer.per_second())));
    let times = |peer: Option<&Measured>| or_dash(peer.map(|peer| ratio(rated, peer.per_second())));
    table.row([
        label.to_owned(),
        rate(rated),
        theirs(nsd),
        times(nsd),
        theirs(knot),
        times(knot),
        span(ours.quantile(0.5)),
        span(ours.quantile(0.99)),
        or_dash(ours.processor_per_answer().map(span)),
        or_dash(nsd.and_then(Measured::processor_per_answer).map(span)),
    ]);
    for (measured, of) in [(Some(ours), "homecore"), (nsd, "nsd"), (knot, "Knot")] {
        let complaint = measured.and_then(|measured| measured.complaint(&format!("{of}, {label}")));
        complaint.into_iter().for_each(|text| table.note(text));
    }
    if let Some(nsd) = nsd {
        table.aim(Aim {
            what: format!("DNS {label}"),
            ours: rate(rated),
            beside: format!("nsd {}", rate(nsd.per_second())),
            ratio: rated / nsd.per_second().max(f64::EPSILON),
            target: Target::AtLeast(0.9),
        });
    }
}
