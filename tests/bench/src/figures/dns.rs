//! DNS answers a second over UDP, for users' names and for names that do not exist; beside nsd
//! with the same names, where it is installed.

use std::time::Duration;

use anyhow::Context as _;
use homecore_harness::{Cluster, ClusterOptions, wait_until};

use crate::load::Measured;
use crate::names::{self, Expected, question};
use crate::nsd::{self, Nsd};
use crate::table::{Table, or_dash, rate, ratio, span};
use crate::{Effort, people};

const DOMAIN: &str = "bench.test";
/// Different names that do not exist.
const MISSES: usize = 1_024;

pub(crate) async fn run(effort: Effort) -> anyhow::Result<()> {
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
    let mut table = Table::new(
        "DNS answers over UDP (one core)",
        &[
            "",
            "homecore",
            "nsd",
            "ratio",
            "p50",
            "p99",
            "CPU each",
            "nsd's CPU each",
        ],
    );
    for (label, questions, expected) in [
        ("hits", hits, Expected::Hit),
        ("misses", misses, Expected::Miss),
    ] {
        let time = effort.window();
        let ours = names::run(server, questions.clone(), expected, time, &[group]).await?;
        let theirs = match &peer {
            Some(nsd) => {
                let groups = [nsd.group()];
                Some(names::run(nsd.address(), questions, expected, time, &groups).await?)
            }
            None => None,
        };
        table.row([
            label.to_owned(),
            rate(ours.per_second()),
            or_dash(theirs.as_ref().map(|theirs| rate(theirs.per_second()))),
            or_dash(
                theirs
                    .as_ref()
                    .map(|theirs| ratio(ours.per_second(), theirs.per_second())),
            ),
            span(ours.quantile(0.5)),
            span(ours.quantile(0.99)),
            or_dash(ours.processor_per_answer().map(span)),
            or_dash(
                theirs
                    .as_ref()
                    .and_then(Measured::processor_per_answer)
                    .map(span),
            ),
        ]);
        for complaint in [
            ours.complaint(label),
            theirs.and_then(|theirs| theirs.complaint(&format!("nsd, {label}"))),
        ] {
            complaint.into_iter().for_each(|text| table.note(text));
        }
    }
    if peer.is_none() {
        table.note("nsd is not installed: there is nothing beside it");
    }
    table.note("the load is on the same processors and takes its part of them: compare CPU each");
    table.print();
    Ok(())
}
