//! The process dies at every single step, before it and after it; what is left is started again.
//!
//! A script runs one request after the other, so at most one is without an answer when it dies.
//! Afterwards each user must be as acknowledged, or as if that one request had been done too.

use std::collections::BTreeMap;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Request {
    Create(u64),
    Write(u64, u64),
    Read(u64),
    Remove(u64),
    Checkpoint,
}
use Request::{Checkpoint, Create, Read, Remove, Write as Put};

const SCRIPT: &[Request] = &[
    Create(1),
    Put(1, 1),
    Create(2),
    Put(2, 1),
    Put(1, 2),
    Checkpoint,
    Put(2, 2),
    Put(1, 1),
    Remove(2),
    Create(2),
    Put(2, 3),
    Put(2, 3),
    Checkpoint,
    Create(3),
    Remove(1),
    Put(2, 4),
    Create(1),
    Put(1, 5),
    Put(2, 5),
];

/// Here the transactions of users 1 and 2 hold answered writes, after as many as are committed at once.
const HELD_SCRIPT: &[Request] = &[
    Create(1),
    Put(1, 1),
    Put(1, 1),
    Put(1, 1),
    Put(1, 1),
    Put(1, 1),
    Put(1, 1),
    Put(1, 1),
    Create(2),
    Put(2, 1),
    Put(2, 1),
    Put(2, 1),
    Put(2, 1),
    Put(2, 1),
    Put(2, 1),
    Put(2, 1),
    // Held from here on.
    Put(1, 2),
    Checkpoint,
    Put(1, 3),
    Put(2, 2),
    Put(1, 2),
    Checkpoint,
    Read(1),
    Put(2, 3),
    Checkpoint,
    Put(2, 4),
    Put(1, 4),
    Remove(2),
    Create(2),
    Checkpoint,
    Put(2, 5),
    Put(1, 5),
];

/// What each user has: the numbers of its events, with how often each was written.
type Model = BTreeMap<u64, BTreeMap<u64, u64>>;

fn done(mut model: Model, request: Request) -> Model {
    match request {
        Create(user) => drop(model.insert(user, BTreeMap::from([(0, 1)]))),
        Remove(user) => drop(model.remove(&user)),
        Put(user, number) => {
            *model.entry(user).or_default().entry(number).or_default() += 1;
        }
        Read(_) | Checkpoint => {}
    }
    model
}

async fn run(users: &Users, request: Request) -> Result<(), StoreError> {
    match request {
        Create(number) => users.create(&user(number), one(0)).await.map(|made| {
            made.unwrap();
        }),
        Put(whose, number) => users.write(&user(whose), one(number)).await.map(drop),
        Read(number) => users.read(&user(number), |_| ()).await,
        Remove(number) => users.remove(&user(number)).await,
        Checkpoint => users.checkpoint().await,
    }
}

async fn found(users: &Users) -> Model {
    let mut model = Model::new();
    for whose in users.list().await.unwrap() {
        let documents = users
            .read(&whose, |view| view.changes(Seq(0), 999))
            .await
            .unwrap();
        let events = documents
            .unwrap()
            .iter()
            .map(|d| (number(d), d.rev.0))
            .collect();
        model.insert(
            whose.as_str().trim_start_matches('u').parse().unwrap(),
            events,
        );
    }
    model
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whenever_it_dies() {
    let deaths = dies_everywhere(&options(), SCRIPT).await;
    assert!(deaths > 6 * 40, "only {deaths} deaths");
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_whenever_it_dies_with_commits_that_wait() {
    let options = held::options();
    let store = start(options.clone());
    for request in HELD_SCRIPT {
        run(&store.users, *request).await.unwrap();
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::SeqCst);
    let (appends, commits) = (count(&store.faults.appends), count(&store.faults.commits));
    // Each user that is made takes an append more.
    assert!(
        commits + 3 < appends,
        "{commits} of {appends}: none were held"
    );
    let deaths = dies_everywhere(&options, HELD_SCRIPT).await;
    assert!(deaths > 6 * 60, "only {deaths} deaths");
}

/// Dies at every step; how often it did.
async fn dies_everywhere(options: &Options, script: &[Request]) -> usize {
    let mut deaths = 0;
    for step in 1.. {
        for after in [false, true] {
            for survivor in [0, 1, usize::MAX] {
                if !dies(options, script, step, after, survivor).await {
                    assert!(!after);
                    return deaths;
                }
                deaths += 1;
            }
        }
    }
    deaths
}

/// Runs the script until it dies at `step`, starts again and checks. False if it lived.
async fn dies(
    options: &Options,
    script: &[Request],
    step: u64,
    after: bool,
    survivor: usize,
) -> bool {
    let store = start(options.clone());
    store.faults.die_at(step, after);
    let mut before = Model::new();
    let mut last = None;
    for request in script {
        if run(&store.users, *request).await.is_err() {
            last = Some(*request);
            break;
        }
        before = done(before, *request);
    }
    let Some(last) = last else {
        // It may have died without anybody noticing: after the last answer, or where a failure
        // is made up for.
        if !store.faults.is_dead() {
            assert_eq!(found(&store.users).await, before);
            return false;
        }
        check(
            options,
            store,
            survivor,
            &[before.clone()],
            &format!("step {step} after {after}"),
        )
        .await;
        return true;
    };
    assert!(store.faults.is_dead(), "{last:?} failed without reason");
    let allowed = [before.clone(), done(before, last)];
    let context = format!("{last:?} at step {step}, after: {after}, survivor {survivor}");
    check(options, store, survivor, &allowed, &context).await;
    true
}

async fn check(options: &Options, store: Store, survivor: usize, allowed: &[Model], context: &str) {
    // Every version that may have survived, or the oldest for one and the newest for the next.
    let mut turn = 0;
    let left = store.engine.after_crash(&mut |versions| {
        turn += 1;
        match survivor {
            1 if turn % 2 == 0 => versions - 1,
            1 => 0,
            other => other,
        }
    });
    let journal = Arc::clone(&store.journal);
    // The dead process does nothing more: every step of it fails.
    let again = start_on(left, journal, Arc::default(), options.clone());
    assert_eq!(again.users.stats().behind, 0, "{context}");
    let found_again = found(&again.users).await;
    assert!(
        allowed.contains(&found_again),
        "{context}: {found_again:?}, allowed: {allowed:?}"
    );
    // And it goes on, through one more death in which everything unsynced is lost.
    let mut expected = found_again;
    for request in [Create(7), Put(7, 1), Checkpoint, Put(7, 2)] {
        run(&again.users, request).await.unwrap();
        expected = done(expected, request);
    }
    drop(again.users);
    let last = start_on(
        again.engine.after_crash(&mut |_| 0),
        again.journal,
        Arc::default(),
        options.clone(),
    );
    assert_eq!(
        found(&last.users).await,
        expected,
        "{context}, second death"
    );
}
