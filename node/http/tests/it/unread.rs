//! Bodies of requests that are refused before anybody reads them: the answer arrives, and the
//! connection goes on or says that it does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use homecore_http::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::{Running, send, start, until};

/// More than is read of a body that nobody wants.
const MUCH: usize = 8 * 1024 * 1024;

fn head(line: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: x\r\n{more}\r\n")
}

fn sized(line: &str, bytes: usize) -> String {
    head(line, &format!("Content-Length: {bytes}\r\n"))
}

/// One answer: its head, in lower case, and its body.
async fn answer(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return (head, body.to_owned());
            }
        }
        let read = stream.read_buf(&mut bytes).await.unwrap();
        assert!(read > 0, "closed after {bytes:?}");
    }
}

fn closes(head: &str) -> bool {
    head.contains("\r\nconnection: close")
}

async fn end(running: Running) {
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

/// What the core has answered so far, as its metrics tell.
fn answered(running: &Running, status: char) -> bool {
    let mut text = String::new();
    running.client.app.context().metrics.render(&mut text);
    text.contains(&format!("class=\"{status}xx\"}} 1\n"))
}

#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_nobody_read() {
    for (line, kind, status) in [
        ("POST /nobody/events", "application/json", '4'),
        ("POST /alice/nosuchroute", "application/json", '4'),
        ("DELETE /alice/nosuchroute", "multipart/form-data", '4'),
        ("POST /reg/form", "text/plain", '4'),
        ("GET /", "application/json", '2'),
    ] {
        for length in ["Content-Length: 15", "Transfer-Encoding: chunked"] {
            let running = start(Limits::default()).await;
            let more = format!("Content-Type: {kind}\r\n{length}\r\n");
            let mut stream = send(running.address, &head(line, &more)).await;
            // The answer is decided; only then the body comes.
            until(|| answered(&running, status)).await;
            let body = b"5\r\n12345\r\n0\r\n\r\n";
            stream.write_all(body).await.unwrap();
            let (first, text) = answer(&mut stream).await;
            assert!(first.starts_with(&format!("http/1.1 {status}")), "{first}");
            assert!(!closes(&first), "{line} {length}: {first}");
            assert!(!text.is_empty(), "{line}");
            let next = sized("GET /", 0);
            stream.write_all(next.as_bytes()).await.unwrap();
            let (second, _) = answer(&mut stream).await;
            assert!(second.starts_with("http/1.1 200 "), "{line}: {second}");
            end(running).await;
        }
    }
}

#[tokio::test]
async fn a_large_body_is_let_go_by_after_the_answer() {
    // Less than one file may have; and more, but not more than a form of ten files.
    for upload_bytes_max in [Limits::default().upload_bytes_max, 1024 * 1024] {
        let limits = Limits {
            upload_bytes_max,
            ..Limits::default()
        };
        let running = start(limits).await;
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4 * 1024).unwrap();
        let mut stream = socket.connect(running.address).await.unwrap();
        // All of it is written before anything is read.
        let head = sized("POST /nobody/events", MUCH);
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; MUCH]).await.unwrap();
        let (head, text) = answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 404 ") && closes(&head), "{head}");
        assert!(text.contains("unknown-resource"), "{text}");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "an orderly end");
        drop(stream);
        end(running).await;
    }
}

#[tokio::test]
async fn who_waits_to_be_asked_for_a_body_is_not() {
    let running = start(Limits::default()).await;
    let more = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    let mut stream = send(running.address, &head("POST /nobody/events", more)).await;
    let (refused, _) = answer(&mut stream).await;
    assert!(refused.starts_with("http/1.1 404 "), "{refused}");
    assert!(closes(&refused), "{refused}");
    drop(stream);
    // One that is wanted is asked for.
    let more = format!("Content-Type: application/json\r\n{more}");
    let mut stream = send(running.address, &head("POST /reg/hold", &more)).await;
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"[1,2]").await.unwrap();
    running.gate.add_permits(1);
    let (taken, items) = answer(&mut stream).await;
    assert!(
        taken.starts_with("http/1.1 200 ") && items == "2",
        "{taken}"
    );
    drop(stream);
    end(running).await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits {
        body_stall_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = start(limits).await;
    let mut stream = send(running.address, &sized("POST /nobody/events", 5)).await;
    let (head, _) = answer(&mut stream).await;
    assert!(head.starts_with("http/1.1 404 ") && closes(&head), "{head}");
    // The client keeps its side open; the connection ends all the same.
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    let metrics = &running.client.app.context().metrics;
    until(|| metrics.connections_open.load(Ordering::Relaxed) == 0).await;
    end(running).await;
}

#[tokio::test]
async fn one_that_does_not_end_is_cut() {
    for patient in [false, true] {
        // The one ends it after a time, the other after a length.
        let (request_timeout, upload_bytes_max) = if patient {
            (Duration::from_secs(3_600), 1024)
        } else {
            (Duration::from_millis(100), u64::MAX)
        };
        let limits = Limits {
            request_timeout,
            upload_bytes_max,
            ..Limits::default()
        };
        let running = start(limits).await;
        let chunked = head("POST /nobody/events", "Transfer-Encoding: chunked\r\n");
        let stream = send(running.address, &chunked).await;
        let (mut reading, mut writing) = stream.into_split();
        let sending = tokio::spawn(async move {
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x1_0000));
            while writing.write_all(chunk.as_bytes()).await.is_ok() {}
        });
        let mut text = [0; 12];
        reading.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"HTTP/1.1 404");
        sending.await.unwrap();
        end(running).await;
    }
}
