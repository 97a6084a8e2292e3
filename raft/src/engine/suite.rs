//! What every engine must do. One function, run on each.

use proptest::test_runner::{Config, TestRunner};

use super::{Batch, Engine, EngineKind, Pair, SCAN_BYTES_MAX};
use crate::keys::Space;

/// Runs the whole suite on an engine.
pub(crate) fn run(kind: EngineKind) {
    with(kind, |engine| {
        assert_eq!(engine.crash_safe(), kind.crash_safe());
    });
    reads_what_was_written(kind);
    scans_in_order_and_in_pages(kind);
    keeps_spaces_apart(kind);
    keeps_keys_at_the_edges(kind);
    keeps_big_values_and_bounds_scans(kind);
    clears(kind);
    behaves_like_a_map(kind);
    if kind != EngineKind::Memory {
        keeps_everything_over_a_clean_close(kind);
    }
}

fn with(kind: EngineKind, test: impl FnOnce(&mut dyn Engine)) {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = kind.open(dir.path()).unwrap();
    test(engine.as_mut());
}

fn batch(space: Space, items: &[(&[u8], Option<&[u8]>)]) -> Batch {
    let mut batch = Batch::default();
    for (key, value) in items {
        match value {
            Some(value) => batch.put(space, key.to_vec(), value.to_vec()),
            None => batch.delete(space, key.to_vec()),
        }
    }
    batch
}

pub(crate) fn everything(engine: &dyn Engine, space: Space, page: usize) -> Vec<Pair> {
    let mut all: Vec<Pair> = Vec::new();
    loop {
        let after = all.last().map(|(key, _)| key.as_slice());
        let found = engine.scan(space, after, page).unwrap();
        assert!(found.len() <= page, "asked for {page}, got {}", found.len());
        if found.is_empty() {
            return all;
        }
        all.extend(found);
    }
}

fn reads_what_was_written(kind: EngineKind) {
    with(kind, |engine| {
        assert_eq!(engine.get(Space::Names, b"a").unwrap(), None);
        engine
            .commit(batch(
                Space::Names,
                &[(b"a", Some(b"1")), (b"b", Some(b"2"))],
            ))
            .unwrap();
        engine
            .commit(batch(
                Space::Names,
                &[(b"a", Some(b"3")), (b"b", None), (b"z", None)],
            ))
            .unwrap();
        assert_eq!(
            engine.get(Space::Names, b"a").unwrap().as_deref(),
            Some(&b"3"[..])
        );
        assert_eq!(engine.get(Space::Names, b"b").unwrap(), None);
        engine.commit(Batch::default()).unwrap();
        engine.sync().unwrap();
        assert_eq!(
            engine.get(Space::Names, b"a").unwrap().as_deref(),
            Some(&b"3"[..])
        );
        engine.size_bytes().unwrap();
    });
}

fn scans_in_order_and_in_pages(kind: EngineKind) {
    with(kind, |engine| {
        let keys: Vec<Vec<u8>> = (0..=255_u8).map(|byte| vec![byte, byte ^ 0x55]).collect();
        let mut all = Batch::default();
        for key in keys.iter().rev() {
            all.put(Space::Users, key.clone(), key.clone());
        }
        engine.commit(all).unwrap();
        for page in [1, 7, 255, 256, 1000] {
            let found: Vec<_> = everything(engine, Space::Users, page)
                .into_iter()
                .map(|(key, value)| {
                    assert_eq!(key, value);
                    key
                })
                .collect();
            assert_eq!(found, keys, "page of {page}");
        }
        // Behind a key that is not there.
        let found = engine.scan(Space::Users, Some(&[9]), 1).unwrap();
        assert_eq!(found.first().unwrap().0, keys[9]);
        assert_eq!(
            engine.scan(Space::Users, Some(&[255, 255]), 9).unwrap(),
            Vec::new()
        );
    });
}

fn keeps_spaces_apart(kind: EngineKind) {
    with(kind, |engine| {
        let mut all = Batch::default();
        for space in Space::ALL {
            all.put(space, b"key".to_vec(), vec![space.number()]);
        }
        engine.commit(all).unwrap();
        for space in Space::ALL {
            assert_eq!(
                everything(engine, space, 10),
                vec![(b"key".to_vec(), vec![space.number()])]
            );
        }
    });
}

fn keeps_keys_at_the_edges(kind: EngineKind) {
    with(kind, |engine| {
        let keys: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"a", b"a\0", b"a\xff", b"\xff\xff"];
        let items: Vec<_> = keys.iter().map(|key| (*key, Some(*key))).collect();
        engine.commit(batch(Space::Dns, &items)).unwrap();
        for page in [1, 2, 100] {
            let found = everything(engine, Space::Dns, page);
            assert!(
                found.iter().map(|(key, _)| key.as_slice()).eq(keys),
                "{found:?}"
            );
        }
        assert_eq!(
            engine.get(Space::Dns, b"").unwrap().as_deref(),
            Some(&b""[..])
        );
        assert_eq!(engine.get(Space::Dns, b"a\x01").unwrap(), None);
    });
}

fn keeps_big_values_and_bounds_scans(kind: EngineKind) {
    with(kind, |engine| {
        let big = vec![7_u8; SCAN_BYTES_MAX / 2 + 1];
        let mut all = Batch::default();
        for key in 0..4_u8 {
            all.put(Space::AccessRequests, vec![key], big.clone());
        }
        engine.commit(all).unwrap();
        assert_eq!(
            engine.get(Space::AccessRequests, &[2]).unwrap().as_ref(),
            Some(&big)
        );
        assert_eq!(
            engine.scan(Space::AccessRequests, None, 100).unwrap().len(),
            2
        );
        assert_eq!(everything(engine, Space::AccessRequests, 100).len(), 4);
    });
}

fn clears(kind: EngineKind) {
    with(kind, |engine| {
        engine
            .commit(batch(Space::Names, &[(b"a", Some(b"1"))]))
            .unwrap();
        engine
            .commit(batch(Space::Meta, &[(b"", Some(b"1"))]))
            .unwrap();
        engine.clear().unwrap();
        for space in Space::ALL {
            assert_eq!(everything(engine, space, 10), Vec::new());
        }
        engine
            .commit(batch(Space::Names, &[(b"b", Some(b"2"))]))
            .unwrap();
        assert_eq!(everything(engine, Space::Names, 10).len(), 1);
    });
}

fn keeps_everything_over_a_clean_close(kind: EngineKind) {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3_u8 {
        let mut engine = kind.open(dir.path()).unwrap();
        assert_eq!(
            everything(engine.as_ref(), Space::Users, 64).len(),
            usize::from(round) * 100
        );
        assert_eq!(
            engine.get(Space::Meta, b"").unwrap(),
            round.checked_sub(1).map(|previous| vec![previous])
        );
        let mut both = batch(Space::Meta, &[(b"", Some(&[round]))]);
        for key in 0..100_u8 {
            both.put(Space::Users, vec![round, key], vec![round]);
        }
        engine.commit(both).unwrap();
        engine.close().unwrap();
    }
}

fn behaves_like_a_map(kind: EngineKind) {
    let change = (0..3_usize, "[ab]{0,3}", proptest::option::of("[x-z]{0,3}"));
    let batches = proptest::collection::vec(proptest::collection::vec(change, 0..8), 1..12);
    let mut runner = TestRunner::new(Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&batches, |batches| {
            with(kind, |engine| {
                let spaces = [Space::Names, Space::Users, Space::Deadlines];
                let mut model = super::memory::Memory::default();
                for changes in &batches {
                    let mut all = Batch::default();
                    for (space, key, value) in changes {
                        let key = key.clone().into_bytes();
                        match value {
                            Some(value) => all.put(spaces[*space], key, value.clone().into_bytes()),
                            None => all.delete(spaces[*space], key),
                        }
                    }
                    model.commit(all.clone()).unwrap();
                    engine.commit(all).unwrap();
                    for space in spaces {
                        assert_eq!(everything(engine, space, 3), everything(&model, space, 100));
                    }
                }
            });
            Ok(())
        })
        .unwrap();
}
