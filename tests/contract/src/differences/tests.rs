//! What the list covers, and what it may not say.

use super::*;
use crate::exchange::read_exchanges;

fn exchanges() -> Vec<Exchange> {
    let line = |name: &str| {
        format!(
            "{{\"name\":\"{name}\",\"request\":{{\"method\":\"GET\",\"path\":\"/\",\"headers\":{{}},\"body\":null}},\
             \"response\":{{\"status\":200,\"headers\":{{}},\"body\":null}}}}"
        )
    };
    read_exchanges(&[line("root"), line("events.get")].join("\n")).unwrap()
}

fn judge(list: &str) -> anyhow::Result<Judge> {
    Judge::read(list, &exchanges())
}

fn difference(pointer: &str) -> Difference {
    Difference {
        pointer: pointer.to_owned(),
        what: "expected 1, got 2".to_owned(),
    }
}

#[test]
fn a_line_covers_what_is_at_and_below_its_pointers() {
    let list = "# on purpose\n\n1 | root | /status /body/a | because\n";
    let mut judge = judge(list).unwrap();
    let found = ["/status", "/body/a", "/body/a/0", "/body/ab"].map(difference);
    assert_eq!(judge.unexpected(1, &found), [difference("/body/ab")]);
    assert!(judge.stale().is_empty());
    assert_eq!(judge.reasons(1), ["because"]);
    // It is of the other exchange.
    assert_eq!(judge.unexpected(2, &found).len(), 4);
}

#[test]
fn an_answer_of_the_method_itself_is_not_covered_as_a_whole() {
    let mut judge = judge("2 | events.get | * | not built").unwrap();
    let (status, body) = (difference("/status"), difference("/body/a"));
    assert_eq!(judge.unexpected(2, &[status, body.clone()]), []);
    assert!(judge.stale().is_empty());
    assert_eq!(judge.unexpected(2, std::slice::from_ref(&body)), [body]);
}

#[test]
fn what_no_longer_differs_is_told() {
    let list = "# kept\n1 | root | /status /body/a | because\n2 | events.get | * | x";
    let mut judge = judge(list).unwrap();
    assert_eq!(judge.unexpected(1, &[difference("/status")]), []);
    assert_eq!(judge.unexpected(2, &[]), []);
    let stale = judge.stale();
    assert_eq!(stale.len(), 2, "{stale:?}");
    assert!(stale[0].contains("/body/a differs no more"), "{stale:?}");
    assert!(stale[1].contains("2 | events.get"), "{stale:?}");
    assert_eq!(judge.pruned(list), "# kept\n1 | root | /status | because\n");
}

#[test]
fn what_is_skipped_is_not_missed() {
    let judge = judge("2 | events.get | skipped | too long").unwrap();
    assert!(judge.skips(2) && !judge.skips(1));
    assert!(judge.stale().is_empty());
}

#[test]
fn malformed_lines_are_refused() {
    for list in [
        "1 | root | /status",
        "0 | root | /status | x",
        "3 | root | /status | x",
        "x | root | /status | x",
        "1 | events.get | /status | x",
        "1 | root | status | x",
        "1 | root | | x",
        "1 | root | /status |",
    ] {
        assert!(judge(list).is_err(), "{list}");
    }
}
