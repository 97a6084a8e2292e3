//! Chance from a seed. Each part of a run has a stream of its own, so that one more draw in one part does
//! not change what all others draw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use homecore_types::Entropy;

/// A stream of chance. Clones draw from the same one.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    state: Arc<Mutex<u64>>,
}

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(seed)),
        }
    }

    /// A stream of its own for a part.
    pub(crate) fn fork(&self) -> Self {
        Self::new(self.next())
    }

    /// `SplitMix64`.
    pub(crate) fn next(&self) -> u64 {
        let mut state = self.state.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and not, `end`.
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// Both ends included.
    pub(crate) fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub(crate) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    pub(crate) fn one_in(&self, of: u64) -> bool {
        self.below(of) == 0
    }

    pub(crate) fn pick<'a, T>(&self, among: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(among.len()).unwrap());
        among.get(usize::try_from(at).unwrap())
    }
}

impl Entropy for Chance {
    fn fill(&self, out: &mut [u8]) {
        for byte in out {
            *byte = self.next().to_be_bytes()[0];
        }
    }
}
