//! Look-ups, registration, login.

use homecore_client::{Client, Method, NewUser, Request};
use homecore_types::{ErrorId, Secret};
use serde_json::json;

use crate::fake::{Cluster, refused, user};

fn new_user(name: &str) -> NewUser {
    NewUser::new(
        &user(name),
        Secret::new("right"),
        format!("{name}@example.com"),
        "test-app",
    )
}

#[tokio::test]
async fn registering_tells_the_home() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client(1);
    let alice = client.register(&new_user("alice")).await.unwrap();
    assert_eq!(alice.token().expose(), "tok-1");
    let asked = cluster.take_asked();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&asked[0].body).unwrap(),
        json!({"username": "alice", "password": "right", "email": "alice@example.com", "appId": "test-app"})
    );
    assert_eq!(alice.get("echo").await.unwrap()["core"], 2);
    assert_eq!(cluster.take_cores(), [2], "no 421 was needed");

    let error = client.register(&new_user("alice")).await.unwrap_err();
    assert_eq!(error.id(), Some(ErrorId::ItemAlreadyExists));
    let data = error.wire().unwrap().data.clone().unwrap();
    assert_eq!(
        data,
        json!({"username": "alice", "email": "alice@example.com"})
    );
}

#[tokio::test]
async fn login_follows_and_tells_the_home() {
    let cluster = Cluster::start(2).await;
    cluster.house(&user("alice"), 1);
    let client = Client::builder(cluster.url(0))
        .origin("https://app.example.com")
        .build()
        .unwrap();
    let wrong = client
        .login(&user("alice"), &Secret::new("wrong"), "test-app")
        .await
        .unwrap_err();
    assert_eq!(wrong.id(), Some(ErrorId::InvalidCredentials));
    let alice = client
        .login(&user("alice"), &Secret::new("right"), "test-app")
        .await
        .unwrap();
    alice.get("echo").await.unwrap();
    let asked = cluster.take_asked();
    assert_eq!(
        asked.iter().map(|asked| asked.core).collect::<Vec<_>>(),
        [0, 1, 1, 1]
    );
    assert!(
        asked
            .iter()
            .all(|asked| asked.origin.as_deref() == Some("https://app.example.com"))
    );
    assert_eq!(asked[3].authorization.as_deref(), Some("tok-1"));
    assert!(
        !format!("{alice:?}").contains("tok-1"),
        "tokens are not shown"
    );
}

#[tokio::test]
async fn discovery_knows_both_look_ups() {
    let cluster = Cluster::start(2).await;
    cluster.house(&user("alice"), 1);
    let home = cluster.url(1);
    for first in [200, 404, 410] {
        let client = cluster.client(0);
        cluster.answer_first(move |asked| {
            let older = first != 200 && asked.path.starts_with("/reg/cores");
            older.then(|| refused(first, "unknown-resource"))
        });
        let found = client.discover(&user("alice")).await.unwrap().unwrap();
        assert_eq!(found.as_str(), home);
        assert_eq!(client.discover(&user("nobody")).await.unwrap(), None);
        cluster.take_cores();
        let request = Request::new(Method::GET, "echo").user(&user("alice"));
        client.send(&request).await.unwrap();
        assert_eq!(cluster.take_cores(), [1], "and remembers");
    }
    cluster.answer_first(|_| Some(refused(503, "api-unavailable")));
    let error = cluster
        .client(0)
        .discover(&user("alice"))
        .await
        .unwrap_err();
    assert_eq!(error.id(), Some(ErrorId::ApiUnavailable));
}

#[tokio::test]
async fn a_platform_of_one_core_tells_the_address_of_the_user() {
    let cluster = Cluster::start(1).await;
    let url = cluster.url(0);
    let told = format!("{url}alice/");
    cluster.answer_first(move |_| Some((200, json!({"core": {"url": told}}))));
    assert_eq!(
        cluster
            .client(0)
            .discover(&user("alice"))
            .await
            .unwrap()
            .unwrap()
            .as_str(),
        url
    );
}

#[tokio::test]
async fn service_info_is_read() {
    let cluster = Cluster::start(1).await;
    cluster.answer_first(|asked| {
        assert_eq!(asked.path, "/reg/service/info");
        Some((
            200,
            json!({"serial": "7", "name": "n", "api": "http://x/{username}/",
            "register": "http://x/reg/", "access": "http://x/reg/access/", "terms": "t"}),
        ))
    });
    let info = cluster.client(0).service_info().await.unwrap();
    assert_eq!((info.serial.as_str(), info.version), ("7", None));
    assert_eq!(info.rest["terms"], "t");
}
