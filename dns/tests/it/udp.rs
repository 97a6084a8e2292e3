//! UDP: answers, sizes, garbage, several sockets, the rate limit, and a zone that changes.

use homecore_dns::BindError;

use super::*;

#[tokio::test]
async fn queries_are_answered_and_the_zone_can_change_meanwhile() {
    let running = Running::start(&options());
    let ask = |name: &'static str| {
        let message = query(7, name, RecordType::A, None);
        async move { ask_udp(running.udp, &message).await }
    };
    let answer = ask("alice.example.com.").await;
    assert_eq!(answer.metadata.id, 7);
    assert_eq!(
        answer.answers.first().unwrap().data.to_string(),
        "192.0.2.1"
    );
    assert_eq!(
        ask("bobby.example.com.").await.metadata.response_code,
        ResponseCode::NXDomain
    );

    let next = zone().with_users(2, users(&["bobby"]));
    running.zone.publish(Arc::new(next)).unwrap();
    assert_eq!(
        ask("bobby.example.com.").await.metadata.response_code,
        ResponseCode::NoError
    );
    assert_eq!(
        ask("alice.example.com.").await.metadata.response_code,
        ResponseCode::NXDomain
    );
    running.end().await;
}

#[tokio::test]
async fn what_does_not_fit_is_asked_again_over_tcp() {
    let running = Running::start(&options());
    for payload in [None, Some(512), Some(4096)] {
        let message = query(9, "large.example.com.", RecordType::TXT, payload);
        let cut = ask_udp(running.udp, &message).await;
        assert!(cut.metadata.truncation && cut.answers.is_empty());
        assert_eq!(cut.edns.is_some(), payload.is_some());
    }
    assert_eq!(running.udp.port(), running.tcp.port());
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    send_tcp(
        &mut stream,
        &query(9, "large.example.com.", RecordType::TXT, None),
    )
    .await;
    let full = receive_tcp(&mut stream).await;
    assert!(!full.metadata.truncation);
    assert_eq!(full.answers.len(), 12);
    running.end().await;
}

#[tokio::test]
async fn garbage_does_not_stop_the_server() {
    let running = Running::start(&options());
    let socket = client(running.udp).await;
    let mut response = query(1, "alice.example.com.", RecordType::A, None);
    response[2] |= 0x80;
    for garbage in [
        &b""[..],
        &b"x"[..],
        &[0x80; 11][..],
        &[0xff; 600][..],
        &response,
    ] {
        socket.send(garbage).await.unwrap();
    }
    socket
        .send(&query(4, "alice.example.com.", RecordType::A, None))
        .await
        .unwrap();
    // The first to come back is the answer to the query: nothing before it gets one.
    assert_eq!(receive(&socket).await.metadata.id, 4);
    assert_eq!(running.stats.snapshot().ignored, 5);

    let mut malformed = query(5, "alice.example.com.", RecordType::A, None);
    malformed.truncate(20);
    socket.send(&malformed).await.unwrap();
    assert_eq!(
        receive(&socket).await.metadata.response_code,
        ResponseCode::FormErr
    );
    running.end().await;
}

#[tokio::test]
async fn several_sockets_share_an_address_and_answer_all_clients() {
    let running = Running::start(&Options {
        sockets_per_address: 4,
        ..options()
    });
    for id in 0..64 {
        let message = query(id, "alice.example.com.", RecordType::A, None);
        assert_eq!(ask_udp(running.udp, &message).await.metadata.id, id);
    }
    assert_eq!(running.stats.snapshot().udp_queries, 64);
    running.end().await;
}

#[tokio::test]
async fn a_flood_is_limited_and_tcp_is_not() {
    let limit = RateLimit {
        per_second: 5,
        slip: 3,
    };
    let running = Running::start(&Options {
        rate_limit: Some(limit),
        ..options()
    });
    let socket = client(running.udp).await;
    for id in 0..60 {
        socket
            .send(&query(id, "alice.example.com.", RecordType::A, None))
            .await
            .unwrap();
    }
    running.until(|stats| stats.udp_queries == 60).await;
    let stats = running.stats.snapshot();
    assert!(stats.limited_dropped >= 20, "{stats:?}");
    assert!(stats.limited_slipped >= 10, "{stats:?}");
    assert_eq!(stats.limited_dropped + stats.noerror, 60, "{stats:?}");
    // A resolver that is told to use TCP gets through.
    let mut slipped = receive(&socket).await;
    while !slipped.metadata.truncation {
        slipped = receive(&socket).await;
    }
    let mut stream = TcpStream::connect(running.tcp).await.unwrap();
    for id in 0..30 {
        send_tcp(
            &mut stream,
            &query(id, "alice.example.com.", RecordType::A, None),
        )
        .await;
        assert_eq!(receive_tcp(&mut stream).await.answers.len(), 1);
    }
    running.end().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    for sockets_per_address in [1, 3] {
        let options = Options {
            sockets_per_address,
            ..options()
        };
        let running = Running::start(&options);
        let taken = Options {
            udp: vec![running.udp],
            tcp: vec![],
            ..options.clone()
        };
        let error = Server::bind(&taken, Arc::clone(&running.zone) as _).unwrap_err();
        assert!(
            matches!(
                error,
                BindError::InUse {
                    protocol: "udp",
                    ..
                }
            ),
            "{error}"
        );
        assert!(
            error.to_string().contains(&running.udp.to_string()),
            "{error}"
        );
        let taken = Options {
            udp: vec![],
            tcp: vec![running.tcp],
            ..options
        };
        let error = Server::bind(&taken, Arc::clone(&running.zone) as _).unwrap_err();
        assert!(
            matches!(
                error,
                BindError::InUse {
                    protocol: "tcp",
                    ..
                }
            ),
            "{error}"
        );
        running.end().await;
    }
    let source = Arc::new(SharedZone::new(zone()));
    let nothing = Options {
        udp: vec![],
        tcp: vec![],
        ..options()
    };
    assert!(matches!(
        Server::bind(&nothing, source),
        Err(BindError::NoAddress)
    ));
    let source = Arc::new(SharedZone::new(zone()));
    let elsewhere = Options {
        udp: vec!["192.0.2.1:0".parse().unwrap()],
        ..options()
    };
    let error = Server::bind(&elsewhere, source).unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress { .. }), "{error}");
}
