//! How long a run goes on and where it begins, from the environment.

use std::time::Duration;

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where chance begins (`HOMECORE_FUZZ_SEED`). The suite of every day uses one and the same: what it
    /// finds must be news of a change, not of a lucky day.
    pub seed: u64,
    /// How long one target goes on (`HOMECORE_FUZZ_SECONDS`).
    pub span: Duration,
    /// Cases after which it ends before that; none where the time was asked for.
    pub cases_max: Option<u64>,
    /// One input to run and nothing else (`HOMECORE_FUZZ_INPUT`, the path of a file).
    pub input: Option<Vec<u8>>,
}

/// The suite of every day: it ends at whichever comes first.
const SECONDS: u64 = 3;
const CASES: u64 = 4_000;
const SEED: u64 = 1;

impl Settings {
    /// What the environment says.
    ///
    /// # Panics
    /// When it cannot be read: a run with other settings than were asked for proves nothing.
    #[must_use]
    #[expect(clippy::panic, reason = "so does a test fail")]
    pub fn from_environment() -> Self {
        let number = |name: &str| {
            setting(name).map(|text| {
                text.parse::<u64>()
                    .unwrap_or_else(|error| panic!("{name}={text}: {error}"))
            })
        };
        let seconds = number("HOMECORE_FUZZ_SECONDS");
        // Whoever asks for hours wants other hours than last time.
        let fresh = || u64::from(std::process::id()).wrapping_mul(0x9E37_79B9);
        let seed = number("HOMECORE_FUZZ_SEED");
        let input = setting("HOMECORE_FUZZ_INPUT").map(|path| {
            std::fs::read(&path)
                .unwrap_or_else(|error| panic!("HOMECORE_FUZZ_INPUT={path}: {error}"))
        });
        Self {
            seed: seed.unwrap_or_else(|| seconds.map_or(SEED, |_| fresh())),
            span: Duration::from_secs(seconds.unwrap_or(SECONDS)),
            cases_max: seconds.is_none().then_some(CASES),
            input,
        }
    }

    /// A short run, for tests of the driver itself.
    #[must_use]
    pub fn of(seed: u64, cases: u64) -> Self {
        Self {
            seed,
            span: Duration::from_secs(60),
            cases_max: Some(cases),
            input: None,
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the switches of these tests alone"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
