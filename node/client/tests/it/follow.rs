//! Following one 421, remembering, forgetting.

use homecore_client::{Client, ClientError, Method, Request};
use homecore_types::{ErrorId, Secret};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::fake::{Cluster, refused, user, wrong_core};

fn get(name: &str) -> Request {
    Request::new(Method::GET, "echo").user(&user(name))
}

#[tokio::test]
async fn a_421_is_followed_once_with_the_same_request() {
    let cluster = Cluster::start(2).await;
    cluster.house(&user("alice"), 1);
    let request = Request::new(Method::PUT, "echo/it")
        .user(&user("alice"))
        .token(&Secret::new("tok"))
        .query("a", "x y")
        .bytes(HeaderValue::from_static("text/plain"), "hello");
    let answer = cluster.client(0).send(&request).await.unwrap();
    assert_eq!(
        answer.url().port(),
        cluster
            .url(1)
            .trim_end_matches('/')
            .rsplit(':')
            .next()
            .map(|p| p.parse().unwrap())
    );
    let body: Value = answer.into_json().unwrap();
    assert_eq!(
        body,
        json!({"core": 1, "method": "PUT", "path": "echo/it", "query": "a=x+y", "body": "hello"})
    );
    let asked = cluster.take_asked();
    assert_eq!(
        asked.iter().map(|asked| asked.core).collect::<Vec<_>>(),
        [0, 1]
    );
    for one in &asked {
        assert_eq!(one.authorization.as_deref(), Some("tok"));
        assert_eq!(one.body, "hello");
    }
    assert_eq!(asked[0].path, asked[1].path);
}

#[tokio::test]
async fn a_home_is_remembered_by_all_clones() {
    let cluster = Cluster::start(2).await;
    cluster.house(&user("alice"), 1);
    cluster.house(&user("bobby"), 0);
    let client = cluster.client(0);
    client.send(&get("alice")).await.unwrap();
    client.clone().send(&get("alice")).await.unwrap();
    client.send(&get("bobby")).await.unwrap();
    assert_eq!(cluster.take_cores(), [0, 1, 1, 0]);
}

#[tokio::test]
async fn a_second_421_is_handed_on_and_nothing_remembered() {
    let cluster = Cluster::start(2).await;
    let other = cluster.url(1);
    cluster.answer_first(move |_| Some(wrong_core(other.as_str())));
    let client = cluster.client(0);
    for _ in 0..2 {
        let answer = client.send(&get("alice")).await.unwrap();
        assert_eq!(answer.status, 421);
        assert_eq!(
            answer.into_json::<Value>().unwrap_err().id(),
            Some(ErrorId::WrongCore)
        );
    }
    assert_eq!(cluster.take_cores(), [0, 1, 0, 1]);
}

#[tokio::test]
async fn other_421s_are_handed_on() {
    let cluster = Cluster::start(2).await;
    let other = cluster.url(1);
    for body in [
        json!({"error": {"id": "misdirected", "message": "", "coreUrl": other}}),
        json!({"error": {"id": "wrong-core", "message": ""}}),
        json!("a text"),
    ] {
        cluster.answer_first(move |_| Some((421, body.clone())));
        assert_eq!(
            cluster.client(0).send(&get("alice")).await.unwrap().status,
            421
        );
        assert_eq!(cluster.take_cores(), [0]);
    }
    cluster.answer_first(move |_| Some(wrong_core(other.as_str())));
    let about_nobody = Request::new(Method::GET, "system/admin/cores");
    assert_eq!(
        cluster.client(0).send(&about_nobody).await.unwrap().status,
        421
    );
    assert_eq!(cluster.take_cores(), [0]);
}

#[tokio::test]
async fn a_user_who_moved_is_found_again() {
    let cluster = Cluster::start(3).await;
    cluster.house(&user("alice"), 1);
    let client = cluster.client(0);
    client.send(&get("alice")).await.unwrap();
    cluster.house(&user("alice"), 2);
    cluster.take_cores();
    for _ in 0..2 {
        let post = Request::new(Method::POST, "echo").user(&user("alice"));
        let body: Value = client.send(&post).await.unwrap().into_json().unwrap();
        assert_eq!(body["core"], 2);
    }
    assert_eq!(cluster.take_cores(), [1, 0, 2, 2]);
}

#[tokio::test]
async fn a_home_that_is_gone_is_forgotten() {
    for method in [Method::GET, Method::POST] {
        let mut cluster = Cluster::start(2).await;
        cluster.house(&user("alice"), 1);
        let client = Client::builder(cluster.url(0))
            .homes_max(1)
            .build()
            .unwrap();
        client.send(&get("alice")).await.unwrap();
        cluster.stop(1).await;
        cluster.house(&user("alice"), 0);
        cluster.take_cores();
        let request = Request::new(method, "echo").user(&user("alice"));
        let body: Value = client.send(&request).await.unwrap().into_json().unwrap();
        assert_eq!(body["core"], 0);
        assert_eq!(cluster.take_cores(), [0]);
    }
}

/// A home that reads the request and breaks off, as one that dies in the middle.
#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_sent_again() {
    let cluster = Cluster::start(1).await;
    cluster.house(&user("alice"), 0);
    let broken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", broken.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = broken.accept().await.unwrap();
            let mut some = [0_u8; 64];
            connection.read_exact(&mut some).await.unwrap();
        }
    });
    for (method, arrives) in [
        (Method::POST, false),
        (Method::GET, true),
        (Method::PUT, true),
    ] {
        let client = cluster.client(0);
        let named = url.clone();
        cluster.answer_first(move |asked| {
            asked
                .path
                .starts_with("/reg/")
                .then(|| (200, json!({"core": {"url": named}})))
        });
        client.discover(&user("alice")).await.unwrap().unwrap();
        cluster.take_cores();
        let request = Request::new(method, "echo").user(&user("alice"));
        let answer = client.send(&request).await;
        assert_eq!(answer.is_ok(), arrives);
        assert_eq!(cluster.take_cores().len(), usize::from(arrives));
        assert!(
            client.send(&request).await.is_ok(),
            "and the broken home is forgotten"
        );
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused() {
    let cluster = Cluster::start(1).await;
    for url in [
        "",
        "core-b",
        "ftp://core-b/",
        "http://eve@core-b/",
        "http://core-b/?a=b",
    ] {
        cluster.answer_first(move |_| Some(wrong_core(url)));
        let error = cluster.client(0).send(&get("alice")).await.unwrap_err();
        assert!(
            matches!(error, ClientError::CoreUrl { .. }),
            "{url}: {error}"
        );
        assert!(Client::new(url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn paths_stay_below_the_user() {
    let cluster = Cluster::start(1).await;
    cluster.house(&user("alice"), 0);
    for path in [
        "../bobby/events",
        "../reg/cores",
        "a/../../bobby/",
        "a#b",
        "%2e%2e/bobby/",
    ] {
        let request = Request::new(Method::GET, path).user(&user("alice"));
        let error = cluster.client(0).send(&request).await.unwrap_err();
        assert!(matches!(error, ClientError::Path { .. }), "{path}: {error}");
    }
    assert!(cluster.take_asked().is_empty());
}

#[tokio::test]
async fn answers_are_bounded_and_errors_are_typed() {
    let cluster = Cluster::start(1).await;
    let small = Client::builder(cluster.url(0))
        .answer_bytes_max(100)
        .build()
        .unwrap();
    cluster.answer_first(|_| Some((200, json!("x".repeat(99)))));
    let error = small.send(&get("alice")).await.unwrap_err();
    assert!(
        matches!(error, ClientError::AnswerTooLong { max: 100, .. }),
        "{error}"
    );

    cluster.answer_first(|_| Some((503, json!({"no": "error"}))));
    let error = small
        .send(&get("alice"))
        .await
        .unwrap()
        .into_json::<Value>()
        .unwrap_err();
    assert!(
        matches!(error, ClientError::UnexpectedAnswer { .. }),
        "{error}"
    );

    for (status, known) in [
        (401, ErrorId::MissingAccessToken),
        (403, ErrorId::InvalidAccessToken),
    ] {
        cluster.answer_first(move |_| Some(refused(status, "invalid-access-token")));
        let request = get("alice").query("auth", "hush");
        let error = small
            .send(&request)
            .await
            .unwrap()
            .into_json::<Value>()
            .unwrap_err();
        assert_eq!(error.id(), Some(known));
        assert_eq!(error.wire().unwrap().status, Some(status));
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}
