//! DNS answers a second over UDP, for users' names and for names that do not exist; beside nsd,
//! Knot and BIND with the same names, where they are installed.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use homecore_harness::{Core, CoreOptions, wait_until};

use crate::Effort;
use crate::aim::{Aim, Target};
use crate::crowd::Crowd;
use crate::knot::{self, Knot};
use crate::load::Measured;
use crate::named::{self, Named};
use crate::names::{self, Expected, question};
use crate::nsd::{self, Nsd};
use crate::table::{Table, or_dash, rate, ratio, span};

/// The platform's domain.
pub(crate) const DOMAIN: &str = "bench.test";
/// Names that are asked for, from everywhere among all; as many that do not exist.
const ASKED: u64 = 65_536;
const READY_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn run(effort: Effort) -> anyhow::Result<Vec<Table>> {
    let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
    let mut core = Core::prepare(directory.path(), options("core-a", true))?;
    let crowd = Crowd::new(core.id(), effort.pick(100_000, 2_000))?;
    crowd.found(&mut core).await?;
    core.start()?;
    core.wait_ready(READY_TIMEOUT).await?;
    let server = core.dns()?;
    let group = core.process()?.id();
    let (hits, misses) = questions(&crowd);
    let last = crowd.username(crowd.count() - 1);
    wait_until(
        Duration::from_secs(20),
        "the last name is answered",
        async || {
            names::ask(server, &whole(&last), Expected::Hit)
                .await
                .map(Some)
        },
    )
    .await?;
    let peers = Peers::start(directory.path(), &crowd).await?;

    let mut table = Table::new(
        &format!("DNS answers over UDP (one core, {} users)", crowd.count()),
        &[
            "",
            "homecore",
            "nsd",
            "ratio",
            "Knot",
            "ratio",
            "BIND",
            "ratio",
            "p50",
            "p99",
            "CPU each",
            "nsd's CPU each",
        ],
    );
    let mut hits_per_second = None;
    for (label, questions, expected) in [
        ("hits", hits, Expected::Hit),
        ("misses", misses, Expected::Miss),
    ] {
        let time = effort.window();
        let ours = names::run(server, questions.clone(), expected, time, &[group]).await?;
        let theirs = peers.run(questions, expected, time).await?;
        let rated = ours.per_second();
        add(&mut table, label, &ours, &theirs);
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
    for (is_there, peer) in [
        (peers.nsd.is_some(), "nsd"),
        (peers.knot.is_some(), "Knot"),
        (peers.named.is_some(), "BIND"),
    ] {
        if !is_there {
            table.note(format!("{peer} is not installed: it is not beside it"));
        }
    }
    table.note("the load is on the same processors and takes its part of them: compare CPU each");
    table.print();
    Ok(vec![table])
}

/// A core that answers questions about names, as many as come: one network asks everything here, and
/// the limit would be all that is measured.
pub(crate) fn options(id: &str, founds: bool) -> CoreOptions {
    let base = if founds {
        CoreOptions::founder(id, "homecore-bench-admin-key")
    } else {
        CoreOptions::member(id)
    };
    CoreOptions {
        domain: Some(DOMAIN.to_owned()),
        set: vec!["dns.rrl_per_second=0".to_owned()],
        ..base
    }
}

/// A user's name in the zone.
pub(crate) fn whole(username: &str) -> String {
    format!("{username}.{DOMAIN}")
}

/// Questions for names of a crowd, and for as many that do not exist.
pub(crate) fn questions(crowd: &Crowd) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let names = crowd.some_names(ASKED);
    let hits = names.iter().map(|name| question(&whole(name))).collect();
    // They would stand among the others.
    let misses = names
        .iter()
        .map(|name| question(&whole(&format!("{name}x"))));
    (hits, misses.collect())
}

/// What stands beside it, where it is installed.
struct Peers {
    nsd: Option<Nsd>,
    knot: Option<Knot>,
    named: Option<Named>,
}

/// What they did.
#[derive(Default)]
struct Theirs {
    nsd: Option<Measured>,
    knot: Option<Measured>,
    named: Option<Measured>,
}

impl Peers {
    async fn start(directory: &Path, crowd: &Crowd) -> anyhow::Result<Self> {
        let all = (0..crowd.count()).map(|number| whole(&crowd.username(number)));
        let names: Vec<String> = all.collect();
        Ok(Self {
            nsd: match nsd::find() {
                Some(program) => Some(Nsd::start(&program, directory, DOMAIN, &names).await?),
                None => None,
            },
            knot: match knot::find() {
                Some(program) => Some(Knot::start(&program, directory, DOMAIN, &names).await?),
                None => None,
            },
            named: match named::find() {
                Some(program) => Some(Named::start(&program, directory, DOMAIN, &names).await?),
                None => None,
            },
        })
    }

    /// All asked the same, one after the other.
    async fn run(
        &self,
        questions: Vec<Vec<u8>>,
        expected: Expected,
        time: Duration,
    ) -> anyhow::Result<Theirs> {
        let ask = async |peer: Option<(SocketAddr, u32)>| match peer {
            Some((address, group)) => {
                let groups = [group];
                let asked = names::run(address, questions.clone(), expected, time, &groups);
                anyhow::Ok(Some(asked.await?))
            }
            None => Ok(None),
        };
        Ok(Theirs {
            nsd: ask(self.nsd.as_ref().map(|nsd| (nsd.address(), nsd.group()))).await?,
            knot: ask(self
                .knot
                .as_ref()
                .map(|knot| (knot.address(), knot.group())))
            .await?,
            named: ask(self
                .named
                .as_ref()
                .map(|named| (named.address(), named.group())))
            .await?,
        })
    }
}

fn add(table: &mut Table, label: &str, ours: &Measured, peers: &Theirs) {
    let rated = ours.per_second();
    let theirs = |peer: &Option<Measured>| {
        let rate_of = |peer: &Measured| rate(peer.per_second());
        or_dash(peer.as_ref().map(rate_of))
    };
    let times = |peer: &Option<Measured>| {
        let times_of = |peer: &Measured| ratio(rated, peer.per_second());
        or_dash(peer.as_ref().map(times_of))
    };
    table.row([
        label.to_owned(),
        rate(rated),
        theirs(&peers.nsd),
        times(&peers.nsd),
        theirs(&peers.knot),
        times(&peers.knot),
        theirs(&peers.named),
        times(&peers.named),
        span(ours.quantile(0.5)),
        span(ours.quantile(0.99)),
        or_dash(ours.processor_per_answer().map(span)),
        or_dash(
            peers
                .nsd
                .as_ref()
                .and_then(Measured::processor_per_answer)
                .map(span),
        ),
    ]);
    for (measured, of, target) in [
        (Some(ours), "homecore", None),
        (peers.nsd.as_ref(), "nsd", Some(0.9)),
        (peers.knot.as_ref(), "Knot", None),
        (peers.named.as_ref(), "BIND", Some(1.0)),
    ] {
        let Some(measured) = measured else {
            continue;
        };
        if let Some(complaint) = measured.complaint(&format!("{of}, {label}")) {
            table.note(complaint);
        }
        if let Some(target) = target {
            table.aim(Aim {
                what: format!("DNS {label}"),
                ours: rate(rated),
                beside: format!("{of} {}", rate(measured.per_second())),
                ratio: rated / measured.per_second().max(f64::EPSILON),
                target: Target::AtLeast(target),
            });
        }
    }
}
