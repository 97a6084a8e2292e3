//! Many seeds, one seed twice, and known bugs put back.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::process;

/// Seeds that CI runs.
const SEEDS: u64 = 12;

fn number(name: &str, default: u64) -> u64 {
    process::variable(name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn nothing_is_wrong_with_any_seed() {
    let from = number("HOMECORE_FROM", 1);
    let end = from + number("HOMECORE_SEEDS", SEEDS);
    let next = AtomicU64::new(from);
    let failed = Mutex::new(Vec::new());
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    if let Some(wrong) = process::spawn(seed, None).wrong {
                        println!("seed {seed}: {wrong}\n  {}", process::replay(seed, None));
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    println!("seeds {from}..{end}, failed: {failed:?}");
    assert!(failed.is_empty(), "failed: {failed:?}");
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
