//! What goes wrong in a run: links, machines, disks, clocks, and cores that come and go.

use std::sync::Arc;
use std::time::Duration;

use homecore_raft::command::{Command, Response};
use homecore_types::Clock as _;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bugs::Bug;
use crate::chance::Chance;
use crate::net::{End, Host, Weather};
use crate::world::{World, core_id};

/// Cores there are at most.
pub(crate) const CORES_MAX: usize = 7;

/// How bad a run is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) cores: u64,
    pub(crate) clients: u64,
    pub(crate) lasts: Duration,
    /// Milliseconds between two faults, at most.
    pub(crate) pause_ms: u64,
    /// Whether cores join and are removed.
    pub(crate) moves: bool,
    /// Whether machines lose their power when it is worst: just after a vote, just before a commit.
    pub(crate) spite: bool,
    /// Whether it is waited until what was left half done has passed its time.
    pub(crate) clears: bool,
}

impl Plan {
    pub(crate) fn of(chance: &Chance, bug: Option<Bug>) -> Self {
        let mut plan = Self::any(chance);
        match bug {
            // What is wrong is wrong in few moments only.
            Some(Bug::VoteNotSynced) => {
                plan.cores = 3;
                plan.moves = false;
                plan.spite = true;
                plan.clients = 6;
                plan.pause_ms = 1_500;
                plan.lasts = Duration::from_secs(60);
            }
            Some(Bug::StaleSettle | Bug::UnknownIsNo) => {
                plan.spite = true;
                plan.cores = plan.cores.clamp(2, 5);
                plan.clients = 8;
                plan.moves = false;
                plan.clears = true;
                plan.lasts = Duration::from_secs(45);
            }
            Some(Bug::StoppedClock) => plan.clears = true,
            _ => {}
        }
        plan
    }

    fn any(chance: &Chance) -> Self {
        Self {
            cores: *chance.pick(&[1, 2, 3, 3, 3, 4, 5, 5, 6, 7]).unwrap(),
            clients: chance.between(2, 5),
            lasts: chance.millis(10_000, 30_000),
            pause_ms: *chance.pick(&[600, 1_500, 4_000]).unwrap(),
            moves: chance.one_in(3),
            spite: chance.one_in(3),
            clears: chance.one_in(4),
        }
    }
}

/// Breaks things until the time is over.
pub(crate) async fn storm(world: Arc<World>, plan: Plan, chance: Chance) {
    let until = Instant::now() + plan.lasts;
    if plan.spite {
        for host in world.hosts() {
            tokio::spawn(spite(Arc::clone(&world), host, until, chance.fork()));
        }
    }
    while Instant::now() < until {
        sleep(chance.millis(plan.pause_ms / 4, plan.pause_ms)).await;
        strike(&world, plan, &chance).await;
    }
}

async fn strike(world: &Arc<World>, plan: Plan, chance: &Chance) {
    let hosts = world.hosts();
    let Some(host) = chance.pick(&hosts).copied() else {
        return;
    };
    let trace = &world.trace;
    match chance.below(24) {
        0..=2 => {
            // Some on one side, some on the other.
            let (left, right): (Vec<Host>, Vec<Host>) =
                hosts.iter().partition(|_| chance.one_in(2));
            trace.event(format_args!("partition {left:?} | {right:?}"));
            for (a, b) in left
                .iter()
                .flat_map(|a| right.iter().map(move |b| (*a, *b)))
            {
                world.net.set_cut(a, b, true);
                world.net.set_cut(b, a, true);
            }
        }
        3..=4 => {
            // One that is not heard, or hears nothing.
            let heard = chance.one_in(2);
            trace.event(format_args!("one way: core-{host}, hears {heard}"));
            for other in hosts.iter().filter(|other| **other != host) {
                if heard {
                    world.net.set_cut(host, *other, true);
                } else {
                    world.net.set_cut(*other, host, true);
                }
            }
        }
        5..=8 => {
            trace.event("mended");
            world.net.mend();
        }
        9 => {
            let weather = Weather {
                delay_least_ms: chance.between(1, 20),
                delay_most_ms: chance.between(20, 250),
                lost: chance.below(200),
            };
            trace.event(format_args!("{weather:?}"));
            world.net.set_weather(weather);
        }
        10 => world.net.set_weather(Weather::FINE),
        11 => {
            trace.event(format_args!("connections of core-{host} reset"));
            world.net.reset(host);
        }
        12..=13 => crash(world, host, End::Killed, chance),
        14..=15 => crash(world, host, End::Dark, chance),
        16 => {
            world.stop(host).await;
            restart(world, host, chance);
        }
        17 => jump(world, host, chance),
        18 => {
            let slow = *chance.pick(&[2, 2, 50, 400]).unwrap();
            trace.event(format_args!("disk of core-{host} takes up to {slow} ms"));
            if let Some(disk) = world.disk(host) {
                disk.set_slow(slow);
            }
        }
        19 => {
            let full = chance.one_in(2);
            trace.event(format_args!("disk of core-{host} full: {full}"));
            if let Some(disk) = world.disk(host) {
                disk.set_full(full);
            }
        }
        20 if plan.moves => join(world).await,
        21 if plan.moves && hosts.len() > 2 => remove(world, host, chance),
        22 => shuffle(world, chance),
        _ => {}
    }
}

/// Takes a machine's power when it is worst, and draws the links anew.
async fn spite(world: Arc<World>, host: Host, until: Instant, chance: Chance) {
    let Some((voted, created)) = world.moments(host) else {
        return;
    };
    loop {
        let after_vote = tokio::select! {
            biased;
            () = world.over.cancelled() => return,
            () = sleep_until(until) => return,
            () = voted.notified() => true,
            () = created.notified() => false,
        };
        if !chance.one_in(if after_vote { 2 } else { 10 }) {
            continue;
        }
        // The answer to who asked for the vote is on its way by then.
        let most = if after_vote { 12 } else { 60 };
        sleep(chance.millis(1, most)).await;
        world.trace.event(format_args!(
            "core-{host}, at a bad moment (vote: {after_vote})"
        ));
        world.end(host, End::Dark);
        // Whom it spoke to it speaks to no more, and the other way round; or all are drawn anew.
        if chance.one_in(2) {
            flip(&world, host);
        } else if chance.one_in(2) {
            shuffle(&world, &chance);
        }
        sleep(chance.millis(20, 400)).await;
        world.start(host).await;
    }
}

/// Whom a machine can speak to, and whom not, changes places.
fn flip(world: &World, host: Host) {
    for other in world.hosts().into_iter().filter(|other| *other != host) {
        let cut = world.net.has_cut(host, other) || world.net.has_cut(other, host);
        world.net.set_cut(host, other, !cut);
        world.net.set_cut(other, host, !cut);
    }
    world
        .trace
        .event(format_args!("links of core-{host} flipped"));
}

/// Each pair of machines can speak, or cannot.
fn shuffle(world: &World, chance: &Chance) {
    let hosts = world.hosts();
    let pairs = hosts
        .iter()
        .flat_map(|a| hosts.iter().map(move |b| (*a, *b)));
    for (a, b) in pairs.filter(|(a, b)| a < b) {
        let cut = chance.one_in(2);
        world.net.set_cut(a, b, cut);
        world.net.set_cut(b, a, cut);
    }
    world.trace.event("links drawn anew");
}

fn crash(world: &Arc<World>, host: Host, end: End, chance: &Chance) {
    world.end(host, end);
    restart(world, host, chance);
}

fn restart(world: &Arc<World>, host: Host, chance: &Chance) {
    let (world, after) = (Arc::clone(world), chance.millis(50, 6_000));
    tokio::spawn(async move {
        sleep(after).await;
        world.start(host).await;
    });
}

fn jump(world: &Arc<World>, host: Host, chance: &Chance) {
    let most = 60_000;
    let off = i64::try_from(chance.below(2 * most)).unwrap() - i64::try_from(most).unwrap();
    world
        .trace
        .event(format_args!("clock of core-{host} off by {off} ms"));
    if let Some(clock) = world.clock(host) {
        clock.set_off(off);
    }
}

async fn join(world: &Arc<World>) {
    if world.hosts().len() >= CORES_MAX {
        return;
    }
    let host = world.new_host();
    if let Some(through) = world.running().first() {
        world.join(host, through).await;
    }
}

/// Removes a core for good, with its users, through another.
fn remove(world: &Arc<World>, host: Host, chance: &Chance) {
    let running = world.running();
    let others: Vec<_> = running.iter().filter(|other| other.host != host).collect();
    let Some(through) = chance.pick(&others) else {
        return;
    };
    let (world, through) = (Arc::clone(world), (*through).clone());
    world.removed.lock().unwrap().insert(core_id(host));
    world.oracle.lock().unwrap().doubt_home(&core_id(host));
    world.trace.event(format_args!("core-{host} is removed"));
    tokio::spawn(async move {
        let remove = Command::RemoveCore {
            core: core_id(host),
            abandon_users: true,
            at: through.clock.now(),
        };
        let done = through.platform.write(remove).await;
        world
            .trace
            .event(format_args!("core-{host} removed: {done:?}"));
        if matches!(done, Ok(Response::Done)) {
            // It goes on for a while, and is told that it is no member any more.
            sleep(Duration::from_secs(12)).await;
            world.retire(host);
        }
    });
}
