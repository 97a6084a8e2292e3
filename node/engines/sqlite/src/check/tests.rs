//! Changes behind the engine's back are told, and indexes can be made again.

use bytes::Bytes;
use homecore_store::{Commit, Engine as _, Index, Mutation, Position, Rev, Scan, Seq};
use homecore_types::{Millis, UserId};

use super::*;
use crate::view::{Place, sealed_entries};
use crate::{SqliteEngine, SqliteOptions};

mod names;
mod pages;

fn user() -> UserId {
    UserId::parse("a".repeat(24)).unwrap()
}

fn mutation(seq: u64, id: &str, rev: u64) -> Mutation {
    let entry = |index, key: &[u8]| Entry {
        index: Index(index),
        key: key.to_vec(),
    };
    Mutation {
        kind: Kind::Event,
        id: id.to_owned(),
        rev: Rev(rev),
        seq: Seq(seq),
        deleted: false,
        body: Bytes::from(format!("{{\"note\":\"{id}\"}}")),
        entries: vec![
            entry(2, id.as_bytes()),
            entry(3, b"one"),
            // Twice the same is once.
            entry(3, b"one"),
        ],
        keep_previous: rev > 1,
        drop_history: false,
    }
}

/// Two events, one with a former version.
fn engine(folder: &std::path::Path) -> SqliteEngine {
    let engine = SqliteEngine::open(folder, SqliteOptions::default()).unwrap();
    let mut database = engine.create(&user(), Position(0)).unwrap();
    database.begin().unwrap();
    let mutations = vec![
        mutation(1, "first", 1),
        mutation(2, "second", 1),
        mutation(3, "second", 2),
    ];
    let commit = Commit {
        user: user(),
        at: Millis(1),
        mutations,
    };
    database.apply(&commit).unwrap();
    database.commit(Position(1)).unwrap();
    drop(database);
    add_account(&engine);
    engine
}

/// Where it is in nobody's way: before all others.
fn add_account(engine: &SqliteEngine) {
    let place = Place {
        kind: 1,
        id: "account",
        rev: 1,
        seq: 0,
        at: 1,
        deleted: false,
    };
    let entries = sealed_entries(1, "account", &[]).unwrap();
    let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
    let sql = "INSERT INTO document VALUES (-1, 1, 'account', 1, 0, 1, 0, ?1, ?2)";
    let body = place.sealed(br#"{"username":"anna1"}"#);
    connection.execute(sql, (entries, body)).unwrap();
}

fn faults(engine: &SqliteEngine) -> Vec<String> {
    let mut found = Vec::new();
    let database = engine.open(&user()).unwrap();
    database.check(&mut |fault| found.push(fault)).unwrap();
    found
}

fn change(engine: &SqliteEngine, sql: &str) {
    let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
    connection.execute_batch(sql).unwrap();
}

/// Ids under the key that both events have.
fn under_one(engine: &SqliteEngine) -> Vec<String> {
    let scan = Scan {
        index: Index(3),
        from: b"one".to_vec(),
        to: Some(b"onf".to_vec()),
        descending: false,
        limit: 10,
        after: None,
    };
    let database = engine.open(&user()).unwrap();
    let found = database.scan(&scan).unwrap();
    found.into_iter().map(|(_, event)| event.id).collect()
}

#[test]
fn a_key_that_was_changed_is_told_and_made_again() {
    let ways: &[(&str, &[&str])] = &[
        (
            "UPDATE entry SET key = x'6f6e66' WHERE place = 3 AND id = 'first'",
            &["Event first is not in index 3", "1 entries of indexes"],
        ),
        (
            "DELETE FROM entry WHERE place = 3 AND id = 'first'",
            &["Event first is not in index 3"],
        ),
        (
            "UPDATE entry SET document = 2 WHERE place = 3 AND id = 'first'",
            &["Event first is not in index 3", "1 entries of indexes"],
        ),
        (
            "INSERT INTO entry VALUES (9, x'00', 'first', 77)",
            &["1 entries of indexes"],
        ),
    ];
    for (way, told) in ways {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        assert_eq!(faults(&engine), [""; 0]);
        change(&engine, way);
        let found = faults(&engine);
        assert_eq!(found.len(), told.len(), "{way}: {found:?}");
        for (found, told) in found.iter().zip(*told) {
            assert!(found.starts_with(told), "{way}: {found}");
        }
        assert!(engine.rebuild_indexes(&user(), false).unwrap().is_done);
        assert_eq!(faults(&engine), [""; 0], "{way}");
        assert_eq!(under_one(&engine), ["first", "second"], "{way}");
    }
}

#[test]
fn what_was_written_and_changed_is_told() {
    for (way, told) in [
        (
            "UPDATE document SET body = CAST(x'7b7d' || substr(body, 3) AS BLOB) WHERE id = 'first'",
            "Event first is not what it was",
        ),
        (
            "UPDATE document SET entries = x'c1' WHERE id = 'first'",
            "Event first: its entries are not what they were",
        ),
        (
            "UPDATE history SET written_at = 2",
            "Event second is not what it was",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        change(&engine, way);
        let found = faults(&engine);
        assert!(
            found
                .iter()
                .any(|found| found.ends_with(told) || found == told),
            "{way}: {found:?}"
        );
    }
}

/// A byte of the file is changed, in the index of documents by id: "first" there becomes "fisst".
#[test]
fn an_index_of_sqlite_that_was_changed_is_told_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    let path = engine.folder(&user()).join("data.sqlite");
    let page = |connection: &Connection| -> i64 {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'document_by_id'";
        connection.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let page = usize::try_from(page(&Connection::open(&path).unwrap())).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let place = bytes[(page - 1) * 4096..page * 4096]
        .windows(5)
        .position(|window| window == b"first")
        .unwrap();
    bytes[(page - 1) * 4096 + place + 2] = b's';
    std::fs::write(&path, &bytes).unwrap();
    let is_there = |id: &str| {
        let database = engine.open(&user()).unwrap();
        database.get(Kind::Event, id).unwrap().is_some()
    };
    assert!(!is_there("first"), "the byte makes no difference");
    let found = faults(&engine);
    assert!(
        found.iter().any(|found| found.starts_with("SQLite: ")),
        "{found:?}"
    );
    engine.rebuild_indexes(&user(), false).unwrap();
    assert_eq!(faults(&engine), [""; 0]);
    assert!(is_there("first"));
}

fn rows(engine: &SqliteEngine, sql: &str) -> i64 {
    let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn entries_that_cannot_be_read_leave_the_indexes_as_they_are_until_the_loss_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    change(
        &engine,
        "UPDATE document SET entries = x'c1' WHERE id = 'first'",
    );
    // Its rows of the index are not told as well: whether they are right is not known.
    let told = "Event first: its entries are not what they were";
    assert_eq!(faults(&engine), [told]);
    let refused = engine.rebuild_indexes(&user(), false).unwrap();
    assert!(!refused.is_done);
    assert_eq!(refused.lost, [format!("{told}: it would be set aside")]);
    assert_eq!(under_one(&engine), ["first", "second"]);
    let accepted = engine.rebuild_indexes(&user(), true).unwrap();
    assert!(accepted.is_done);
    assert_eq!(faults(&engine), [""; 0]);
    assert_eq!(under_one(&engine), ["second"]);
}

#[test]
fn damaged_documents_are_set_aside_with_their_versions_only_if_that_is_accepted() {
    const FLIP: &str = "body = CAST(x'7b7d' || substr(body, 3) AS BLOB)";
    for (way, told, aside, rest) in [
        (
            format!("UPDATE document SET {FLIP} WHERE id = 'first'"),
            "Event first is not what it was: it was set aside, and 0 former versions with it",
            (1, 0),
            &["second"][..],
        ),
        (
            format!("UPDATE document SET {FLIP} WHERE id = 'second'"),
            "Event second is not what it was: it was set aside, and 1 former versions with it",
            (1, 1),
            &["first"][..],
        ),
        (
            format!("UPDATE history SET {FLIP}"),
            "a former version, 1: Event second is not what it was: it was set aside",
            (0, 1),
            &["first", "second"][..],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        change(&engine, &way);
        // Nothing is lost by new indexes, and they do not help.
        assert!(engine.rebuild_indexes(&user(), false).unwrap().is_done);
        assert_eq!(faults(&engine).len(), 1, "{way}");
        let accepted = engine.rebuild_indexes(&user(), true).unwrap();
        assert!(accepted.is_done);
        assert_eq!(accepted.lost, [told]);
        assert_eq!(faults(&engine), [""; 0], "{way}");
        assert_eq!(under_one(&engine), rest, "{way}");
        let count = |former| {
            rows(
                &engine,
                &format!("SELECT count(*) FROM set_aside WHERE former = {former}"),
            )
        };
        assert_eq!((count(0), count(1)), aside, "{way}");
        let database = engine.open(&user()).unwrap();
        let texts = [&b"note\":\""[..], b"one", b"somewhere else", b""];
        let texts = texts.into_iter().map(<[u8]>::to_vec).collect();
        let named = database.named_by_set_aside(&texts).unwrap();
        // One is in bodies, the other in what documents are found by.
        let expected = [
            (b"note\":\"".to_vec(), true),
            (b"one".to_vec(), aside.0 > 0),
        ];
        let expected = expected.into_iter().filter(|(_, is_there)| *is_there);
        assert_eq!(named, expected.map(|(text, _)| text).collect(), "{way}");
        let sum = u64::try_from(aside.0 + aside.1).unwrap();
        assert_eq!(database.count_set_aside().unwrap(), sum);
    }
}

/// A changed byte of a row's head gives a value another type, which SQLite itself would not write.
fn change_types(engine: &SqliteEngine, sql: &str) {
    let swap = |from: &str, to: &str| {
        format!(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') WHERE type = 'table';"
        )
    };
    let strict = swap(") /* any */", ") STRICT");
    // A connection knows the tables as it found them.
    for step in [&swap(") STRICT", ") /* any */"), sql, &strict] {
        change(engine, step);
    }
}

#[test]
fn a_value_of_another_type_is_damage_of_its_document_alone() {
    for (change, id, rev) in [
        ("body = 'text'", "first", 1),
        ("written_at = x'00'", "first", 1),
        ("deleted = 'no'", "second", 2),
        ("rev = 'one'", "first", 0),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        let way = format!("UPDATE document SET {change} WHERE id = '{id}'");
        change_types(&engine, &way);
        let database = engine.open(&user()).unwrap();
        for read in [
            database.list(Kind::Event, None, 10).map(drop),
            database.get(Kind::Event, id).map(drop),
        ] {
            let Err(StoreError::Damaged {
                kind,
                id: name,
                rev: version,
                ..
            }) = read
            else {
                panic!("{way}: {read:?}");
            };
            assert_eq!((kind, &*name, version.0), (Kind::Event, id, rev), "{way}");
        }
        drop(database);
        let told = format!("Event {id} is not what it was");
        assert!(
            faults(&engine).contains(&told),
            "{way}: {:?}",
            faults(&engine)
        );
        assert!(engine.rebuild_indexes(&user(), true).unwrap().is_done);
        assert_eq!(faults(&engine), [""; 0], "{way}");
    }

    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    change_types(
        &engine,
        "UPDATE document SET entries = 7 WHERE id = 'first'",
    );
    let told = "Event first: its entries are not what they were".to_owned();
    assert!(faults(&engine).contains(&told));
    assert!(engine.rebuild_indexes(&user(), true).unwrap().is_done);
    assert_eq!(faults(&engine), [""; 0]);
    change_types(&engine, "UPDATE history SET body = 7");
    let database = engine.open(&user()).unwrap();
    let read = database
        .history(Kind::Event, "second", Rev(0), 10)
        .unwrap_err();
    assert!(
        matches!(read, StoreError::Damaged { rev: Rev(1), .. }),
        "{read:?}"
    );
}

#[test]
fn a_lost_document_is_told_though_another_has_its_number_now() {
    let folder = tempfile::tempdir().unwrap();
    let engine = engine(folder.path());
    change_behind_indexes(&engine, "DELETE FROM document WHERE id = 'second'");
    let mut database = engine.open(&user()).unwrap();
    database.begin().unwrap();
    let commit = Commit {
        user: user(),
        at: Millis(1),
        mutations: vec![mutation(4, "third", 1)],
    };
    database.apply(&commit).unwrap();
    database.commit(Position(2)).unwrap();
    drop(database);
    assert_eq!(
        rows(&engine, "SELECT number FROM document WHERE id = 'third'"),
        2
    );
    let told = "Event second is lost: only indexes know it";
    assert!(
        faults(&engine).iter().any(|found| found == told),
        "{:?}",
        faults(&engine)
    );
    let refused = engine.rebuild_indexes(&user(), false).unwrap();
    assert_eq!(
        (refused.is_done, refused.lost),
        (false, vec![told.to_owned()])
    );
    assert!(engine.rebuild_indexes(&user(), true).unwrap().is_done);
    assert_eq!(under_one(&engine), ["first", "third"]);
    assert_eq!(faults(&engine), [""; 0]);
}

/// Rows go, and the indexes that lead to them stay, as where an older page of the table comes back.
fn change_behind_indexes(engine: &SqliteEngine, sql: &str) {
    let drop = "PRAGMA writable_schema = ON;
        DELETE FROM sqlite_schema WHERE name IN ('document_by_id', 'document_by_seq');";
    let path = engine.folder(&user()).join("data.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch("CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE tbl_name = 'document' AND type = 'index'")
        .unwrap();
    connection.execute_batch(drop).unwrap();
    std::mem::drop(connection);
    // Anew, for a connection knows the indexes as it found them.
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema SELECT * FROM kept;",
        )
        .unwrap();
    std::mem::drop(connection);
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DROP TABLE kept").unwrap();
    seal_again(&connection);
}

/// An older page has checksums that are right.
fn seal_again(connection: &Connection) {
    let sql =
        "SELECT kind, id, rev, seq, written_at, deleted, body, number FROM document NOT INDEXED";
    let mut statement = connection.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (id, body): (String, Vec<u8>) = (row.get(1).unwrap(), row.get(6).unwrap());
        let place = Place {
            kind: row.get(0).unwrap(),
            id: &id,
            rev: row.get(2).unwrap(),
            seq: row.get(3).unwrap(),
            at: row.get(4).unwrap(),
            deleted: row.get(5).unwrap(),
        };
        let sealed = place.sealed(&body[..body.len() - 4]);
        let number: i64 = row.get(7).unwrap();
        connection
            .execute(
                "UPDATE document SET body = ?1 WHERE number = ?2",
                (sealed, number),
            )
            .unwrap();
    }
}

#[test]
fn documents_that_only_indexes_know_are_told_and_given_up_only_if_that_is_accepted() {
    for (way, told) in [
        (
            "DELETE FROM document WHERE id = 'first'",
            "Event first is lost: only indexes know it",
        ),
        (
            "UPDATE document SET seq = 2, rev = 1 WHERE id = 'second'",
            "Event second is older than its change 3, which is lost",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        change_behind_indexes(&engine, way);
        assert!(
            faults(&engine).iter().any(|found| found == told),
            "{way}: {:?}",
            faults(&engine)
        );
        let refused = engine.rebuild_indexes(&user(), false).unwrap();
        assert!(!refused.is_done);
        assert_eq!(refused.lost, [told]);
        assert!(faults(&engine).iter().any(|found| found == told), "{way}");
        let accepted = engine.rebuild_indexes(&user(), true).unwrap();
        assert!(accepted.is_done);
        assert_eq!(accepted.lost[0], told);
        assert!(!faults(&engine).iter().any(|found| found == told), "{way}");
    }
}

#[test]
fn of_a_document_that_is_there_twice_the_last_stays_and_the_other_is_a_former_version_or_told() {
    let columns = "kind, id, rev, seq, written_at, deleted";
    for (rev, told) in [
        (2, &[][..]),
        (
            1,
            &[
                "Event first is there twice: its version 1 of change 1 has no place beside the later one",
            ][..],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let engine = engine(folder.path());
        let second = format!(
            "INSERT INTO document ({columns}, entries, body)
             SELECT kind, id, {rev}, 4, written_at, deleted, entries, body FROM document WHERE id = 'first'"
        );
        change_behind_indexes(&engine, &second);
        let first = engine.rebuild_indexes(&user(), false).unwrap();
        assert_eq!(first.is_done, told.is_empty());
        assert_eq!(first.lost, told);
        let accepted = engine.rebuild_indexes(&user(), true).unwrap();
        let aside = |told: &&str| format!("{told}: it was set aside");
        assert!(accepted.is_done);
        assert_eq!(accepted.lost, told.iter().map(aside).collect::<Vec<_>>());
        let connection = Connection::open(engine.folder(&user()).join("data.sqlite")).unwrap();
        let count = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!(count("SELECT seq FROM document WHERE id = 'first'"), 4);
        assert_eq!(count("SELECT count(*) FROM document WHERE id = 'first'"), 1);
        let former = count("SELECT count(*) FROM history WHERE id = 'first'");
        assert_eq!(former, i64::from(told.is_empty()));
        if !told.is_empty() {
            assert_eq!(count("SELECT seq FROM set_aside WHERE id = 'first'"), 1);
        }
    }
}
