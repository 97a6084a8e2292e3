//! Bodies of those who are not known: small, and read only after the limits of rates.

use std::collections::BTreeMap;

use axum::body::Body;
use futures_util::stream;
use homecore_http::body::ANONYMOUS_BODY_BYTES_MAX;
use homecore_http::{Rate, RateRule};
use http::Request;
use serde_json::json;

use crate::support::{ADMIN, Core, Wanted, error};

/// Routes that read a body without a token, and the rule that limits them.
const OPEN: &[(&str, Option<Rate>)] = &[
    ("/users", Some(Rate::Registration)),
    ("/reg/users", Some(Rate::Registration)),
    ("/reg/user", Some(Rate::Registration)),
    ("/reg/access", Some(Rate::AccessRequest)),
    ("/reg/access/nosuchkey1234567", Some(Rate::AccessPoll)),
    ("/access/invitationtoken/check", Some(Rate::Lookup)),
    ("/reg/access/invitationtoken/check", Some(Rate::Lookup)),
    ("/samplebeta1/auth/login", Some(Rate::LoginByClient)),
    ("/samplebeta1/auth/login", Some(Rate::LoginByUser)),
    (
        "/samplebeta1/shared-secrets/retrieve",
        Some(Rate::SharedSecret),
    ),
    ("/reg/records", None),
    ("/system/admin/invitations", None),
];

fn too_large() -> String {
    json!({ "username": "x".repeat(ANONYMOUS_BODY_BYTES_MAX) }).to_string()
}

fn json_post(path: &str, token: &str) -> http::request::Builder {
    Request::post(path)
        .header("content-type", "application/json")
        .header("authorization", token)
}

#[tokio::test]
async fn without_a_token_bodies_are_small() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    for (path, _) in OPEN {
        let answer = core.ask(json_post(path, ADMIN), too_large()).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-request-structure"),
            "{path}"
        );
        let message = answer.json()["error"]["message"].clone();
        assert_eq!(message, "The body is larger than 262144 bytes", "{path}");
    }
    let answer = core
        .ask(json_post("/samplebeta1/auth/login", &token), too_large())
        .await;
    assert_eq!(
        answer.status, 400,
        "a token is no reason where none is read"
    );
}

#[tokio::test]
async fn with_a_token_bodies_may_be_large() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let stream = json!({ "id": "diary", "name": "Diary" });
    let made = core.post_as(&token, "/samplebeta1/streams", &stream).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let event = json!({
        "streamIds": ["diary"], "type": "note/txt",
        "content": "x".repeat(ANONYMOUS_BODY_BYTES_MAX),
    });
    let answer = core.post_as(&token, "/samplebeta1/events", &event).await;
    assert_eq!(answer.status, 201);
    let calls = json!([{ "method": "events.create", "params": event }]);
    let answer = core.post_as(&token, "/samplebeta1", &calls).await;
    assert_eq!(answer.status, 200);
    assert!(answer.json()["results"][0]["event"].is_object());

    for path in [
        "/samplebeta1/events",
        "/samplebeta1",
        "/samplebeta1/streams",
    ] {
        for (token, expected) in [
            ("wrong", error(403, "invalid-access-token")),
            ("", error(401, "invalid-access-token")),
        ] {
            let endless = Body::from_stream(stream::pending::<Result<String, std::io::Error>>());
            let answer = core.ask(json_post(path, token), endless).await;
            assert_eq!(answer.error(), expected, "{path} before its body is read");
        }
    }
}

#[tokio::test]
async fn limits_of_rates_come_before_bodies() {
    for (path, rate) in OPEN {
        let Some(rate) = rate else { continue };
        let rule = RateRule {
            burst: 1,
            per_second: 0.001,
        };
        let core = Core::of(Wanted {
            rates: BTreeMap::from([(*rate, rule)]),
            ..Wanted::default()
        });
        if path.starts_with("/samplebeta1") {
            core.register("samplebeta1").await;
        }
        let first = core.ask(json_post(path, ""), "{").await;
        assert_eq!(
            first.error(),
            error(400, "invalid-request-structure"),
            "{path}"
        );
        // Would not end if it were read.
        let endless = Body::from_stream(stream::pending::<Result<String, std::io::Error>>());
        let answer = core.ask(json_post(path, ""), endless).await;
        assert_eq!(answer.error(), error(429, "too-many-requests"), "{path}");
    }
}

#[tokio::test]
async fn other_content_types_are_no_body() {
    let core = Core::new();
    core.register("samplebeta1").await;
    for (path, status, id) in [
        ("/users", 400, "invalid-parameters-format"),
        ("/reg/access", 400, "invalid-parameters"),
        ("/reg/access/nosuchkey1234567", 400, "invalid-parameters"),
        ("/samplebeta1/auth/login", 400, "invalid-operation"),
        ("/reg/records", 400, "invalid-parameters"),
        ("/system/admin/invitations", 201, ""),
    ] {
        let request = Request::post(path)
            .header("content-type", "text/plain")
            .header("authorization", ADMIN);
        let answer = core.ask(request, "{\"username\":").await;
        assert_eq!(answer.error(), error(status, id), "{path}");
    }
}

#[tokio::test]
async fn a_lone_value_is_no_body() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    for path in [
        "/reg/access",
        "/samplebeta1",
        "/samplebeta1/streams",
        "/samplebeta1/events",
        "/samplebeta1/auth/logout",
    ] {
        for body in ["null", "1", "true", "\"x\""] {
            let answer = core.ask(json_post(path, &token), body).await;
            let refused = error(400, "invalid-request-structure");
            assert_eq!(answer.error(), refused, "{path} {body}");
        }
    }
    let answer = core
        .ask(json_post("/samplebeta1/auth/logout", &token), "")
        .await;
    assert_eq!(answer.status, 200, "an empty one is none");
}
