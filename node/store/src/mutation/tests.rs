//! Every format of commits stays readable.

use serde::Serialize;

use super::*;

/// A mutation as format 1 had it: the same array without its last element.
#[derive(Serialize)]
struct Former(Kind, String, Rev, Seq, bool, bytes::Bytes, Vec<Entry>, bool);

fn commit(drop_history: bool) -> Commit {
    Commit {
        user: crate::suite::user(1),
        at: Millis(5),
        mutations: vec![Mutation {
            keep_previous: true,
            drop_history,
            ..crate::suite::event(1, 1)
        }],
    }
}

#[test]
fn commits_are_read_back() {
    for drop_history in [false, true] {
        let commit = commit(drop_history);
        let bytes = commit.encode().unwrap();
        assert_eq!(bytes.first(), Some(&2));
        assert_eq!(Commit::decode(&bytes).unwrap(), commit);
    }
}

#[test]
fn the_former_format_is_read() {
    let wanted = commit(false);
    let formers: Vec<Former> = wanted
        .mutations
        .iter()
        .cloned()
        .map(|m| {
            let Mutation {
                kind,
                id,
                rev,
                seq,
                deleted,
                body,
                entries,
                keep_previous,
                ..
            } = m;
            Former(kind, id, rev, seq, deleted, body, entries, keep_previous)
        })
        .collect();
    let mut bytes = vec![1];
    rmp_serde::encode::write(&mut bytes, &(&wanted.user, wanted.at, formers)).unwrap();
    assert_eq!(Commit::decode(&bytes).unwrap(), wanted);
}

#[test]
fn later_formats_are_refused() {
    let mut bytes = commit(false).encode().unwrap();
    bytes[0] = 3;
    assert!(matches!(
        Commit::decode(&bytes),
        Err(StoreError::UnknownFormat {
            found: 3,
            known: 2,
            ..
        })
    ));
    assert!(matches!(
        Commit::decode(&[]),
        Err(StoreError::Corrupted { .. })
    ));
}
