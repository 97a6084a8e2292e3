//! The manager of users over a memory engine that fails when told to.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use homecore_types::SystemClock;

use self::faults::{Fault, Faults, FaultyEngine, FaultyJournal, Step};
use super::*;
use crate::document::{Document, Kind, Rev};
use crate::memory::{MemoryEngine, MemoryJournal};
use crate::suite::{event, user};
use crate::transaction::{Base, PutError, Transaction, Write};

mod crashes;
mod failures;
mod faults;
mod held;
mod memory;
mod room;
mod short;

/// A store whose parts a test can reach.
struct Store {
    users: Users,
    engine: MemoryEngine,
    journal: Arc<MemoryJournal>,
    faults: Arc<Faults>,
}

fn options() -> Options {
    Options {
        writers: 1,
        readers: 2,
        // Checkpoints only when a test asks for one.
        checkpoint_interval: Duration::from_secs(3_600),
        checkpoint_bytes: u64::MAX,
        reads_here_max: 1,
        // Each write is committed before its answer, unless a test wants otherwise.
        held_groups_max: 1,
        ..Options::default()
    }
}

fn start(options: Options) -> Store {
    start_on(
        MemoryEngine::new(),
        Arc::new(MemoryJournal::new()),
        Arc::default(),
        options,
    )
}

fn start_on(
    engine: MemoryEngine,
    journal: Arc<MemoryJournal>,
    faults: Arc<Faults>,
    options: Options,
) -> Store {
    let users = Users::start(
        Arc::new(FaultyEngine {
            inner: engine.clone(),
            faults: Arc::clone(&faults),
        }),
        Arc::new(FaultyJournal {
            inner: Arc::clone(&journal),
            faults: Arc::clone(&faults),
        }),
        Arc::new(SystemClock),
        options,
    )
    .unwrap();
    Store {
        users,
        engine,
        journal,
        faults,
    }
}

/// Puts event `number`, whatever is there.
fn put(transaction: &mut Transaction<'_>, number: u64) -> Result<Rev, PutError> {
    let event = event(number, 0);
    transaction.put(Write {
        kind: event.kind,
        id: event.id,
        base: Base::Any,
        body: event.body,
        deleted: false,
        entries: event.entries,
        keep_previous: false,
    })
}

/// A write of one event.
fn one(number: u64) -> impl FnOnce(&mut Writer<'_>) -> Result<Rev, PutError> + Send + 'static {
    move |writer| writer.attempt(|transaction| put(transaction, number))
}

async fn make(users: &Users, number: u64) -> UserId {
    let user = user(number);
    users.create(&user, one(0)).await.unwrap().unwrap();
    user
}

/// The numbers of the events that a user has, in order of change.
async fn numbers(users: &Users, user: &UserId) -> Result<Vec<u64>, StoreError> {
    let changes = users
        .read(user, |view| view.changes(Seq(0), 10_000))
        .await??;
    Ok(changes.iter().map(number).collect())
}

/// The same for events that tasks put, in whatever order those ran.
async fn sorted_numbers(users: &Users, user: &UserId) -> Vec<u64> {
    let mut found = numbers(users, user).await.unwrap();
    found.sort_unstable();
    found
}

fn number(event: &Document) -> u64 {
    event.id.strip_prefix('e').unwrap().parse().unwrap()
}

fn unknown<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::UnknownUser { .. }))
}

#[test]
fn futures_can_be_sent() {
    fn is_send<T: Send>(_: &T) {}
    fn check(users: &Users, user: &UserId) {
        is_send(&users.write(user, |_| ()));
        is_send(&users.create(user, |_| Ok::<(), ()>(())));
        is_send(&users.read(user, |_| ()));
        is_send(&users.read_short(user, |_| ()));
        is_send(&users.remove(user));
        is_send(&users.shutdown());
    }
    let _: fn(&Users, &UserId) = check;
}

#[tokio::test]
async fn what_was_written_is_read() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    assert_eq!(users.write(&anna, one(1)).await.unwrap().unwrap(), Rev(1));
    assert_eq!(users.write(&anna, one(1)).await.unwrap().unwrap(), Rev(2));
    let found = users
        .read(&anna, |view| view.get(Kind::Event, "e1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.unwrap().body, Bytes::from_static(b"{\"n\":1}"));
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
    assert_eq!(users.list().await.unwrap(), std::slice::from_ref(&anna));
    assert!(users.contains(&anna).await.unwrap());
}

#[tokio::test]
async fn unknown_users_are_refused() {
    let Store { users, .. } = start(options());
    let nobody = user(9);
    assert!(unknown(&users.write(&nobody, one(1)).await));
    assert!(unknown(&users.read(&nobody, |_| ()).await));
    assert!(unknown(&users.remove(&nobody).await));
    assert!(!users.contains(&nobody).await.unwrap());
    assert!(users.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_user_is_made_once_and_with_something() {
    let Store { users, engine, .. } = start(options());
    let anna = make(&users, 1).await;
    let again = users.create(&anna, one(1)).await;
    assert!(matches!(again, Err(StoreError::UserExists { .. })));
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);

    let bert = user(2);
    let refused = users.create(&bert, |_| Err::<(), _>("no")).await.unwrap();
    assert_eq!(refused, Err("no"));
    let empty = users.create(&bert, |_| Ok::<_, ()>(())).await;
    assert!(matches!(empty, Err(StoreError::Engine { .. })), "{empty:?}");
    let written_and_refused = users.create(&bert, |writer| {
        writer.attempt(|transaction| put(transaction, 1)).unwrap();
        Err::<(), _>("no")
    });
    assert_eq!(written_and_refused.await.unwrap(), Err("no"));
    let panicked = users.create::<(), ()>(&bert, |_| panic!("told to")).await;
    assert!(matches!(panicked, Err(StoreError::Engine { .. })));
    assert!(unknown(&users.read(&bert, |_| ()).await));
    assert!(!engine.contains(&bert).unwrap());
    make(&users, 2).await;
    assert_eq!(users.list().await.unwrap(), [anna, bert]);
}

#[tokio::test]
async fn attempts_build_on_each_other() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    let seen = users.write(&anna, |writer| {
        let first: Result<Rev, PutError> = writer.attempt(|transaction| put(transaction, 1));
        let refused: Result<(), PutError> = writer.attempt(|transaction| {
            put(transaction, 2)?;
            Err(PutError::Conflict { current: None })
        });
        let third = writer.attempt(|transaction| {
            assert!(transaction.view().get(Kind::Event, "e1")?.is_some());
            assert!(transaction.view().get(Kind::Event, "e2")?.is_none());
            put(transaction, 1)
        });
        (
            first.unwrap(),
            refused.is_err(),
            third.unwrap(),
            writer.view().last_seq().unwrap(),
        )
    });
    assert_eq!(seen.await.unwrap(), (Rev(1), true, Rev(2), Seq(3)));
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
    // The request's own result does not undo what its attempts did.
    let result = users.write(&anna, |writer| {
        writer.attempt(|transaction| put(transaction, 5)).unwrap();
        Err::<(), _>("the second call failed")
    });
    assert!(result.await.unwrap().is_err());
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_is_one_snapshot_and_waits_for_no_writer() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    let (entered, inside) = sync_channel(0);
    let (leave, left) = sync_channel::<()>(0);
    let reading = tokio::spawn({
        let (users, anna) = (users.clone(), anna.clone());
        async move {
            let read = users.read(&anna, move |view| {
                let before = view.last_seq()?;
                entered.send(()).unwrap();
                left.recv().unwrap();
                Ok::<_, StoreError>((before, view.last_seq()?))
            });
            read.await.unwrap().unwrap()
        }
    });
    inside.recv().unwrap();
    users.write(&anna, one(1)).await.unwrap().unwrap();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
    leave.send(()).unwrap();
    let (before, after) = reading.await.unwrap();
    assert_eq!((before, after), (Seq(1), Seq(1)));

    // Nor for one that is stuck in the journal; what is not acknowledged is not seen.
    faults.close_gate();
    let writing = tokio::spawn({
        let (users, anna) = (users.clone(), anna.clone());
        async move { users.write(&anna, one(2)).await.unwrap().unwrap() }
    });
    faults.wait_for_append();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
    faults.open_gate();
    writing.await.unwrap();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writes_share_an_append() {
    let Store { users, faults, .. } = start(options());
    let mut everyone = Vec::new();
    for number in 1..=5 {
        everyone.push(make(&users, number).await);
    }
    faults.close_gate();
    let first = tokio::spawn(write(&users, &everyone[0], 1));
    faults.wait_for_append();
    let waiting: Vec<_> = (0..100_usize)
        .map(|n| {
            tokio::spawn(write(
                &users,
                &everyone[n % 5],
                2 + u64::try_from(n).unwrap(),
            ))
        })
        .collect();
    while users.stats().queued_writes < 100 {
        tokio::task::yield_now().await;
    }
    let before = faults.appends.load(Ordering::SeqCst);
    faults.open_gate();
    first.await.unwrap();
    for write in waiting {
        write.await.unwrap();
    }
    assert_eq!(faults.appends.load(Ordering::SeqCst) - before, 1);
    for user in &everyone {
        assert!(numbers(&users, user).await.unwrap().len() >= 21);
    }
}

fn write(users: &Users, user: &UserId, number: u64) -> impl Future<Output = ()> + use<> {
    let (users, user) = (users.clone(), user.clone());
    async move {
        users.write(&user, one(number)).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_queues_answer_busy() {
    let Store { users, faults, .. } = start(Options {
        writer_queue_max: 3,
        reader_queue_max: 2,
        readers: 1,
        ..options()
    });
    let anna = make(&users, 1).await;
    faults.close_gate();
    let stuck = tokio::spawn(write(&users, &anna, 1));
    faults.wait_for_append();
    let queued: Vec<_> = (2..5)
        .map(|n| tokio::spawn(write(&users, &anna, n)))
        .collect();
    while users.stats().queued_writes < 3 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(
        users.write(&anna, one(9)).await,
        Err(StoreError::Busy { .. })
    ));

    let (entered, inside) = sync_channel(0);
    let (leave, left) = sync_channel::<()>(0);
    let mut reads = vec![tokio::spawn({
        let (users, anna) = (users.clone(), anna.clone());
        async move {
            users
                .read(&anna, move |_| {
                    entered.send(()).unwrap();
                    left.recv().unwrap();
                })
                .await
        }
    })];
    inside.recv().unwrap();
    for _ in 0..2 {
        let (users, anna) = (users.clone(), anna.clone());
        reads.push(tokio::spawn(async move { users.read(&anna, |_| ()).await }));
    }
    while users.stats().queued_reads < 2 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(
        users.read(&anna, |_| ()).await,
        Err(StoreError::Busy { .. })
    ));
    leave.send(()).unwrap();
    for read in reads {
        read.await.unwrap().unwrap();
    }
    faults.open_gate();
    stuck.await.unwrap();
    for write in queued {
        write.await.unwrap();
    }
    assert_eq!(sorted_numbers(&users, &anna).await, [0, 1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_caller_went_away_is_still_done() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    faults.close_gate();
    let stuck = tokio::spawn(write(&users, &anna, 1));
    faults.wait_for_append();
    let abandoned = tokio::spawn(write(&users, &anna, 2));
    while users.stats().queued_writes < 1 {
        tokio::task::yield_now().await;
    }
    abandoned.abort();
    assert!(abandoned.await.unwrap_err().is_cancelled());
    faults.open_gate();
    stuck.await.unwrap();
    users.write(&anna, one(3)).await.unwrap().unwrap();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_wakes_in_order_after_the_change_is_visible() {
    let Store { users, .. } = start(Options {
        writers: 4,
        ..options()
    });
    let mut changes = users.changes();
    let mut everyone = Vec::new();
    for number in 1..=3 {
        everyone.push(make(&users, number).await);
    }
    let writes: Vec<_> = (1..=60_usize)
        .map(|n| tokio::spawn(write(&users, &everyone[n % 3], u64::try_from(n).unwrap())))
        .collect();
    let mut seen = std::collections::BTreeMap::<UserId, Seq>::new();
    while seen.values().map(|seq| seq.0).sum::<u64>() < 63 {
        let change = changes.recv().await.unwrap();
        let visible = users
            .read(&change.user, |view| view.last_seq())
            .await
            .unwrap()
            .unwrap();
        assert!(visible >= change.seq);
        let before = seen.insert(change.user, change.seq);
        assert!(before.is_none_or(|before| before < change.seq));
    }
    for write in writes {
        write.await.unwrap();
    }
}

#[tokio::test]
async fn a_removed_user_is_gone_and_may_come_again() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    users.write(&anna, one(7)).await.unwrap().unwrap();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 7]);
    users.remove(&anna).await.unwrap();
    assert!(unknown(&users.read(&anna, |_| ()).await));
    assert!(unknown(&users.write(&anna, one(1)).await));
    make(&users, 1).await;
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
}

#[tokio::test]
async fn handles_are_capped_and_closed_when_idle() {
    let capped = start(Options {
        open_users_max: 3,
        ..options()
    });
    for number in 1..=10 {
        let user = make(&capped.users, number).await;
        capped.users.write(&user, one(0)).await.unwrap().unwrap();
        assert_eq!(numbers(&capped.users, &user).await.unwrap(), [0]);
    }
    // The last reader may still be on its way back.
    wait_until(|| capped.users.stats().open_writers == 3 && capped.users.stats().open_readers <= 3)
        .await;
    for number in 1..=10 {
        assert_eq!(numbers(&capped.users, &user(number)).await.unwrap(), [0]);
    }

    let idle = start(Options {
        idle: Duration::from_millis(1),
        ..options()
    });
    let user = make(&idle.users, 1).await;
    assert_eq!(numbers(&idle.users, &user).await.unwrap(), [0]);
    wait_until(|| idle.users.stats().open_writers == 0 && idle.users.stats().open_readers == 0)
        .await;
    idle.users.write(&user, one(1)).await.unwrap().unwrap();
    assert_eq!(numbers(&idle.users, &user).await.unwrap(), [0, 1]);
}

async fn wait_until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_what_is_queued() {
    let Store {
        users,
        engine,
        journal,
        faults,
    } = start(options());
    let anna = make(&users, 1).await;
    faults.close_gate();
    let stuck = tokio::spawn(write(&users, &anna, 1));
    faults.wait_for_append();
    let queued: Vec<_> = (2..10)
        .map(|n| tokio::spawn(write(&users, &anna, n)))
        .collect();
    while users.stats().queued_writes < 8 {
        tokio::task::yield_now().await;
    }
    let stopping = tokio::spawn({
        let users = users.clone();
        async move { users.shutdown().await }
    });
    let also = tokio::spawn({
        let users = users.clone();
        async move { users.shutdown().await }
    });
    // One poll of a write queues it, behind the gate, or refuses it: never wait for its answer.
    loop {
        let polled = tokio::time::timeout(Duration::ZERO, users.write(&anna, |_| ())).await;
        match polled {
            Ok(Err(StoreError::Stopped)) => break,
            Err(_) | Ok(Err(StoreError::Busy { .. })) => tokio::task::yield_now().await,
            other => panic!("the gate is closed, yet: {other:?}"),
        }
    }
    faults.open_gate();
    stuck.await.unwrap();
    for write in queued {
        write.await.unwrap();
    }
    stopping.await.unwrap();
    also.await.unwrap();
    assert!(matches!(
        users.read(&anna, |_| ()).await,
        Err(StoreError::Stopped)
    ));
    assert!(matches!(users.checkpoint().await, Err(StoreError::Stopped)));
    assert_eq!(journal.size_bytes().unwrap(), 0);
    // All of it is durable: the worst that a crash may leave has everything.
    let left = engine.after_crash(&mut |_| 0);
    let again = start_on(left, journal, Arc::default(), options());
    assert_eq!(
        sorted_numbers(&again.users, &anna).await,
        (0..10).collect::<Vec<_>>()
    );
}
