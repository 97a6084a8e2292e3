//! Shared secrets over HTTP: every route with every kind of token, and the hand-over without one.

use std::collections::BTreeMap;

use homecore_http::{Rate, RateRule};
use serde_json::{Value, json};

use crate::support::{Core, Wanted, error};

const PATH: &str = "/samplebeta1/shared-secrets";

async fn access(core: &Core, me: &str, name: &str, more: Option<Value>) -> String {
    let mut permissions = vec![json!({ "streamId": "*", "level": "manage" })];
    permissions.extend(more);
    let asked = json!({ "type": "app", "name": name, "permissions": permissions });
    let answer = core.post_as(me, "/samplebeta1/accesses", &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let token = &answer.json()["access"]["token"];
    token.as_str().unwrap().to_owned()
}

fn asked() -> Value {
    json!({ "ttl": 60, "title": "t", "secret": [1, "two"], "onConsumed": { "message": "gone" } })
}

async fn make(core: &Core, token: &str) -> Value {
    let answer = core.post_as(token, PATH, &asked()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["sharedSecret"].take()
}

#[tokio::test]
async fn every_route_with_every_kind_of_token() {
    let core = Core::new();
    let me = core.register("samplebeta1").await;
    let no_sharing = json!({ "feature": "secretSharing", "setting": "forbidden" });
    let app = access(&core, &me, "app", None).await;
    let other = access(&core, &me, "other", None).await;
    let forbidden = access(&core, &me, "forbidden", Some(no_sharing)).await;
    let no = (403, "forbidden");
    for (token, status, id) in [
        (&me, 201, ""),
        (&app, 201, ""),
        (&forbidden, no.0, no.1),
        (&"nosuchtoken".to_owned(), 403, "invalid-access-token"),
        (&String::new(), 401, "invalid-access-token"),
    ] {
        let answer = core.post_as(token, PATH, &asked()).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if !id.is_empty() {
            assert_eq!(answer.error(), error(status, id));
        }
    }
    let made = make(&core, &app).await;
    let key = json!({ "key": made["key"] });
    let status_path = format!("{PATH}/status");
    for (token, status, id) in [
        (&me, 200, ""),
        (&app, 200, ""),
        (&other, no.0, no.1),
        (&"nosuchtoken".to_owned(), 403, "invalid-access-token"),
        (&String::new(), 401, "invalid-access-token"),
    ] {
        let answer = core.post_as(token, &status_path, &key).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if id.is_empty() {
            assert_eq!(answer.json()["sharedSecret"]["status"], "pending");
        } else {
            assert_eq!(answer.error(), error(status, id));
        }
    }
    for path in [&status_path, &format!("{PATH}/retrieve")] {
        let unknown = json!({ "key": format!("nosuch.{}", "x".repeat(43)) });
        let answer = core.post_as(&me, path, &unknown).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"));
        for wrong in [json!({}), json!({ "key": 1 }), json!([])] {
            let answer = core.post_as(&me, path, &wrong).await;
            assert_eq!(answer.error(), error(400, "invalid-parameters-format"));
        }
    }
}

#[tokio::test]
async fn whoever_has_the_key_gets_it_once() {
    let core = Core::new();
    let me = core.register("samplebeta1").await;
    let made = make(&core, &me).await;
    let path = format!("{PATH}/retrieve");
    let key = json!({ "key": made["key"] });
    let elsewhere = core
        .post_as("", "/nobody/shared-secrets/retrieve", &key)
        .await;
    assert_eq!(elsewhere.status, 404);
    let first = core.post_as("", &path, &key).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(first.json()["secret"], json!([1, "two"]));
    assert!(first.json()["meta"].is_object());
    let second = core.post_as("", &path, &key).await;
    assert_eq!(second.error(), error(403, "forbidden"));
    let refused = second.json()["error"].take();
    assert_eq!(refused["message"], "gone");
    assert_eq!(
        refused["data"],
        json!({ "id": "shared-secret-unavailable" })
    );

    let calls = json!([
        { "method": "sharedSecrets.create", "params": asked() },
        { "method": "sharedSecrets.getOne", "params": key },
        { "method": "sharedSecrets.retrieve", "params": key }
    ]);
    let results = core.post_as(&me, "/samplebeta1", &calls).await.json()["results"].take();
    assert_eq!(results[0]["sharedSecret"]["status"], "pending");
    assert_eq!(results[1]["sharedSecret"]["status"], "consumed");
    assert_eq!(results[2]["error"]["id"], "invalid-method");
}

#[tokio::test]
async fn keys_are_presented_no_faster_than_the_operator_lets() {
    let rule = RateRule {
        burst: 2,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::SharedSecret, rule)]),
        ..Wanted::default()
    });
    let me = core.register("samplebeta1").await;
    let made = make(&core, &me).await;
    let path = format!("{PATH}/retrieve");
    let guess = json!({ "key": format!("{}.{}", made["id"].as_str().unwrap(), "x".repeat(43)) });
    for _ in 0..2 {
        let answer = core.post_as("", &path, &guess).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"));
    }
    let key = json!({ "key": made["key"] });
    let answer = core.post_as("", &path, &key).await;
    assert_eq!(answer.error(), error(429, "too-many-requests"));
    let answer = core.post_as(&me, &format!("{PATH}/status"), &key).await;
    assert_eq!(answer.json()["sharedSecret"]["status"], "pending");
}
