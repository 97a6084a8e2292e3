//! What handles keep in memory while they wait: that of users who are used more than others.

use std::sync::Barrier;
use std::thread;

use super::*;

const NEVER: Duration = Duration::from_secs(3_600);

fn options() -> Options {
    Options {
        awake_users_max: 2,
        idle: NEVER,
        written_once_idle: NEVER,
        ..super::options()
    }
}

fn resting_readers(store: &Store) -> u64 {
    store.faults.rests.reading.load(Ordering::SeqCst)
}

fn resting_writers(store: &Store) -> u64 {
    store.faults.rests.writing.load(Ordering::SeqCst)
}

async fn read(store: &Store, user: &UserId) {
    numbers(&store.users, user).await.unwrap();
}

async fn write(store: &Store, user: &UserId) {
    store.users.write(user, one(1)).await.unwrap().unwrap();
}

/// Reads a user twice at the same time.
async fn read_twice_at_once(store: &Store, user: &UserId) {
    let both = Arc::new(Barrier::new(2));
    let wait = |both: Arc<Barrier>| move |_: &dyn View| both.wait().is_leader();
    let first = store.users.read(user, wait(Arc::clone(&both)));
    let second = store.users.read(user, wait(both));
    let (first, second) = tokio::join!(first, second);
    assert_ne!(first.unwrap(), second.unwrap());
}

#[tokio::test]
async fn those_read_last_keep_their_memory() {
    let store = start(options());
    let mut made = Vec::new();
    for number in 1..=3 {
        made.push(make(&store.users, number).await);
    }
    for _ in 0..5 {
        for user in &made[..2] {
            read(&store, user).await;
        }
    }
    assert_eq!(resting_readers(&store), 0);
    read(&store, &made[2]).await;
    assert_eq!(resting_readers(&store), 1, "the first one");
    read(&store, &made[1]).await;
    assert_eq!(resting_readers(&store), 1, "still awake");
    read(&store, &made[0]).await;
    assert_eq!(resting_readers(&store), 2, "the third one");
    assert_eq!(store.users.stats().open_readers, 3, "all are open");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_read_last_have_several_handles() {
    let store = start(options());
    let anna = make(&store.users, 1).await;
    read_twice_at_once(&store, &anna).await;
    assert_eq!(store.users.stats().open_readers, 2);
    for number in 2..=3 {
        let user = make(&store.users, number).await;
        read(&store, &user).await;
    }
    wait_until(|| store.users.stats().open_readers == 3).await;
    // What is left of Anna's works, and there may be two again.
    read_twice_at_once(&store, &anna).await;
    assert_eq!(store.users.stats().open_readers, 4);
    let here = thread::current().id();
    assert!(!store.faults.closed_by.lock().unwrap().contains(&here));
}

#[tokio::test]
async fn who_is_written_once_keeps_no_memory() {
    let store = start(options());
    let anna = make(&store.users, 1).await;
    write(&store, &anna).await;
    assert_eq!(resting_writers(&store), 1, "after it was made");
    for _ in 0..5 {
        write(&store, &anna).await;
    }
    assert_eq!(resting_writers(&store), 1);
    for number in 2..=3 {
        let user = make(&store.users, number).await;
        write(&store, &user).await;
        write(&store, &user).await;
    }
    // Each of them once, and Anna's now.
    write(&store, &user(3)).await;
    assert_eq!(resting_writers(&store), 4);
}

#[tokio::test]
async fn who_is_written_once_is_closed_first() {
    let store = start(Options {
        written_once_max: 2,
        ..options()
    });
    let anna = make(&store.users, 1).await;
    write(&store, &anna).await;
    for number in 2..=9 {
        make(&store.users, number).await;
    }
    wait_until(|| store.users.stats().open_writers == 3).await;
    // Anna's needs not be opened; that of whoever was not written to since then does.
    store.faults.fail(Step::Open, 1, Fault::Before);
    write(&store, &anna).await;
    write(&store, &user(9)).await;
    let refused = store.users.write(&user(2), one(1)).await;
    assert!(matches!(refused, Err(StoreError::Engine { .. })));
    write(&store, &user(2)).await;
    assert_eq!(numbers(&store.users, &user(2)).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn who_is_written_once_is_closed_soon() {
    let store = start(Options {
        written_once_idle: Duration::from_millis(1),
        ..options()
    });
    let anna = make(&store.users, 1).await;
    wait_until(|| store.users.stats().open_writers == 0).await;
    write(&store, &anna).await;
    wait_until(|| store.users.stats().open_writers == 0).await;
    assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
    store.users.remove(&anna).await.unwrap();
    assert!(unknown(&store.users.write(&anna, one(2)).await));
}
