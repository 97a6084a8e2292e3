//! What a body may cost: its size, the memory of what is read from it, and the time it may take.

use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, poll, stream};
use homecore_http::body::ANONYMOUS_BODY_BYTES_MAX;
use homecore_http::{Limits, Readiness};
use homecore_types::json::ITEM_BYTES;
use homecore_types::limits::JSON_VALUE_BYTES_MAX;
use http::Request;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::{Answer, Client, Echo};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A JSON text of this many bytes.
fn text(bytes: usize) -> String {
    format!("[\"{}\"]", "x".repeat(bytes - 4))
}

/// `[0,0,…]` of this many items.
fn zeros(items: usize) -> String {
    format!("[{}0]", "0,".repeat(items - 1))
}

fn unreadable(answer: &Answer) -> bool {
    answer.error() == (400, "invalid-request-structure".to_owned())
}

fn holding(limits: Limits) -> (Arc<Semaphore>, Client) {
    let gate = Arc::new(Semaphore::new(0));
    let echo = Echo {
        gate: Arc::clone(&gate),
    };
    let ready = Readiness {
        ready: true,
        reasons: vec![],
    };
    (gate, Client::with(None, limits, echo, ready))
}

/// A body that begins and then says nothing more.
fn stalled(beginning: &'static str) -> Body {
    let begun = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(
        beginning.as_bytes(),
    ))]);
    Body::from_stream(begun.chain(stream::pending()))
}

#[tokio::test]
async fn only_a_known_caller_sends_large_bodies() {
    let client = Client::new(None, Limits::default());
    let (most, more) = (ANONYMOUS_BODY_BYTES_MAX, ANONYMOUS_BODY_BYTES_MAX + 1);
    for path in ["/reg/echo", "/reg/x/echo", "/alice/events", "/alice"] {
        let fits = client.post(path, JSON, text(most)).await;
        assert_eq!(fits.status, 200, "{path}");
        let refused = client.post(path, JSON, text(more)).await;
        assert!(unreadable(&refused), "{path} {refused:?}");
        let message = refused.json()["error"]["message"].clone();
        assert_eq!(message, "The body is larger than 262144 bytes");
        let in_pieces = stream::iter([
            Ok::<_, std::io::Error>("[".repeat(most)),
            Ok("[".repeat(most)),
        ]);
        let refused = client.post(path, JSON, Body::from_stream(in_pieces)).await;
        assert_eq!(refused.json()["error"]["message"], message, "{path}");
        let form = format!("a={}", "x".repeat(most));
        let refused = client.post(path, FORM, form).await;
        assert!(
            unreadable(&refused),
            "a form is read before its token: {path}"
        );
    }
    let request = Request::post("/alice/events")
        .header("content-type", JSON)
        .header("x-known", "1");
    assert_eq!(client.ask(request, text(more)).await.status, 200);
}

#[tokio::test]
async fn what_is_read_from_a_body_counts_until_it_is_answered() {
    let limits = Limits {
        buffered_bytes_max: 256 * 1024,
        ..Limits::default()
    };
    let (gate, client) = holding(limits);
    let hold = |body: String| client.post("/reg/hold", JSON, body);

    // Texts cost what they are long, lists far more.
    let (mut one, mut two) = (pin!(hold(text(20_000))), pin!(hold(text(20_000))));
    assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
    gate.add_permits(2);
    assert_eq!((one.await.status, two.await.status), (200, 200));

    let mut one = pin!(hold(zeros(10_000)));
    assert!(poll!(&mut one).is_pending(), "one body always fits");
    let refused = hold(zeros(10_000)).await;
    assert_eq!(refused.error(), (503, "api-unavailable".to_owned()));
    assert!(refused.text.contains("large bodies"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    let small = client.post("/reg/echo", JSON, "{}").await;
    assert_eq!(small.status, 200, "no body takes all");
    gate.add_permits(1);
    assert_eq!(one.await.text, "10000");
    gate.add_permits(1);
    assert_eq!(hold(zeros(10_000)).await.text, "10000");
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_bounded_by_what_they_become() {
    let limits = Limits {
        buffered_bytes_max: 1024 * 1024,
        ..Limits::default()
    };
    let client = Client::new(None, limits);
    let most = ANONYMOUS_BODY_BYTES_MAX;
    let send = |path: &'static str, kind, body| {
        let request = Request::post(path)
            .header("content-type", kind)
            .header("content-encoding", "gzip");
        let known = path.starts_with("/alice");
        let request = if known {
            request.header("x-known", "1")
        } else {
            request
        };
        client.ask(request, body)
    };
    for path in ["/reg/echo", "/alice/events"] {
        let answer = send(path, JSON, gzip("[1,2]")).await;
        assert_eq!(answer.json()["body"], json!([1, 2]), "{answer:?}");
        let answer = send(path, JSON, Vec::new()).await;
        assert_eq!(answer.json()["body"], json!(null), "{answer:?}");
        for damaged in [b"[1,2]".to_vec(), gzip("[1,2]")[..12].to_vec()] {
            let refused = send(path, JSON, damaged).await;
            assert!(unreadable(&refused), "{refused:?}");
        }
    }
    let answer = send("/reg/echo", FORM, gzip("a=1")).await;
    assert_eq!(answer.json()["body"], json!({ "a": "1" }));
    assert_eq!(send("/reg/echo", JSON, gzip(&text(most))).await.status, 200);
    for kind in [JSON, FORM] {
        let refused = send("/reg/echo", kind, gzip(&text(most + 1))).await;
        let message = refused.json()["error"]["message"].clone();
        assert_eq!(message, "The body is larger than 262144 bytes");
    }
    // What is inflated counts among what is held.
    let refused = send("/alice/events", JSON, gzip(&text(2_000_000))).await;
    assert_eq!(refused.error(), (503, "api-unavailable".to_owned()));
    let request = Request::post("/reg/echo")
        .header("content-type", JSON)
        .header("content-encoding", "br");
    assert!(unreadable(&client.ask(request, "[1]").await));
}

#[tokio::test]
async fn texts_are_read_as_javascript_reads_them() {
    let client = Client::new(None, Limits::default());
    for (text, read) in [
        (r#"{"a":"x\ud83d"}"#, json!({ "a": "x\u{fffd}" })),
        (r#"["\ud83d\ude00"]"#, json!(["\u{1f600}"])),
        ("\u{feff}[1]", json!([1])),
    ] {
        let answer = client.post("/reg/echo", JSON, text).await;
        assert_eq!(answer.json()["body"], read, "{answer:?}");
    }
    let refused = client.post("/reg/echo", JSON, r#"{"a":"\ud83d"#).await;
    assert!(unreadable(&refused), "{refused:?}");
}

#[tokio::test]
async fn a_body_that_would_become_too_much_is_not_parsed() {
    let client = Client::new(None, Limits::default());
    let items = JSON_VALUE_BYTES_MAX / ITEM_BYTES;
    let request = Request::post("/alice/events")
        .header("content-type", JSON)
        .header("x-known", "1");
    let refused = client.ask(request, zeros(items)).await;
    assert!(unreadable(&refused), "{refused:?}");
    assert!(refused.text.contains("too many values"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_gives_its_memory_back() {
    let limits = Limits {
        body_bytes_max: 2_000,
        buffered_bytes_max: 2_048,
        ..Limits::default()
    };
    let client = Client::new(None, limits);
    let started = Instant::now();
    let beginning: &str = "[0,0,0,0,0,0,0,0,0,0";
    let mut one = pin!(client.post("/reg/echo", JSON, stalled(beginning)));
    let mut two = pin!(client.post("/reg/echo", FORM, stalled(beginning)));
    assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
    let full = client.post("/reg/echo", JSON, "{}").await;
    assert_eq!(full.error(), (503, "api-unavailable".to_owned()));
    for answer in [one.await, two.await] {
        assert!(unreadable(&answer), "{answer:?}");
        assert!(answer.text.contains("nothing more came"), "{answer:?}");
    }
    assert!(started.elapsed() <= Duration::from_secs(11));
    let free = client.post("/reg/echo", JSON, "{}").await;
    assert_eq!(free.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_read_while_it_goes_on() {
    let client = Client::new(None, Limits::default());
    let pieces = stream::iter(["[1", ",", "2", "]"]).then(|piece| async move {
        tokio::time::sleep(Duration::from_secs(6)).await;
        Ok::<_, std::io::Error>(piece)
    });
    let answer = client
        .post("/reg/echo", JSON, Body::from_stream(pieces))
        .await;
    assert_eq!(answer.json()["body"], json!([1, 2]));
    // Frames of nothing are no progress.
    let nothing = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Some((Ok::<_, std::io::Error>(Bytes::new()), ()))
    });
    let answer = client
        .post("/reg/echo", JSON, Body::from_stream(nothing))
        .await;
    assert!(unreadable(&answer), "{answer:?}");
}

#[test]
fn large_bodies_are_parsed_beside_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::new(None, Limits::default());
        let (release, wait) = sync_channel::<()>(0);
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        let known = |body: String| {
            let request = Request::post("/alice/events")
                .header("content-type", JSON)
                .header("x-known", "1");
            client.ask(request, body)
        };
        let mut large = pin!(known(text(ANONYMOUS_BODY_BYTES_MAX + 1)));
        assert!(poll!(&mut large).is_pending(), "it waits for a thread");
        let small = known(text(ANONYMOUS_BODY_BYTES_MAX)).await;
        assert_eq!(small.status, 200, "a small one does not");
        assert!(poll!(&mut large).is_pending());
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(large.await.status, 200);
    });
}
