//! Short reads: on the caller's thread where that is possible, the same as any other where it is not.

use std::thread::{self, ThreadId};

use super::*;

async fn where_read(users: &Users, user: &UserId) -> ThreadId {
    users
        .read_short(user, |_| thread::current().id())
        .await
        .unwrap()
}

#[tokio::test]
async fn runs_here_once_the_user_was_read() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    let here = thread::current().id();
    assert_ne!(where_read(&users, &anna).await, here, "nothing waits yet");
    assert_eq!(where_read(&users, &anna).await, here);
    users.write(&anna, one(7)).await.unwrap().unwrap();
    let last = users.read_short(&anna, |view| view.last_seq());
    assert_eq!(
        last.await.unwrap().unwrap(),
        Seq(2),
        "it sees what was written"
    );
}

#[tokio::test]
async fn no_more_than_some_run_here() {
    let Store { users, .. } = start(Options {
        reads_here_max: 1,
        ..options()
    });
    let anna = make(&users, 1).await;
    numbers(&users, &anna).await.unwrap();
    let (inner, anna_too) = (users.clone(), anna.clone());
    let read = users.read_short(&anna, move |_| {
        let readers = &inner.inner.readers;
        let second = readers.try_here(&anna_too, |_| ());
        assert!(second.is_err(), "one is at work already");
    });
    read.await.unwrap();
    assert_eq!(where_read(&users, &anna).await, thread::current().id());
}

#[tokio::test]
async fn a_panic_costs_that_read() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    numbers(&users, &anna).await.unwrap();
    let read = users.read_short(&anna, |_| panic!("on purpose"));
    assert!(matches!(read.await, Err(StoreError::Engine { .. })));
    assert_eq!(
        users.stats().open_readers,
        0,
        "the handle is not used again"
    );
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
}

#[tokio::test]
async fn nobody_who_is_gone_is_read_and_nothing_after_the_end() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    numbers(&users, &anna).await.unwrap();
    assert!(unknown(&users.read_short(&user(2), |_| ()).await));
    users.remove(&anna).await.unwrap();
    assert!(unknown(&users.read_short(&anna, |_| ()).await));
    let bob = make(&users, 2).await;
    numbers(&users, &bob).await.unwrap();
    users.shutdown().await;
    let read = users.read_short(&bob, |_| ()).await;
    assert!(matches!(read, Err(StoreError::Stopped)));
    assert_eq!(users.stats().open_readers, 0);
}

/// Closing the last handle of a user folds its log into the file, and waits for the disk.
#[tokio::test]
async fn nothing_is_closed_here() {
    let Store { users, faults, .. } = start(Options {
        open_users_max: 1,
        ..options()
    });
    let (anna, bob) = (make(&users, 1).await, make(&users, 2).await);
    numbers(&users, &anna).await.unwrap();
    let inner = users.clone();
    let read = users.read_short(&anna, move |_| {
        // Bob's handle takes the only place meanwhile, and must leave it again.
        let (job, mut answer) = work::read_job(|_: &dyn View| ());
        let request = readers::Request::Read { user: bob, job };
        inner.inner.readers.send(request).unwrap();
        while answer.try_recv().is_err() {
            thread::yield_now();
        }
        thread::current().id()
    });
    let here = thread::current().id();
    assert_eq!(read.await.unwrap(), here);
    assert_eq!(users.stats().open_readers, 1);
    let read = users.read_short(&anna, |_| panic!("on purpose"));
    assert!(read.await.is_err());
    users.shutdown().await;
    let closed_by = faults.closed_by.lock().unwrap();
    assert_eq!(closed_by.len(), 2);
    assert!(!closed_by.contains(&here));
}
