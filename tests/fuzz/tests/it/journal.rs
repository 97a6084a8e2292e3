//! The journal of users' writes: rows as they are decoded at every start, and the file under them.

use std::path::Path;

use homecore_engine_sqlite::SqliteJournal;
use homecore_fuzz_tests::Campaign;
use homecore_store::{
    Commit, Entry, Index, Journal as _, Kind, Mutation, Position, Rev, Seq, StoreError,
};
use homecore_types::{Millis, UserId};

use crate::{Allocated, MEGABYTE};

fn commit(number: u8) -> Commit {
    let mutation = |seq: u64, body: Vec<u8>| Mutation {
        kind: Kind::Event,
        id: format!("event{number}"),
        rev: Rev(1),
        seq: Seq(seq),
        deleted: false,
        body: body.into(),
        entries: vec![Entry {
            index: Index(1),
            key: vec![number; 20],
        }],
        keep_previous: true,
        drop_history: false,
    };
    Commit {
        user: UserId::parse(format!("u2345678901234567890123{number}")).unwrap(),
        at: Millis(1_795_369_711_439),
        mutations: vec![mutation(1, b"{}".to_vec()), mutation(2, vec![b'x'; 400])],
    }
}

#[test]
fn rows_of_the_journal() {
    let seeds: Vec<Vec<u8>> = (1..4).map(|n| commit(n).encode().unwrap()).collect();
    let campaign = Campaign::new("journal-rows", seeds)
        .words(&[
            "\u{c0}",
            "\u{c4}\u{ff}",
            "\u{dd}\u{ff}\u{ff}\u{ff}\u{ff}",
            "\u{93}",
            "\u{dc}\u{ff}\u{ff}",
        ])
        .memory_max(&Allocated, 4 * MEGABYTE);
    let report = campaign.run(|bytes| {
        let read = match Commit::decode(bytes) {
            Ok(read) => read,
            Err(StoreError::Corrupted { .. }) => return Ok("damaged".into()),
            Err(StoreError::UnknownFormat { .. }) => return Ok("of another release".into()),
            Err(other) => return Err(format!("refused by {other:?}")),
        };
        // What was read can be written, and is then the same.
        let again = read.encode().map_err(|error| error.to_string())?;
        match Commit::decode(&again) {
            Ok(same) if same == read => Ok(format!("{} mutations", read.mutations.len()).into()),
            other => Err(format!("written again it is {other:?}")),
        }
    });
    assert!(
        report.ended("damaged") > 0 && report.ended("2 mutations") > 0,
        "{report}"
    );
}

fn file_of(dir: &Path) -> Vec<u8> {
    let path = dir.join("made.sqlite");
    let journal = SqliteJournal::open(&path).unwrap();
    for number in 1..6 {
        let commit = commit(number);
        let bytes = commit.encode().unwrap();
        journal.append(vec![(commit.user, bytes)]).unwrap();
    }
    drop(journal);
    std::fs::read(&path).unwrap()
}

/// A journal whose bytes were changed is refused, or it gives what was put into it and nothing else.
#[test]
fn files_of_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let whole = file_of(dir.path());
    let known: Vec<Vec<u8>> = (1..6).map(|n| commit(n).encode().unwrap()).collect();
    let path = dir.path().join("changed.sqlite");
    let campaign = Campaign::new("journal-files", vec![whole])
        .words(&[
            "SQLite format 3\0",
            "CREATE TABLE",
            "row",
            "\0\0\0\0",
            "\x0d",
            "\x05",
        ])
        .memory_max(&Allocated, 64 * MEGABYTE);
    let report = campaign.run(|bytes| {
        for end in ["", "-wal", "-shm"] {
            let beside = dir.path().join(format!("changed.sqlite{end}"));
            drop(std::fs::remove_file(beside));
        }
        std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
        let journal = match SqliteJournal::open(&path) {
            Ok(journal) => journal,
            Err(_refused) => return Ok("not opened".into()),
        };
        let mut rows = 0;
        let mut foreign = false;
        let replayed = journal.replay(Position(0), &mut |_, _, changes| {
            rows += 1;
            foreign |= !known.iter().any(|known| known == changes);
            Ok(())
        });
        if foreign {
            return Err("a row is not what was written".to_owned());
        }
        Ok(format!("{rows} rows, whole: {}", replayed.is_ok()).into())
    });
    assert!(
        report.ended("not opened") > 0 && report.ended("5 rows, whole: true") > 0,
        "{report}"
    );
}
