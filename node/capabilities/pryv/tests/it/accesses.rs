//! Accesses over HTTP: every route with every kind of token, and what stands only on this side.

use serde_json::{Value, json};

use crate::support::{Answer, Core, error};

const PATH: &str = "/samplebeta1/accesses";

/// A user with an access of each type; `child` was created by the app.
struct Accesses {
    core: Core,
    me: String,
    app: Value,
    shared: Value,
    child: Value,
}

impl Accesses {
    async fn planted() -> Self {
        let core = Core::new();
        let me = core.register("samplebeta1").await;
        let stream = json!({ "id": "health", "name": "Health" });
        core.post_as(&me, "/samplebeta1/streams", &stream).await;
        let app = create(&core, &me, &asked("app", "an-app")).await;
        let shared = create(&core, &me, &asked("shared", "doctor")).await;
        let child = create(&core, token(&app), &asked("shared", "child")).await;
        Self {
            core,
            me,
            app,
            shared,
            child,
        }
    }

    async fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let path = format!("{PATH}{path}");
        self.core.send_as(token, method, &path, body).await
    }
}

fn asked(kind: &str, name: &str) -> Value {
    json!({ "type": kind, "name": name,
        "permissions": [{ "streamId": "health", "level": "read" }] })
}

async fn create(core: &Core, token: &str, asked: &Value) -> Value {
    let answer = core.post_as(token, PATH, asked).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["access"].clone()
}

fn token(access: &Value) -> &str {
    access["token"].as_str().unwrap()
}

fn id(access: &Value) -> &str {
    access["id"].as_str().unwrap()
}

/// Which request, and what it is answered with the token of the person, of the app, of the shared
/// access, and with one that is nobody's. In order: what was deleted is gone for those that follow.
const TABLE: &str = "
    GET    -         | 200     | 200     | 403 forbidden            | 403 invalid-access-token
    GET    app       | 200     | 200     | 403 forbidden            | 403 invalid-access-token
    GET    child     | 200     | 200     | 403 forbidden            | 403 invalid-access-token
    GET    shared    | 200     | 404 unknown-resource | 403 forbidden | 403 invalid-access-token
    GET    none      | 404 unknown-resource | 404 unknown-resource | 403 forbidden | 403 invalid-access-token
    POST   -         | 201     | 409 item-already-exists | 403 forbidden | 403 invalid-access-token
    POST   check-app | 200     | 403 forbidden | 403 forbidden      | 403 invalid-access-token
    PUT    none      | 404 unknown-resource | 404 unknown-resource | 403 forbidden | 403 invalid-access-token
    PUT    shared    | 200     | 403 forbidden | 403 forbidden      | 403 invalid-access-token
    PUT    child     | 200     | 409 stale-resource | 403 forbidden | 403 invalid-access-token
    PUT    app       | 200     | 409 stale-resource | 403 forbidden | 403 invalid-access-token
    DELETE none      | 404 unknown-resource | 404 unknown-resource | 404 unknown-resource | 403 invalid-access-token
    DELETE child     | 200     | 404 unknown-resource | 404 unknown-resource | 403 invalid-access-token
    DELETE shared    | 200     | 404 unknown-resource | 403 invalid-access-token | 403 invalid-access-token
    DELETE app       | 200     | 403 invalid-access-token | 403 invalid-access-token | 403 invalid-access-token
";

#[tokio::test]
async fn every_route_with_every_kind_of_token() {
    let accesses = Accesses::planted().await;
    let tokens = [
        accesses.me.as_str(),
        token(&accesses.app),
        token(&accesses.shared),
        "nosuchtoken",
    ];
    for row in TABLE.lines().filter(|row| !row.trim().is_empty()) {
        let (request, expected) = row.split_once('|').unwrap();
        let (method, target) = request.trim().split_once(' ').unwrap();
        let path = match target.trim() {
            "-" => String::new(),
            "app" => format!("/{}", id(&accesses.app)),
            "child" => format!("/{}", id(&accesses.child)),
            "shared" => format!("/{}", id(&accesses.shared)),
            "none" => "/nosuchaccess".to_owned(),
            other => format!("/{other}"),
        };
        let body = match (method, target.trim()) {
            ("POST", "-") => Some(asked("shared", "new")),
            ("POST", _) => Some(json!({ "requestingAppId": "an-app", "requestedPermissions": [] })),
            ("PUT", _) => Some(json!({ "clientData": {} })),
            _ => None,
        };
        for (token, expected) in tokens.iter().zip(expected.split('|')) {
            let expected = expected.trim();
            let (status, error_id) = expected.split_once(' ').unwrap_or((expected, ""));
            let answer = accesses.ask(token, method, &path, body.as_ref()).await;
            let expected = error(status.parse().unwrap(), error_id);
            assert_eq!(answer.error(), expected, "{request}: {}", answer.text);
        }
    }
}

#[tokio::test]
async fn no_route_without_a_token_and_no_other_verb() {
    let accesses = Accesses::planted().await;
    let app = format!("/{}", id(&accesses.app));
    for (method, path) in [("GET", ""), ("POST", ""), ("GET", &app), ("DELETE", &app)] {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{PATH}{path}"));
        let answer = accesses.core.ask(request, axum::body::Body::empty()).await;
        let expected = error(401, "invalid-access-token");
        assert_eq!(answer.error(), expected, "{method} {path}");
    }
    for (method, path) in [("PATCH", ""), ("PUT", ""), ("DELETE", ""), ("POST", &app)] {
        let answer = accesses.ask(&accesses.me, method, path, None).await;
        let expected = error(404, "unknown-resource");
        assert_eq!(answer.error(), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn accesses_come_with_their_endpoint() {
    let accesses = Accesses::planted().await;
    let endpoint = |access: &Value| {
        let token = token(access);
        format!("http://{token}@127.0.0.1:3000/samplebeta1/")
    };
    assert_eq!(accesses.app["apiEndpoint"], endpoint(&accesses.app));
    let one = accesses
        .ask(
            &accesses.me,
            "GET",
            &format!("/{}", id(&accesses.child)),
            None,
        )
        .await;
    assert_eq!(one.json()["access"], accesses.child);
    let calls = json!([
        { "method": "streams.get", "params": {} },
        { "method": "accesses.get", "params": {} },
        { "method": "accesses.getOne", "params": { "id": id(&accesses.child) } },
        { "method": "accesses.create", "params": asked("shared", "batched") },
        { "method": "accesses.get", "params": { "includeExpired": "true" } }
    ]);
    let results = accesses
        .core
        .post_as(&accesses.me, "/samplebeta1/", &calls)
        .await;
    let results = results.json()["results"].clone();
    let listed = results[1]["accesses"].as_array().unwrap();
    assert_eq!(listed.len(), 4);
    for access in listed {
        assert_eq!(access["apiEndpoint"], endpoint(access));
    }
    assert_eq!(results[2]["access"], accesses.child);
    assert_eq!(
        results[3]["access"]["apiEndpoint"],
        endpoint(&results[3]["access"])
    );
    assert_eq!(results[4]["error"]["id"], "invalid-parameters-format");
}

#[tokio::test]
async fn a_deleted_token_opens_nothing_from_then_on() {
    let accesses = Accesses::planted().await;
    let path = format!("/{}", id(&accesses.app));
    let info = "/samplebeta1/access-info";
    for access in [&accesses.app, &accesses.child] {
        assert_eq!(accesses.core.get_as(token(access), info).await.status, 200);
    }
    let deleted = accesses.ask(&accesses.me, "DELETE", &path, None).await;
    let mut deleted = deleted.json();
    deleted.as_object_mut().unwrap().remove("meta");
    let wanted = json!({ "accessDeletion": { "id": id(&accesses.app) },
        "relatedDeletions": [{ "id": id(&accesses.child) }] });
    assert_eq!(deleted, wanted);
    for access in [&accesses.app, &accesses.child] {
        let answer = accesses.core.get_as(token(access), info).await;
        assert_eq!(answer.error(), error(403, "invalid-access-token"));
        let events = accesses
            .core
            .get_as(token(access), "/samplebeta1/events")
            .await;
        assert_eq!(events.error(), error(403, "invalid-access-token"));
    }
    let listed = accesses
        .ask(&accesses.me, "GET", "?includeDeletions=true", None)
        .await;
    let listed = listed.json();
    assert_eq!(listed["accessDeletions"].as_array().unwrap().len(), 2);
    assert_eq!(listed["accessDeletions"][0].get("apiEndpoint"), None);
}

#[tokio::test]
async fn query_parameters_are_read() {
    let accesses = Accesses::planted().await;
    let mut ended = asked("shared", "ended");
    ended["expireAfter"] = json!(0);
    let ended = create(&accesses.core, &accesses.me, &ended).await;
    for path in ["events", "events/x/y", "access-info"] {
        let path = format!("/samplebeta1/{path}");
        let answer = accesses.core.get_as(token(&ended), &path).await;
        assert_eq!(answer.error(), error(403, "forbidden"), "{path}");
        let named = answer.header("pryv-access-id");
        assert_eq!(named, ended["id"].as_str(), "it was found: {path}");
    }
    for (query, count) in [
        ("", 4),
        ("?includeExpired=false", 4),
        ("?includeExpired=TRUE", 5),
    ] {
        let listed = accesses.ask(&accesses.me, "GET", query, None).await.json();
        assert_eq!(
            listed["accesses"].as_array().unwrap().len(),
            count,
            "{query}"
        );
    }
    let answer = accesses
        .ask(&accesses.me, "GET", "?includeExpired=x", None)
        .await;
    assert_eq!(answer.error(), error(400, "invalid-parameters-format"));
}

#[tokio::test]
async fn an_access_is_updated_and_shows_its_versions() {
    let accesses = Accesses::planted().await;
    let base = id(&accesses.shared);
    let change = json!({ "name": "nurse" });
    let (asking, body) = (&accesses, Some(&change));
    let put = |path: String| async move { asking.ask(&asking.me, "PUT", &path, body).await };
    let updated = put(format!("/{base}")).await;
    assert_eq!(updated.status, 200, "{}", updated.text);
    let updated = updated.json()["access"].clone();
    assert_eq!(id(&updated), format!("{base}:1"));
    assert_eq!(updated["apiEndpoint"], accesses.shared["apiEndpoint"]);
    assert_eq!(
        put(format!("/{base}")).await.error(),
        error(409, "stale-resource")
    );
    assert_eq!(
        put(format!("/{base}:0")).await.error(),
        error(404, "unknown-resource")
    );
    let path = format!("/{base}?includeHistory=true");
    let whole = accesses.ask(&accesses.me, "GET", &path, None).await.json();
    assert_eq!(whole["access"], updated);
    assert_eq!(whole["history"], json!([accesses.shared]));
    let calls = json!([
        { "method": "accesses.update", "params": { "id": format!("{base}:1"), "update": change } },
        { "method": "accesses.update", "params": { "id": format!("{base}:2"), "name": "x" } },
        { "method": "accesses.checkApp", "params": { "requestingAppId": "an-app",
            "requestedPermissions": [] } }
    ]);
    let results = accesses
        .core
        .post_as(&accesses.me, "/samplebeta1/", &calls)
        .await;
    let results = results.json()["results"].clone();
    assert_eq!(results[0]["access"]["id"], format!("{base}:2"));
    assert!(results[0]["access"]["apiEndpoint"].is_string());
    assert_eq!(results[1]["error"]["id"], "invalid-parameters-format");
    assert_eq!(results[2]["mismatchingAccess"]["id"], accesses.app["id"]);
    assert_eq!(results[2]["mismatchingAccess"].get("apiEndpoint"), None);
    // The header names the access, not its version.
    let info = accesses
        .core
        .get_as(token(&updated), "/samplebeta1/access-info")
        .await;
    assert_eq!(info.header("pryv-access-id"), Some(base));
    assert_eq!(info.json()["name"], "nurse");
}
