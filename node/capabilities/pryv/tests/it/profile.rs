//! Profiles over HTTP: every route with every kind of token.

use serde_json::{Value, json};

use crate::support::{Core, error};

const PATH: &str = "/samplebeta1/profile";

async fn access(core: &Core, me: &str, kind: &str) -> String {
    let asked = json!({ "type": kind, "name": kind,
        "permissions": [{ "streamId": "*", "level": "manage" }] });
    let answer = core.post_as(me, "/samplebeta1/accesses", &asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let token = &answer.json()["access"]["token"];
    token.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_route_with_every_kind_of_token() {
    let core = Core::new();
    let me = core.register("samplebeta1").await;
    let (app, shared) = (
        access(&core, &me, "app").await,
        access(&core, &me, "shared").await,
    );
    let tokens = [&me, &app, &shared, "nosuchtoken", ""];
    let (fine, no) = ((200, ""), (403, "forbidden"));
    let apps_only = (400, "invalid-operation");
    let nobody = [(403, "invalid-access-token"), (401, "invalid-access-token")];
    for (method, path, [person, app, shared]) in [
        ("GET", "public", [fine, fine, fine]),
        ("PUT", "public", [fine, no, no]),
        ("GET", "private", [fine, no, no]),
        ("PUT", "private", [fine, no, no]),
        ("GET", "app", [apps_only, fine, apps_only]),
        ("PUT", "app", [apps_only, fine, apps_only]),
    ] {
        let expected = [person, app, shared, nobody[0], nobody[1]];
        for (token, (status, id)) in tokens.into_iter().zip(expected) {
            let body = Some(json!({ "x": 1 })).filter(|_| method == "PUT");
            let path = format!("{PATH}/{path}");
            let answer = core.send_as(token, method, &path, body.as_ref()).await;
            assert_eq!(answer.status, status, "{method} {path} {}", answer.text);
            if !id.is_empty() {
                assert_eq!(answer.json()["error"]["id"], id, "{method} {path}");
            }
        }
    }
    let path = format!("{PATH}/other");
    let other = core.get_as(&me, &path).await;
    assert_eq!(other.error(), error(404, "unknown-resource"));
    let other = core.send_as(&me, "PUT", &path, Some(&json!({}))).await;
    assert_eq!(other.error(), error(404, "unknown-resource"));
}

#[tokio::test]
async fn a_profile_is_set_and_read() {
    let core = Core::new();
    let me = core.register("samplebeta1").await;
    let app = access(&core, &me, "app").await;
    for (token, name) in [(&me, "public"), (&me, "private"), (&app, "app")] {
        let path = format!("{PATH}/{name}");
        let empty = core.get_as(token, &path).await.json();
        assert_eq!(empty["profile"], json!({}), "{name}");
        let first = json!({ "city": name, "n": 1 });
        core.send_as(token, "PUT", &path, Some(&first)).await;
        let changes = json!({ "n": null, "deep": { "a": 1 } });
        let set = core.send_as(token, "PUT", &path, Some(&changes)).await;
        let expected = json!({ "city": name, "deep": { "a": 1 } });
        assert_eq!(set.json()["profile"], expected, "{name}");
        let read = core.get_as(token, &path).await.json();
        assert_eq!(read["profile"], expected, "{name}");
        assert!(read["meta"].is_object());
        let wrong = core.send_as(token, "PUT", &path, Some(&json!([]))).await;
        assert_eq!(wrong.error(), error(400, "invalid-parameters-format"));
    }
    let calls = json!([
        { "method": "profile.getPublic", "params": {} },
        { "method": "profile.get", "params": { "id": "private" } },
        { "method": "profile.update", "params": { "id": "public", "update": { "city": null } } },
        { "method": "profile.getApp", "params": {} },
        { "method": "profile.updateApp", "params": { "update": {} } },
        { "method": "profile.get", "params": { "id": "other" } }
    ]);
    let results = core.post_as(&me, "/samplebeta1", &calls).await.json();
    let results: &Vec<Value> = results["results"].as_array().unwrap();
    assert_eq!(results[0]["profile"]["city"], "public");
    assert_eq!(results[1]["profile"]["city"], "private");
    assert_eq!(results[2]["profile"], json!({ "deep": { "a": 1 } }));
    assert_eq!(results[3]["error"]["id"], "invalid-operation");
    assert_eq!(results[4]["error"]["id"], "invalid-operation");
    assert_eq!(results[5]["error"]["id"], "invalid-parameters-format");
}
