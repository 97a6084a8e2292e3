//! What an engine keeps of former versions, and forgets.

use bytes::Bytes;

use super::super::{event, put, user};
use super::{Checked, Made};
use crate::document::{Kind, Rev, Seq};
use crate::engine::View;
use crate::error::StoreError;
use crate::journal::Position;

pub(super) fn is_kept_when_asked(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    for (n, keep_previous) in [(1, true), (2, true), (3, false), (4, true), (5, true)] {
        let mut mutation = event(1, n);
        (mutation.rev, mutation.keep_previous) = (Rev(n), keep_previous);
        (mutation.body, mutation.deleted) = (Bytes::from(vec![1; 3]), n == 4);
        put(database.as_mut(), &anna, vec![mutation], Position(n))?;
    }
    let history = database.history(Kind::Event, "e1", Rev(0), 99)?;
    let seen: Vec<(u64, u64, bool)> = history
        .iter()
        .map(|d| (d.rev.0, d.seq.0, d.deleted))
        .collect();
    assert_eq!(seen, [(1, 1, false), (3, 3, false), (4, 4, true)]);
    let revs = |after, limit| -> Result<Vec<u64>, StoreError> {
        let versions = database.history(Kind::Event, "e1", Rev(after), limit)?;
        Ok(versions.iter().map(|d| d.rev.0).collect())
    };
    assert_eq!(revs(0, 2)?, [1, 3]);
    assert_eq!(revs(1, 9)?, [3, 4]);
    assert_eq!(revs(2, 1)?, [3]);
    assert_eq!(revs(4, 9)?, []);
    assert!(database.history(Kind::Event, "e", Rev(0), 9)?.is_empty());
    assert!(database.history(Kind::Stream, "e1", Rev(0), 9)?.is_empty());
    assert_eq!(database.changes(Seq(0), 99)?.len(), 1);
    Ok(())
}

pub(super) fn is_dropped_when_asked(engine: &Made) -> Checked {
    let anna = user(1);
    let mut database = engine.create(&anna, Position(0))?;
    let mut other = event(2, 1);
    other.rev = Rev(1);
    put(database.as_mut(), &anna, vec![other], Position(1))?;
    let steps = [
        (1, false, false),
        (2, true, false),
        (3, true, false),
        (4, true, true),
        (5, true, false),
    ];
    for (rev, keep_previous, drop_history) in steps {
        let mut mutation = event(1, rev + 1);
        (mutation.rev, mutation.keep_previous) = (Rev(rev), keep_previous);
        mutation.drop_history = drop_history;
        put(database.as_mut(), &anna, vec![mutation], Position(rev + 1))?;
    }
    let mut changed = event(2, 7);
    (changed.rev, changed.keep_previous) = (Rev(2), true);
    let mut dropped = event(1, 8);
    (dropped.rev, dropped.deleted, dropped.drop_history) = (Rev(6), true, true);
    let revs = |view: &dyn View, id: &str| -> Result<Vec<u64>, StoreError> {
        let versions = view.history(Kind::Event, id, Rev(0), 9)?;
        Ok(versions.iter().map(|d| d.rev.0).collect())
    };
    assert_eq!(
        revs(&*database, "e1")?,
        [3, 4],
        "those before version 4 are gone"
    );
    put(
        database.as_mut(),
        &anna,
        vec![changed, dropped],
        Position(8),
    )?;
    drop(database);
    let database = engine.open(&anna)?;
    assert_eq!(revs(&*database, "e1")?, []);
    assert_eq!(
        revs(&*database, "e2")?,
        [1],
        "another document keeps its own"
    );
    assert!(database.get(Kind::Event, "e1")?.is_some_and(|d| d.deleted));
    Ok(())
}
