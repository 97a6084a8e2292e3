//! The listener: what a socket can do to a core, and how serving ends.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use homecore_http::body::ANONYMOUS_BODY_BYTES_MAX;
use homecore_http::{Limits, Readiness, Server, ServerError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{Client, Echo};

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) client: Client,
    pub(crate) task: JoinHandle<Result<(), ServerError>>,
}

pub(crate) async fn start(limits: Limits) -> Running {
    let gate = Arc::new(Semaphore::new(0));
    let echo = Echo {
        gate: Arc::clone(&gate),
    };
    let client = Client::with(
        None,
        limits,
        echo,
        Readiness {
            ready: true,
            reasons: vec![],
        },
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let server = Server::new(client.app.clone());
    let task = tokio::spawn(server.serve(vec![listener], stop.clone()));
    Running {
        address,
        stop,
        gate,
        client,
        task,
    }
}

pub(crate) async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// Everything until the other side closes.
async fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a close too.
    if let Err(error) = stream.read_to_end(&mut bytes).await {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const GET: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn requests_are_answered_over_a_socket() {
    let running = start(Limits::default()).await;
    let text = read_all(send(running.address, GET).await).await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.contains("access-control-allow-origin: *"), "{text}");
    assert!(text.ends_with("{\"route\":\"/\"}"), "{text}");
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_error_arrives_whole_with_its_own_length() {
    let running = start(Limits::default()).await;
    let request = GET.replace("GET / ", "GET /reg/nosuchroute ");
    let text = read_all(send(running.address, &request).await).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n"), "{text}");
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{text}"
    );
    assert!(body.contains("\"meta\":{"), "{text}");
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_sends_too_much_still_reads_the_answer() {
    let running = start(Limits::default()).await;
    let max = ANONYMOUS_BODY_BYTES_MAX;
    let post = |length: usize, more: &str| {
        format!(
            "POST /reg/hold HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n"
        )
    };
    let refused = |text: String| {
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        assert!(text.contains("larger than 262144 bytes"), "{text}");
    };
    // More than the sockets' buffers take: all of it is written before anything is read.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4 * 1024).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    let whole = post(2 * max, "") + &"x".repeat(2 * max);
    stream.write_all(whole.as_bytes()).await.unwrap();
    refused(read_all(stream).await);
    // Who has not begun, or announces far too much, is not waited for.
    let expecting = post(2 * max, "Expect: 100-continue\r\n");
    for head in [expecting, post(100 * max, "")] {
        refused(read_all(send(running.address, &head).await).await);
    }
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_or_large_header_ends_the_connection() {
    for h2c in [false, true] {
        let limits = Limits {
            header_read_timeout: Duration::from_millis(50),
            header_bytes_max: 8 * 1024,
            h2c,
            ..Limits::default()
        };
        let running = start(limits).await;
        for unfinished in ["", "PRI *", "GET / HTTP/1.1\r\nHo"] {
            // Ends by itself: the server closes.
            let text = read_all(send(running.address, unfinished).await).await;
            assert!(
                text.is_empty() || text.contains(" 408 "),
                "h2c {h2c} {unfinished:?}: {text}"
            );
        }
        let large = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        // The server may close while this is still being written.
        if let Err(error) = stream.write_all(large.as_bytes()).await {
            assert!(matches!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe
            ));
        }
        let text = read_all(stream).await;
        assert!(
            text.is_empty() || text.contains(" 431 "),
            "h2c {h2c}: {text}"
        );
        running.stop.cancel();
        running.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn connections_are_counted_and_bounded() {
    let running = start(Limits {
        connections_max: 1,
        ..Limits::default()
    })
    .await;
    let first = send(running.address, WAIT).await;
    until(|| running.client.app.free_slots() < Limits::default().in_flight_max).await;

    // The second is in the kernel's queue; it is served when the first ends.
    let second = tokio::spawn(read_all(send(running.address, GET).await));
    running.gate.add_permits(1);
    let mut first = first;
    let mut head = [0; 12];
    first.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    assert!(!second.is_finished(), "the first connection is still open");
    drop(first);
    assert!(second.await.unwrap().contains(" 200 OK"));
    running.stop.cancel();
    running.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun() {
    let running = start(Limits::default()).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    let busy = send(running.address, WAIT).await;
    until(|| running.client.app.free_slots() < Limits::default().in_flight_max).await;
    running.stop.cancel();
    assert_eq!(read_all(idle).await, "", "idle connections are closed");
    running.gate.add_permits(1);
    assert!(read_all(busy).await.contains("done"));
    running.task.await.unwrap().unwrap();
    assert!(
        TcpStream::connect(running.address).await.is_err(),
        "nothing is accepted any more"
    );
}

#[tokio::test]
async fn what_does_not_finish_is_cut_at_the_deadline() {
    let limits = Limits {
        drain_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let running = start(limits).await;
    let busy = send(running.address, WAIT).await;
    until(|| running.client.app.free_slots() < Limits::default().in_flight_max).await;
    running.stop.cancel();
    let error = running.task.await.unwrap().unwrap_err();
    assert!(matches!(error, ServerError::Cut(1)), "{error}");
    assert_eq!(read_all(busy).await, "");
}

#[tokio::test]
async fn http_2_is_spoken_where_it_is_wanted() {
    const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &str = "\0\0\0\u{4}\0\0\0\0\0";
    for h2c in [false, true] {
        let running = start(Limits {
            h2c,
            ..Limits::default()
        })
        .await;
        let mut stream = send(running.address, &format!("{PREFACE}{SETTINGS}")).await;
        let mut head = Vec::new();
        while head.len() < 9 {
            match stream.read_buf(&mut head).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        // A frame of type 4, settings, on stream 0; or nothing of the kind.
        let settings = head.get(3..9) == Some(&[4, 0, 0, 0, 0, 0]);
        assert_eq!(settings, h2c, "{head:?}");
        drop(stream);
        running.stop.cancel();
        running.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_server_needs_a_listener() {
    let client = Client::new(None, Limits::default());
    let served = Server::new(client.app)
        .serve(Vec::new(), CancellationToken::new())
        .await;
    assert!(matches!(served, Err(ServerError::NoListener)));
}

/// Waits for a condition; the test's own time limit ends it.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}
