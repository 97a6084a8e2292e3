//! Routes below a user: log-in, tokens, streams, events, batches.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::body::{Body, HttpBody};
use homecore_http::{Rate, RateRule};
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{Answer, Core, ORIGIN, PASSWORD, Wanted, error};

async fn login(core: &Core, origin: Option<(&str, &str)>, body: &Value) -> Answer {
    let mut request =
        Request::post("/samplebeta1/auth/login").header("content-type", "application/json");
    if let Some((name, value)) = origin {
        request = request.header(name, value);
    }
    core.ask(request, body.to_string()).await
}

fn credentials() -> Value {
    json!({ "username": "samplebeta1", "password": PASSWORD, "appId": "sample-app" })
}

async fn core_with_user() -> (Core, String) {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    (core, token)
}

#[tokio::test]
async fn logging_in_gives_a_token_that_works() {
    let (core, _) = core_with_user().await;
    for origin in [
        ("origin", ORIGIN),
        ("referer", "https://l.backloop.dev/page"),
    ] {
        let answer = login(&core, Some(origin), &credentials()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let body = answer.json();
        assert_eq!(body["preferredLanguage"], "en");
        let token = body["token"].as_str().unwrap();
        assert_eq!(
            body["apiEndpoint"],
            format!("http://{token}@127.0.0.1:3000/samplebeta1/")
        );
        assert!(body["meta"]["serverTime"].is_f64());
        assert_eq!(answer.header("pryv-access-id"), None);
        let info = core.get_as(token, "/samplebeta1/access-info").await;
        assert_eq!(info.status, 200);
        assert_eq!(info.json()["user"]["username"], "samplebeta1");
    }
}

#[tokio::test]
async fn logging_in_is_refused_in_order() {
    let (core, _) = core_with_user().await;
    let with = |field: &str, value: Value| {
        let mut body = credentials();
        body[field] = value;
        body
    };
    let trusted = Some(("origin", ORIGIN));
    for (origin, body, status, id) in [
        (trusted, json!({}), 400, "invalid-operation"),
        (None, json!({}), 400, "invalid-operation"),
        (
            trusted,
            with("password", json!(1)),
            400,
            "invalid-parameters-format",
        ),
        (trusted, json!([]), 400, "invalid-request-structure"),
        (None, credentials(), 401, "invalid-credentials"),
        (
            Some(("origin", "https://evil.test")),
            credentials(),
            401,
            "invalid-credentials",
        ),
        (
            trusted,
            with("username", json!("other")),
            400,
            "invalid-operation",
        ),
        (
            trusted,
            with("password", json!("wrong")),
            401,
            "invalid-credentials",
        ),
        (trusted, with("username", json!("SampleBeta1")), 200, ""),
    ] {
        let answer = login(&core, origin, &body).await;
        assert_eq!(answer.error(), error(status, id), "{origin:?} {body}");
        assert!(!answer.text.contains(PASSWORD));
    }
}

#[tokio::test]
async fn guessing_is_slowed_down() {
    let rule = RateRule {
        burst: 2,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::LoginByUser, rule)]),
        ..Wanted::default()
    });
    core.register("samplebeta1").await;
    for _ in 0..2 {
        assert_eq!(login(&core, None, &credentials()).await.status, 401);
    }
    let answer = login(&core, None, &credentials()).await;
    assert_eq!(answer.error(), error(429, "too-many-requests"));
}

#[tokio::test]
async fn tokens_are_taken_from_every_place() {
    let (core, token) = core_with_user().await;
    let basic = |text: String| {
        use base64::Engine;
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(text)
        )
    };
    for header in [
        token.clone(),
        format!("{token} my-app"),
        format!("Bearer {token}"),
        format!("Bearer {token} my-app"),
        basic(format!("{token} my-app:")),
        basic(format!("{token}:")),
        basic(format!("{token}:pass")),
    ] {
        let answer = core.get_as(&header, "/samplebeta1/access-info").await;
        assert_eq!(answer.status, 200, "{header}");
        assert!(answer.header("pryv-access-id").is_some());
    }
    let answer = core
        .get(&format!("/samplebeta1/access-info?auth={token}"))
        .await;
    assert_eq!(answer.status, 200);
    let form = Request::post("/samplebeta1/access-info")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = core.ask(form, format!("_method=GET&_auth={token}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    for (header, status) in [
        ("wrong", 403),
        ("Bearer wrong", 403),
        ("Basic Og==", 403),
        ("", 401),
        (" ", 401),
    ] {
        let answer = core.get_as(header, "/samplebeta1/access-info").await;
        assert_eq!(
            answer.error(),
            error(status, "invalid-access-token"),
            "{header:?}"
        );
        assert_eq!(answer.header("pryv-access-id"), None);
        assert!(answer.json()["meta"].is_object());
    }
    let unknown = core.get_as(&token, "/nosuchuser99/access-info").await;
    assert_eq!(
        unknown.error(),
        error(404, "unknown-resource"),
        "the user comes first"
    );
    core.register("samplebeta2").await;
    let other = core.get_as(&token, "/samplebeta2/access-info").await;
    assert_eq!(
        other.error(),
        error(403, "invalid-access-token"),
        "a token is one user's"
    );
}

#[tokio::test]
async fn the_caller_is_recorded() {
    let (core, token) = core_with_user().await;
    let body = json!({ "id": "diary", "name": "Diary" });
    let answer = core
        .post_as(&format!("{token} robot 7"), "/samplebeta1/streams", &body)
        .await;
    let access = answer.header("pryv-access-id").unwrap().to_owned();
    assert_eq!(
        answer.json()["stream"]["createdBy"],
        format!("{access} robot 7")
    );
}

#[tokio::test]
async fn logging_out_ends_the_token() {
    let (core, token) = core_with_user().await;
    let out = core
        .post_as(&token, "/samplebeta1/auth/logout", &json!({}))
        .await;
    assert_eq!(out.status, 200);
    assert_eq!(
        out.json().as_object().unwrap().keys().collect::<Vec<_>>(),
        ["meta"]
    );
    let again = core
        .post_as(&token, "/samplebeta1/auth/logout", &json!({}))
        .await;
    assert_eq!(again.error(), error(403, "invalid-access-token"));

    let (core, token) = core_with_user().await;
    let path = "/samplebeta1/auth/logout";
    let request = || {
        Request::post(path)
            .header("content-type", "application/json")
            .header("authorization", token.as_str())
    };
    let malformed = core.ask(request(), "{").await;
    assert_eq!(malformed.error(), error(400, "invalid-request-structure"));
    assert_eq!(core.ask(request(), "").await.status, 200);
}

#[tokio::test]
async fn parameters_are_named_when_they_are_wrong() {
    let (core, token) = core_with_user().await;
    for (path, code, place) in [
        ("/events?limit=abc", "INVALID_TYPE", "#/limit"),
        ("/events?skip=x", "INVALID_TYPE", "#/skip"),
        ("/events?fromTime=x", "INVALID_TYPE", "#/fromTime"),
        ("/events?toTime=NaN", "INVALID_TYPE", "#/toTime"),
        (
            "/events?modifiedSince=Infinity",
            "INVALID_TYPE",
            "#/modifiedSince",
        ),
        ("/events?sortAscending=2", "INVALID_TYPE", "#/sortAscending"),
        ("/events?running=maybe", "INVALID_TYPE", "#/running"),
        (
            "/events?includeDeletions=1",
            "INVALID_TYPE",
            "#/includeDeletions",
        ),
        ("/events?state=nonsense", "ENUM_MISMATCH", "#/state"),
        ("/events?types=nonsense", "PATTERN", "#/types/0"),
        ("/events?nosuch=1", "OBJECT_ADDITIONAL_PROPERTIES", "#"),
        (
            "/events/x?includeHistory=2",
            "INVALID_TYPE",
            "#/includeHistory",
        ),
        (
            "/streams?includeDeletionsSince=x",
            "INVALID_TYPE",
            "#/includeDeletionsSince",
        ),
        ("/streams?state=nonsense", "ENUM_MISMATCH", "#/state"),
    ] {
        let answer = core.get_as(&token, &format!("/samplebeta1{path}")).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters-format"),
            "{path}"
        );
        let item = answer.json()["error"]["data"][0].clone();
        assert_eq!(
            (&item["code"], &item["path"]),
            (&json!(code), &json!(place)),
            "{path}"
        );
        assert!(answer.header("pryv-access-id").is_some(), "{path}");
    }
}

#[tokio::test]
async fn members_of_bodies_are_named_when_they_are_wrong() {
    let (core, token) = core_with_user().await;
    for (path, body, place) in [
        ("/streams", json!({}), "#/"),
        ("/streams", json!({ "name": 1 }), "#/name"),
        (
            "/streams",
            json!({ "name": "x", "parentId": 1 }),
            "#/parentId",
        ),
        ("/streams", json!({ "name": "x", "nosuch": 1 }), "#"),
        ("/events", json!({}), "#/"),
        (
            "/events",
            json!({ "type": 1, "streamIds": ["a"] }),
            "#/type",
        ),
        (
            "/events",
            json!({ "type": "a/b", "streamIds": "a" }),
            "#/streamIds",
        ),
        (
            "/events",
            json!({ "type": "a/b", "streamIds": ["a"], "time": "x" }),
            "#/time",
        ),
        (
            "/events",
            json!({ "type": "a/b", "streamIds": ["a"], "tags": [] }),
            "#",
        ),
        ("/events", json!([]), "#"),
        ("", json!({ "method": "x" }), "#"),
        ("/", json!([{ "method": "x" }]), "#/0/"),
    ] {
        let answer = core
            .post_as(&token, &format!("/samplebeta1{path}"), &body)
            .await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters-format"),
            "{path} {body}"
        );
        let items = answer.json()["error"]["data"].clone();
        assert_eq!(items[0]["path"], place, "{path} {body} {items}");
    }
    for query in ["streams[0][any][]=a", "streams=%5B", "streams=%7B%7D"] {
        let answer = core
            .get_as(&token, &format!("/samplebeta1/events?{query}"))
            .await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-request-structure"),
            "{query}"
        );
    }
}

#[tokio::test]
async fn events_are_made_found_and_streamed() {
    let (core, token) = core_with_user().await;
    core.post_as(
        &token,
        "/samplebeta1/streams",
        &json!({ "id": "diary", "name": "Diary" }),
    )
    .await;
    let note = "long ".repeat(200);
    for n in 0..300 {
        let body =
            json!({ "streamIds": ["diary"], "type": "note/txt", "content": note, "time": n });
        let made = core.post_as(&token, "/samplebeta1/events", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    let path = "/samplebeta1/events?fromTime=-1&toTime=1000&streams[]=diary&modifiedSince=0\
                &includeDeletions=true&sortAscending=TRUE";
    let request = Request::get(path)
        .header("authorization", token.as_str())
        .body(Body::empty());
    let mut response = core.app.handle(request.unwrap()).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let (mut text, mut pieces) = (Vec::new(), 0);
    while let Some(frame) = response.body_mut().frame().await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        pieces += 1;
    }
    assert!(pieces > 1, "sent in {pieces} pieces");
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("{\"events\":[{"), "{text}");
    assert!(
        text.contains("}],\"eventDeletions\":[],\"meta\":{"),
        "{text}"
    );
    let body: Value = serde_json::from_str(&text).unwrap();
    let events = body["events"].as_array().unwrap();
    assert_eq!(events.len(), 300);
    assert_eq!(events[299]["time"], 299);

    let id = events[0]["id"].as_str().unwrap();
    let one = core
        .get_as(&token, &format!("/samplebeta1/events/{id}"))
        .await;
    assert_eq!(one.json()["event"], events[0]);
    let none = core.get_as(&token, "/samplebeta1/events/nosuchevent").await;
    assert_eq!(none.error(), error(404, "unknown-resource"));
    let start = core.get_as(&token, "/samplebeta1/events/start").await;
    assert_eq!(
        start.error(),
        error(404, "unknown-resource"),
        "taken as an id"
    );
    let none = core
        .get_as(&token, "/samplebeta1/events?toTime=-5&fromTime=-6")
        .await;
    assert!(
        none.text.starts_with("{\"events\":[],\"meta\":{"),
        "{}",
        none.text
    );
}

/// The parsers of the SDK stop at the end of the first list and go on with the next piece.
#[tokio::test]
async fn deletions_come_in_a_piece_after_that_of_the_events() {
    let (core, token) = core_with_user().await;
    let stream = json!({ "id": "diary", "name": "Diary" });
    core.post_as(&token, "/samplebeta1/streams", &stream).await;
    for n in 0..2 {
        let body = json!({ "streamIds": ["diary"], "type": "note/txt", "content": "x", "time": n });
        let made = core.post_as(&token, "/samplebeta1/events", &body).await;
        let id = made.json()["event"]["id"].as_str().unwrap().to_owned();
        for _ in 0..n * 2 {
            let path = format!("/samplebeta1/events/{id}");
            core.send_as(&token, "DELETE", &path, None).await;
        }
    }
    for (query, events, deletions) in [
        ("fromTime=-1&toTime=9&modifiedSince=0", 1, 1),
        ("fromTime=-9&toTime=-8&modifiedSince=0", 0, 1),
        ("fromTime=-1&toTime=9&modifiedSince=99999999999", 0, 0),
    ] {
        // Asked twice: the second answer is a kept one.
        for _ in 0..2 {
            let path = format!("/samplebeta1/events?{query}&includeDeletions=true");
            let request = Request::get(path).header("authorization", token.as_str());
            let mut response = core.app.handle(request.body(Body::empty()).unwrap()).await;
            assert!(response.headers().get("content-length").is_none());
            let is_chunked = HttpBody::size_hint(response.body()).exact().is_none();
            assert!(is_chunked, "{query}");
            let mut pieces = Vec::new();
            while let Some(frame) = response.body_mut().frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                pieces.push(String::from_utf8(piece.to_vec()).unwrap());
            }
            assert_eq!(pieces.len(), 2, "{pieces:?}");
            assert!(pieces[0].ends_with(']'), "{pieces:?}");
            assert!(pieces[1].starts_with(",\"eventDeletions\":["), "{pieces:?}");
            let whole: Value = serde_json::from_str(&pieces.concat()).unwrap();
            let count = |name: &str| whole[name].as_array().unwrap().len();
            assert_eq!(
                (count("events"), count("eventDeletions")),
                (events, deletions)
            );
        }
    }
}

#[tokio::test]
async fn answers_that_are_not_streamed_begin_with_meta() {
    let (core, token) = core_with_user().await;
    for path in [
        "access-info",
        "streams",
        "accesses",
        "service/info",
        "account",
    ] {
        let answer = core.get_as(&token, &format!("/samplebeta1/{path}")).await;
        assert!(answer.text.starts_with("{\"meta\":{\""), "{}", answer.text);
    }
    let calls = json!([{ "method": "events.get", "params": {} }]);
    let batch = core.post_as(&token, "/samplebeta1", &calls).await;
    assert!(batch.text.starts_with("{\"meta\":{\""), "{}", batch.text);
    let literal = "},\"results\":[{\"events\":[";
    assert!(batch.text.contains(literal), "{}", batch.text);
    let out = core
        .post_as(&token, "/samplebeta1/auth/logout", &json!({}))
        .await;
    assert!(out.text.starts_with("{\"meta\":{\""), "{}", out.text);
    assert!(out.text.ends_with("}}"), "{}", out.text);
}

#[tokio::test]
async fn batches_answer_each_call_in_its_place() {
    let (core, token) = core_with_user().await;
    let calls = json!([
        { "method": "streams.create", "params": { "id": "diary", "name": "Diary" } },
        { "method": "service.info", "params": {} },
        { "method": "events.create", "params": { "streamIds": ["nope"], "type": "a/b" } },
        { "method": "no.such", "params": {} },
        { "method": "callBatch", "params": [{ "method": "getAccessInfo", "params": {} }] },
        { "method": "callBatch", "params": [{ "method": "callBatch", "params": [] }] },
        { "method": "callBatch", "params": {} },
        { "method": "events.get", "params": { "streams": ["diary"] } },
        { "method": "events.get", "params": { "limit": "1" } },
    ]);
    for path in ["/samplebeta1", "/samplebeta1/"] {
        let answer = core.post_as(&token, path, &calls).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.header("pryv-access-id").is_some());
        let body = answer.json();
        assert!(body["meta"].is_object());
        let results = body["results"].as_array().unwrap();
        assert_eq!(results.len(), 9);
        assert!(results.iter().all(|result| result.get("meta").is_none()));
        assert_eq!(results[1]["name"], "Test platform");
        assert_eq!(results[2]["error"]["id"], "unknown-referenced-resource");
        assert_eq!(
            results[2]["error"]["data"],
            json!({ "streamIds": ["nope"] })
        );
        assert_eq!(results[3]["error"]["id"], "invalid-method");
        assert_eq!(results[4]["results"][0]["type"], "personal");
        assert_eq!(
            results[5]["results"][0]["error"]["id"], "invalid-request-structure",
            "batches end somewhere"
        );
        assert_eq!(results[6]["error"]["id"], "invalid-parameters-format");
        assert_eq!(results[7], json!({ "events": [] }));
        assert_eq!(
            results[8]["error"]["data"][0]["path"], "#/limit",
            "nothing is coerced"
        );
    }
    let empty = core.post_as(&token, "/samplebeta1/", &json!([])).await;
    assert_eq!((empty.status, &empty.json()["results"]), (200, &json!([])));
    let nobody = core.post("/samplebeta1/", &json!([])).await;
    assert_eq!(nobody.error(), error(401, "invalid-access-token"));
    let form =
        Request::post("/samplebeta1/").header("content-type", "application/x-www-form-urlencoded");
    let answer = core.ask(form, format!("_auth={token}&_json=%5B%5D")).await;
    assert_eq!(
        (answer.status, &answer.json()["results"]),
        (200, &json!([]))
    );
}

#[tokio::test]
async fn users_of_this_core_are_served_while_the_platform_is_down() {
    let (core, token) = core_with_user().await;
    core.fake.down.store(true, Ordering::SeqCst);
    assert_eq!(core.get_as(&token, "/samplebeta1/events").await.status, 200);
    assert_eq!(
        login(&core, Some(("origin", ORIGIN)), &credentials())
            .await
            .status,
        200
    );
    let unknown = core.get_as(&token, "/nosuchuser99/events").await;
    assert_eq!(
        unknown.error(),
        error(503, "api-unavailable"),
        "nobody is denied in doubt"
    );
    assert_eq!(unknown.header("retry-after"), Some("2"));
}
