//! How many previews were asked for and what became of that, for operators.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counted since the core began.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    failures: AtomicU64,
    waited_ms: AtomicU64,
}

/// The same at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreviewFigures {
    /// Answers that were there: a preview, or that there can be none.
    pub hits: u64,
    /// Previews that had to be made first.
    pub misses: u64,
    /// Those of them that were not: no picture, too many at once, or the disk.
    pub failures: u64,
    /// How long whoever asked waited for them, all together.
    pub waited: Duration,
}

impl Counters {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn missed(&self, waited: Duration, made: bool) {
        self.misses.fetch_add(1, Ordering::Relaxed);
        let failed = u64::from(!made);
        self.failures.fetch_add(failed, Ordering::Relaxed);
        let ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> PreviewFigures {
        PreviewFigures {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            waited: Duration::from_millis(self.waited_ms.load(Ordering::Relaxed)),
        }
    }
}
