//! The wall clock of a simulated core: the run's time, and how far this core's is off.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use homecore_types::{Clock, Millis};
use tokio::time::Instant;

/// What wall clocks show when a run begins.
const BEGAN: i64 = 1_700_000_000_000;

/// Clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct SimClock {
    began: Instant,
    off: Arc<AtomicI64>,
    stands_still: bool,
}

impl SimClock {
    pub(crate) fn new(began: Instant, stands_still: bool) -> Self {
        Self {
            began,
            off: Arc::default(),
            stands_still,
        }
    }

    /// The true time.
    pub(crate) fn truth(&self) -> Millis {
        let elapsed = i64::try_from(self.began.elapsed().as_millis()).unwrap();
        Millis(BEGAN + elapsed)
    }

    /// Sets the clock right but for so many milliseconds.
    pub(crate) fn set_off(&self, millis: i64) {
        self.off.store(millis, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Millis {
        if self.stands_still {
            return Millis(BEGAN);
        }
        Millis(self.truth().0 + self.off.load(Ordering::Relaxed))
    }
}
