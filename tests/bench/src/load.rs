//! The load: every lane is a client with one kept connection, which asks again as soon as it was
//! answered. What is answered between two moments is counted, so that neither the beginning nor
//! the end, when not all lanes are at work, is part of a figure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::machine;
use crate::wire::Connection;

/// How long a lane may still wait for its last answer.
const LAST_ANSWER: Duration = Duration::from_secs(15);
/// Most requests of one load.
const REQUESTS_MAX: u64 = 20_000_000;
/// Longest time that is told apart from longer ones, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Writes the next request into an empty buffer.
pub(crate) type Make = Box<dyn FnMut(&mut Vec<u8>) + Send>;

/// One client.
pub(crate) struct Lane {
    /// Whom it asks.
    pub(crate) address: SocketAddr,
    /// The one status that is right.
    pub(crate) expected: u16,
    /// What it asks.
    pub(crate) make: Make,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane")
            .field("address", &self.address)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl Lane {
    /// A client that asks the same again and again.
    pub(crate) fn same(address: SocketAddr, request: Vec<u8>, expected: u16) -> Self {
        Self {
            address,
            expected,
            make: Box::new(move |buffer| buffer.extend_from_slice(&request)),
        }
    }
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Right answers within the time.
    pub(crate) answers: u64,
    /// Other answers, and none.
    pub(crate) failures: u64,
    /// The first of those.
    pub(crate) problem: Option<String>,
    /// The time.
    pub(crate) time: Duration,
    /// How long the right answers took, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Processor time of the process groups that were watched.
    pub(crate) processor: Option<Duration>,
}

impl Measured {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never: the bounds are good.
    pub(crate) fn empty() -> anyhow::Result<Self> {
        Ok(Self {
            answers: 0,
            failures: 0,
            problem: None,
            time: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, 2)?,
            processor: None,
        })
    }

    /// Counts a right answer.
    pub(crate) fn answered(&mut self, after: Duration) {
        self.answers += 1;
        self.latency
            .saturating_record(u64::try_from(after.as_micros()).unwrap_or(LATENCY_MAX_US));
    }

    /// Counts another answer, or none.
    pub(crate) fn failed(&mut self, why: impl FnOnce() -> String) {
        self.failures += 1;
        self.problem.get_or_insert_with(why);
    }

    /// Takes in what another saw of the same load.
    ///
    /// # Errors
    /// Never: all histograms have the same bounds.
    pub(crate) fn add(&mut self, other: Self) -> anyhow::Result<()> {
        self.answers += other.answers;
        self.failures += other.failures;
        self.problem = self.problem.take().or(other.problem);
        Ok(self.latency.add(other.latency)?)
    }

    /// Right answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of far fewer than 2^52")]
        let answers = self.answers as f64;
        answers / self.time.as_secs_f64().max(f64::EPSILON)
    }

    /// How long the given part of the right answers took at most.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(quantile))
    }

    /// Processor time of the watched processes for one right answer.
    pub(crate) fn processor_per_answer(&self) -> Option<Duration> {
        let answers = u32::try_from(self.answers).ok().filter(|&n| n > 0)?;
        Some(self.processor? / answers)
    }

    /// A sentence about what went wrong, if something did.
    pub(crate) fn complaint(&self, of: &str) -> Option<String> {
        let problem = self.problem.as_ref()?;
        let shown: String = problem.chars().take(300).collect();
        Some(format!("{of}: {} failed, first: {shown}", self.failures))
    }
}

/// When is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// From then on.
    pub(crate) from: Instant,
    /// Until then.
    pub(crate) until: Instant,
}

impl Window {
    /// A window that opens after a warm-up of a fifth of its time.
    pub(crate) fn ahead(time: Duration) -> Self {
        let from = Instant::now() + time / 5;
        Self {
            from,
            until: from + time,
        }
    }

    /// Whether this moment is in it.
    pub(crate) fn holds(self, moment: Instant) -> bool {
        self.from <= moment && moment <= self.until
    }

    /// Processor time that process groups use in it.
    pub(crate) async fn processor(self, groups: Vec<u32>) -> Option<Duration> {
        sleep_until(self.from).await;
        let before = machine::processor_time(&groups)?;
        sleep_until(self.until).await;
        machine::processor_time(&groups)?.checked_sub(before)
    }

    /// How long it is.
    pub(crate) fn time(self) -> Duration {
        self.until - self.from
    }
}

/// Puts all lanes to work, and watches the given process groups meanwhile.
///
/// # Errors
/// When a lane cannot connect.
pub(crate) async fn run(
    lanes: Vec<Lane>,
    time: Duration,
    groups: &[u32],
) -> anyhow::Result<Measured> {
    let mut connected = Vec::new();
    for lane in lanes {
        let connection = Connection::open(lane.address).await?;
        connected.push((lane, connection));
    }
    let window = Window::ahead(time);
    let begun = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for (lane, connection) in connected {
        tasks.spawn(work(lane, connection, window, Arc::clone(&begun)));
    }
    let watched = tokio::spawn(window.processor(groups.to_vec()));
    let mut all = Measured::empty()?;
    while let Some(ended) = tasks.join_next().await {
        all.add(ended.context("a lane ended")??)?;
    }
    all.time = window.time();
    all.processor = watched.await.context("the watch over a process ended")?;
    if begun.load(Ordering::Relaxed) > REQUESTS_MAX {
        all.failed(|| format!("stopped after {REQUESTS_MAX} requests"));
    }
    Ok(all)
}

async fn work(
    mut lane: Lane,
    mut connection: Connection,
    window: Window,
    begun: Arc<AtomicU64>,
) -> anyhow::Result<Measured> {
    let mut measured = Measured::empty()?;
    let ended = timeout_at(window.until + LAST_ANSWER, async {
        let mut request = Vec::new();
        let mut now = Instant::now();
        while now < window.until && begun.fetch_add(1, Ordering::Relaxed) < REQUESTS_MAX {
            request.clear();
            (lane.make)(&mut request);
            let asked = now;
            let answer = connection.ask(&request).await?;
            now = Instant::now();
            if answer.status != lane.expected {
                measured.failed(|| format!("{} {}", answer.status, answer.text()));
            } else if window.holds(now) {
                measured.answered(now - asked);
            }
        }
        anyhow::Ok(())
    })
    .await;
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => measured.failed(|| format!("{error:#}")),
        Err(_elapsed) => measured.failed(|| format!("no answer within {LAST_ANSWER:?}")),
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::routing::get;

    async fn server() -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new()
            .route("/right", get(|| async { "yes" }))
            .route("/wrong", get(|| async { (StatusCode::NOT_FOUND, "no") }));
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    #[tokio::test]
    async fn only_right_answers_count() {
        let address = server().await;
        let lane = |path: &str| {
            let request = crate::wire::request("GET", path, address, None, None);
            Lane::same(address, request, 200)
        };
        let time = Duration::from_millis(100);
        let right = run(vec![lane("/right"), lane("/right")], time, &[]).await;
        let right = right.unwrap();
        assert!(right.answers > 0 && right.failures == 0);
        assert_eq!(right.answers, right.latency.len());
        assert!(right.complaint("x").is_none());
        let wrong = run(vec![lane("/wrong")], time, &[]).await.unwrap();
        assert!(wrong.answers == 0 && wrong.failures > 0);
        assert!(wrong.complaint("x").unwrap().contains("404 no"));
    }
}
