//! Turns end, whatever happens in them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use homecore_types::UserId;
use tempfile::TempDir;

use super::*;
use crate::journal::{SqliteJournal, prepare};

fn turns() -> (TempDir, Arc<Turns>) {
    let folder = tempfile::tempdir().unwrap();
    let connection = crate::journal::connect(&folder.path().join("journal.sqlite")).unwrap();
    prepare(&connection).unwrap();
    let turns = Turns::new(Writer::new(connection, Arc::default()));
    (folder, Arc::new(turns))
}

fn row() -> Rows {
    vec![(UserId::parse("a".repeat(24)).unwrap(), vec![1, 2, 3])]
}

#[test]
fn everybody_gets_a_position_of_their_own() {
    let (_folder, turns) = turns();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let turns = Arc::clone(&turns);
            let append = move || turns.append(row()).unwrap();
            thread::spawn(move || (0..50).map(|_| append()).collect::<Vec<_>>())
        })
        .collect();
    let mut all = Vec::new();
    for thread in threads {
        let own = thread.join().unwrap();
        assert!(own.is_sorted(), "{own:?}");
        all.extend(own);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=400).map(Position).collect::<Vec<_>>());
}

#[test]
fn a_panic_poisons() {
    let (_folder, turns) = turns();
    turns.append(row()).unwrap();
    let died = catch_unwind(AssertUnwindSafe(|| {
        turns.alone(|_| -> Result<(), StoreError> { panic!("on purpose") })
    }));
    assert!(died.is_err());
    for _ in 0..2 {
        assert!(matches!(
            turns.append(row()),
            Err(StoreError::Poisoned { .. })
        ));
    }
    assert!(turns.state().waiting.is_empty());
    let alone = turns.alone(|_| Ok(()));
    assert!(matches!(alone, Err(StoreError::Poisoned { .. })));
}

#[test]
fn what_was_written_is_replayed() {
    let (folder, turns) = turns();
    turns.append(row()).unwrap();
    drop(turns);
    let journal = SqliteJournal::open(&folder.path().join("journal.sqlite")).unwrap();
    let mut seen = 0;
    let each = &mut |_, _: &UserId, changes: &[u8]| {
        seen += changes.len();
        Ok(())
    };
    homecore_store::Journal::replay(&journal, Position(0), each).unwrap();
    assert_eq!(seen, 3);
}
