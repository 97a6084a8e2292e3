//! Time. Inside and on disk homecore counts whole milliseconds since the Unix epoch; the Pryv wire
//! counts seconds as a float and converts at its own edge.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch (UTC). Negative before 1970.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub i64);

impl Millis {
    /// The wire's form: seconds since the epoch, with a fractional part.
    ///
    /// ```
    /// # use homecore_types::Millis;
    /// assert_eq!(Millis(1_711_111_111_123).as_seconds(), 1_711_111_111.123);
    /// ```
    #[must_use]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// The nearest millisecond to a time in seconds; saturates at the ends, NaN becomes 0.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "float to integer casts saturate in Rust"
    )]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1000.0).round() as i64)
    }

    /// The time that lies `span` later, saturating.
    #[must_use]
    pub fn saturating_add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Millis {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        self.saturating_add(span)
    }
}

impl Sub<Duration> for Millis {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
        )
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where the time comes from. Simulations bring their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall-clock time now.
    fn now(&self) -> Millis;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now(&self) -> Millis {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            Err(before) => {
                Millis(i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_back_keep_the_millisecond() {
        for ms in [
            0,
            1,
            -1,
            999,
            1_795_369_707_866,
            4_102_444_800_001,
            -62_135_596_800_000,
        ] {
            assert_eq!(Millis::from_seconds(Millis(ms).as_seconds()), Millis(ms));
        }
    }

    #[test]
    fn since_never_goes_below_zero() {
        assert_eq!(Millis(5).since(Millis(9)), Duration::ZERO);
        assert_eq!(Millis(9).since(Millis(5)), Duration::from_millis(4));
    }

    #[test]
    fn extremes_saturate() {
        assert_eq!(Millis::from_seconds(f64::MAX), Millis(i64::MAX));
        assert_eq!(Millis::from_seconds(f64::NAN), Millis(0));
        assert_eq!(Millis(i64::MAX) + Duration::from_secs(1), Millis(i64::MAX));
    }
}
