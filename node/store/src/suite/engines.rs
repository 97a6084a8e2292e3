//! The promises of an engine.

mod history;
mod scans;

use std::sync::Arc;

use bytes::Bytes;
use homecore_types::Millis;

use super::{BY_NUMBER, commit, dump, event, everything, key, put, read, user, write};
use crate::document::{Kind, Rev, Seq};
use crate::engine::Engine;
use crate::error::StoreError;
use crate::index::{Entry, Index, Scan};
use crate::journal::Position;
use crate::mutation::Mutation;

type Made = Arc<dyn Engine>;
type Checked = Result<(), StoreError>;
type Test = fn(&Made) -> Checked;
type Key<'a> = &'a [u8];

/// Runs every test, each on an engine of its own that `make` makes empty.
///
/// # Errors
/// What the engine reports.
///
/// # Panics
/// On a broken promise.
pub fn engine_suite<E: Engine>(make: impl Fn() -> Arc<E>) -> Checked {
    let tests: &[(&str, Test)] = &[
        ("users come and go", users_come_and_go),
        (
            "a new database starts where it is told",
            a_new_database_starts_where_it_is_told,
        ),
        ("documents are read back", documents_are_read_back),
        ("transactions are isolated", transactions_are_isolated),
        ("a snapshot stays", a_snapshot_stays),
        ("rollback leaves nothing", rollback_leaves_nothing),
        ("who rests misses nothing", who_rests_misses_nothing),
        ("applying twice is harmless", applying_twice_is_harmless),
        ("a gap is refused", a_gap_is_refused),
        (
            "the position is part of the transaction",
            the_position_is_part_of_the_transaction,
        ),
        (
            "entries follow the present version",
            entries_follow_the_present_version,
        ),
        (
            "tombstones stay and are found",
            tombstones_stay_and_are_found,
        ),
        ("scans are ordered", scans::are_ordered),
        ("scans are paged", scans::are_paged),
        ("scans end with enough bytes", scans::end_with_enough_bytes),
        ("indexes do not mix", scans::of_other_indexes_do_not_mix),
        ("history is kept when asked", history::is_kept_when_asked),
        (
            "history is dropped when asked",
            history::is_dropped_when_asked,
        ),
        ("the feed has no gaps", the_feed_has_no_gaps),
        ("lists are paged by id", lists_are_paged_by_id),
        ("large and odd values survive", large_and_odd_values_survive),
        ("everything survives closing", everything_survives_closing),
        ("users do not mix", users_do_not_mix),
    ];
    for (name, test) in tests {
        let engine: Made = make();
        test(&engine)
            .map_err(|error| StoreError::engine(format!("the test that {name}"), error))?;
    }
    Ok(())
}

fn users_come_and_go(engine: &Made) -> Checked {
    let (anna, bert) = (user(1), user(2));
    assert!(engine.users()?.is_empty());
    assert!(matches!(
        engine.open(&anna),
        Err(StoreError::UnknownUser { .. })
    ));
    assert!(matches!(
        engine.open_reader(&anna),
        Err(StoreError::UnknownUser { .. })
    ));
    assert!(!engine.contains(&anna)?);
    engine.remove(&anna)?;

    drop(engine.create(&bert, Position(0))?);
    drop(engine.create(&anna, Position(0))?);
    assert!(engine.contains(&anna)?);
    assert_eq!(engine.users()?, [anna.clone(), bert.clone()]);
    assert!(matches!(
        engine.create(&anna, Position(0)),
        Err(StoreError::UserExists { user }) if user == anna
    ));

    write(engine.open(&anna)?.as_mut(), &anna, 1, Position(1))?;
    engine.remove(&anna)?;
    assert!(!engine.contains(&anna)?);
    assert_eq!(engine.users()?, [bert]);
    assert!(matches!(
        engine.open(&anna),
        Err(StoreError::UnknownUser { .. })
    ));
    let again = engine.create(&anna, Position(0))?;
    assert_eq!(again.last_seq()?, Seq(0));
    assert_eq!(again.get(Kind::Event, "e1")?, None);
    Ok(())
}

fn a_new_database_starts_where_it_is_told(engine: &Made) -> Checked {
    let anna = user(1);
    let database = engine.create(&anna, Position(41))?;
    assert_eq!(database.applied()?, Position(41));
    assert_eq!(database.last_seq()?, Seq(0));
    drop(database);
    assert_eq!(engine.open(&anna)?.applied()?, Position(41));
    Ok(())
}

fn documents_are_read_back(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    database.begin()?;
    let mut first = commit(&anna, vec![event(7, 1)]);
    first.at = Millis(-5);
    database.apply(&first)?;
    let mut second = event(7, 2);
    (second.rev, second.body) = (Rev(2), Bytes::from_static(b"two"));
    database.apply(&commit(&anna, vec![second]))?;
    database.commit(Position(2))?;

    let found = read(engine, &anna, |view| view.get(Kind::Event, "e7"))?;
    let Some(found) = found else {
        panic_missing("e7")
    };
    assert_eq!((found.rev, found.seq), (Rev(2), Seq(2)));
    assert_eq!((found.written_at, found.deleted), (Millis(1_000), false));
    assert_eq!((found.kind, found.id.as_str()), (Kind::Event, "e7"));
    assert_eq!(found.body, Bytes::from_static(b"two"));
    assert_eq!(
        read(engine, &anna, |view| view.get(Kind::Stream, "e7"))?,
        None
    );
    assert_eq!(
        read(engine, &anna, |view| view.get(Kind::Event, "E7"))?,
        None
    );
    assert_eq!(read(engine, &anna, |view| view.get(Kind::Event, ""))?, None);
    Ok(())
}

#[expect(clippy::panic, reason = "a test")]
fn panic_missing(what: &str) -> ! {
    panic!("{what} is missing")
}

fn transactions_are_isolated(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    database.begin()?;
    database.apply(&commit(&anna, vec![event(1, 1)]))?;
    assert!(database.get(Kind::Event, "e1")?.is_some());
    assert_eq!(database.last_seq()?, Seq(1));
    assert_eq!(database.scan(&everything(BY_NUMBER))?.len(), 1);
    assert_eq!(read(engine, &anna, |view| view.last_seq())?, Seq(0));
    assert_eq!(
        read(engine, &anna, |view| view.get(Kind::Event, "e1"))?,
        None
    );
    database.commit(Position(1))?;
    assert!(read(engine, &anna, |view| view.get(Kind::Event, "e1"))?.is_some());
    Ok(())
}

fn a_snapshot_stays(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    write(database.as_mut(), &anna, 1, Position(1))?;
    let mut reader = engine.open_reader(&anna)?;
    reader.snapshot(&mut |view| {
        let before = dump(view)?;
        // Neither waits for the other.
        write(database.as_mut(), &anna, 2, Position(2))?;
        assert_eq!(dump(view)?, before);
        assert_eq!(view.last_seq()?, Seq(1));
        assert_eq!(read(engine, &anna, |view| view.last_seq())?, Seq(2));
        Ok(())
    })?;
    reader.snapshot(&mut |view| {
        assert_eq!(view.last_seq()?, Seq(2));
        Ok(())
    })?;
    let failed = reader.snapshot(&mut |_| Err(StoreError::Stopped));
    assert!(matches!(failed, Err(StoreError::Stopped)));
    reader.snapshot(&mut |view| {
        assert_eq!(view.changes(Seq(0), 9)?.len(), 2);
        Ok(())
    })
}

fn rollback_leaves_nothing(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(3))?;
    write(database.as_mut(), &anna, 1, Position(4))?;
    let before = dump(&*database)?;
    database.begin()?;
    let mut changed = event(1, 2);
    (changed.rev, changed.keep_previous, changed.entries) = (Rev(2), true, Vec::new());
    database.apply(&commit(&anna, vec![changed, event(2, 3)]))?;
    assert_eq!(database.last_seq()?, Seq(3));
    database.rollback()?;
    assert_eq!(dump(&*database)?, before);
    assert_eq!(database.applied()?, Position(4));
    // It goes on where it was.
    write(database.as_mut(), &anna, 2, Position(5))?;
    assert_eq!(database.last_seq()?, Seq(2));
    Ok(())
}

fn who_rests_misses_nothing(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let mut reader = engine.open_reader(&anna)?;
    let mut seen_by_reader = || {
        reader.rest();
        let mut seen = None;
        reader.snapshot(&mut |view| {
            seen = Some(dump(view)?);
            Ok(())
        })?;
        reader.rest();
        Ok::<_, StoreError>(seen)
    };
    for number in 1..=50 {
        write(database.as_mut(), &anna, number, Position(number))?;
        if number % 10 == 0 {
            database.rest();
        }
    }
    let before = dump(&*database)?;
    assert_eq!(seen_by_reader()?.as_ref(), Some(&before));
    database.begin()?;
    database.apply(&commit(&anna, vec![event(51, 51)]))?;
    database.rest();
    database.apply(&commit(&anna, vec![event(52, 52)]))?;
    let changed = dump(&*database)?;
    database.rest();
    assert_eq!(dump(&*database)?, changed);
    assert_eq!(seen_by_reader()?, Some(before));
    database.commit(Position(52))?;
    database.rest();
    assert_eq!(dump(&*database)?, changed);
    assert_eq!(seen_by_reader()?, Some(changed));
    Ok(())
}

fn applying_twice_is_harmless(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let mut second = event(1, 2);
    (second.rev, second.keep_previous) = (Rev(2), true);
    let both = vec![event(1, 1), second];
    put(database.as_mut(), &anna, both.clone(), Position(1))?;
    let before = dump(&*database)?;
    put(database.as_mut(), &anna, both.clone(), Position(1))?;
    assert_eq!(dump(&*database)?, before);
    // Half known, half new.
    put(
        database.as_mut(),
        &anna,
        [both, vec![event(2, 3)]].concat(),
        Position(2),
    )?;
    assert_eq!(database.last_seq()?, Seq(3));
    assert_eq!(database.history(Kind::Event, "e1", Rev(0), 9)?.len(), 1);
    Ok(())
}

fn a_gap_is_refused(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    write(database.as_mut(), &anna, 1, Position(1))?;
    database.begin()?;
    let refused = database.apply(&commit(&anna, vec![event(3, 3)]));
    assert!(
        matches!(refused, Err(StoreError::Corrupted { .. })),
        "{refused:?}"
    );
    database.rollback()?;
    assert_eq!(database.last_seq()?, Seq(1));
    Ok(())
}

fn the_position_is_part_of_the_transaction(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    write(database.as_mut(), &anna, 1, Position(10))?;
    database.begin()?;
    database.apply(&commit(&anna, vec![event(2, 2)]))?;
    assert_eq!(database.applied()?, Position(10));
    // Closing undoes what was not committed, position and all.
    drop(database);
    let database = engine.open(&anna)?;
    assert_eq!(
        (database.applied()?, database.last_seq()?),
        (Position(10), Seq(1))
    );
    Ok(())
}

fn entries_follow_the_present_version(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let versions: &[&[(u8, &[u8])]] = &[
        &[(1, b"a"), (1, b"b"), (2, b"a")],
        &[(1, b"b"), (3, b"")],
        &[],
        &[(1, b"c"), (1, b"c")],
    ];
    for (n, entries) in (1..).zip(versions) {
        let mut mutation = event(1, n);
        mutation.rev = Rev(n);
        mutation.entries = entries
            .iter()
            .map(|(index, key)| Entry {
                index: Index(*index),
                key: key.to_vec(),
            })
            .collect();
        put(database.as_mut(), &anna, vec![mutation], Position(n))?;
        let mut wanted = entries.to_vec();
        wanted.dedup();
        let found = dump(&*database)?.entries;
        let found: Vec<(u8, &[u8])> = found
            .iter()
            .map(|(index, key, _)| (*index, key.as_slice()))
            .collect();
        assert_eq!(found, wanted, "version {n}");
    }
    Ok(())
}

fn tombstones_stay_and_are_found(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    write(database.as_mut(), &anna, 1, Position(1))?;
    let mut gone = event(1, 2);
    (gone.rev, gone.deleted, gone.body) = (Rev(2), true, Bytes::new());
    put(database.as_mut(), &anna, vec![gone], Position(2))?;
    let found = database.get(Kind::Event, "e1")?;
    assert!(found.is_some_and(|d| d.deleted && d.rev == Rev(2) && d.body.is_empty()));
    assert_eq!(database.list(Kind::Event, None, 9)?.len(), 1);
    assert_eq!(database.changes(Seq(1), 9)?.len(), 1);
    assert!(
        database
            .scan(&everything(BY_NUMBER))?
            .iter()
            .all(|(_, d)| d.deleted)
    );
    assert_eq!(database.scan(&everything(BY_NUMBER))?.len(), 1);
    Ok(())
}

/// Documents `d0`, `d1` … under the given keys, in an order that is not theirs.
fn shelve(
    engine: &Made,
    keys: &[&[u8]],
) -> Result<Box<dyn crate::engine::UserDatabase>, StoreError> {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let mutations: Vec<Mutation> = keys
        .iter()
        .enumerate()
        .rev()
        .zip(1..)
        .map(|((n, key), seq)| {
            let mut mutation = event(0, seq);
            mutation.id = format!("d{n}");
            mutation.entries = vec![Entry {
                index: BY_NUMBER,
                key: key.to_vec(),
            }];
            mutation
        })
        .collect();
    put(database.as_mut(), &anna, mutations, Position(1))?;
    Ok(database)
}

fn ids(found: &[(Vec<u8>, crate::document::Document)]) -> String {
    found
        .iter()
        .map(|(_, document)| document.id.as_str())
        .collect::<Vec<_>>()
        .join(" ")
}

fn the_feed_has_no_gaps(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    for (seq, number, rev) in [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 1, 2), (5, 3, 2)] {
        let mut mutation = event(number, seq);
        mutation.rev = Rev(rev);
        put(database.as_mut(), &anna, vec![mutation], Position(seq))?;
    }
    let feed = |since, limit| -> Result<Vec<(u64, String)>, StoreError> {
        let changes = database.changes(Seq(since), limit)?;
        Ok(changes.into_iter().map(|d| (d.seq.0, d.id)).collect())
    };
    let all = [
        (2, "e2".to_owned()),
        (4, "e1".to_owned()),
        (5, "e3".to_owned()),
    ];
    assert_eq!(feed(0, 99)?, all);
    assert_eq!(feed(1, 99)?, all);
    assert_eq!(feed(2, 1)?, all[1..2]);
    assert_eq!(feed(4, 99)?, all[2..]);
    assert_eq!(feed(5, 99)?, []);
    assert_eq!(feed(u64::MAX, 99)?, []);
    Ok(())
}

fn lists_are_paged_by_id(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let ids = ["b", "a", "aa", "B", "é", "z"];
    let mutations = ids.iter().zip(1..).map(|(id, seq)| {
        let mut mutation = event(1, seq);
        (mutation.id, mutation.entries) = ((*id).to_owned(), Vec::new());
        mutation.kind = if *id == "z" {
            Kind::Stream
        } else {
            Kind::Event
        };
        mutation
    });
    put(database.as_mut(), &anna, mutations.collect(), Position(1))?;
    let list = |after, limit| -> Result<Vec<String>, StoreError> {
        let found = database.list(Kind::Event, after, limit)?;
        Ok(found.into_iter().map(|d| d.id).collect())
    };
    assert_eq!(list(None, 99)?, ["B", "a", "aa", "b", "é"]);
    assert_eq!(list(None, 2)?, ["B", "a"]);
    assert_eq!(list(Some("a"), 2)?, ["aa", "b"]);
    assert_eq!(list(Some("ab"), 99)?, ["b", "é"]);
    assert!(list(Some("é"), 99)?.is_empty());
    assert!(database.list(Kind::Session, None, 99)?.is_empty());
    Ok(())
}

fn large_and_odd_values_survive(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(u64::from(u32::MAX)))?;
    let mut mutation = event(1, 1);
    mutation.id = "\0' \"\u{1F431}%_\n".to_owned();
    mutation.body = Bytes::from(
        (0..3_000_000_u32)
            .map(|n| n.to_be_bytes()[3])
            .collect::<Vec<_>>(),
    );
    mutation.rev = Rev(1 << 62);
    mutation.entries = vec![Entry {
        index: BY_NUMBER,
        key: vec![0xFF; 1_024],
    }];
    put(
        database.as_mut(),
        &anna,
        vec![mutation.clone()],
        Position(1 << 62),
    )?;
    let found = read(engine, &anna, |view| view.get(Kind::Event, &mutation.id))?;
    assert!(found.is_some_and(|d| d.body == mutation.body && d.rev == mutation.rev));
    let found = database.scan(&everything(BY_NUMBER))?;
    assert!(
        found
            .iter()
            .any(|(key, d)| *key == vec![0xFF; 1_024] && d.id == mutation.id)
    );
    assert_eq!(database.applied()?, Position(1 << 62));
    Ok(())
}

fn everything_survives_closing(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    for n in 1..=50 {
        write(database.as_mut(), &anna, n, Position(n))?;
    }
    let before = dump(&*database)?;
    engine.make_durable()?;
    drop(database);
    assert_eq!(read(engine, &anna, dump)?, before);
    let database = engine.open(&anna)?;
    assert_eq!(dump(&*database)?, before);
    assert_eq!(database.applied()?, Position(50));
    let last = Scan {
        from: key(49),
        ..everything(BY_NUMBER)
    };
    assert_eq!(database.scan(&last)?.len(), 2);
    Ok(())
}

fn users_do_not_mix(engine: &Made) -> Checked {
    let (anna, bert) = (user(1), user(2));
    let mut annas = engine.create(&anna, Position(0))?;
    let mut berts = engine.create(&bert, Position(0))?;
    annas.begin()?;
    berts.begin()?;
    annas.apply(&commit(&anna, vec![event(1, 1)]))?;
    berts.apply(&commit(&bert, vec![event(2, 1), event(3, 2)]))?;
    annas.commit(Position(1))?;
    berts.commit(Position(2))?;
    assert_eq!(read(engine, &anna, |view| view.last_seq())?, Seq(1));
    assert_eq!(read(engine, &bert, |view| view.last_seq())?, Seq(2));
    assert_eq!(
        read(engine, &bert, |view| view.get(Kind::Event, "e1"))?,
        None
    );
    Ok(())
}
