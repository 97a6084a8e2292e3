//! The promises of a journal.

use std::sync::Arc;

use super::{rows, user};
use crate::error::StoreError;
use crate::journal::{Journal, Position};

type Made = Arc<dyn Journal>;
type Checked = Result<(), StoreError>;
type Test = fn(&Made) -> Checked;

/// Runs every test, each on a journal of its own that `make` makes empty.
///
/// # Errors
/// What the journal reports.
///
/// # Panics
/// On a broken promise.
pub fn journal_suite<J: Journal>(make: impl Fn() -> Arc<J>) -> Checked {
    let tests: &[(&str, Test)] = &[
        ("positions are consecutive", positions_are_consecutive),
        ("rows are replayed in order", rows_are_replayed_in_order),
        ("what is forgotten is gone", what_is_forgotten_is_gone),
        ("positions are not used again", positions_are_not_used_again),
        ("callers do not mix", callers_do_not_mix),
        ("an error ends a replay", an_error_ends_a_replay),
        (
            "a journal may be written while it is replayed",
            appends_while_replaying,
        ),
    ];
    for (name, test) in tests {
        let journal: Made = make();
        test(&journal)
            .map_err(|error| StoreError::engine(format!("the test that {name}"), error))?;
    }
    Ok(())
}

fn positions_are_consecutive(journal: &Made) -> Checked {
    assert_eq!(journal.last(), Position(0));
    assert_eq!(journal.append(vec![(user(1), vec![1])])?, Position(1));
    let three = (1..=3).map(|n| (user(n), vec![2])).collect();
    assert_eq!(journal.append(three)?, Position(4));
    assert_eq!(journal.append(Vec::new())?, Position(4));
    assert_eq!(journal.last(), Position(4));
    Ok(())
}

fn rows_are_replayed_in_order(journal: &Made) -> Checked {
    let written: Vec<_> = (1..=1_500_u64)
        .map(|n| (user(n % 3), n.to_be_bytes().to_vec()))
        .collect();
    for part in written.chunks(100) {
        journal.append(part.to_vec())?;
    }
    for from in [0_usize, 1, 749, 1_499, 1_500, 9_999] {
        let found = rows(journal.as_ref(), Position(u64::try_from(from).unwrap_or(0)))?;
        let wanted: Vec<_> = (1..)
            .map(Position)
            .zip(written.clone())
            .skip(from)
            .map(|(position, (user, bytes))| (position, user, bytes))
            .collect();
        assert_eq!(found, wanted, "from {from}");
    }
    Ok(())
}

fn what_is_forgotten_is_gone(journal: &Made) -> Checked {
    let empty = journal.size_bytes()?;
    for n in 1..=5_000_u64 {
        if n % 250 == 0 {
            journal.append((0..250).map(|_| (user(n), vec![7; 100])).collect())?;
        }
    }
    let full = journal.size_bytes()?;
    assert!(full > empty + 400_000, "{empty} {full}");
    journal.forget_through(Position(4_990))?;
    let left = rows(journal.as_ref(), Position(0))?;
    assert_eq!(left.first().map(|row| row.0), Some(Position(4_991)));
    assert_eq!(left.len(), 10);
    assert!(
        journal.size_bytes()? < full / 2,
        "{full} {}",
        journal.size_bytes()?
    );
    // Further back is no news; further on is not there yet.
    journal.forget_through(Position(10))?;
    assert_eq!(rows(journal.as_ref(), Position(0))?.len(), 10);
    journal.forget_through(journal.last())?;
    assert!(rows(journal.as_ref(), Position(0))?.is_empty());
    Ok(())
}

fn positions_are_not_used_again(journal: &Made) -> Checked {
    let last = journal.append(vec![(user(1), vec![1]), (user(1), vec![2])])?;
    journal.forget_through(last)?;
    assert_eq!(journal.last(), last);
    assert_eq!(
        journal.append(vec![(user(1), vec![3])])?,
        Position(last.0 + 1)
    );
    Ok(())
}

fn callers_do_not_mix(journal: &Made) -> Checked {
    let threads: Vec<_> = (1..=8_u64)
        .map(|n| {
            let journal = Arc::clone(journal);
            std::thread::spawn(move || -> Result<Vec<(Position, u64)>, StoreError> {
                (0..50_u64)
                    .map(|part| {
                        let two = [2 * part, 2 * part + 1];
                        let rows = two.map(|i| (user(n), i.to_be_bytes().to_vec())).to_vec();
                        Ok((journal.append(rows)?, n))
                    })
                    .collect()
            })
        })
        .collect();
    let mut promised = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(positions) => promised.extend(positions?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    let found = rows(journal.as_ref(), Position(0))?;
    assert_eq!(found.len(), 800);
    for n in 1..=8 {
        let of_one: Vec<&[u8]> = found
            .iter()
            .filter(|row| row.1 == user(n))
            .map(|row| row.2.as_slice())
            .collect();
        assert_eq!(of_one.len(), 100);
        assert!(of_one.is_sorted(), "a caller's rows are in its order");
    }
    for (position, n) in promised {
        for at in [position.0 - 1, position.0] {
            assert!(
                found
                    .iter()
                    .any(|row| row.0 == Position(at) && row.1 == user(n))
            );
        }
    }
    Ok(())
}

fn an_error_ends_a_replay(journal: &Made) -> Checked {
    journal.append((1..=5).map(|n| (user(n), vec![1])).collect())?;
    let mut seen = 0;
    let ended = journal.replay(Position(0), &mut |_, _, _| {
        seen += 1;
        if seen == 3 {
            Err(StoreError::Stopped)
        } else {
            Ok(())
        }
    });
    assert!(matches!(ended, Err(StoreError::Stopped)));
    assert_eq!(seen, 3);
    Ok(())
}

fn appends_while_replaying(journal: &Made) -> Checked {
    journal.append((1..=5).map(|n| (user(n), vec![1])).collect())?;
    let mut seen = 0;
    journal.replay(Position(0), &mut |_, _, _| {
        seen += 1;
        if seen <= 5 {
            journal.append(vec![(user(9), vec![9])])?;
        }
        Ok(())
    })?;
    assert!(seen >= 5);
    assert_eq!(journal.last(), Position(10));
    Ok(())
}
