//! The shortest input that still goes wrong in the same way, or near it.

use std::time::{Duration, Instant};

/// Tries, and time for them.
const TRIES_MAX: usize = 3_000;
const SPAN: Duration = Duration::from_secs(10);

/// Cuts pieces out, large ones first, then makes bytes plain, as long as `is_wrong` says so.
pub(crate) fn shrink(input: &[u8], mut is_wrong: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let begun = Instant::now();
    let mut tries = 0;
    let mut attempt = |candidate: &[u8]| {
        tries += 1;
        let goes_on = tries <= TRIES_MAX && begun.elapsed() < SPAN;
        goes_on.then(|| is_wrong(candidate))
    };
    let mut piece = best.len().next_power_of_two();
    while piece > 0 {
        let mut at = 0;
        while at < best.len() {
            let end = (at + piece).min(best.len());
            let mut candidate = best.clone();
            drop(candidate.drain(at..end));
            match attempt(&candidate) {
                None => return best,
                Some(true) => best = candidate,
                Some(false) => at += piece,
            }
        }
        piece /= 2;
    }
    for at in 0..best.len() {
        let mut candidate = best.clone();
        match candidate.get_mut(at) {
            Some(byte) if *byte != b'0' => *byte = b'0',
            _ => continue,
        }
        match attempt(&candidate) {
            None => return best,
            Some(true) => best = candidate,
            Some(false) => {}
        }
    }
    best
}
