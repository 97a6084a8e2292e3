//! Random histories, on SQLite and on the memory engine: whatever can be read must be the same.

use std::sync::Arc;

use bytes::Bytes;
use homecore_engine_sqlite::{SqliteEngine, SqliteOptions};
use homecore_store::memory::MemoryEngine;
use homecore_store::suite::{commit, dump, read, user};
use homecore_store::{Engine, Entry, Index, Kind, Mutation, Position, Rev, Scan, Seq, View};
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Clone, Debug)]
struct Change {
    kind: Kind,
    id: String,
    deleted: bool,
    body: Vec<u8>,
    entries: Vec<(u8, Vec<u8>)>,
    keep_previous: bool,
    drop_history: bool,
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    Rollback(Vec<Change>),
    /// Commits again what was committed before: a replay.
    Again,
    Reopen,
}

fn keys() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(select(vec![0, 1, 0x61, 0xFF]), 0..4)
}

fn ids() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "B", "aa", "é", "", "z\0z"]).prop_map(str::to_owned)
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (
        select(vec![Kind::Event, Kind::Stream]),
        ids(),
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..200),
        proptest::collection::vec((0..3_u8, keys()), 0..4),
        (any::<bool>(), prop::bool::weighted(0.2)),
    );
    let change = change.prop_map(|(kind, id, deleted, body, entries, history)| {
        let (keep_previous, drop_history) = history;
        // An index is of one kind: its order is by key and id.
        let shift = if kind == Kind::Stream { 3 } else { 0 };
        let entries = entries
            .into_iter()
            .map(|(index, key)| (index + shift, key))
            .collect();
        Change {
            kind,
            id,
            deleted,
            body,
            entries,
            keep_previous,
            drop_history,
        }
    });
    proptest::collection::vec(change, 1..5)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => changes().prop_map(Step::Commit),
        2 => changes().prop_map(Step::Rollback),
        1 => Just(Step::Again),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

fn scans() -> impl Strategy<Value = Scan> {
    (
        0..6_u8,
        keys(),
        proptest::option::of(keys()),
        any::<bool>(),
        0..6_usize,
        proptest::option::of((keys(), ids())),
    )
        .prop_map(|(index, from, to, descending, limit, after)| Scan {
            index: Index(index),
            from,
            to,
            descending,
            limit,
            after,
        })
}

/// What a write would make of the changes: next revisions, next numbers.
fn mutations(view: &dyn View, changes: &[Change]) -> Vec<Mutation> {
    let mut made: Vec<Mutation> = Vec::new();
    let mut seq = view.last_seq().unwrap();
    for change in changes {
        let own = made
            .iter()
            .rev()
            .find(|m| m.kind == change.kind && m.id == change.id);
        let present = match own {
            Some(mutation) => mutation.rev,
            None => view
                .get(change.kind, &change.id)
                .unwrap()
                .map(|d| d.rev)
                .unwrap_or_default(),
        };
        seq = seq.next();
        made.push(Mutation {
            kind: change.kind,
            id: change.id.clone(),
            rev: Rev(present.0 + 1),
            seq,
            deleted: change.deleted,
            body: Bytes::from(change.body.clone()),
            entries: change
                .entries
                .iter()
                .map(|(index, key)| Entry {
                    index: Index(*index),
                    key: key.clone(),
                })
                .collect(),
            keep_previous: change.keep_previous,
            drop_history: change.drop_history,
        });
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sqlite_does_what_the_model_does(
        steps in steps(),
        scans in proptest::collection::vec(scans(), 20),
        since in 0..40_u64,
    ) {
        let root = tempfile::tempdir().unwrap();
        let anna = user(1);
        let engine: Arc<dyn Engine> =
            Arc::new(SqliteEngine::open(root.path(), SqliteOptions::default()).unwrap());
        let model: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let mut database = Some(engine.create(&anna, Position(0)).unwrap());
        let mut expected = model.create(&anna, Position(0)).unwrap();
        let mut former = Vec::new();
        for (step, position) in steps.into_iter().zip(1..) {
            let position = Position(position);
            let mut open = match database.take() {
                Some(database) => database,
                None => engine.open(&anna).unwrap(),
            };
            match step {
                Step::Commit(changes) => {
                    former.push(commit(&anna, mutations(&*expected, &changes)));
                    for database in [&mut open, &mut expected] {
                        database.begin().unwrap();
                        database.apply(former.last().unwrap()).unwrap();
                        database.commit(position).unwrap();
                    }
                }
                Step::Rollback(changes) => {
                    let undone = commit(&anna, mutations(&*expected, &changes));
                    for database in [&mut open, &mut expected] {
                        database.begin().unwrap();
                        database.apply(&undone).unwrap();
                    }
                    prop_assert_eq!(dump(&*open).unwrap(), dump(&*expected).unwrap());
                    open.rollback().unwrap();
                    expected.rollback().unwrap();
                }
                Step::Again => {
                    for database in [&mut open, &mut expected] {
                        database.begin().unwrap();
                        for commit in &former {
                            database.apply(commit).unwrap();
                        }
                        database.commit(position).unwrap();
                    }
                }
                Step::Reopen => {
                    drop(open);
                    prop_assert_eq!(
                        read(&engine, &anna, dump).unwrap(),
                        dump(&*expected).unwrap()
                    );
                    continue;
                }
            }
            prop_assert_eq!(open.applied().unwrap(), expected.applied().unwrap());
            database = Some(open);
        }
        prop_assert_eq!(read(&engine, &anna, dump).unwrap(), read(&model, &anna, dump).unwrap());
        for scan in scans {
            prop_assert_eq!(
                read(&engine, &anna, |view| view.scan(&scan)).unwrap(),
                expected.scan(&scan).unwrap(),
                "{:?}", scan
            );
        }
        prop_assert_eq!(
            read(&engine, &anna, |view| view.changes(Seq(since), 3)).unwrap(),
            expected.changes(Seq(since), 3).unwrap()
        );
    }
}
