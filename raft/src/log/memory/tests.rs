//! What a power cut leaves of a simulated log.

use super::*;
use crate::log::medium::VOTE;

fn rows(medium: &dyn Medium) -> Vec<u64> {
    let mut found = Vec::new();
    let reader = medium.reader().unwrap();
    let mut each = |index: u64, _row: &[u8]| {
        found.push(index);
        Ok(true)
    };
    reader.read(0..u64::MAX, &mut each).unwrap();
    found
}

fn append(medium: &mut dyn Medium, sync: Sync, first: u64) {
    let rows = [vec![1], vec![2]];
    let change = Change::Append { first, rows: &rows };
    medium.commit(sync, &[change]).unwrap();
}

#[test]
fn a_cut_leaves_what_was_synced_and_a_beginning_of_the_rest() {
    for kept in 0..3_usize {
        let disk = MemoryDisk::default();
        let (mut medium, fresh) = disk.open("a").unwrap();
        assert!(fresh);
        append(&mut *medium, Sync::Full, 0);
        append(&mut *medium, Sync::Lazy, 2);
        append(&mut *medium, Sync::Lazy, 4);
        assert_eq!(disk.unsynced(), 2);
        assert_eq!(rows(&*medium), [0, 1, 2, 3, 4, 5]);
        disk.cut(kept);
        // Who had it open has it no more.
        medium.commit(Sync::Full, &[]).unwrap_err();
        let (medium, fresh) = disk.open("a").unwrap();
        assert!(!fresh);
        let end = 2 + 2 * u64::try_from(kept).unwrap();
        assert_eq!(rows(&*medium), (0..end).collect::<Vec<_>>());
    }
}

#[test]
fn a_sync_takes_everything_before_it_along() {
    let disk = MemoryDisk::default();
    let (mut medium, _) = disk.open("a").unwrap();
    append(&mut *medium, Sync::Lazy, 0);
    let vote = Change::Note {
        name: VOTE,
        value: b"v",
    };
    medium
        .commit(Sync::Full, &[Change::DeleteAfter(Some(0)), vote])
        .unwrap();
    disk.cut(0);
    let (medium, _) = disk.open("a").unwrap();
    assert_eq!(rows(&*medium), [0]);
    assert_eq!(medium.note(VOTE).unwrap().as_deref(), Some(&b"v"[..]));
}

#[test]
fn a_full_disk_takes_nothing_and_a_row_is_never_written_over() {
    let disk = MemoryDisk::default();
    let (mut medium, _) = disk.open("a").unwrap();
    append(&mut *medium, Sync::Full, 0);
    let rows = [vec![3]];
    let over = Change::Append {
        first: 1,
        rows: &rows,
    };
    medium.commit(Sync::Full, &[over]).unwrap_err();
    disk.set_full(true);
    let next = Change::Append {
        first: 2,
        rows: &rows,
    };
    medium.commit(Sync::Full, &[next]).unwrap_err();
    medium
        .commit(Sync::Lazy, &[Change::DeleteUpTo(0)])
        .unwrap_err();
    assert!(disk.open("b").is_err());
}
