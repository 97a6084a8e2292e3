//! What goes wrong in a run: links, machines, disks, clocks, and cores that come and go.

use std::sync::Arc;
use std::time::Duration;

use homecore_raft::command::{Command, Response};
use homecore_types::Clock as _;
use tokio::time::{Instant, sleep};

use crate::bugs::Bug;
use crate::chance::Chance;
use crate::disk::Room;
use crate::net::{End, Host, Weather};
use crate::spite::{self, Spite};
use crate::tally::Fault;
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
    /// Whether things break when it is worst: see [`spite`].
    pub(crate) spite: Spite,
    /// Whether it is waited until what was left half done has passed its time.
    pub(crate) clears: bool,
}

impl Plan {
    pub(crate) fn of(chance: &Chance, bug: Option<Bug>, seed: u64) -> Self {
        let mut plan = Self::any(chance, seed);
        match bug {
            // What is wrong is wrong in few moments only: those are sought.
            Some(Bug::VoteNotSynced) => {
                plan.cores = *chance.pick(&[3, 3, 5]).unwrap();
                plan.moves = false;
                plan.spite = Spite {
                    votes: chance.one_in(2),
                    usurps: true,
                    ..Spite::NONE
                };
                plan.clients = 6;
                plan.pause_ms = 4_000;
                plan.lasts = Duration::from_secs(40);
                plan.clears = false;
            }
            Some(Bug::StaleSettle | Bug::UnknownIsNo) => {
                plan.cores = *chance.pick(&[3, 4, 5]).unwrap();
                plan.moves = false;
                plan.spite = Spite {
                    accounts: true,
                    ..Spite::NONE
                };
                plan.clients = 6;
                plan.pause_ms = 4_000;
                plan.lasts = Duration::from_secs(30);
                plan.clears = false;
            }
            Some(Bug::StrangerLeads) => {
                plan.cores = 3;
                plan.moves = true;
                plan.spite = Spite::NONE;
                plan.pause_ms = 600;
                plan.lasts = Duration::from_secs(40);
                plan.clears = false;
            }
            Some(Bug::StoppedClock) => plan.clears = true,
            _ => {}
        }
        plan
    }

    fn any(chance: &Chance, seed: u64) -> Self {
        // Ten seeds in a row have every number of cores.
        const CORES: [u64; 10] = [5, 3, 4, 3, 7, 5, 2, 3, 6, 1];
        let cores = usize::try_from(seed % 10).map_or(3, |at| CORES[at]);
        Self {
            cores,
            clients: chance.between(2, 5),
            lasts: chance.millis(10_000, 30_000),
            pause_ms: *chance.pick(&[600, 1_500, 4_000]).unwrap(),
            moves: chance.one_in(3),
            spite: Spite {
                votes: chance.one_in(4),
                accounts: chance.one_in(4),
                usurps: cores >= 3 && chance.one_in(4),
                starves: cores >= 3 && chance.one_in(4),
            },
            clears: chance.one_in(4),
        }
    }
}

/// Breaks things until the time is over.
pub(crate) async fn storm(world: Arc<World>, plan: Plan, chance: Chance) {
    let until = Instant::now() + plan.lasts;
    spite::begin(&world, plan.spite, until, &chance);
    while Instant::now() < until {
        sleep(chance.millis(plan.pause_ms / 4, plan.pause_ms)).await;
        let scene = world.scene.lock().await;
        strike(&world, plan, &chance).await;
        drop(scene);
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
            part(world, &left, &right);
        }
        3..=4 => {
            // One that is not heard, or hears nothing.
            let heard = chance.one_in(2);
            let mut others = hosts.clone();
            others.retain(|other| *other != host);
            if heard {
                deafen(world, host, &others);
            } else {
                mute(world, host, &others);
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
                twice: chance.below(60),
            };
            trace.event(format_args!("{weather:?}"));
            world.net.set_weather(weather);
        }
        10 => world.net.set_weather(Weather::FINE),
        11 => {
            trace.fault(Fault::Reset);
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
            let rooms = [Room::Enough, Room::Nothing, Room::Little, Room::Little];
            let room = *chance.pick(&rooms).unwrap();
            trace.event(format_args!("room on the disk of core-{host}: {room:?}"));
            if let Some(disk) = world.disk(host) {
                disk.set_room(room);
            }
        }
        20 if plan.moves => join(world, chance).await,
        21 if plan.moves && hosts.len() > 2 => remove(world, host, chance),
        22 => shuffle(world, chance),
        _ => {}
    }
}

/// Each pair of machines can speak, or cannot.
pub(crate) fn shuffle(world: &World, chance: &Chance) {
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

/// Nothing gets from one side to the other.
pub(crate) fn part(world: &World, left: &[Host], right: &[Host]) {
    if left.is_empty() || right.is_empty() {
        return;
    }
    world.trace.fault(Fault::Partition);
    world
        .trace
        .event(format_args!("partition {left:?} | {right:?}"));
    for (a, b) in left
        .iter()
        .flat_map(|a| right.iter().map(move |b| (*a, *b)))
    {
        world.net.set_cut(a, b, true);
        world.net.set_cut(b, a, true);
    }
}

/// A core is heard by others and hears none of them.
pub(crate) fn deafen(world: &World, host: Host, others: &[Host]) {
    one_way(world, others, &[host]);
}

/// A core hears others, and none of them hears it.
fn mute(world: &World, host: Host, others: &[Host]) {
    one_way(world, &[host], others);
}

fn one_way(world: &World, from: &[Host], to: &[Host]) {
    if from.is_empty() || to.is_empty() {
        return;
    }
    world.trace.fault(Fault::OneWay);
    world
        .trace
        .event(format_args!("one way: nothing from {from:?} to {to:?}"));
    for (from, to) in from
        .iter()
        .flat_map(|from| to.iter().map(move |to| (*from, *to)))
    {
        world.net.set_cut(from, to, true);
    }
}

fn crash(world: &Arc<World>, host: Host, end: End, chance: &Chance) {
    world.end(host, end);
    restart(world, host, chance);
}

fn restart(world: &Arc<World>, host: Host, chance: &Chance) {
    if chance.one_in(6) {
        cramp(world, host, chance);
    }
    let (world, after) = (Arc::clone(world), chance.millis(50, 6_000));
    tokio::spawn(async move {
        sleep(after).await;
        world.start(host).await;
    });
}

/// For a while there is no room for a snapshot, which a core needs that is new or was away for long.
fn cramp(world: &Arc<World>, host: Host, chance: &Chance) {
    let Some(disk) = world.disk(host) else { return };
    world
        .trace
        .event(format_args!("no room for snapshots at core-{host}"));
    disk.set_room(Room::Little);
    let lasts = chance.millis(1_000, 6_000);
    tokio::spawn(async move {
        sleep(lasts).await;
        disk.set_room(Room::Enough);
    });
}

fn jump(world: &Arc<World>, host: Host, chance: &Chance) {
    let most = 60_000;
    let off = i64::try_from(chance.below(2 * most)).unwrap() - i64::try_from(most).unwrap();
    world
        .trace
        .event(format_args!("clock of core-{host} off by {off} ms"));
    if let Some(clock) = world.clock(host) {
        world.trace.fault(Fault::ClockJump);
        clock.set_off(off);
    }
}

async fn join(world: &Arc<World>, chance: &Chance) {
    if world.hosts().len() >= CORES_MAX {
        return;
    }
    let host = world.new_host();
    if let Some(through) = world.running().first()
        && world.join(host, through).await
    {
        world.trace.fault(Fault::Joined);
        if chance.one_in(2) {
            cramp(world, host, chance);
        }
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
            world.trace.fault(Fault::Removed);
            // It goes on for a while, and is told that it is no member any more.
            sleep(Duration::from_secs(12)).await;
            if !world.votes_still(host) {
                world.retire(host);
            }
        }
    });
}
