//! Forms with files: as large and as slow as they may be, and no more.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use homecore_http::Limits;
use http::Request;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::{Answer, Client};

const BEGINNING: &str = "--X\r\nContent-Disposition: form-data; name=a\r\n\r\n{\"a\":1}\r\n\
    --X\r\nContent-Disposition: form-data; filename=b\r\n\r\n";
const END: &str = "\r\n--X--\r\n";

fn limits() -> Limits {
    Limits {
        upload_bytes_max: 1024 * 1024,
        ..Limits::default()
    }
}

/// A file of pieces, each of which comes after a pause.
fn paced(pieces: usize, bytes: usize, pause: Duration) -> Body {
    let piece = Bytes::from(vec![b'x'; bytes]);
    let pieces = stream::iter(vec![piece; pieces]).then(move |piece| async move {
        sleep(pause).await;
        piece
    });
    let whole = stream::iter([Bytes::from_static(BEGINNING.as_bytes())])
        .chain(pieces)
        .chain(stream::iter([Bytes::from_static(END.as_bytes())]));
    Body::from_stream(whole.map(Ok::<_, std::io::Error>))
}

async fn send(client: &Client, body: Body) -> Answer {
    let request =
        Request::post("/reg/form").header("content-type", "multipart/form-data; boundary=X");
    client.ask(request, body).await
}

fn is_too_large(answer: &Answer, what: &str, most: usize) {
    assert_eq!(answer.error(), (413, "payload-too-large".to_owned()));
    let error = &answer.json()["error"];
    let message = format!("{what} is larger than {most} bytes");
    assert_eq!(error["message"], message);
    assert_eq!(error["data"], json!({ "limitMb": most / (1024 * 1024) }));
    assert!(answer.json()["meta"].is_object());
}

fn message(answer: &Answer) -> Value {
    assert_eq!(
        answer.error(),
        (400, "invalid-request-structure".to_owned())
    );
    answer.json()["error"]["message"].clone()
}

#[tokio::test]
async fn a_form_is_read_to_its_end() {
    let client = Client::new(None, limits());
    let answer = send(&client, paced(1_024, 1_024, Duration::ZERO)).await;
    assert_eq!(
        answer.json(),
        json!({ "bytes": 1024 * 1024, "text": { "a": 1 } })
    );
}

/// What repeats without an end.
fn endless(beginning: &'static str, piece: &'static [u8]) -> Body {
    let beginning = stream::iter([Bytes::from_static(beginning.as_bytes())]);
    let endless = beginning.chain(stream::repeat(Bytes::from_static(piece)));
    Body::from_stream(endless.map(Ok::<_, std::io::Error>))
}

#[tokio::test]
async fn each_file_may_be_as_large_as_one_may_be() {
    let client = Client::new(None, limits());
    let form = |bytes: usize| {
        let file = "x".repeat(bytes);
        let next = "\r\n--X\r\nContent-Disposition: form-data; filename=c\r\n\r\n";
        Body::from(format!("{BEGINNING}{file}{next}{file}{next}{file}{END}"))
    };
    let answer = send(&client, form(1024 * 1024)).await;
    assert_eq!(answer.json()["bytes"], 3 * 1024 * 1024);
    let answer = send(&client, form(1024 * 1024 + 1)).await;
    is_too_large(&answer, "A part of the form", 1024 * 1024);
}

#[tokio::test]
async fn an_endless_one_is_cut_off() {
    let client = Client::new(None, limits());
    let answer = send(&client, endless(BEGINNING, &[b'x'; 4_096])).await;
    is_too_large(&answer, "A part of the form", 1024 * 1024);
    let small = Limits {
        upload_bytes_max: 1024,
        ..Limits::default()
    };
    let client = Client::new(None, small);
    let most = 11 * 1024 + 256 * 1024;
    let parts = b"--X\r\nContent-Disposition: form-data; filename=b\r\n\r\n\r\n";
    is_too_large(&send(&client, endless("", parts)).await, "The form", most);
    let announced = Request::post("/reg/form")
        .header("content-type", "multipart/form-data; boundary=X")
        .header("content-length", (most + 1).to_string());
    let answer = client.ask(announced, Body::empty()).await;
    is_too_large(&answer, "The form", most);
}

#[tokio::test]
async fn a_large_text_is_cut_off() {
    let small = Limits {
        body_bytes_max: 4_096,
        ..limits()
    };
    let client = Client::new(None, small);
    let text = |length: usize| {
        let text = format!("[\"{}\"]", "x".repeat(length - 4));
        let beginning = BEGINNING.replace("{\"a\":1}", &text);
        Body::from(format!("{beginning}{END}"))
    };
    assert_eq!(send(&client, text(4_096)).await.status, 200);
    let answer = send(&client, text(4_097)).await;
    is_too_large(&answer, "A part of the form", 4_096);
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_may_take_longer_than_other_requests() {
    let client = Client::new(None, limits());
    let started = Instant::now();
    // 20 KiB a second.
    let answer = send(&client, paced(50, 20 * 1_024, Duration::from_secs(1))).await;
    assert_eq!(answer.json()["bytes"], 50 * 20 * 1_024);
    assert!(started.elapsed() > Limits::default().request_timeout);
}

#[tokio::test(start_paused = true)]
async fn one_that_would_never_end_is_cut_off() {
    let client = Client::new(None, limits());
    let started = Instant::now();
    let answer = send(&client, paced(10_000, 1, Duration::from_secs(1))).await;
    assert_eq!(
        message(&answer),
        "The body comes too slowly to be waited for"
    );
    assert!(started.elapsed() < Duration::from_secs(35));
    let answer = send(&client, paced(2, 1, Duration::from_secs(11))).await;
    let stalled = message(&answer);
    assert!(stalled.as_str().unwrap().contains("nothing more came"));
}
