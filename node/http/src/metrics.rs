//! Counters of the HTTP side. Few, with labels that cannot grow.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;

/// Upper bounds of the buckets of response times, in milliseconds.
const BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// See the module.
#[derive(Debug, Default)]
pub struct HttpMetrics {
    by_class: [AtomicU64; 5],
    buckets: [AtomicU64; BUCKETS_MS.len()],
    total_ms: AtomicU64,
    answered: AtomicU64,
    /// Requests refused because every slot was taken.
    pub overloaded: AtomicU64,
    /// Requests that took too long.
    pub timed_out: AtomicU64,
    /// Requests whose handler panicked.
    pub panicked: AtomicU64,
    /// Connections accepted so far.
    pub connections: AtomicU64,
    /// Connections open now.
    pub connections_open: AtomicU64,
}

impl HttpMetrics {
    /// Counts an answered request.
    pub fn answered(&self, status: StatusCode, elapsed: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.by_class.get(class) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.total_ms.fetch_add(ms, Ordering::Relaxed);
        if let Some((_, counter)) = BUCKETS_MS
            .iter()
            .zip(&self.buckets)
            .find(|(bound, _)| ms <= **bound)
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Appends the text format of Prometheus.
    pub fn render(&self, out: &mut String) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut lines = String::from("# TYPE homecore_http_responses_total counter\n");
        for (class, counter) in ["1xx", "2xx", "3xx", "4xx", "5xx"]
            .iter()
            .zip(&self.by_class)
        {
            line(
                &mut lines,
                &format!("responses_total{{class=\"{class}\"}}"),
                read(counter),
            );
        }
        lines.push_str("# TYPE homecore_http_response_seconds histogram\n");
        let mut below = 0;
        for (bound, counter) in BUCKETS_MS.iter().zip(&self.buckets) {
            below += read(counter);
            let seconds = Duration::from_millis(*bound).as_secs_f64();
            line(
                &mut lines,
                &format!("response_seconds_bucket{{le=\"{seconds}\"}}"),
                below,
            );
        }
        let answered = read(&self.answered);
        line(&mut lines, "response_seconds_bucket{le=\"+Inf\"}", answered);
        let seconds = Duration::from_millis(read(&self.total_ms)).as_secs_f64();
        line(&mut lines, "response_seconds_sum", seconds);
        line(&mut lines, "response_seconds_count", answered);
        for (name, kind, counter) in [
            ("overloaded_total", "counter", &self.overloaded),
            ("timed_out_total", "counter", &self.timed_out),
            ("panicked_total", "counter", &self.panicked),
            ("connections_total", "counter", &self.connections),
            ("connections_open", "gauge", &self.connections_open),
        ] {
            lines.push_str(&format!("# TYPE homecore_http_{name} {kind}\n"));
            line(&mut lines, name, read(counter));
        }
        out.push_str(&lines);
    }
}

fn line(out: &mut String, name: &str, value: impl std::fmt::Display) {
    if writeln!(out, "homecore_http_{name} {value}").is_err() {
        out.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = HttpMetrics::default();
        for (status, ms) in [(200, 0), (200, 7), (421, 30), (503, 60_000)] {
            metrics.answered(
                StatusCode::from_u16(status).unwrap(),
                Duration::from_millis(ms),
            );
        }
        let mut text = String::new();
        metrics.render(&mut text);
        for expected in [
            "homecore_http_responses_total{class=\"2xx\"} 2\n",
            "homecore_http_responses_total{class=\"4xx\"} 1\n",
            "homecore_http_responses_total{class=\"5xx\"} 1\n",
            "homecore_http_response_seconds_bucket{le=\"0.001\"} 1\n",
            "homecore_http_response_seconds_bucket{le=\"0.01\"} 2\n",
            "homecore_http_response_seconds_bucket{le=\"5\"} 3\n",
            "homecore_http_response_seconds_bucket{le=\"+Inf\"} 4\n",
            "homecore_http_response_seconds_sum 60.037\n",
            "homecore_http_connections_open 0\n",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
