//! Cores die without warning, in the middle of work; what was acknowledged is there afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Core, CoreOptions, Http, wait_until};

use crate::people::{Person, register};
use crate::{PATIENCE, rounds};

/// A new leader must take writes within this time. It takes 1.3 seconds on an idle machine of two
/// processors, and must stay under two; the machine of the tests also runs the load and other tests.
const FAILOVER_MAX: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_dies_under_registrations() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    let mut longest = Duration::ZERO;
    for round in 0..rounds(3) {
        let leader = cluster.leader(round % 3).await?;
        let survivors = [(leader + 1) % 3, (leader + 2) % 3];
        let stop = Arc::new(AtomicBool::new(false));
        let load = tokio::spawn(registrations(
            cluster.core(survivors[0])?.url(),
            format!("load{round}x"),
            Arc::clone(&stop),
        ));
        // In the middle of it: the first ones are through.
        let probe = format!(
            "{}reg/cores?username=load{round}x3",
            cluster.core(survivors[1])?.url()
        );
        wait_until(PATIENCE, "registrations go on", async || {
            http.get(&probe, None).await?.expect(200).map(Some)
        })
        .await?;
        cluster.core_mut(leader)?.kill()?;
        let killed = Instant::now();
        let core = cluster.core(survivors[1])?.url();
        wait_until(PATIENCE, "a new leader takes a registration", async || {
            let reply = register(&http, &core, &format!("after{round}")).await?;
            ensure!(
                reply.status == 201 || reply.status == 409,
                "{}",
                reply.text()
            );
            Ok(Some(()))
        })
        .await?;
        longest = longest.max(killed.elapsed());
        stop.store(true, Ordering::Relaxed);
        let acknowledged = load.await?;
        cluster.core_mut(leader)?.restart(PATIENCE).await?;
        cluster.wait_settled(PATIENCE).await?;
        ensure!(
            acknowledged.len() > 3,
            "nothing was registered before the kill"
        );
        for name in acknowledged {
            for core in cluster.cores() {
                let url = format!("{}reg/cores?username={name}", core.url());
                http.get(&url, None)
                    .await?
                    .expect(200)
                    .with_context(|| format!("round {round}"))?;
            }
        }
    }
    println!("longest time without platform writes: {longest:?}");
    ensure!(
        longest < FAILOVER_MAX,
        "{longest:?} without platform writes"
    );
    Ok(())
}

/// A core that has just died looks alive to the leader for a while; whoever registers then is to have
/// another home, not an error.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_a_core_that_has_just_died() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    for round in 0..rounds(2) {
        let leader = cluster.leader(round % 3).await?;
        let victim = (leader + 1 + round % 2) % 3;
        let dead = cluster.core(victim)?.url();
        cluster.core_mut(victim)?.kill()?;
        let killed = Instant::now();
        // Until well after the leader has missed it. The dead core has the fewest users before long.
        let mut number = 0;
        while killed.elapsed() < Duration::from_secs(5) {
            for at in [leader, 3 - leader - victim] {
                let name = format!("late{round}x{number}");
                number += 1;
                let reply = register(&http, &cluster.core(at)?.url(), &name).await?;
                let after = killed.elapsed();
                let registered = reply
                    .expect(201)
                    .with_context(|| format!("{name}, {after:?} after the kill"))?;
                let person = Person::registered(&name, &registered)?;
                ensure!(person.home != dead, "{name} lives at the dead core");
                person.make_stream(&http).await?;
                person.write(&http, 1).await?.expect(201)?;
            }
        }
        cluster.core_mut(victim)?.restart(PATIENCE).await?;
        cluster.wait_settled(PATIENCE).await?;
    }
    Ok(())
}

/// Registers one after the other until told to stop; the names that were acknowledged.
async fn registrations(core: String, prefix: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let Ok(http) = Http::new() else {
        return Vec::new();
    };
    let mut acknowledged = Vec::new();
    for i in 0..100_000 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let name = format!("{prefix}{i}");
        if let Ok(reply) = register(&http, &core, &name).await
            && reply.status == 201
        {
            acknowledged.push(name);
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn a_home_core_dies_under_writes() -> anyhow::Result<()> {
    let mut cluster = Cluster::start(ClusterOptions::cores(3)).await?;
    let http = Http::new()?;
    // Three people at three cores: the least loaded core is chosen.
    let mut people = Vec::new();
    for name in ["first", "second", "third"] {
        people.push(Person::new(&http, &cluster.core(0)?.url(), name).await?);
    }
    let mut written: Vec<Vec<u64>> = vec![Vec::new(); 3];
    let mut number = 0;
    for round in 0..rounds(3) {
        let victim = round % 3;
        let home = |cluster: &Cluster, who: usize| -> anyhow::Result<usize> {
            let found = cluster
                .cores()
                .iter()
                .position(|core| core.url() == people[who].home);
            found.context("a home that is no core")
        };
        let at = home(&cluster, victim)?;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = people
            .iter()
            .cloned()
            .map(|person| {
                number += 1_000_000;
                tokio::spawn(notes(person, number, Arc::clone(&stop)))
            })
            .collect();
        let victims = people[victim].clone();
        let before = written[victim].len();
        wait_until(PATIENCE, "notes are written", async || {
            Ok((victims.numbers(&http).await?.len() > before + 20).then_some(()))
        })
        .await?;
        cluster.core_mut(at)?.kill()?;
        // The others go on while it is away, and it comes back with everything.
        let other = people[(victim + 1) % 3].clone();
        let seen = other.numbers(&http).await?.len();
        wait_until(PATIENCE, "users of other cores go on", async || {
            Ok((other.numbers(&http).await?.len() > seen + 20).then_some(()))
        })
        .await?;
        stop.store(true, Ordering::Relaxed);
        for (who, writer) in writers.into_iter().enumerate() {
            let (acknowledged, failures) = writer.await?;
            ensure!(
                who == victim || failures == 0,
                "round {round}: a user of a core that was not killed saw {failures} errors"
            );
            written[who].extend(acknowledged);
        }
        cluster.core_mut(at)?.restart(PATIENCE).await?;
        for (who, person) in people.iter().enumerate() {
            let present = person.numbers(&http).await?;
            let missing: Vec<_> = written[who]
                .iter()
                .filter(|n| present.binary_search(n).is_err())
                .collect();
            ensure!(
                missing.is_empty(),
                "round {round}: {} lost {missing:?}",
                person.username
            );
        }
    }
    Ok(())
}

/// Writes numbered notes until told to stop: those acknowledged, and how many failed.
async fn notes(person: Person, from: u64, stop: Arc<AtomicBool>) -> (Vec<u64>, usize) {
    let Ok(http) = Http::new() else {
        return (Vec::new(), 1);
    };
    let (mut acknowledged, mut failures) = (Vec::new(), 0);
    for number in from..from + 1_000_000 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        match person.write(&http, number).await {
            Ok(reply) if reply.status == 201 => acknowledged.push(number),
            _ => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    (acknowledged, failures)
}

/// Its ports are the first that it takes, long before it serves.
#[tokio::test(flavor = "multi_thread")]
async fn a_core_is_told_to_stop_while_it_starts() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut core = Core::prepare(
        dir.path(),
        CoreOptions::founder("core-a", "the-key-of-administrators"),
    )?;
    for _ in 0..rounds(3) {
        core.start()?;
        let rpc = core.rpc()?;
        wait_until(PATIENCE, "it takes its ports", async || {
            tokio::net::TcpStream::connect(rpc).await?;
            Ok(Some(()))
        })
        .await?;
        core.stop(PATIENCE).await?;
    }
    core.restart(PATIENCE).await
}
