//! Transactions that SQLite ends by itself: it does so when a statement fails for want of the disk, be it
//! one that only reads.

use bytes::Bytes;
use homecore_store::Engine as _;
use homecore_types::{Millis, UserId};

use super::*;
use crate::{SqliteEngine, SqliteOptions};

fn user() -> UserId {
    UserId::parse("a".repeat(24)).unwrap()
}

fn change(seq: u64) -> Commit {
    Commit {
        user: user(),
        at: Millis(1),
        mutations: vec![Mutation {
            kind: Kind::Event,
            id: format!("e{seq}"),
            rev: Rev(1),
            seq: Seq(seq),
            deleted: false,
            body: Bytes::from_static(b"{}"),
            entries: Vec::new(),
            keep_previous: false,
            drop_history: false,
        }],
    }
}

/// A database with one change, at position 1.
fn database(engine: &SqliteEngine) -> SqliteDatabase {
    drop(engine.create(&user(), Position(0)).unwrap());
    let handle = engine.connect(&user()).unwrap();
    let how = crate::Durability::Files;
    let durable = Durable::new(how, handle.held.path(), &Arc::default()).unwrap();
    let mut database = SqliteDatabase::new(handle, Arc::new(durable)).unwrap();
    database.begin().unwrap();
    database.apply(&change(1)).unwrap();
    database.commit(Position(1)).unwrap();
    database
}

#[test]
fn a_transaction_that_is_gone_is_never_taken_for_one_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SqliteEngine::open(folder.path(), SqliteOptions::default()).unwrap();
    let mut database = database(&engine);
    assert!(!database.is_open());
    database.begin().unwrap();
    database.apply(&change(2)).unwrap();
    assert!(database.is_open());
    // As SQLite does by itself.
    database.run("ROLLBACK", "undoing").unwrap();
    assert!(!database.is_open());
    assert!(database.commit(Position(2)).is_err());
    drop(database);
    // It would not be replayed if the position were there.
    let database = engine.open(&user()).unwrap();
    assert_eq!(database.applied().unwrap(), Position(1));
    assert_eq!(database.last_seq().unwrap(), Seq(1));
}
