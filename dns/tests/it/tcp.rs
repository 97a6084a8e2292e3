//! TCP: pipelining, limits on connections and on time, and the end.

use super::*;

#[tokio::test]
async fn queries_can_be_sent_ahead_and_in_pieces() {
    let running = Running::start(&options());
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    let mut bytes = Vec::new();
    for id in 0..200_u16 {
        let message = query(id, "alice.example.com.", RecordType::A, None);
        bytes.extend_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(&message);
    }
    // In one go, but for the last bytes of the last query.
    let (most, last) = bytes.split_at(bytes.len() - 5);
    stream.write_all(most).await.unwrap();
    for id in 0..199 {
        assert_eq!(receive_tcp(&mut stream).await.metadata.id, id);
    }
    stream.write_all(last).await.unwrap();
    assert_eq!(receive_tcp(&mut stream).await.metadata.id, 199);
    running.end().await;
}

#[tokio::test]
async fn connections_are_bounded_and_places_come_back() {
    let limited = Options {
        tcp_connections_max: 8,
        ..options()
    };
    let running = Running::start(&limited);
    let mut kept = Vec::new();
    for id in 0..8 {
        let mut stream = TcpStream::connect(running.tcp).await.unwrap();
        send_tcp(
            &mut stream,
            &query(id, "alice.example.com.", RecordType::A, None),
        )
        .await;
        assert_eq!(receive_tcp(&mut stream).await.metadata.id, id);
        kept.push(stream);
    }
    for _ in 0..20 {
        let mut over = TcpStream::connect(running.tcp).await.unwrap();
        assert!(is_closed(&mut over).await);
    }
    let stats = running.stats.snapshot();
    assert_eq!(
        (stats.tcp_open, stats.tcp_accepted, stats.tcp_rejected),
        (8, 8, 20)
    );
    // The others are still served, and a place that is left can be taken.
    let first = kept.first_mut().unwrap();
    send_tcp(first, &query(99, "alice.example.com.", RecordType::A, None)).await;
    assert_eq!(receive_tcp(first).await.metadata.id, 99);
    drop(kept.pop());
    running.until(|stats| stats.tcp_open < 8).await;
    let mut next = TcpStream::connect(running.tcp).await.unwrap();
    send_tcp(
        &mut next,
        &query(3, "alice.example.com.", RecordType::A, None),
    )
    .await;
    assert_eq!(receive_tcp(&mut next).await.metadata.id, 3);
    running.end().await;
}

#[tokio::test]
async fn one_network_cannot_take_all_places() {
    let limited = Options {
        tcp_connections_per_network_max: 2,
        ..options()
    };
    let running = Running::start(&limited);
    let mut kept = Vec::new();
    for id in 0..2 {
        let mut stream = TcpStream::connect(running.tcp).await.unwrap();
        send_tcp(
            &mut stream,
            &query(id, "alice.example.com.", RecordType::A, None),
        )
        .await;
        receive_tcp(&mut stream).await;
        kept.push(stream);
    }
    let mut third = TcpStream::connect(running.tcp).await.unwrap();
    assert!(is_closed(&mut third).await);
    // 127.0.1.0/24 is another network.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 1, 1], 0))).unwrap();
    let mut other = socket.connect(running.tcp).await.unwrap();
    send_tcp(
        &mut other,
        &query(5, "alice.example.com.", RecordType::A, None),
    )
    .await;
    assert_eq!(receive_tcp(&mut other).await.metadata.id, 5);
    running.end().await;
}

#[tokio::test]
async fn idle_and_senseless_connections_are_closed() {
    let quick = Options {
        tcp_idle: Duration::from_millis(100),
        ..options()
    };
    let running = Running::start(&quick);
    let mut idle = TcpStream::connect(running.tcp).await.unwrap();
    assert!(is_closed(&mut idle).await, "nothing sent");

    let mut half = TcpStream::connect(running.tcp).await.unwrap();
    half.write_all(&[0]).await.unwrap();
    assert!(is_closed(&mut half).await, "half a length");

    let mut part = TcpStream::connect(running.tcp).await.unwrap();
    part.write_all(&[0, 40, 1, 2, 3]).await.unwrap();
    assert!(is_closed(&mut part).await, "a part of a query");

    let patient = Running::start(&options());
    let mut long = TcpStream::connect(patient.tcp).await.unwrap();
    long.write_all(&[0xff, 0xff]).await.unwrap();
    assert!(is_closed(&mut long).await, "a length beyond any query");

    let mut short = TcpStream::connect(patient.tcp).await.unwrap();
    short.write_all(&[0, 3, 1, 2, 3]).await.unwrap();
    assert!(is_closed(&mut short).await, "less than a header");

    let mut response = query(1, "alice.example.com.", RecordType::A, None);
    response[2] |= 0x80;
    let mut reflected = TcpStream::connect(patient.tcp).await.unwrap();
    send_tcp(&mut reflected, &response).await;
    assert!(is_closed(&mut reflected).await, "a response");

    let mut zone = TcpStream::connect(patient.tcp).await.unwrap();
    send_tcp(&mut zone, &query(2, "example.com.", RecordType::AXFR, None)).await;
    let refused = receive_tcp(&mut zone).await;
    assert_eq!(refused.metadata.response_code, ResponseCode::Refused);
    patient.end().await;
    running.end().await;
}

#[tokio::test]
async fn many_connections_at_once_are_all_served() {
    let many = Options {
        tcp_connections_per_network_max: 512,
        ..options()
    };
    let running = Running::start(&many);
    let mut clients = tokio::task::JoinSet::new();
    for id in 0..200 {
        let server = running.tcp;
        clients.spawn(async move {
            let mut stream = TcpStream::connect(server).await.unwrap();
            for _ in 0..5 {
                send_tcp(
                    &mut stream,
                    &query(id, "alice.example.com.", RecordType::A, None),
                )
                .await;
                assert_eq!(receive_tcp(&mut stream).await.metadata.id, id);
            }
        });
    }
    while let Some(ended) = timeout(PATIENCE, clients.join_next()).await.unwrap() {
        ended.unwrap();
    }
    assert_eq!(running.stats.snapshot().tcp_queries, 1_000);
    running.until(|stats| stats.tcp_open == 0).await;
    running.end().await;
}

#[tokio::test]
async fn stopping_ends_open_connections_and_frees_the_port() {
    let running = Running::start(&options());
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    send_tcp(
        &mut stream,
        &query(1, "alice.example.com.", RecordType::A, None),
    )
    .await;
    receive_tcp(&mut stream).await;
    let (udp, tcp) = (running.udp, running.tcp);
    running.end().await;
    assert!(is_closed(&mut stream).await);
    let again = Options {
        udp: vec![udp],
        tcp: vec![tcp],
        ..options()
    };
    Running::start(&again).end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let quick = Options {
        tcp_idle: Duration::from_millis(200),
        ..options()
    };
    let running = Running::start(&quick);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(running.tcp).await.unwrap();
    // 3 kB for each 40 bytes: far more than the kernel holds for one connection. The server stops
    // reading once it cannot send, so sending ends in an error or stands still.
    let message = query(1, "large.example.com.", RecordType::TXT, None);
    let send = async {
        for _ in 0..20_000 {
            let mut framed = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
            framed.extend_from_slice(&message);
            if stream.write_all(&framed).await.is_err() {
                return;
            }
        }
    };
    let sent = timeout(PATIENCE, send).await;
    assert!(sent.is_ok(), "neither sent nor refused");
    running.until(|stats| stats.tcp_open == 0).await;
    let answered = running.stats.snapshot().tcp_queries;
    assert!(
        answered < 20_000,
        "{answered} answers are not held by a kernel"
    );
    running.end().await;
}

#[tokio::test]
async fn idle_connections_give_way_when_most_places_are_taken() {
    let few = Options {
        tcp_connections_max: 4,
        tcp_idle: Duration::from_secs(10),
        ..options()
    };
    let running = Running::start(&few);
    let started = tokio::time::Instant::now();
    let mut kept = Vec::new();
    for id in 0..4 {
        let mut stream = TcpStream::connect(running.tcp).await.unwrap();
        send_tcp(
            &mut stream,
            &query(id, "alice.example.com.", RecordType::A, None),
        )
        .await;
        receive_tcp(&mut stream).await;
        kept.push(stream);
    }
    running.until(|stats| stats.tcp_open < 4).await;
    assert!(started.elapsed() < Duration::from_secs(8));
    running.end().await;
}
