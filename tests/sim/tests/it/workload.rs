//! Clients: they register, look names up, delete themselves and set records, at whichever core answers.

use std::sync::Arc;
use std::time::Duration;

use homecore_raft::command::{Command, Response};
use homecore_raft::records::DnsRecord;
use homecore_types::{UserId, Username};
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::oracle::{Life, Text, User};
use crate::registration::{Failed, Person};
use crate::world::{Running, World};
use crate::zone;

/// Names that clients fight over.
const NAMES: u64 = 40;
/// A client waits no longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One client, until it is told to stop.
pub(crate) async fn client(world: Arc<World>, number: u64, chance: Chance) {
    let mut label = Label {
        name: format!("t{number}"),
        generation: 0,
        number: 0,
    };
    loop {
        sleep(chance.millis(30, 700)).await;
        let running = world.running();
        let Some(at) = chance.pick(&running) else {
            continue;
        };
        match chance.below(10) {
            0..=3 => register(&world, at, &chance).await,
            4..=6 => check(&world, at, &chance).await,
            7 => delete(&world, &chance).await,
            8 => label.write(&world, at).await,
            _ => lookup(&world, at, &chance),
        }
    }
}

/// What a core answers, unless it dies or takes too long.
async fn answer<T: Send + 'static>(
    at: &Running,
    question: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    // A task of its own: a client that goes away leaves nothing half done.
    let task = tokio::spawn(question);
    tokio::select! {
        biased;
        () = at.stop.cancelled() => None,
        answer = timeout(PATIENCE, task) => answer.ok()?.ok(),
    }
}

async fn register(world: &Arc<World>, at: &Running, chance: &Chance) {
    let name = format!("user{:02}", chance.below(NAMES));
    let person = Person {
        username: Username::parse(&name).unwrap(),
        email: format!("{}@sim.test", chance.below(NAMES)),
    };
    world.oracle.lock().unwrap().tried.insert(name.clone());
    let (registrar, asked) = (at.registrar.clone(), person.clone());
    let result = answer(at, async move { registrar.register(&asked).await }).await;
    let mut oracle = world.oracle.lock().unwrap();
    match result {
        Some(Ok(registered)) => {
            oracle.acknowledged += 1;
            world.trace.event(format_args!(
                "{} registers {name} as {} on {} by {:?}",
                at.core, registered.user, registered.home, registered.index
            ));
            // Its home may have been removed while it was created.
            let removed = world.removed.lock().unwrap().contains(&registered.home);
            let user = User {
                name,
                email: person.email,
                home: registered.home,
                index: registered.index,
                end: if removed { Life::Unknown } else { Life::Lives },
            };
            oracle.users.insert(registered.user, user);
        }
        Some(Err(Failed::Taken(fields))) => {
            oracle.refused += 1;
            world.trace.event(format_args!(
                "{} refuses {name}: taken {:?}",
                at.core,
                fields.keys()
            ));
        }
        Some(Err(Failed::Unknown(why))) => {
            oracle.unknown += 1;
            world
                .trace
                .event(format_args!("{} does not know of {name}: {why}", at.core));
        }
        None => {
            oracle.unknown += 1;
            world
                .trace
                .event(format_args!("{} does not answer about {name}", at.core));
        }
    }
}

/// Who was registered before the question is taken; what nobody ever tried is not.
async fn check(world: &Arc<World>, at: &Running, chance: &Chance) {
    let name = format!("user{:02}", chance.below(NAMES + 5));
    let owner = world.oracle.lock().unwrap().owner(&name).cloned();
    let (registrar, asked) = (at.registrar.clone(), name.clone());
    let taken = answer(at, async move { registrar.is_taken(&asked).await }).await;
    let Some(Ok(taken)) = taken else { return };
    world
        .trace
        .event(format_args!("{} says of {name}: taken {taken}", at.core));
    let wrong = {
        let oracle = world.oracle.lock().unwrap();
        // Somebody may have begun to delete it meanwhile.
        if !taken && owner.is_some() && oracle.owner(&name) == owner.as_ref() {
            Some(format!(
                "{} said that {name} is free, which is taken",
                at.core
            ))
        } else if taken && !oracle.tried.contains(&name) {
            Some(format!(
                "{} said that {name} is taken, which nobody took",
                at.core
            ))
        } else {
            None
        }
    };
    if let Some(wrong) = wrong {
        world.fail(format!("acknowledged: {wrong}"));
    }
}

/// A user deletes itself, at its home.
async fn delete(world: &Arc<World>, chance: &Chance) {
    let candidates: Vec<(UserId, User)> = {
        let oracle = world.oracle.lock().unwrap();
        let living = oracle.living();
        living
            .map(|(id, user)| (id.clone(), user.clone()))
            .collect()
    };
    // Few do.
    if candidates.len() < 8 {
        return;
    }
    let Some((id, user)) = chance.pick(&candidates) else {
        return;
    };
    let running = world.running();
    let Some(at) = running.iter().find(|running| running.core == user.home) else {
        return;
    };
    world.oracle.lock().unwrap().doubt(id);
    let (registrar, asked) = (at.registrar.clone(), id.clone());
    let done = answer(at, async move { registrar.delete(&asked).await }).await;
    world.trace.event(format_args!(
        "{} deletes {} ({id}): {done:?}",
        at.core, user.name
    ));
    if done == Some(Ok(()))
        && let Some(index) = at.platform.directory().applied_index()
        && at
            .platform
            .directory()
            .user(&user.name)
            .is_none_or(|entry| entry.id != *id)
        && let Some(user) = world.oracle.lock().unwrap().users.get_mut(id)
    {
        user.end = Life::Ended(index);
    }
}

/// A label that only one client writes.
struct Label {
    name: String,
    generation: u64,
    number: u64,
}

impl Label {
    async fn write(&mut self, world: &Arc<World>, at: &Running) {
        self.number += 1;
        let label = format!("{}-{}", self.name, self.generation);
        let put = Command::PutDnsRecord {
            label: label.clone(),
            record: DnsRecord {
                txt: vec![self.number.to_string()],
                ..DnsRecord::default()
            },
        };
        let platform = at.platform.clone();
        let done = answer(at, async move {
            let done = platform.write(put).await;
            (done, platform.directory())
        })
        .await;
        match done {
            Some((Ok(Response::Done), directory)) => {
                let shown = directory
                    .dns_record(&label)
                    .and_then(|record| record.txt.first())
                    .is_some_and(|text| *text == self.number.to_string());
                world
                    .trace
                    .event(format_args!("{} sets {label} to {}", at.core, self.number));
                if let Some(index) = directory.applied_index().filter(|_| shown) {
                    let text = Text {
                        number: self.number,
                        index,
                    };
                    world.oracle.lock().unwrap().texts.insert(label, text);
                }
            }
            // It may arrive late and undo a later one.
            _ => self.generation += 1,
        }
    }
}

/// A name of somebody who lives is answered with its home, where it is answered.
fn lookup(world: &Arc<World>, at: &Running, chance: &Chance) {
    let oracle = world.oracle.lock().unwrap();
    let living: Vec<_> = oracle.living().collect();
    let Some((_, user)) = chance.pick(&living) else {
        return;
    };
    let index = at.platform.directory().applied_index().unwrap_or(0);
    if user.index.is_none_or(|known| known > index) {
        return;
    }
    let answers = zone::addresses(&at.zone, &user.name);
    let home = format!("10.0.0.{}", user.home.as_str().trim_start_matches("core-"));
    if !answers.is_empty() && answers != [home.clone()] {
        let name = user.name.clone();
        drop(oracle);
        world.fail(format!(
            "one home: the zone of {} answers {name} with {answers:?}, not {home}",
            at.core
        ));
    }
}
