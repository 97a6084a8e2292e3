//! The power goes while people register, write, upload and invite cores, and while cores join: what was acknowledged is there afterwards, and
//! nothing is there by halves. A kill cannot show that, because what a killed process has written is
//! safe in the kernel's memory; here that memory is lost too (see [`LoopImage`]).
//!
//! Needs root, loop devices and ext4's tools; where they are missing the tests say so and pass.

mod inspection;
mod load;
mod machine;
mod swallow;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use homecore_harness::{Cluster, ClusterOptions, Http, LoopImage, wait_until};

use self::inspection::{inspect, wait_for_folders};
use self::load::{Ledger, Load};
use self::machine::{Machine, Parts};
use crate::people::Person;
use crate::{PATIENCE, rounds, skipped};

/// Notes acknowledged in a round, at most, before the cut is made.
const NOTES: usize = 100;

/// One round in so many waits for a snapshot of the platform, and cuts the power near it.
const SNAPSHOT_EVERY: usize = 3;

/// Cuts that one machine goes through.
const CUTS_PER_MACHINE: usize = 6;

/// Whether the power can be cut on this machine; says so if not.
async fn possible(test: &str) -> bool {
    match LoopImage::why_not().await {
        None => true,
        Some(reason) => {
            skipped(test, &reason);
            false
        }
    }
}

/// Cuts the power under a load. The core is not started again.
async fn cut(machine: &mut Machine, load: Load) -> anyhow::Result<()> {
    let stop = load.stop();
    machine
        .lose_power(|| stop.store(true, Ordering::SeqCst))
        .await?;
    load.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_the_power() -> anyhow::Result<()> {
    if !possible("nothing_acknowledged_is_lost_with_the_power").await {
        return Ok(());
    }
    power_cuts("sled", rounds(3)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_with_the_power_on_redb() -> anyhow::Result<()> {
    if !possible("nothing_acknowledged_is_lost_with_the_power_on_redb").await {
        return Ok(());
    }
    power_cuts("redb", rounds(2)).await
}

async fn power_cuts(engine: &'static str, mut all: usize) -> anyhow::Result<()> {
    let mut round = 0;
    while all > 0 {
        // Everything is looked at after each cut, so a machine that grows old takes long.
        let cuts = all.min(CUTS_PER_MACHINE);
        let mut machine = Machine::start(Parts::engine(engine)).await?;
        let ledger = Ledger::default();
        for _ in 0..cuts {
            let done = one_round(&mut machine, &ledger, round).await;
            done.with_context(|| format!("round {round}"))?;
            round += 1;
        }
        machine.core.stop(PATIENCE).await?;
        all -= cuts;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "how much was put at stake")]
async fn one_round(machine: &mut Machine, ledger: &Ledger, round: usize) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut load = Load::start(&machine.core.url(), ledger, round).await?;
    let (snapshot, credentials) = (machine.newest_snapshot()?, machine.credentials()?);
    load.wait_for(1, dice(round, 0) % NOTES).await?;
    let guest = format!("guest-{round}");
    machine.core.run(&["invite", "--id", &guest]).await?;
    if round.is_multiple_of(SNAPSHOT_EVERY) {
        wait_until(PATIENCE, "a snapshot of the platform", async || {
            Ok((machine.newest_snapshot()? > snapshot).then_some(()))
        })
        .await?;
        // At the moment of the snapshot, soon after it, and well before the next one.
        load.wait_for(dice(round, 1) % 20, 0).await?;
    }
    // Anywhere in what the core does then; nothing is waited for.
    tokio::time::sleep(Duration::from_millis(u64::try_from(dice(round, 2) % 200)?)).await;
    cut(machine, load).await?;
    if round % 2 == 1 {
        // And once more, somewhere in the middle of what it does to recover.
        cut_while_starting(machine, round).await?;
    }
    let started = machine.core.restart(PATIENCE).await;
    started.context("the core does not start after the cut")?;
    let damage = inspect(&machine.core, ledger).await?;
    println!(
        "round {round}: {:?} in all, newest snapshot {}, {:?}: {damage:?}",
        ledger.acknowledged(),
        machine.newest_snapshot()?,
        began.elapsed()
    );
    damage.none()?;
    ensure!(
        machine.credentials()? == credentials,
        "keys, certificates or the identity are others after the cut"
    );
    let tokens = machine.core.run(&["tokens", "list"]).await?;
    ensure!(tokens.contains(&guest), "the invitation is lost: {tokens}");
    wait_for_folders(&machine.core, ledger).await
}

/// A number that follows from the round and from what it is for.
fn dice(round: usize, salt: usize) -> usize {
    let mixed = (round * 3 + salt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed >> 40
}

/// Starts the core, and cuts the power at some moment of it: another one in each round. The wait
/// chooses that moment, whatever the core does then.
async fn cut_while_starting(machine: &mut Machine, round: usize) -> anyhow::Result<()> {
    machine.core.start()?;
    let moment = Duration::from_millis(u64::try_from(dice(round, 3) % 600)?);
    tokio::time::sleep(moment).await;
    machine.lose_power(|| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_founding_that_was_cut_off_is_taken_up_again() -> anyhow::Result<()> {
    if !possible("a_founding_that_was_cut_off_is_taken_up_again").await {
        return Ok(());
    }
    let http = Http::new()?;
    for round in 0..rounds(3) {
        let mut machine = Machine::prepare(Parts::engine(["sled", "redb"][round % 2])).await?;
        // Twice: what was taken up again may be cut off again.
        for more in [1, 3] {
            cut_while_starting(&mut machine, round + more).await?;
        }
        let started = machine.core.restart(PATIENCE).await;
        started.with_context(|| format!("round {round}: no start after the cut"))?;
        let person = Person::new(&http, &machine.core.url(), "somebody").await?;
        person.write(&http, 0).await?.expect(201)?;
        ensure!(person.numbers(&http).await? == [0]);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_was_cut_off_is_taken_up_again() -> anyhow::Result<()> {
    if !possible("a_join_that_was_cut_off_is_taken_up_again").await {
        return Ok(());
    }
    let http = Http::new()?;
    let cluster = Cluster::start(ClusterOptions::cores(1)).await?;
    let founder = cluster.core(0)?;
    for round in 0..rounds(2) {
        let id = format!("joiner-{round}");
        let mut machine = Machine::prepare(Parts {
            member: Some(id.clone()),
            ..Parts::engine(["redb", "sled"][round % 2])
        })
        .await?;
        let line = founder.run(&["invite", "--id", &id]).await?;
        let token = line.split_whitespace().last().context("no token")?;
        // Its key, its certificate, its log: what it has told the cluster has to be on its disk.
        for more in [0, 7] {
            machine.core.join_with(token)?;
            let moment = Duration::from_millis(u64::try_from((round * 2 + more) * 173 % 1_500)?);
            tokio::time::sleep(moment).await;
            machine.lose_power(|| ()).await?;
        }
        machine.core.join_with(token)?;
        let ready = machine.core.wait_ready(PATIENCE).await;
        ready.with_context(|| format!("round {round}: the join is not taken up again"))?;
        let person = Person::new(&http, &machine.core.url(), &format!("person{round}")).await?;
        person.write(&http, 0).await?.expect(201)?;
        ensure!(person.numbers(&http).await? == [0]);
        founder.run(&["remove", &id, "--abandon-users"]).await?;
    }
    Ok(())
}

/// The same machine, load and inspection, and a core that does not sync: that has to be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_does_not_sync_is_found_out() -> anyhow::Result<()> {
    /// The system may happen to write everything back by itself, if rarely.
    const TRIES: usize = 3;
    let test = "a_core_that_does_not_sync_is_found_out";
    if !possible(test).await {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let binary = match swallow::binary(dir.path()).await? {
        Ok(binary) => binary,
        Err(reason) => {
            skipped(test, &reason);
            return Ok(());
        }
    };
    for attempt in 0..TRIES {
        let mut machine = Machine::start(Parts {
            binary: Some(binary.clone()),
            ..Parts::engine("sled")
        })
        .await?;
        let ledger = Ledger::default();
        let mut load = Load::start(&machine.core.url(), &ledger, attempt).await?;
        load.wait_for(5, NOTES).await?;
        // Up to here everything is on the disk after all: the cut takes what came later.
        let settled = ledger.entries();
        machine.settle_disk().await?;
        load.wait_for(5, NOTES).await?;
        cut(&mut machine, load).await?;
        if let Err(refused) = machine.core.restart(PATIENCE).await {
            println!("attempt {attempt}: found out, it does not even start: {refused:#}");
            return Ok(());
        }
        let damage = inspect(&machine.core, &ledger).await?;
        println!(
            "attempt {attempt}: {} users lost, and notes of {}",
            damage.users.len(),
            damage.notes.len()
        );
        let kept: BTreeSet<&String> = settled
            .iter()
            .filter(|(_name, known)| known.lives)
            .map(|(name, _known)| name)
            .collect();
        let wrong: Vec<_> = damage.users.iter().filter(|n| kept.contains(n)).collect();
        ensure!(
            wrong.is_empty(),
            "{wrong:?} were on the disk: the cut takes more than the power would"
        );
        if !damage.users.is_empty() && !damage.notes.is_empty() {
            return Ok(());
        }
    }
    anyhow::bail!(
        "a core that syncs nothing came through {TRIES} power cuts: these tests show nothing here"
    )
}
