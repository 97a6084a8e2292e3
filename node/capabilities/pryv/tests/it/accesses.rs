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

fn shown(answer: &Answer) -> (u16, String) {
    let (status, id) = answer.error();
    (status, id)
}

#[tokio::test]
async fn every_route_with_every_kind_of_token() {
    let accesses = Accesses::planted().await;
    let fine = || (200, "");
    let forbidden = || (403, "forbidden");
    let unknown = || (404, "unknown-resource");
    let nobody = || (403, "invalid-access-token");
    let new = json!({ "name": "new", "permissions": [{ "streamId": "health", "level": "read" }] });
    let (shared, child) = (
        format!("/{}", id(&accesses.shared)),
        format!("/{}", id(&accesses.child)),
    );
    let app = format!("/{}", id(&accesses.app));
    // Which token, then what each route answers it.
    let table = [
        ("GET", "", None, [fine(), fine(), forbidden(), nobody()]),
        ("GET", &app, None, [fine(), fine(), forbidden(), nobody()]),
        ("GET", &child, None, [fine(), fine(), forbidden(), nobody()]),
        (
            "GET",
            &shared,
            None,
            [fine(), unknown(), forbidden(), nobody()],
        ),
        (
            "GET",
            "/nosuchaccess",
            None,
            [unknown(), unknown(), forbidden(), nobody()],
        ),
        (
            "POST",
            "",
            Some(&new),
            [
                (201, ""),
                (409, "item-already-exists"),
                forbidden(),
                nobody(),
            ],
        ),
        (
            "DELETE",
            "/nosuchaccess",
            None,
            [unknown(), forbidden(), forbidden(), nobody()],
        ),
        // The shared one may delete itself, and is gone then.
        (
            "DELETE",
            &child,
            None,
            [fine(), unknown(), forbidden(), nobody()],
        ),
        (
            "DELETE",
            &shared,
            None,
            [fine(), forbidden(), nobody(), nobody()],
        ),
    ];
    let tokens = [
        accesses.me.as_str(),
        token(&accesses.app),
        token(&accesses.shared),
        "nosuchtoken",
    ];
    for (method, path, body, expected) in table {
        for (token, (status, id)) in tokens.iter().zip(expected) {
            let answer = accesses.ask(token, method, path, body).await;
            assert_eq!(
                shown(&answer),
                error(status, id),
                "{method} {path}: {}",
                answer.text
            );
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
            &format!("/{}", id(&accesses.app)),
            None,
        )
        .await;
    assert_eq!(one.json()["access"], accesses.app);
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
    let answer = accesses
        .core
        .get_as(token(&ended), "/samplebeta1/events")
        .await;
    assert_eq!(answer.error(), error(403, "forbidden"));
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
