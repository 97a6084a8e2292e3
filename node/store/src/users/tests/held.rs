//! Commits that wait: nobody may notice, whatever fails meanwhile.

use super::*;
use crate::suite::rows;

const NEVER: Duration = Duration::from_secs(3_600);

/// Writes stay in open transactions until something other than time ends them.
pub(super) fn options() -> Options {
    Options {
        held_groups_max: 1_000,
        held_users_max: 100,
        held_idle: NEVER,
        held_for: NEVER,
        ..super::options()
    }
}

/// A user whose commits wait from now on: the first ones of a new user do not.
async fn make_held(store: &Store, number: u64) -> UserId {
    let user = make(&store.users, number).await;
    for _ in 0..7 {
        store.users.write(&user, one(0)).await.unwrap().unwrap();
    }
    user
}

/// What the engine shows of a user, whatever is held.
fn committed(store: &Store, user: &UserId) -> Seq {
    let mut last = Seq(0);
    store
        .engine
        .open_reader(user)
        .unwrap()
        .snapshot(&mut |view| {
            last = view.last_seq()?;
            Ok(())
        })
        .unwrap();
    last
}

fn commits(store: &Store) -> u64 {
    store.faults.commits.load(Ordering::SeqCst)
}

#[tokio::test]
async fn writes_that_nobody_reads_are_one_commit() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    let before = commits(&store);
    for number in 1..=100 {
        store
            .users
            .write(&anna, one(number))
            .await
            .unwrap()
            .unwrap();
    }
    assert_eq!(commits(&store), before);
    assert_eq!(committed(&store, &anna), Seq(8));
    assert_eq!(numbers(&store.users, &anna).await.unwrap().len(), 101);
    assert_eq!(commits(&store), before + 1);
}

#[tokio::test]
async fn what_is_read_as_often_as_written_is_committed_at_once() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    let mut asked = 0;
    for number in 1..=90 {
        store
            .users
            .write(&anna, one(number))
            .await
            .unwrap()
            .unwrap();
        asked += u64::from(committed(&store, &anna) != Seq(8 + number));
        assert_eq!(
            numbers(&store.users, &anna).await.unwrap().last(),
            Some(&number)
        );
    }
    assert_eq!(asked, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_sees_what_was_answered() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    for number in 1..200 {
        store
            .users
            .write(&anna, one(number))
            .await
            .unwrap()
            .unwrap();
        let last = store
            .users
            .read_short(&anna, move |view| {
                view.get(Kind::Event, &format!("e{number}"))
            })
            .await
            .unwrap()
            .unwrap();
        assert!(
            last.is_some(),
            "event {number} was answered and is not there"
        );
    }
    for number in 200..400 {
        store
            .users
            .write(&anna, one(number))
            .await
            .unwrap()
            .unwrap();
        if number % 13 == 0 {
            let all = numbers(&store.users, &anna).await.unwrap();
            assert_eq!(all.last(), Some(&number));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_committed_when_there_is_nothing_to_do() {
    let store = start(Options {
        held_idle: Duration::from_millis(1),
        ..options()
    });
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    wait_until(|| committed(&store, &anna) == Seq(9)).await;
    assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_committed_in_time_by_a_thread_that_is_busy() {
    let store = start(Options {
        held_for: Duration::from_millis(1),
        ..options()
    });
    let (anna, bert) = (make_held(&store, 1).await, make_held(&store, 2).await);
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    let mut number = 1;
    while committed(&store, &anna) != Seq(9) {
        store
            .users
            .write(&bert, one(number))
            .await
            .unwrap()
            .unwrap();
        number += 1;
        assert!(number < 100_000);
    }
    assert!(committed(&store, &bert).0 + 1_000 > 8 + number);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_committed_in_time_though_requests_go_on_that_write_nothing() {
    let store = start(Options {
        held_for: Duration::from_millis(50),
        ..options()
    });
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    let mut requests = 0;
    while committed(&store, &anna) != Seq(9) {
        store.users.write(&anna, |_| ()).await.unwrap();
        requests += 1;
        assert!(requests < 100_000, "held as long as requests come");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_holds_no_more_than_it_may() {
    let store = start(Options {
        held_groups_max: 4,
        ..options()
    });
    let anna = make_held(&store, 1).await;
    for number in 1..=40 {
        store
            .users
            .write(&anna, one(number))
            .await
            .unwrap()
            .unwrap();
        assert!(committed(&store, &anna).0 + 4 > 8 + number);
    }
    let store = start(Options {
        held_users_max: 1,
        ..options()
    });
    let (anna, bert) = (make_held(&store, 1).await, make_held(&store, 2).await);
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    store.users.write(&bert, one(1)).await.unwrap().unwrap();
    // There is room for Bert's only; the answer may come before the commit of Anna's.
    wait_until(|| committed(&store, &anna) == Seq(9)).await;
    assert_eq!(committed(&store, &bert), Seq(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_fails_takes_nothing_with_it_that_was_answered() {
    for (step, fault) in [
        (Step::Apply, Fault::Before),
        (Step::Apply, Fault::After),
        (Step::Apply, Fault::Full),
        (Step::Apply, Fault::Panic),
        (Step::Append, Fault::Before),
        (Step::Append, Fault::Full),
    ] {
        let store = start(options());
        let anna = make_held(&store, 1).await;
        // Two groups.
        store.users.write(&anna, one(1)).await.unwrap().unwrap();
        store.users.write(&anna, one(4)).await.unwrap().unwrap();
        store.faults.fail(step, 1, fault);
        let refused = store.users.write(&anna, one(2)).await;
        assert!(!matches!(refused, Ok(Ok(_))), "{step:?} {fault:?}");
        assert_eq!(
            numbers(&store.users, &anna).await.unwrap(),
            [0, 1, 4],
            "{step:?} {fault:?}"
        );
        store.users.write(&anna, one(3)).await.unwrap().unwrap();
        assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1, 4, 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_panics_takes_nothing_with_it_that_was_answered() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    let panicked = store.users.write(&anna, |writer| {
        writer.attempt(|transaction| put(transaction, 2)).unwrap();
        panic!("told to");
    });
    let panicked: Result<(), StoreError> = panicked.await;
    assert!(panicked.is_err());
    // One that wrote nothing goes by the open transaction.
    store.users.write(&anna, |_| ()).await.unwrap();
    assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn doubt_about_the_journal_does_not_hide_what_was_answered() {
    for fault in [Fault::DoubtBefore, Fault::DoubtAfter] {
        let store = start(options());
        let (anna, bert) = (make_held(&store, 1).await, make_held(&store, 2).await);
        store.users.write(&anna, one(1)).await.unwrap().unwrap();
        store.users.write(&bert, one(1)).await.unwrap().unwrap();
        store.faults.fail(Step::Append, 1, fault);
        let refused = store.users.write(&anna, one(2)).await;
        assert!(matches!(refused, Err(StoreError::Poisoned { .. })));
        // Nothing in doubt is shown: the database would say that it holds a place in the journal which
        // may be another's after the next start.
        assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
        assert_eq!(numbers(&store.users, &bert).await.unwrap(), [0, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_fails_later_is_made_up_for_or_refused() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    store.faults.fail(Step::Commit, 1, Fault::Before);
    assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);

    // Neither the commit nor what makes up for it works.
    let bert = make_held(&store, 2).await;
    store.users.write(&bert, one(1)).await.unwrap().unwrap();
    store.faults.fail(Step::Commit, 2, Fault::Before);
    store.faults.fail(Step::Open, 2, Fault::Before);
    assert!(numbers(&store.users, &bert).await.is_err());
    assert!(store.users.write(&bert, one(2)).await.is_err());
    assert_eq!(store.users.stats().behind, 1);
    // A checkpoint keeps what it lacks, and it gets it once it can be opened again.
    store.users.checkpoint().await.unwrap();
    store.faults.fail(Step::Commit, 0, Fault::Before);
    store.faults.fail(Step::Open, 0, Fault::Before);
    assert_eq!(numbers(&store.users, &bert).await.unwrap(), [0, 1]);
    assert_eq!(store.users.stats().behind, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_keeps_what_is_held() {
    for is_read in [false, true] {
        let store = start(options());
        let (anna, bert) = (make_held(&store, 1).await, make(&store.users, 2).await);
        store.users.write(&anna, one(1)).await.unwrap().unwrap();
        store.users.write(&bert, one(1)).await.unwrap().unwrap();
        if is_read {
            assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
        }
        store.users.checkpoint().await.unwrap();
        let kept = rows(store.journal.as_ref(), Position(0)).unwrap();
        assert_eq!(kept.iter().any(|row| row.1 == anna), !is_read);
        let left = store.engine.after_crash(&mut |_| 0);
        let again = start_on(left, Arc::clone(&store.journal), Arc::default(), options());
        assert_eq!(numbers(&again.users, &anna).await.unwrap(), [0, 1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_stops_commits_what_is_held() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    store.users.shutdown().await;
    assert_eq!(committed(&store, &anna), Seq(9));
    assert!(
        rows(store.journal.as_ref(), Position(0))
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_removed_with_what_is_held() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    store.users.remove(&anna).await.unwrap();
    assert!(unknown(&store.users.read(&anna, |_| ()).await));
    let anna = make_held(&store, 1).await;
    store.users.write(&anna, one(2)).await.unwrap().unwrap();
    store.faults.fail(Step::Remove, 1, Fault::Before);
    assert!(store.users.remove(&anna).await.is_err());
    assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_in_a_request_takes_nothing_with_it_that_was_answered() {
    for writes in [false, true] {
        let store = start(options());
        let anna = make_held(&store, 1).await;
        store.users.write(&anna, one(1)).await.unwrap().unwrap();
        store.faults.fail(Step::Get, 1, Fault::Before);
        // The request hides it. It saw a state without what was answered, so it fails all the same.
        let hidden = store.users.write(&anna, move |writer| {
            if writes {
                writer.attempt(|transaction| put(transaction, 2)).ok();
            } else {
                writer.view().get(Kind::Event, "e1").ok();
            }
        });
        assert!(hidden.await.is_err());
        assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
        store.users.write(&anna, one(3)).await.unwrap().unwrap();
        assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1, 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_holds_no_more_bytes_than_it_may() {
    let store = start(options());
    let anna = make_held(&store, 1).await;
    let large = |number| {
        move |writer: &mut Writer<'_>| {
            writer.attempt(|transaction| {
                let event = event(number, 0);
                transaction.put(Write {
                    kind: event.kind,
                    id: event.id,
                    base: Base::Any,
                    body: Bytes::from(vec![b' '; crate::users::held::BYTES_MAX / 3]),
                    deleted: false,
                    entries: event.entries,
                    keep_previous: false,
                })
            })
        }
    };
    for number in 1..=2 {
        let written = store.users.write(&anna, large(number)).await;
        written.unwrap().unwrap();
        assert_eq!(committed(&store, &anna), Seq(8));
    }
    store.users.write(&anna, large(3)).await.unwrap().unwrap();
    assert_eq!(committed(&store, &anna), Seq(11));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_that_dies_leaves_nobody_to_read_less_than_was_answered() {
    let store = start(options());
    let (anna, bert) = (make_held(&store, 1).await, make_held(&store, 2).await);
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    store.users.write(&bert, one(1)).await.unwrap().unwrap();
    store.faults.fail(Step::Commit, 1, Fault::Panic);
    for user in [&anna, &bert, &anna] {
        assert!(numbers(&store.users, user).await.is_err());
        assert!(store.users.read_short(user, |_| ()).await.is_err());
    }
    // Nor does the journal forget it.
    store.users.checkpoint().await.unwrap();
    let left = store.engine.after_crash(&mut |_| 0);
    let again = start_on(left, Arc::clone(&store.journal), Arc::default(), options());
    assert_eq!(numbers(&again.users, &anna).await.unwrap(), [0, 1]);
    assert_eq!(numbers(&again.users, &bert).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_was_held() {
    let store = start(options());
    let marked = |user: &UserId| store.users.inner.shared.marks.is_marked(user);
    let anna = make_held(&store, 1).await;
    let mut number = 0;
    for (step, fault) in [
        (None, Fault::Before),
        (Some(Step::Apply), Fault::Before),
        (Some(Step::Append), Fault::Before),
        (Some(Step::Commit), Fault::Before),
        (Some(Step::Commit), Fault::After),
    ] {
        let context = format!("{step:?} {fault:?}");
        // After a reader waited, some are committed at once.
        while !marked(&anna) {
            number += 1;
            let written = store.users.write(&anna, one(number)).await;
            written.unwrap().unwrap();
        }
        if let Some(step) = step {
            store.faults.fail(step, 1, fault);
        }
        if matches!(step, Some(Step::Apply | Step::Append)) {
            let refused = store.users.write(&anna, one(number + 1)).await;
            assert!(!matches!(refused, Ok(Ok(_))), "{context}");
            // The answer may come before what makes up for it; whoever comes next waits.
            store.users.write(&anna, |_| ()).await.unwrap();
        } else {
            numbers(&store.users, &anna).await.unwrap();
        }
        assert!(!marked(&anna), "{context}");
        store.users.checkpoint().await.unwrap();
        let left = rows(store.journal.as_ref(), Position(0)).unwrap();
        assert!(left.is_empty(), "{context}: {left:?}");
    }
    assert_eq!(store.users.stats().behind, 0);
}

/// Puts a document of a kind.
fn put_of(writer: &mut Writer<'_>, kind: Kind) {
    let put = writer.attempt(|transaction| {
        transaction.put(Write {
            kind,
            id: "a".to_owned(),
            base: Base::Any,
            body: Bytes::from_static(b"{}"),
            deleted: false,
            entries: Vec::new(),
            keep_previous: false,
        })
    });
    put.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_tell_of_a_change_held_or_not() {
    for options in [options(), super::options()] {
        let store = start(options);
        let users = &store.users;
        let anna = make_held(&store, 1).await;
        let stamps = || (users.stamp(&anna), users.stamp_of_credentials(&anna));
        let expect = |before: (u64, u64), changes: bool| {
            let now = stamps();
            assert_ne!(before.0, now.0);
            assert_eq!(before.1 != now.1, changes);
        };
        for (kinds, changes) in [
            (&[Kind::Event][..], false),
            (&[Kind::Stream, Kind::AccessUses, Kind::Audit], false),
            (&[Kind::Access], true),
            (&[Kind::Session], true),
            (&[Kind::Access, Kind::Event], true),
            (&[Kind::Event, Kind::Session], true),
        ] {
            let before = stamps();
            let written = users.write(&anna, move |writer| {
                kinds.iter().for_each(|kind| put_of(writer, *kind));
            });
            written.await.unwrap();
            expect(before, changes);
        }

        // Two requests of one group.
        store.faults.close_gate();
        let stuck = tokio::spawn(write(users, &anna, 1));
        store.faults.wait_for_append();
        let mut waiting = Vec::new();
        for kind in [Kind::Access, Kind::Event] {
            let queued = users.stats().queued_writes;
            waiting.push(tokio::spawn({
                let (users, anna) = (users.clone(), anna.clone());
                async move { users.write(&anna, move |writer| put_of(writer, kind)).await }
            }));
            while users.stats().queued_writes == queued {
                tokio::task::yield_now().await;
            }
        }
        let before = stamps();
        store.faults.open_gate();
        stuck.await.unwrap();
        for write in waiting {
            write.await.unwrap().unwrap();
        }
        expect(before, true);

        let before = stamps();
        users.remove(&anna).await.unwrap();
        expect(before, true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_fails_with_what_was_held_before_keeps_all_of_it_in_the_journal() {
    let store = start(Options {
        held_groups_max: 2,
        ..options()
    });
    let anna = make(&store.users, 1).await;
    while !store.users.inner.shared.marks.is_marked(&anna) {
        store.users.write(&anna, one(0)).await.unwrap().unwrap();
    }
    // The second group ends the transaction; that fails, and so does making up for it.
    store.faults.fail(Step::Commit, 1, Fault::Before);
    store.faults.fail(Step::Open, 1, Fault::Before);
    assert!(store.users.write(&anna, one(1)).await.is_err());
    assert_eq!(store.users.stats().behind, 1);
    store.users.checkpoint().await.unwrap();
    let left = rows(store.journal.as_ref(), Position(0)).unwrap();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(numbers(&store.users, &anna).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_behind_a_write_that_waits_sees_what_was_answered() {
    let store = start(options());
    let users = &store.users;
    let (anna, bert) = (make_held(&store, 1).await, make(users, 2).await);
    users.write(&anna, one(1)).await.unwrap().unwrap();
    store.faults.close_gate();
    let stuck = tokio::spawn(write(users, &bert, 1));
    store.faults.wait_for_append();
    // One group: the write goes on in the transaction, and the read asks for what is held there.
    let writing = tokio::spawn(write(users, &anna, 2));
    while users.stats().queued_writes < 1 {
        tokio::task::yield_now().await;
    }
    let reading = tokio::spawn({
        let (users, anna) = (users.clone(), anna.clone());
        async move { numbers(&users, &anna).await.unwrap() }
    });
    while users.stats().queued_writes < 2 {
        tokio::task::yield_now().await;
    }
    store.faults.open_gate();
    stuck.await.unwrap();
    writing.await.unwrap();
    assert_eq!(reading.await.unwrap(), [0, 1, 2]);
}

/// Who reads may have seen a change before it counts as made: until then content has no number, or what
/// was read before would be shown after.
#[tokio::test]
async fn content_has_no_number_while_a_change_of_it_can_be_seen_already() {
    let store = start(super::options());
    let anna = make(&store.users, 1).await;
    let numbers = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (users, user, seen) = (store.users.clone(), anna.clone(), Arc::clone(&numbers));
    store.faults.committed.set(move || {
        seen.lock().unwrap().push(users.stamp_of_content(&user));
    });
    let before = store.users.stamp_of_content(&anna).unwrap();
    store.users.write(&anna, one(1)).await.unwrap().unwrap();
    assert_eq!(*numbers.lock().unwrap(), [None]);
    let after = store.users.stamp_of_content(&anna).unwrap();
    assert_ne!(after, before);
}
