//! The second factor over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use homecore_http::Rate;
use homecore_http::rate::RateRule;
use serde_json::{Value, json};

use super::support::{ADMIN, Answer, Core, ORIGIN, PASSWORD, THERE, Wanted, error};

fn path(call: &str) -> String {
    format!("/samplebeta1/mfa/{call}")
}

/// With what stands in the `Authorization` header; nothing if it is empty.
async fn call(core: &Core, name: &str, token: &str, body: &Value) -> Answer {
    let request = http::Request::post(path(name)).header("content-type", "application/json");
    let request = match token {
        "" => request,
        token => request.header("authorization", token),
    };
    core.ask(request, body.to_string()).await
}

async fn login(core: &Core) -> Answer {
    let body = json!({ "username": "samplebeta1", "password": PASSWORD, "appId": "sample-app" });
    let request = http::Request::post("/samplebeta1/auth/login")
        .header("content-type", "application/json")
        .header("origin", ORIGIN);
    core.ask(request, body.to_string()).await
}

fn with_codes() -> Core {
    Core::of(Wanted {
        codes: true,
        ..Wanted::default()
    })
}

fn text(answer: &Answer, name: &str) -> String {
    let body = answer.json();
    let text = body[name].as_str();
    text.unwrap_or_else(|| unreachable!("no {name}: {}", answer.text))
        .to_owned()
}

async fn activate(core: &Core, token: &str) -> Vec<String> {
    let begun = call(core, "activate", token, &json!({ "phone": "123" })).await;
    assert_eq!(begun.status, 302, "{}", begun.text);
    assert_eq!(begun.header("location"), None);
    assert_eq!(core.phone.number(), "123");
    let code = json!({ "code": core.phone.code() });
    let confirmed = call(core, "confirm", &text(&begun, "mfaToken"), &code).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text);
    serde_json::from_value(confirmed.json()["recoveryCodes"].clone()).unwrap()
}

#[tokio::test]
async fn a_log_in_asks_for_the_code() {
    let core = with_codes();
    let token = core.register("samplebeta1").await;
    assert_eq!(activate(&core, &token).await.len(), 10);
    let waiting = login(&core).await;
    assert_eq!(waiting.status, 200);
    let body = waiting.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert!(
        names.contains(&&"mfaToken".to_owned()) && names.len() == 2,
        "{names:?}"
    );
    let mfa_token = text(&waiting, "mfaToken");
    // It is no access token.
    let used = core.get_as(&mfa_token, "/samplebeta1/access-info").await;
    assert_eq!(used.error(), error(403, "invalid-access-token"));
    let sent = call(&core, "challenge", &mfa_token, &json!({})).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    assert!(sent.json()["message"].is_string());
    let code = json!({ "code": core.phone.code() });
    let bearer = format!("Bearer {mfa_token}");
    let verified = call(&core, "verify", &bearer, &code).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    assert!(text(&verified, "apiEndpoint").contains(&text(&verified, "token")));
    let opened = text(&verified, "token");
    assert_eq!(
        core.get_as(&opened, "/samplebeta1/access-info")
            .await
            .status,
        200
    );
    let again = call(&core, "verify", &bearer, &code).await;
    assert_eq!(again.error(), error(401, "invalid-access-token"));

    let off = call(&core, "deactivate", &opened, &json!({})).await;
    assert_eq!(off.status, 200, "{}", off.text);
    assert!(login(&core).await.json()["token"].is_string());
}

#[tokio::test]
async fn a_recovery_code_removes_it() {
    let core = with_codes();
    let token = core.register("samplebeta1").await;
    let recover = |password: &str, code: &str| json!({ "username": "SampleBeta1", "password": password, "recoveryCode": code });
    let inactive = call(&core, "recover", "", &recover(PASSWORD, "x")).await;
    assert_eq!(inactive.error(), error(400, "invalid-operation"));
    let codes = activate(&core, &token).await;
    let wrong = call(&core, "recover", "", &recover("nope", &codes[0])).await;
    assert_eq!(wrong.error(), error(401, "invalid-credentials"));
    let wrong = call(&core, "recover", "", &recover(PASSWORD, "x")).await;
    assert_eq!(wrong.error(), error(400, "invalid-parameters-format"));
    let missing = call(&core, "recover", "", &json!({})).await;
    assert_eq!(missing.error(), error(400, "invalid-parameters-format"));
    let mut other = recover(PASSWORD, &codes[0]);
    other["username"] = json!("samplebeta2");
    let other = call(&core, "recover", "", &other).await;
    assert_eq!(other.error(), error(400, "invalid-operation"));
    let done = call(&core, "recover", "", &recover(PASSWORD, &codes[0])).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(login(&core).await.json()["token"].is_string());
}

#[tokio::test]
async fn an_administrator_removes_it() {
    let core = with_codes();
    let token = core.register("samplebeta1").await;
    activate(&core, &token).await;
    let path = "/system/users/samplebeta1/mfa";
    for key in [token.as_str(), "nope"] {
        let refused = core.send_as(key, "DELETE", path, None).await;
        assert_eq!(refused.error(), error(404, "unknown-resource"));
    }
    assert!(login(&core).await.json()["token"].is_null());
    for _ in 0..2 {
        let done = core.send_as(ADMIN, "DELETE", path, None).await;
        assert_eq!((done.status, done.text.as_str()), (204, ""));
    }
    assert!(login(&core).await.json()["token"].is_string());
    core.fake.add_elsewhere("samplebeta3");
    let path = "/system/users/samplebeta3/mfa";
    let elsewhere = core.send_as(ADMIN, "DELETE", path, None).await;
    assert_eq!(elsewhere.status, 421);
    let path = "/system/users/nobody-here/mfa";
    let nobody = core.send_as(ADMIN, "DELETE", path, None).await;
    assert_eq!(nobody.error(), error(404, "unknown-resource"));
}

#[tokio::test]
async fn wrong_tokens_codes_and_providers_are_refused() {
    let core = with_codes();
    let token = core.register("samplebeta1").await;
    let code = json!({ "code": "0000" });
    for name in ["confirm", "challenge", "verify"] {
        for unknown in ["", "nope", "Bearer nope", "Basic ###", token.as_str()] {
            let refused = call(&core, name, unknown, &code).await;
            let expected = error(401, "invalid-access-token");
            assert_eq!(refused.error(), expected, "{name} {unknown}");
        }
    }
    for name in ["activate", "deactivate"] {
        let refused = call(&core, name, "", &json!({})).await;
        assert_eq!(
            refused.error(),
            error(401, "invalid-access-token"),
            "{name}"
        );
        let refused = call(&core, name, "nope", &json!({})).await;
        assert_eq!(
            refused.error(),
            error(403, "invalid-access-token"),
            "{name}"
        );
    }
    let app = json!({ "type": "app", "name": "app", "permissions": [{ "streamId": "*", "level": "manage" }] });
    let app = core.post_as(&token, "/samplebeta1/accesses", &app).await;
    let app = app.json()["access"]["token"].as_str().unwrap().to_owned();
    for name in ["activate", "deactivate"] {
        let refused = call(&core, name, &app, &json!({})).await;
        assert_eq!(refused.error(), error(403, "forbidden"), "{name}");
    }
    let list = call(&core, "activate", &token, &json!([])).await;
    assert_eq!(list.error(), error(400, "invalid-request-structure"));
    let long = json!({ "phone": "1".repeat(5_000) });
    let long = call(&core, "activate", &token, &long).await;
    assert_eq!(long.error(), error(400, "invalid-parameters-format"));

    core.phone.broken.store(true, Ordering::SeqCst);
    let broken = call(&core, "activate", &token, &json!({ "phone": "123" })).await;
    assert_eq!(broken.error(), error(400, "invalid-operation"));
    assert_eq!(
        broken.json()["error"]["data"]["id"],
        "mfa-sms-provider-error"
    );
    core.phone.broken.store(false, Ordering::SeqCst);
    activate(&core, &token).await;
    let waiting = text(&login(&core).await, "mfaToken");
    core.phone.broken.store(true, Ordering::SeqCst);
    let broken = call(&core, "challenge", &waiting, &json!({})).await;
    assert_eq!(
        broken.json()["error"]["data"]["id"],
        "mfa-sms-provider-error"
    );
    core.phone.broken.store(false, Ordering::SeqCst);
    call(&core, "challenge", &waiting, &json!({})).await;
    for (body, data) in [
        (json!({ "code": "none" }), json!("invalid-mfa-code")),
        (json!({ "code": 1234 }), Value::Null),
        (json!({}), Value::Null),
    ] {
        let wrong = call(&core, "verify", &waiting, &body).await;
        assert_eq!(
            wrong.error(),
            error(400, "invalid-parameters-format"),
            "{body}"
        );
        assert_eq!(wrong.json()["error"]["data"]["id"], data, "{body}");
    }
    let right = json!({ "code": core.phone.code() });
    assert_eq!(call(&core, "verify", &waiting, &right).await.status, 200);
}

#[tokio::test]
async fn where_no_codes_are_sent_nothing_is_asked() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let off = error(503, "api-unavailable");
    let body = json!({ "code": "0000" });
    assert_eq!(call(&core, "activate", &token, &body).await.error(), off);
    for name in ["confirm", "challenge", "verify"] {
        for token in ["", "x"] {
            assert_eq!(call(&core, name, token, &body).await.error(), off, "{name}");
        }
    }
    let done = call(&core, "deactivate", &token, &json!({})).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert!(login(&core).await.json()["token"].is_string());
}

#[tokio::test]
async fn users_elsewhere_and_nowhere_are_answered_as_on_other_routes() {
    let core = with_codes();
    core.fake.add_elsewhere("samplebeta3");
    for name in [
        "activate",
        "confirm",
        "challenge",
        "verify",
        "deactivate",
        "recover",
    ] {
        let elsewhere = core
            .post(&format!("/samplebeta3/mfa/{name}"), &json!({}))
            .await;
        assert_eq!(elsewhere.status, 421, "{name}");
        assert_eq!(elsewhere.json()["error"]["coreUrl"], THERE);
        let nobody = core
            .post(&format!("/nobody-here/mfa/{name}"), &json!({}))
            .await;
        assert_eq!(nobody.error(), error(404, "unknown-resource"), "{name}");
    }
}

#[tokio::test]
async fn codes_are_limited_by_user_and_by_address() {
    let rule = RateRule {
        burst: 1,
        per_second: 0.001,
    };
    for (rate, limited) in [
        (Rate::MfaSend, &["challenge"][..]),
        (Rate::MfaTry, &["confirm", "verify"]),
        (Rate::LoginByUser, &["recover"]),
        (
            Rate::LoginByClient,
            &["challenge", "confirm", "verify", "recover"],
        ),
    ] {
        for name in limited {
            let core = Core::of(Wanted {
                codes: true,
                rates: BTreeMap::from([(rate, rule)]),
                ..Wanted::default()
            });
            core.register("samplebeta1").await;
            let body = json!({ "code": "0000" });
            assert_ne!(call(&core, name, "nope", &body).await.status, 429);
            let second = call(&core, name, "nope", &body).await;
            assert_eq!(
                second.error(),
                error(429, "too-many-requests"),
                "{rate:?} {name}"
            );
            assert!(second.header("retry-after").is_some());
        }
    }
    let core = Core::of(Wanted {
        codes: true,
        rates: BTreeMap::from([(Rate::MfaSend, rule)]),
        ..Wanted::default()
    });
    let token = core.register("samplebeta1").await;
    let body = json!({ "phone": "123" });
    assert_eq!(call(&core, "activate", &token, &body).await.status, 302);
    assert_eq!(call(&core, "activate", &token, &body).await.status, 429);
}
