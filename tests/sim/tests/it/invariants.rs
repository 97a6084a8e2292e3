//! What must hold after each step: whenever a core has applied something, it is looked at.

mod acknowledged;
mod dns_generation;
mod equal_state;
mod odd_voters;
mod one_home;
mod one_owner;
mod reservations;
pub(crate) mod votes;

use std::sync::Arc;
use std::time::Duration;

use homecore_dns::ZoneSource as _;
use homecore_raft::Status;
use homecore_raft::directory::Directory;
use homecore_types::{Clock as _, Millis};
use tokio::time::{Instant, timeout};

use crate::world::{Running, World};

/// A core is looked at at least so often, whether it applies anything or not.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What was seen of all cores so far.
#[derive(Debug, Default)]
pub(crate) struct Book {
    equal_state: equal_state::Book,
    dns_generation: dns_generation::Book,
    reservations: reservations::Book,
    /// How often everything was looked at.
    pub(crate) steps: u64,
}

/// A core as it is now.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) running: Running,
    pub(crate) directory: Arc<Directory>,
    pub(crate) index: u64,
    pub(crate) status: Status,
    pub(crate) zone_generation: u64,
    pub(crate) now: Millis,
    pub(crate) at: Instant,
}

impl Seen {
    pub(crate) fn of(running: &Running) -> Self {
        let directory = running.platform.directory();
        Self {
            running: running.clone(),
            index: directory.applied_index().unwrap_or(0),
            directory,
            status: running.platform.status(),
            zone_generation: running.zone.zone().generation(),
            now: running.clock.now(),
            at: Instant::now(),
        }
    }
}

/// Looks at a core whenever it has applied something, until its life ends.
pub(crate) async fn observe(world: Arc<World>, running: Running) {
    let mut applied = running.platform.watch_applied();
    loop {
        let changed = timeout(LOOK_EVERY, applied.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
        look(&world, &running).await;
    }
}

/// Looks at a core.
pub(crate) async fn look(world: &World, running: &Running) {
    let seen = Seen::of(running);
    let found = {
        let oracle = world.oracle.lock().unwrap();
        let mut book = world.book.lock().unwrap();
        book.steps += 1;
        one_owner::check(&oracle, &seen)
            .and_then(|()| one_home::check(&oracle, &seen))
            .and_then(|()| acknowledged::check(&oracle, &seen))
            .and_then(|()| world.votes.check())
            .and_then(|()| odd_voters::check(&seen))
            .and_then(|()| dns_generation::check(&mut book.dns_generation, &seen))
    };
    let found = match found {
        Ok(()) => match equal_state::read(&seen).await {
            Ok(Some(state)) => {
                let mut book = world.book.lock().unwrap();
                let overdue = state.overdue;
                equal_state::check(&mut book.equal_state, &seen, &state)
                    .and_then(|()| reservations::check(&mut book.reservations, &seen, overdue))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        },
        Err(wrong) => Err(wrong),
    };
    if let Err(wrong) = found {
        world.fail(format!("{}: {wrong}", running.core));
    }
}
