//! Failures of the engine, the journal and of requests themselves.

use super::*;
use crate::suite::rows;

/// An answer may come a moment before its rows count as settled.
async fn forgets_everything(users: &Users, journal: &MemoryJournal) {
    let forgetting = async {
        while !rows(journal, Position(0)).unwrap().is_empty() {
            users.checkpoint().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), forgetting)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_its_own_request() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    let bert = make(&users, 2).await;
    faults.close_gate();
    let stuck = tokio::spawn(write(&users, &anna, 1));
    faults.wait_for_append();
    // One group: the panic comes before anything was written, so nobody else suffers.
    let mut group = Vec::new();
    for request in 0..4_u64 {
        let (users, whose) = (
            users.clone(),
            if request == 3 {
                bert.clone()
            } else {
                anna.clone()
            },
        );
        let before = users.stats().queued_writes;
        group.push(tokio::spawn({
            let users = users.clone();
            async move {
                users
                    .write(&whose, move |writer| {
                        assert!(request != 1, "told to panic");
                        writer.attempt(|transaction| put(transaction, 10 + request))
                    })
                    .await
                    .map(|result| result.unwrap())
            }
        }));
        while users.stats().queued_writes == before {
            tokio::task::yield_now().await;
        }
    }
    faults.open_gate();
    stuck.await.unwrap();
    let mut results = Vec::new();
    for request in group {
        results.push(request.await.unwrap().is_ok());
    }
    assert_eq!(results, [true, false, true, true]);
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1, 10, 12]);
    assert_eq!(numbers(&users, &bert).await.unwrap(), [0, 13]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_after_writing_undoes_the_users_group_and_says_so() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    let bert = make(&users, 2).await;
    faults.close_gate();
    let stuck = tokio::spawn(write(&users, &anna, 1));
    faults.wait_for_append();
    let mut group = Vec::new();
    for request in 0..4_u64 {
        let (users, whose) = (
            users.clone(),
            if request == 3 {
                bert.clone()
            } else {
                anna.clone()
            },
        );
        let before = users.stats().queued_writes;
        group.push(tokio::spawn({
            let users = users.clone();
            async move {
                let write = users.write(&whose, move |writer| {
                    let result = writer.attempt(|transaction| put(transaction, 10 + request));
                    assert!(request != 1, "told to panic");
                    result.unwrap()
                });
                write.await.map_err(|error| format!("{error}"))
            }
        }));
        while users.stats().queued_writes == before {
            tokio::task::yield_now().await;
        }
    }
    faults.open_gate();
    stuck.await.unwrap();
    let mut results = Vec::new();
    for request in group {
        results.push(request.await.unwrap());
    }
    assert!(
        results[0]
            .as_ref()
            .is_err_and(|error| error.contains("nothing was done"))
    );
    assert!(results[1].is_err());
    // What came after it in the group starts afresh.
    assert!(results[2].is_ok() && results[3].is_ok(), "{results:?}");
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1, 12]);
    assert_eq!(numbers(&users, &bert).await.unwrap(), [0, 13]);
}

#[tokio::test]
async fn a_panicking_read_costs_its_own_request() {
    let Store { users, .. } = start(options());
    let anna = make(&users, 1).await;
    for _ in 0..5 {
        assert!(
            users
                .read::<()>(&anna, |_| panic!("told to"))
                .await
                .is_err()
        );
    }
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
}

#[tokio::test]
async fn an_engine_that_fails_or_panics_half_way_leaves_nothing() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    for fault in [Fault::Before, Fault::After, Fault::Panic] {
        faults.fail(Step::Apply, 1, fault);
        let result = users.write(&anna, |writer| {
            // The request hides the failure; it fails all the same.
            let attempt: Result<Rev, PutError> = writer.attempt(|tx| put(tx, 1));
            let next: Result<Rev, PutError> = writer.attempt(|tx| put(tx, 2));
            (attempt.is_err(), next.is_err())
        });
        assert!(result.await.is_err());
        assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
    }
    users.write(&anna, one(3)).await.unwrap().unwrap();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 3]);
}

#[tokio::test]
async fn a_refused_append_is_undone_and_forgotten() {
    let Store {
        users,
        faults,
        journal,
        ..
    } = start(options());
    let anna = make(&users, 1).await;
    faults.fail(Step::Append, 1, Fault::Before);
    assert!(matches!(
        users.write(&anna, one(1)).await,
        Err(StoreError::Engine { .. })
    ));
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
    faults.fail(Step::Append, 1, Fault::Before);
    assert!(users.create(&user(2), one(1)).await.is_err());
    assert!(unknown(&users.read(&user(2), |_| ()).await));
    users.write(&anna, one(2)).await.unwrap().unwrap();
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 2]);
    forgets_everything(&users, &journal).await;
}

#[tokio::test]
async fn doubt_about_the_journal_stops_writing_but_not_reading() {
    for (fault, survives) in [(Fault::DoubtBefore, false), (Fault::DoubtAfter, true)] {
        let Store {
            users,
            faults,
            journal,
            engine,
        } = start(options());
        let anna = make(&users, 1).await;
        faults.fail(Step::Append, 1, fault);
        let poisoned = |result| matches!(result, Err(StoreError::Poisoned { .. }));
        assert!(poisoned(users.write(&anna, one(1)).await.map(drop)));
        assert!(poisoned(users.write(&anna, one(2)).await.map(drop)));
        assert!(poisoned(users.create(&user(2), one(2)).await.map(drop)));
        assert!(poisoned(users.remove(&anna).await));
        assert!(poisoned(users.checkpoint().await));
        assert!(users.stats().poisoned.is_some());
        assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
        users.shutdown().await;
        let again = start_on(engine, journal, Arc::default(), options());
        let wanted: &[u64] = if survives { &[0, 1] } else { &[0] };
        assert_eq!(numbers(&again.users, &anna).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn a_failed_commit_is_made_up_for_from_the_journal() {
    let Store { users, faults, .. } = start(options());
    let anna = make(&users, 1).await;
    for (fault, number) in [(Fault::Before, 1), (Fault::After, 2)] {
        faults.fail(Step::Commit, 1, fault);
        users.write(&anna, one(number)).await.unwrap().unwrap();
    }
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1, 2]);
    assert_eq!(users.stats().behind, 0);
}

#[tokio::test]
async fn a_user_that_lacks_something_is_refused_until_it_is_there() {
    let Store {
        users,
        faults,
        journal,
        ..
    } = start(options());
    let anna = make(&users, 1).await;
    let bert = make(&users, 2).await;
    users.checkpoint().await.unwrap();
    // The commit fails, and so does making up for it.
    faults.fail(Step::Commit, 2, Fault::Before);
    let error = users.write(&anna, one(1)).await.unwrap_err();
    assert!(error.to_string().contains("recorded"), "{error}");
    assert_eq!(users.stats().behind, 1);
    faults.fail(Step::Open, 2, Fault::Before);
    assert!(users.read(&anna, |_| ()).await.is_err());
    assert!(users.write(&anna, one(2)).await.is_err());
    // Others go on, and a checkpoint keeps what Anna lacks.
    users.write(&bert, one(5)).await.unwrap().unwrap();
    users.checkpoint().await.unwrap();
    assert_eq!(
        rows(journal.as_ref(), Position(0))
            .unwrap()
            .first()
            .unwrap()
            .1,
        anna
    );
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
    assert_eq!(users.stats().behind, 0);
    users.write(&anna, one(3)).await.unwrap().unwrap();
    forgets_everything(&users, &journal).await;
}

#[tokio::test]
async fn one_users_damage_does_not_keep_the_others_from_starting() {
    let Store {
        users,
        engine,
        journal,
        ..
    } = start(options());
    let anna = make(&users, 1).await;
    let bert = make(&users, 2).await;
    users.write(&anna, one(1)).await.unwrap().unwrap();
    users.write(&bert, one(1)).await.unwrap().unwrap();
    drop(users);
    let left = engine.after_crash(&mut |_| 0);
    let faults = Arc::new(Faults::default());
    // Of the two that are opened at start, Anna is first.
    faults.fail(Step::Open, 1, Fault::Before);
    let again = start_on(left, journal, Arc::clone(&faults), options());
    assert_eq!(again.users.stats().behind, 1);
    assert_eq!(numbers(&again.users, &bert).await.unwrap(), [0, 1]);
    faults.fail(Step::Open, 1, Fault::Before);
    assert!(again.users.read(&anna, |_| ()).await.is_err());
    assert_eq!(numbers(&again.users, &anna).await.unwrap(), [0, 1]);
    assert_eq!(again.users.stats().behind, 0);
}

#[tokio::test]
async fn a_checkpoint_that_fails_forgets_nothing_and_stops_writing() {
    let Store {
        users,
        faults,
        journal,
        engine,
    } = start(options());
    let anna = make(&users, 1).await;
    users.write(&anna, one(1)).await.unwrap().unwrap();
    faults.fail(Step::Durable, 1, Fault::Before);
    assert!(users.checkpoint().await.is_err());
    assert!(matches!(
        users.write(&anna, one(2)).await,
        Err(StoreError::Poisoned { .. })
    ));
    assert!(matches!(
        users.checkpoint().await,
        Err(StoreError::Poisoned { .. })
    ));
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0, 1]);
    users.shutdown().await;
    let left = engine.after_crash(&mut |_| 0);
    let again = start_on(left, journal, Arc::default(), options());
    assert_eq!(numbers(&again.users, &anna).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn a_long_journal_starts_a_checkpoint() {
    let Store { users, journal, .. } = start(Options {
        checkpoint_bytes: 2_000,
        ..options()
    });
    let anna = make(&users, 1).await;
    for number in 1..200 {
        users.write(&anna, one(number)).await.unwrap().unwrap();
    }
    wait_until(|| users.stats().checkpointed > Position(0)).await;
    wait_until(|| journal.size_bytes().unwrap() < 4_000).await;
    assert_eq!(numbers(&users, &anna).await.unwrap().len(), 200);
}

#[tokio::test]
async fn leftovers_of_making_a_user_do_not_stand_in_the_way() {
    let Store { users, faults, .. } = start(options());
    let anna = user(1);
    // Making it fails, and so does clearing it away.
    faults.fail(Step::Remove, 1, Fault::Before);
    assert!(
        users
            .create(&anna, |_| Err::<(), _>("no"))
            .await
            .unwrap()
            .is_err()
    );
    assert!(unknown(&users.read(&anna, |_| ()).await));
    assert!(unknown(&users.write(&anna, one(1)).await));
    assert!(!users.contains(&anna).await.unwrap());
    make(&users, 1).await;
    assert_eq!(numbers(&users, &anna).await.unwrap(), [0]);
}
