//! Random aliases over HTTP: they lead to the user like its name, and do not tell it.

use homecore_http::{Rate, RateRule};
use serde_json::{Value, json};

use crate::support::{Answer, Core, ORIGIN, PASSWORD, Wanted, error};

const NAME: &str = "samplebeta1";

fn asked(kind: &str, name: &str, alias: bool) -> Value {
    json!({ "type": kind, "name": name, "randomAlias": alias,
        "permissions": [{ "streamId": "*", "level": "manage" }] })
}

/// An access as it was created.
async fn create(core: &Core, token: &str, body: &Value) -> Value {
    let made = core
        .post_as(token, &format!("/{NAME}/accesses"), body)
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()["access"].clone()
}

fn text<'a>(access: &'a Value, name: &str) -> &'a str {
    access[name].as_str().unwrap()
}

/// Nothing of an answer has the name, its headers included.
fn tells_nothing(answer: &Answer, of: &str) {
    assert!(!answer.text.contains(NAME), "{of}: {}", answer.text);
    assert!(!format!("{:?}", answer.headers).contains(NAME), "{of}");
}

async fn log_in(core: &Core, path: &str, name: &str, password: &str) -> Answer {
    let body = json!({ "username": name, "password": password, "appId": "sample-app" });
    let request = http::Request::post(format!("/{path}/auth/login"))
        .header("content-type", "application/json")
        .header("origin", ORIGIN);
    core.ask(request, body.to_string()).await
}

#[tokio::test]
async fn every_route_of_the_user_is_there_under_the_alias() {
    for single in [false, true] {
        let core = Core::of(Wanted {
            single,
            ..Wanted::default()
        });
        let me = core.register(NAME).await;
        let app = create(&core, &me, &asked("app", "an-app", true)).await;
        let (alias, token) = (text(&app, "alias"), text(&app, "token"));
        let endpoint = text(&app, "apiEndpoint");
        assert!(endpoint.ends_with(&format!("/{alias}/")), "{endpoint}");
        assert!(endpoint.contains(token));

        let stream = json!({ "id": "s", "name": "s" });
        let path = format!("/{alias}/streams");
        assert_eq!(core.post_as(token, &path, &stream).await.status, 201);
        let event = json!({ "streamIds": ["s"], "type": "note/txt", "content": "x" });
        let made = core
            .post_as(token, &format!("/{alias}/events"), &event)
            .await;
        let id = made.json()["event"]["id"].as_str().unwrap().to_owned();
        tells_nothing(&made, "events.create");
        for path in [
            "access-info".to_owned(),
            "events".to_owned(),
            format!("events/{id}?includeHistory=true"),
            "streams".to_owned(),
            "accesses?includeDeletions=true&includeExpired=true".to_owned(),
            "profile/public".to_owned(),
            "profile/app".to_owned(),
            "service/info".to_owned(),
            "".to_owned(),
        ] {
            let answer = core.get_as(token, &format!("/{alias}/{path}")).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            tells_nothing(&answer, &path);
            let upper = format!("/{}/{path}", alias.to_uppercase());
            assert_eq!(core.get_as(token, &upper).await.status, 200, "{upper}");
        }
        // Refusals neither.
        for (method, path) in [
            ("GET", "account"),
            ("GET", "events/unknown"),
            ("GET", "no/such/route"),
            ("POST", "accesses"),
            ("DELETE", "accesses/unknown"),
            ("POST", "account/change-username"),
            ("PUT", "profile/public"),
        ] {
            let body = json!({ "nonsense": NAME.len() });
            let path = format!("/{alias}/{path}");
            let answer = core.send_as(token, method, &path, Some(&body)).await;
            assert!(answer.status >= 400, "{path}: {}", answer.status);
            tells_nothing(&answer, &path);
            let answer = core
                .send_as("nosuchtoken", method, &path, Some(&body))
                .await;
            tells_nothing(&answer, &path);
        }
        let info = core.get_as(token, &format!("/{alias}/access-info")).await;
        assert_eq!(info.json()["user"], json!({ "username": alias }));
        assert_eq!(info.json()["alias"], alias);
        // The person may come this way, too, and is told everything.
        let info = core.get_as(&me, &format!("/{alias}/access-info")).await;
        assert_eq!(info.json()["user"]["username"], NAME);
        let batch = json!([{ "method": "getAccessInfo", "params": {} }]);
        let batch = core.post_as(token, &format!("/{alias}"), &batch).await;
        let result = &batch.json()["results"][0];
        assert_eq!(result["user"]["username"], alias, "{}", batch.text);
    }
}

#[tokio::test]
async fn look_ups_say_where_and_not_who() {
    for single in [false, true] {
        let core = Core::of(Wanted {
            single,
            ..Wanted::default()
        });
        let me = core.register(NAME).await;
        let app = create(&core, &me, &asked("app", "an-app", true)).await;
        let alias = text(&app, "alias");
        let found = core.post(&format!("/reg/{alias}/server"), &json!({})).await;
        assert_eq!(found.status, 200, "{}", found.text);
        tells_nothing(&found, "server");
        assert_eq!(found.json()["alias"], alias);
        let found = core.get(&format!("/reg/{alias}/server")).await;
        assert_eq!(found.status, 302);
        tells_nothing(&found, "redirect");
        let found = core.get(&format!("/reg/cores?username={alias}")).await;
        assert_eq!(found.status, 200, "{}", found.text);
        tells_nothing(&found, "cores");
        let taken = core.get(&format!("/reg/{alias}/check_username")).await;
        assert_eq!(taken.json()["reserved"], true);
        tells_nothing(&taken, "check");
        let batch = core.get(&format!("/reg/{alias}/users")).await;
        tells_nothing(&batch, "nothing");
        for unknown in ["r-zzzzzzzz", "r-00000000"] {
            let found = core
                .post(&format!("/reg/{unknown}/server"), &json!({}))
                .await;
            assert_eq!(found.error(), error(404, "unknown-user"));
        }
    }
    // Of a user who lives on another core the alias leads there, and says no more.
    let core = Core::new();
    core.fake.add_elsewhere("samplebeta9");
    core.fake.add_former("r-elsewher", "samplebeta9");
    for path in ["events", "access-info"] {
        let answer = core.get(&format!("/r-elsewher/{path}")).await;
        assert_eq!(answer.status, 421);
        assert!(!answer.text.contains("samplebeta9"), "{}", answer.text);
        assert!(answer.text.contains("r-elsewher"));
    }
    let found = core.post("/reg/r-elsewher/server", &json!({})).await;
    assert_eq!(found.status, 200);
    assert!(!found.text.contains("samplebeta9"), "{}", found.text);
}

#[tokio::test]
async fn nobody_can_try_whom_an_alias_stands_for() {
    let core = Core::new();
    let me = core.register(NAME).await;
    core.register("samplebeta2").await;
    let app = create(&core, &me, &asked("app", "an-app", true)).await;
    let alias = text(&app, "alias");
    for password in [PASSWORD, "wrong"] {
        let right = log_in(&core, alias, NAME, password).await;
        let wrong = log_in(&core, alias, "samplebeta2", password).await;
        assert_eq!(right.error(), wrong.error());
        let message = |answer: &Answer| answer.json()["error"].clone();
        assert_eq!(message(&right), message(&wrong));
        for name in [NAME, "samplebeta2"] {
            let other = log_in(&core, name, alias, password).await;
            assert_eq!(other.error(), right.error(), "{name}");
        }
    }
    // The person may.
    assert_eq!(log_in(&core, alias, alias, PASSWORD).await.status, 200);
    let wrong = log_in(&core, alias, alias, "wrong").await;
    assert_eq!(wrong.error(), error(401, "invalid-credentials"));
    // It is nobody's to have as a name.
    for name in [alias, "r-abcdefgh"] {
        let body = json!({ "newUsername": name });
        let change = format!("/{NAME}/account/change-username");
        let refused = core.post_as(&me, &change, &body).await;
        assert_eq!(refused.error(), error(400, "invalid-operation"));
    }
}

#[tokio::test]
async fn an_app_with_an_alias_hands_out_no_other_name() {
    let core = Core::new();
    let me = core.register(NAME).await;
    let app = create(&core, &me, &asked("app", "an-app", true)).await;
    let (alias, token) = (text(&app, "alias"), text(&app, "token"));
    let accesses = format!("/{alias}/accesses");
    for (name, own) in [("plain", false), ("own", true)] {
        let body = asked("shared", name, own);
        let made = core.post_as(token, &accesses, &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        tells_nothing(&made, name);
        let child = made.json()["access"].clone();
        assert_eq!(child["alias"] == alias, !own);
        let endpoint = format!("/{}/", text(&child, "alias"));
        assert!(text(&child, "apiEndpoint").ends_with(&endpoint));
        let path = format!("/{}/access-info", text(&child, "alias"));
        let info = core.get_as(text(&child, "token"), &path).await;
        assert_eq!(info.json()["user"]["username"], child["alias"]);
    }
    let listed = core.get_as(token, &accesses).await;
    assert_eq!(listed.json()["accesses"].as_array().unwrap().len(), 2);
    tells_nothing(&listed, "accesses.get");
    // Others go by the name as before.
    let plain = create(&core, &me, &asked("shared", "for-all", false)).await;
    assert_eq!(plain.get("alias"), None);
    assert!(text(&plain, "apiEndpoint").ends_with("/samplebeta1/"));
    let listed = core.get_as(&me, &format!("/{NAME}/accesses")).await;
    for access in listed.json()["accesses"].as_array().unwrap() {
        let name = access["alias"].as_str().unwrap_or(NAME);
        let endpoint = text(access, "apiEndpoint");
        assert!(endpoint.ends_with(&format!("/{name}/")), "{endpoint}");
    }
}

#[tokio::test]
async fn an_alias_goes_with_its_access_and_stays_when_the_name_changes() {
    let core = Core::new();
    let me = core.register(NAME).await;
    let app = create(&core, &me, &asked("app", "an-app", true)).await;
    let other = create(&core, &me, &asked("app", "other", true)).await;
    let (alias, token) = (text(&app, "alias"), text(&app, "token"));
    let child = asked("shared", "child", true);
    let child = core
        .post_as(token, &format!("/{alias}/accesses"), &child)
        .await;
    let child = child.json()["access"].clone();

    let change = json!({ "newUsername": "samplebeta1new" });
    let path = format!("/{NAME}/account/change-username");
    let changed = core.post_as(&me, &path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let me = log_in(&core, "samplebeta1new", "samplebeta1new", PASSWORD).await;
    let me = me.json()["token"].as_str().unwrap().to_owned();
    let info = core.get_as(token, &format!("/{alias}/access-info")).await;
    assert_eq!(info.json()["user"]["username"], alias);

    // An update is refused what it may not set, and keeps it.
    let path = format!("/samplebeta1new/accesses/{}", text(&app, "id"));
    let update = json!({ "name": "renamed" });
    let updated = core.send_as(&me, "PUT", &path, Some(&update)).await;
    let updated = updated.json()["access"].clone();
    assert_eq!(updated["alias"], app["alias"]);
    assert!(text(&updated, "apiEndpoint").ends_with(&format!("/{alias}/")));

    let gone = core.send_as(&me, "DELETE", &path, None).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    for gone in [&app, &child] {
        let path = format!("/{}/access-info", text(gone, "alias"));
        let answer = core.get_as(&me, &path).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"));
    }
    let path = format!("/{}/access-info", text(&other, "alias"));
    let info = core.get_as(text(&other, "token"), &path).await;
    assert_eq!(info.status, 200, "{}", info.text);
}

#[tokio::test]
async fn an_alias_is_refused_as_an_access_is() {
    let core = Core::of(Wanted {
        rates: [(
            Rate::AccountChange,
            RateRule {
                burst: 2,
                per_second: 0.001,
            },
        )]
        .into(),
        ..Wanted::default()
    });
    let me = core.register(NAME).await;
    let path = format!("/{NAME}/accesses");
    let shared = create(&core, &me, &asked("shared", "shared", false)).await;
    for (token, expected) in [
        (text(&shared, "token"), error(403, "forbidden")),
        ("nosuchtoken", error(403, "invalid-access-token")),
        ("", error(401, "invalid-access-token")),
    ] {
        let answer = core
            .post_as(token, &path, &asked("shared", "x", true))
            .await;
        assert_eq!(answer.error(), expected);
    }
    for wrong in [json!("true"), json!(1), json!([])] {
        let mut body = asked("shared", "x", true);
        body["randomAlias"] = wrong;
        let answer = core.post_as(&me, &path, &body).await;
        assert_eq!(answer.error(), error(400, "invalid-parameters-format"));
    }
    core.fake
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let answer = core.post_as(&me, &path, &asked("shared", "x", true)).await;
    assert_eq!(answer.error(), error(503, "api-unavailable"));
    assert!(answer.headers.contains_key("retry-after"));
    let answer = core.post_as(&me, &path, &asked("shared", "x", false)).await;
    assert_eq!(answer.status, 201, "without one it needs no platform");
    core.fake
        .down
        .store(false, std::sync::atomic::Ordering::SeqCst);
    create(&core, &me, &asked("shared", "y", true)).await;
    let answer = core.post_as(&me, &path, &asked("shared", "z", true)).await;
    assert_eq!(answer.error(), error(429, "too-many-requests"));
    let answer = core.post_as(&me, &path, &asked("shared", "z", false)).await;
    assert_eq!(answer.status, 201);
}
