//! Many seeds, one seed twice, and known bugs put back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::bugs::Bug;
use crate::process;
use crate::tally::Tally;

/// Seeds that CI runs.
const SEEDS: u64 = 20;
/// Seeds that found something once, and are the same run still.
const FOUND: [u64; 1] = [2_000_059];
/// In so many seeds each kind of fault takes effect; in the twenty of CI, too.
const SEEDS_FOR_ALL: u64 = 200;

fn number(name: &str, default: u64) -> u64 {
    process::variable(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// What came of many seeds.
#[derive(Debug, Default)]
struct Sum {
    failed: Vec<u64>,
    tally: Tally,
    lasted: Duration,
}

/// Runs seeds, as many at a time as there are processors.
fn run(seeds: &[u64]) -> Sum {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(Sum::default());
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = process::spawn(*seed, None);
                    let mut sum = sum.lock().unwrap();
                    sum.tally.add(&ended.tally());
                    sum.lasted += ended.lasted();
                    if let Some(wrong) = ended.wrong {
                        println!("seed {seed}: {wrong}\n  {}", process::replay(*seed, None));
                        sum.failed.push(*seed);
                    }
                }
            });
        }
    });
    let mut sum = sum.into_inner().unwrap();
    sum.failed.sort_unstable();
    println!(
        "{} seeds, {:.1} simulated hours, failed: {:?}\n{}",
        seeds.len(),
        sum.lasted.as_secs_f64() / 3600.0,
        sum.failed,
        sum.tally
    );
    sum
}

/// And each kind of fault took effect in some of them.
#[test]
fn nothing_is_wrong_with_any_seed() {
    let from = number("HOMECORE_FROM", 1);
    let count = number("HOMECORE_SEEDS", SEEDS);
    let sum = run(&(from..from + count).collect::<Vec<_>>());
    assert_eq!(sum.failed, Vec::<u64>::new());
    let missing = sum.tally.missing();
    let enough = if from == 1 { SEEDS } else { SEEDS_FOR_ALL };
    assert!(
        missing.is_empty() || count < enough,
        "these never took effect: {missing:?}"
    );
}

#[test]
fn what_a_seed_found_once_is_not_found_again() {
    assert_eq!(run(&FOUND).failed, Vec::<u64>::new());
}

/// Seeds tried for a defect that was put back, at most: the one that found it last, and more in case that
/// one has become another run.
const TRIED_MAX: u64 = 40;

/// A defect, the seed that found it last, and what is found to be wrong then.
const KNOWN: [(Bug, u64, &str); 9] = [
    (Bug::VoteNotSynced, 7, ""),
    (Bug::AppendNotSynced, 2, ""),
    (Bug::SnapshotNotSynced, 2, "does not start"),
    (Bug::SnapshotForgetsVoters, 2, "odd voters"),
    (Bug::StaleCheck, 4, "acknowledged"),
    (Bug::StaleSettle, 14, "one home"),
    (Bug::UnknownIsNo, 5, "one home"),
    (Bug::StoppedClock, 7, "not clear"),
    (Bug::StrangerLeads, 19, "not whole"),
];

/// Runs seeds until one finds the defect.
fn find(bug: Bug) {
    let (_, first, property) = KNOWN
        .into_iter()
        .find(|(known, _, _)| *known == bug)
        .unwrap();
    for seed in first..first + TRIED_MAX {
        let ended = process::spawn(seed, Some(bug));
        if let Some(wrong) = &ended.wrong {
            println!("{bug:?}: seed {seed}, {}: {wrong}", ended.steps());
            assert!(
                wrong.contains(property),
                "{bug:?} was found as {wrong:?}, not as {property:?}: {}",
                process::replay(seed, Some(bug))
            );
            return;
        }
    }
    panic!(
        "{bug:?} is not found by seeds {first} to {}",
        first + TRIED_MAX - 1
    );
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    find(Bug::VoteNotSynced);
}

#[test]
fn entries_that_are_not_synced_are_found() {
    find(Bug::AppendNotSynced);
}

#[test]
fn a_snapshot_that_is_not_synced_is_found() {
    find(Bug::SnapshotNotSynced);
}

#[test]
fn a_snapshot_that_forgets_who_votes_is_found() {
    find(Bug::SnapshotForgetsVoters);
}

#[test]
fn a_stale_look_at_a_name_is_found() {
    find(Bug::StaleCheck);
}

#[test]
fn an_account_settled_by_a_stale_look_is_found() {
    find(Bug::StaleSettle);
}

#[test]
fn an_unknown_outcome_that_is_taken_for_a_refusal_is_found() {
    find(Bug::UnknownIsNo);
}

#[test]
fn a_clock_that_stands_still_is_found() {
    find(Bug::StoppedClock);
}

#[test]
fn a_core_that_refuses_a_new_leader_is_found() {
    find(Bug::StrangerLeads);
}

/// Everything that happens, to the last segment on the network.
#[test]
fn a_seed_runs_the_same_each_time() {
    let seed = number("HOMECORE_FROM", 3);
    let (first, second) = (process::spawn(seed, None), process::spawn(seed, None));
    let differs = first
        .output
        .lines()
        .zip(second.output.lines())
        .find(|(a, b)| a != b && !a.contains("finished in"));
    assert_eq!(differs, None);
    assert_eq!(first.wrong, None);
}
