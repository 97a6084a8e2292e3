//! One run: cores come together, clients work while things break, then nothing breaks any more and
//! everything has to come together again, within a bound.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homecore_raft::Role;
use homecore_raft::membership::voters_for;
use homecore_types::limits::RESERVATION_TTL;
use homecore_types::{UserId, Username};
use tokio::time::{Instant, sleep, timeout};

use crate::bugs::Bug;
use crate::disk::Room;
use crate::faults::{self, Plan};
use crate::invariants::{self, Seen};
use crate::net::Weather;
use crate::process;
use crate::registration::{Failed, Person};
use crate::workload;
use crate::world::World;

/// After the last fault everything is whole again within this time …
const HEAL_BOUND: Duration = Duration::from_secs(90);
/// … and what was left half done is cleared away within this: a reservation's time, the most that clocks
/// are off, and some sweeps.
const CLEAR_BOUND: Duration = RESERVATION_TTL
    .saturating_add(Duration::from_secs(120))
    .saturating_add(Duration::from_secs(40));
/// A core that is told of a leader takes registrations within.
const SERVES_AGAIN: Duration = Duration::from_secs(2);
/// Nothing in the simulation takes longer.
const RUN_BOUND: Duration = Duration::from_secs(1_200);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) wrong: Option<String>,
    pub(crate) trace: String,
}

/// Runs a seed to its end, on this thread alone.
pub(crate) fn run(seed: u64, bug: Option<Bug>, root: &Path, verbose: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        // With the driver of sockets, too: then time that is skipped costs a look at none of them, and no sleep.
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    process::log();
    let outcome = runtime.block_on(async {
        let world = World::new(seed, bug, root.to_path_buf(), verbose);
        match timeout(RUN_BOUND, phases(&world)).await {
            Ok(()) => {}
            Err(_) => world.fail("the run does not end"),
        }
        let over = {
            let oracle = world.oracle.lock().unwrap();
            format!(
                "seed {seed}: {} acknowledged, {} refused, {} unknown; looked {} times",
                oracle.acknowledged,
                oracle.refused,
                oracle.unknown,
                world.book.lock().unwrap().steps,
            )
        };
        world.trace.event(over);
        world.over.cancel();
        Outcome {
            wrong: world.wrong.lock().unwrap().clone(),
            trace: world.trace.finish(),
        }
    });
    // What is left of dead cores is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn phases(world: &Arc<World>) {
    tokio::select! {
        biased;
        () = world.over.cancelled() => {}
        () = course(world) => {}
    }
}

async fn course(world: &Arc<World>) {
    let plan = Plan::of(&world.chance, world.bug, world.seed);
    world.trace.event(format_args!("{plan:?}"));
    world.found().await;
    for host in 2..=plan.cores {
        if let Some(first) = world.running_on(1)
            && !world.join(host, &first).await
        {
            return world.fail(format!("core-{host} could not join"));
        }
    }
    let storm = tokio::spawn(faults::storm(Arc::clone(world), plan, world.chance.fork()));
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| {
            let client = workload::client(Arc::clone(world), number, world.chance.fork());
            tokio::spawn(client)
        })
        .collect();
    drop(storm.await);
    // What has begun goes on to its end; nothing begins any more.
    let _calm = world.scene.lock().await;
    // Nothing breaks any more; clients go on for a while.
    world.trace.event("calm");
    world.net.mend();
    world.net.set_weather(Weather::FINE);
    for host in world.hosts() {
        if let Some(disk) = world.disk(host) {
            disk.set_slow(2);
            disk.set_room(Room::Enough);
        }
    }
    let began = Instant::now();
    sleep(Duration::from_secs(5)).await;
    for client in clients {
        client.abort();
    }
    let mut why = String::new();
    while let Err(not_yet) = is_whole(world, false) {
        why = not_yet;
        if began.elapsed() > HEAL_BOUND {
            for core in world.running() {
                let status = core.platform.status();
                world.trace.event(format_args!("{}: {status:?}", core.core));
            }
            return world.fail(format!("not whole again after {HEAL_BOUND:?}: {why}"));
        }
        if began.elapsed() > Duration::from_secs(20) {
            world.retire_removed();
        }
        for host in world.hosts() {
            if world.is_down(host) && began.elapsed() > Duration::from_secs(10) {
                world.start(host).await;
            }
        }
        sleep(Duration::from_millis(250)).await;
    }
    drop(why);
    world.trace.event("whole");
    serves(world).await;
    let whole = Instant::now();
    while plan.clears
        && let Err(not_yet) = is_whole(world, true)
    {
        if whole.elapsed() > CLEAR_BOUND {
            return world.fail(format!("not clear after {CLEAR_BOUND:?}: {not_yet}"));
        }
        sleep(Duration::from_secs(1)).await;
    }
    // What was registered last arrives everywhere.
    sleep(Duration::from_secs(3)).await;
    last_look(world, plan.clears).await;
    world.trace.event("clear");
}

/// Whether all cores run, agree on one leader and on who votes, and have applied everything; and, if
/// asked, whether nothing is left half done. Else what is missing.
fn is_whole(world: &World, clear: bool) -> Result<(), String> {
    let running = world.running();
    let hosts = world.hosts();
    if running.len() != hosts.len() {
        return Err(format!("{} of {} cores run", running.len(), hosts.len()));
    }
    let seen: Vec<Seen> = running.iter().map(Seen::of).collect();
    let members = |seen: &Seen| {
        let cores = seen.directory.cores();
        cores.map(|core| core.node).collect::<BTreeSet<_>>()
    };
    // A core whose removal is under way is no member, or soon none.
    let Some(leader) = seen.iter().find(|seen| seen.status.role == Role::Leader) else {
        return Err("nobody leads".to_owned());
    };
    let present = members(leader);
    let last = leader.status.last_log;
    let voters = voters_for(present.len());
    for core in &seen {
        let status = &core.status;
        let name = &core.running.core;
        if !present.contains(&status.node) {
            return Err(format!("{name} is no member and still runs"));
        }
        if status.leader != Some(leader.status.node) || status.term != leader.status.term {
            return Err(format!("{name} follows {:?}", status.leader));
        }
        if status.voters.len() != voters || status.changing {
            return Err(format!("{name} counts {:?} as voters", status.voters));
        }
        if status.applied != last {
            return Err(format!(
                "{name} has applied {:?} of {last:?}",
                status.applied
            ));
        }
        if clear {
            let (marks, counts) = (core.running.folders.marks(), core.directory.counts());
            if !marks.is_empty() {
                return Err(format!("{name} has unfinished accounts: {marks:?}"));
            }
            if counts.reservations > 0 {
                return Err(format!("{} reservations are held", counts.reservations));
            }
        }
    }
    Ok(())
}

/// Every core registers somebody.
async fn serves(world: &Arc<World>) {
    for running in world.running() {
        if running.platform.directory().core(&running.core).is_none() {
            continue;
        }
        let person = Person {
            username: Username::parse(format!("last{:02}", running.host)).unwrap(),
            email: format!("last{}@sim.test", running.host),
        };
        // Found whole at this moment: a core that refused at once for want of a leader asks again, a few
        // times a second, whether there is one.
        let began = Instant::now();
        let mut registered = running.registrar.register(&person).await;
        while let Err(Failed::Unknown(why)) = &registered
            && why.contains("takes no writes now")
            && began.elapsed() < SERVES_AGAIN
        {
            sleep(Duration::from_millis(100)).await;
            registered = running.registrar.register(&person).await;
        }
        world.trace.event(format_args!(
            "{} registers {}: {registered:?}",
            running.core, person.username
        ));
        if let Err(why) = registered {
            world.fail(format!(
                "{} registers nobody though all is whole: {why:?}",
                running.core
            ));
        }
    }
}

/// Everything that was acknowledged is on every core, and what was not is either there as a whole or not
/// at all.
async fn last_look(world: &Arc<World>, clear: bool) {
    let running = world.running();
    for core in &running {
        invariants::look(world, core).await;
    }
    let Some(first) = running.first() else { return };
    let users = first.platform.users(None, None, 10_000).await;
    let Ok(users) = users else {
        return world.fail("the users cannot be listed");
    };
    let there: BTreeSet<UserId> = users.iter().map(|user| user.id.clone()).collect();
    let missing = {
        let oracle = world.oracle.lock().unwrap();
        let living = oracle.living();
        let mut missing = living.filter(|(id, _)| !there.contains(*id));
        missing
            .next()
            .map(|(id, user)| format!("acknowledged: {} ({id}) is gone in the end", user.name))
    };
    if let Some(missing) = missing {
        return world.fail(missing);
    }
    for user in users.iter().filter(|user| user.reservation.is_none()) {
        let holders: Vec<_> = running
            .iter()
            .filter(|core| core.folders.has(&user.id))
            .map(|core| core.core.clone())
            .collect();
        if holders != [user.core.clone()] {
            return world.fail(format!(
                "one home: {} ({}) lives on {}, and its account is on {holders:?}",
                user.username, user.id, user.core
            ));
        }
    }
    for core in running.iter().filter(|_| clear) {
        for id in core.folders.settled() {
            let unknown_end = world.oracle.lock().unwrap().users.contains_key(&id);
            if !there.contains(&id) && !unknown_end {
                return world.fail(format!(
                    "one home: {} keeps an account of {id}, whom the platform does not know",
                    core.core
                ));
            }
        }
    }
}
