//! Waiting for a condition, never for a time.

use std::fmt;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep, timeout_at};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Waits until `condition` gives a value. `None` and errors mean "not yet"; the last error is told
/// when the time is up. An error made by [`fatal`] ends the wait at once.
///
/// # Errors
/// When the condition did not come true in time, naming `what`.
pub async fn wait_until<T>(
    within: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    let mut pause = FIRST_PAUSE;
    let mut last = None;
    loop {
        match timeout_at(deadline, condition()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => {}
            Ok(Err(error)) if error.is::<Fatal>() => return Err(error.context(what.to_owned())),
            Ok(Err(error)) => last = Some(error),
            Err(_elapsed) => {}
        }
        if Instant::now() + pause >= deadline {
            match last {
                Some(error) => bail!("not within {within:?}: {what}; the last try: {error:#}"),
                None => bail!("not within {within:?}: {what}"),
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// An error that no further waiting mends.
#[must_use]
pub fn fatal(message: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Fatal(message.into()))
}

#[derive(Debug)]
struct Fatal(String);

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fatal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn gives_the_value_once_it_is_there() {
        let mut tries = 0;
        let value = wait_until(Duration::from_secs(5), "the third try", async || {
            tries += 1;
            match tries {
                1 => Ok(None),
                2 => anyhow::bail!("not yet"),
                _ => Ok(Some(tries)),
            }
        });
        assert_eq!(value.await.unwrap(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn tells_what_did_not_come_and_why() {
        let started = Instant::now();
        let never = wait_until::<()>(Duration::from_secs(2), "a leader", async || {
            anyhow::bail!("no quorum")
        });
        let error = never.await.unwrap_err().to_string();
        assert!(
            error.contains("a leader") && error.contains("no quorum"),
            "{error}"
        );
        assert!(started.elapsed() <= Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_hangs_is_cut_off() {
        let hanging = wait_until::<()>(Duration::from_secs(1), "x", async || {
            std::future::pending().await
        });
        assert!(hanging.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn some_errors_end_the_wait() {
        let mut tries = 0;
        let ended = wait_until::<()>(Duration::from_secs(9), "ready", async || {
            tries += 1;
            Err(fatal("it exited"))
        });
        let error = format!("{:#}", ended.await.unwrap_err());
        assert_eq!((tries, error.as_str()), (1, "ready: it exited"));
    }
}
