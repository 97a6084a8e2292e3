//! Things break when it is worst: just after a vote, just after an account was made, when a core needs a
//! snapshot.

use std::sync::Arc;
use std::time::Duration;

use homecore_raft::Role;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::chance::Chance;
use crate::disk::Room;
use crate::faults::{deafen, part, shuffle};
use crate::net::{End, Host};
use crate::tally::Fault;
use crate::world::{Running, World};

/// Whoever is to vote has done so within this time.
const ELECTION: Duration = Duration::from_secs(12);
/// A core is away for no longer.
const AWAY: Duration = Duration::from_secs(8);

/// Which moments.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is drawn by itself")]
pub(crate) struct Spite {
    /// Just after a vote.
    pub(crate) votes: bool,
    /// Just after an account was made, and before it is committed.
    pub(crate) accounts: bool,
    /// Just after a vote for a new leader, and back to the old one.
    pub(crate) usurps: bool,
    /// When a core needs a snapshot.
    pub(crate) starves: bool,
}

impl Spite {
    pub(crate) const NONE: Self = Self {
        votes: false,
        accounts: false,
        usurps: false,
        starves: false,
    };
}

/// Waits for bad moments until the time is over.
pub(crate) fn begin(world: &Arc<World>, spite: Spite, until: Instant, chance: &Chance) {
    for host in world.hosts() {
        if spite.votes {
            tokio::spawn(after_votes(Arc::clone(world), host, until, chance.fork()));
        }
        if spite.accounts {
            tokio::spawn(after_accounts(
                Arc::clone(world),
                host,
                until,
                chance.fork(),
            ));
        }
    }
    if spite.usurps {
        tokio::spawn(usurpers(Arc::clone(world), until, chance.fork()));
    }
    if spite.starves {
        tokio::spawn(starving(Arc::clone(world), until, chance.fork()));
    }
}

/// Takes a machine's power when it has voted, and draws the links anew.
async fn after_votes(world: Arc<World>, host: Host, until: Instant, chance: Chance) {
    let Some((voted, _)) = world.moments(host) else {
        return;
    };
    while comes(&world, until, voted.notified()).await {
        if !chance.one_in(2) {
            continue;
        }
        // The answer to who asked for the vote is on its way by then.
        sleep(chance.millis(1, 12)).await;
        let Ok(scene) = world.scene.try_lock() else {
            continue;
        };
        world.trace.event(format_args!("core-{host} has voted"));
        world.trace.fault(Fault::AfterVote);
        world.end(host, End::Dark);
        // Whom it spoke to it speaks to no more, and the other way round; or all are drawn anew.
        if chance.one_in(2) {
            flip(&world, host);
        } else if chance.one_in(2) {
            shuffle(&world, &chance);
        }
        sleep(chance.millis(20, 400)).await;
        world.start(host).await;
        drop(scene);
    }
}

/// Lets a core die, or lose touch, when it has made an account: its commit is on its way, or the answer is.
async fn after_accounts(world: Arc<World>, host: Host, until: Instant, chance: Chance) {
    let Some((_, created)) = world.moments(host) else {
        return;
    };
    while comes(&world, until, created.notified()).await {
        if !chance.one_in(3) {
            continue;
        }
        sleep(chance.millis(1, 8)).await;
        let Ok(scene) = world.scene.try_lock() else {
            continue;
        };
        world
            .trace
            .event(format_args!("core-{host} has made an account"));
        let hosts = world.hosts();
        let others: Vec<Host> = hosts.into_iter().filter(|other| *other != host).collect();
        match chance.below(4) {
            0 => {
                world.trace.fault(Fault::AccountAlone);
                world.net.reset(host);
            }
            1 => {
                world.trace.fault(Fault::AccountAlone);
                if chance.one_in(3) {
                    part(&world, &[host], &others);
                } else {
                    // It is heard, and hears nothing: not whether its commit was written.
                    deafen(&world, host, &others);
                }
                // Longer than it waits for an answer.
                sleep(chance.millis(3_000, 9_000)).await;
                world.net.mend();
            }
            more => {
                world.trace.fault(Fault::AfterAccount);
                world.end(host, End::Dark);
                // It has to do without the others when it looks around.
                if more == 2 {
                    part(&world, &[host], &others);
                }
                sleep(chance.millis(20, 400)).await;
                world.start(host).await;
                sleep(chance.millis(500, 4_000)).await;
                world.net.mend();
            }
        }
        drop(scene);
    }
}

/// A leader loses touch with most voters, these choose another, and one of them dies as soon as it has voted
/// and comes back where it reaches the former leader and not the new one. If it knows of its vote no more,
/// both lead: the one acknowledges what the other writes over.
async fn usurpers(world: Arc<World>, until: Instant, chance: Chance) {
    while comes(&world, until, sleep(chance.millis(300, 3_000))).await {
        let scene = world.scene.lock().await;
        let usurped = usurp(&world, &chance).await;
        if usurped.is_some() {
            world.trace.fault(Fault::Usurped);
        }
        world.net.mend();
        drop(scene);
    }
}

/// One time; none if it does not come to it.
async fn usurp(world: &Arc<World>, chance: &Chance) -> Option<()> {
    world.net.mend();
    let running = world.running();
    let leader = running
        .iter()
        .find(|core| core.platform.status().role == Role::Leader)?;
    let node = |host: Host| world.node(host);
    let voters = leader.platform.status().voters;
    let mut followers: Vec<Host> = running
        .iter()
        .map(|core| core.host)
        .filter(|host| *host != leader.host && node(*host).is_some_and(|it| voters.contains(&it)))
        .collect();
    // One less than most stay with the leader, or as many as there are.
    let stay = (voters.len().checked_sub(1)? / 2).checked_sub(1)?;
    for _ in 0..chance.below(4) {
        followers.rotate_left(1);
    }
    let left: Vec<Host> = followers
        .iter()
        .take(stay)
        .chain([&leader.host])
        .copied()
        .collect();
    let right: Vec<Host> = world
        .hosts()
        .into_iter()
        .filter(|host| !left.contains(host))
        .collect();
    let mut cast = world.votes.cast.subscribe();
    cast.mark_unchanged();
    part(world, &left, &right);
    let swayed = async {
        loop {
            cast.changed().await.ok()?;
            let vote = *cast.borrow_and_update();
            if let Some((host, ballot)) = vote
                && right.contains(&host)
                && !ballot.leads
                && node(host).is_some_and(|it| it.0 != ballot.node)
            {
                return Some(host);
            }
        }
    };
    let swayed = timeout(ELECTION, swayed).await.ok().flatten()?;
    // Its answer is on its way, and the new leader's first entry is not here yet.
    sleep(chance.millis(1, 6)).await;
    world.trace.event(format_args!(
        "core-{swayed} has voted, and goes back to {left:?}"
    ));
    world.end(swayed, End::Dark);
    world.net.mend();
    let right: Vec<Host> = right.into_iter().filter(|host| *host != swayed).collect();
    let left: Vec<Host> = left.into_iter().chain([swayed]).collect();
    part(world, &left, &right);
    sleep(chance.millis(20, 400)).await;
    world.start(swayed).await;
    sleep(chance.millis(2_000, 6_000)).await;
    Some(())
}

/// A core is away until the others keep no more of the log that it lacks, and has no room then for the
/// snapshot that it is sent.
async fn starving(world: Arc<World>, until: Instant, chance: Chance) {
    while comes(&world, until, sleep(chance.millis(300, 3_000))).await {
        let scene = world.scene.lock().await;
        starve(&world, &chance).await;
        world.net.mend();
        drop(scene);
    }
}

/// One time; none if it does not come to it.
async fn starve(world: &Arc<World>, chance: &Chance) -> Option<()> {
    world.net.mend();
    let running = world.running();
    let leader = running
        .iter()
        .find(|core| core.platform.status().role == Role::Leader)?;
    let others: Vec<&Running> = running
        .iter()
        .filter(|core| core.host != leader.host)
        .collect();
    let away = *chance.pick(&others)?;
    let disk = world.disk(away.host)?;
    let rest: Vec<Host> = world
        .hosts()
        .into_iter()
        .filter(|host| *host != away.host)
        .collect();
    part(world, &[away.host], &rest);
    let end = away.platform.status().last_log;
    let began = Instant::now();
    while leader.platform.status().purged <= end {
        if began.elapsed() > AWAY {
            return None;
        }
        sleep(Duration::from_millis(250)).await;
    }
    world
        .trace
        .event(format_args!("core-{} needs a snapshot", away.host));
    disk.set_room(Room::Little);
    world.net.mend();
    sleep(chance.millis(1_000, 4_000)).await;
    disk.set_room(Room::Enough);
    Some(())
}

/// Whether something comes before the time is over.
async fn comes(world: &World, until: Instant, what: impl Future<Output = ()>) -> bool {
    tokio::select! {
        biased;
        () = world.over.cancelled() => false,
        () = sleep_until(until) => false,
        () = what => true,
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
