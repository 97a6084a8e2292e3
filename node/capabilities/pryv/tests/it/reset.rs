//! A new password by mail, over HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use homecore_http::Rate;
use homecore_http::rate::RateRule;
use homecore_kernel::account::passwords::PasswordPolicy;
use serde_json::{Value, json};

use super::support::{Answer, Core, ORIGIN, PASSWORD, THERE, Wanted, error};

const REQUEST: &str = "/samplebeta1/account/request-password-reset";
const RESET: &str = "/samplebeta1/account/reset-password";
const NEW: &str = "sample-pass-2";

async fn post(core: &Core, path: &str, origin: &str, body: &Value) -> Answer {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .header("origin", origin);
    core.ask(request, body.to_string()).await
}

async fn request(core: &Core) -> Answer {
    post(core, REQUEST, ORIGIN, &json!({ "appId": "sample-app" })).await
}

async fn reset(core: &Core, token: &str, new: &str) -> Answer {
    let body = json!({ "appId": "sample-app", "resetToken": token, "newPassword": new });
    post(core, RESET, ORIGIN, &body).await
}

async fn login(core: &Core, password: &str) -> Answer {
    let body = json!({ "username": "samplebeta1", "password": password, "appId": "sample-app" });
    post(core, "/samplebeta1/auth/login", ORIGIN, &body).await
}

fn is_only_meta(answer: &Answer) -> bool {
    let body = answer.json();
    answer.status == 200 && body.as_object().unwrap().keys().eq(["meta"])
}

#[tokio::test]
async fn a_password_is_reset_once_and_every_session_ends() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    // As apps send it, with fields that nobody asks for.
    let body = json!({ "appId": "sample-app", "username": "samplebeta1" });
    let asked = post(&core, REQUEST, ORIGIN, &body).await;
    assert!(is_only_meta(&asked), "{}", asked.text);
    let mails = core.mails.posted();
    assert_eq!(mails.len(), 1);
    assert_eq!(mails[0].to.as_str(), "samplebeta1@example.com");
    assert_eq!(mails[0].username.as_str(), "samplebeta1");
    let first = core.mails.token();
    assert!(!format!("{mails:?}").contains(&first));
    request(&core).await;
    let second = core.mails.token();

    let wrong = reset(&core, "nope", NEW).await;
    assert_eq!(wrong.error(), error(401, "invalid-access-token"));
    let short = reset(&core, &first, "short").await;
    assert_eq!(short.error(), error(400, "invalid-parameters-format"));
    let path = "/samplebeta1/access-info";
    assert_eq!(core.get_as(&token, path).await.status, 200);

    let done = reset(&core, &first, NEW).await;
    assert!(is_only_meta(&done), "{}", done.text);
    for used in [&first, &second] {
        let again = reset(&core, used, "sample-pass-3").await;
        assert_eq!(again.error(), error(401, "invalid-access-token"));
    }
    let ended = core.get_as(&token, path).await;
    assert_eq!(ended.error(), error(403, "invalid-access-token"));
    assert_eq!(login(&core, PASSWORD).await.status, 401);
    let logged_in = login(&core, NEW).await;
    assert_eq!(logged_in.status, 200);
    assert_ne!(logged_in.json()["token"], token.as_str());
}

#[tokio::test]
async fn a_token_is_for_its_user_alone() {
    let core = Core::new();
    core.register("samplebeta1").await;
    core.register("samplebeta2").await;
    request(&core).await;
    let token = core.mails.token();
    let body = json!({ "appId": "sample-app", "resetToken": token, "newPassword": NEW });
    let path = "/samplebeta2/account/reset-password";
    let other = post(&core, path, ORIGIN, &body).await;
    assert_eq!(other.error(), error(401, "invalid-access-token"));
    assert_eq!(reset(&core, &token, NEW).await.status, 200);
}

#[tokio::test]
async fn a_token_that_was_sent_to_a_former_address_is_void() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    request(&core).await;
    let sent = core.mails.token();
    let change = json!({ "email": "moved@example.com" });
    let changed = core
        .send_as(&token, "PUT", "/samplebeta1/account", Some(&change))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let used = reset(&core, &sent, NEW).await;
    assert_eq!(used.error(), error(401, "invalid-access-token"));
    request(&core).await;
    assert_eq!(reset(&core, &core.mails.token(), NEW).await.status, 200);
}

#[tokio::test]
async fn requests_that_are_refused_use_up_nothing_of_the_persons() {
    let rule = RateRule {
        burst: 2,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::ResetByUser, rule)]),
        ..Wanted::default()
    });
    core.register("samplebeta1").await;
    for _ in 0..3 {
        let body = json!({ "appId": "x" });
        assert_eq!(
            post(&core, REQUEST, "https://evil.test", &body)
                .await
                .status,
            401
        );
    }
    assert_eq!(request(&core).await.status, 200);
}

#[tokio::test]
async fn what_is_missing_wrong_or_not_trusted_is_refused() {
    let core = Core::new();
    core.register("samplebeta1").await;
    request(&core).await;
    let token = core.mails.token();
    let full = json!({ "appId": "sample-app", "resetToken": token, "newPassword": NEW });
    for path in [REQUEST, RESET] {
        let untrusted = post(&core, path, "https://evil.example.com", &full).await;
        assert_eq!(untrusted.error(), error(401, "invalid-credentials"));
        // The referer does not stand in for the origin here.
        let referer = http::Request::post(path)
            .header("content-type", "application/json")
            .header("referer", ORIGIN);
        let untrusted = core.ask(referer, full.to_string()).await;
        assert_eq!(untrusted.error(), error(401, "invalid-credentials"));
        let malformed = http::Request::post(path).header("content-type", "application/json");
        let malformed = core.ask(malformed, "{").await;
        assert_eq!(malformed.error(), error(400, "invalid-request-structure"));
        let get = core.get(path).await;
        assert_eq!(get.status, 404, "{path}");
    }
    let without = |name: &str| {
        let mut body = full.clone();
        body.as_object_mut().unwrap().shift_remove(name);
        body
    };
    let with = |name: &str, value: Value| {
        let mut body = full.clone();
        body[name] = value;
        body
    };
    for (path, body) in [
        (REQUEST, without("appId")),
        (REQUEST, with("appId", json!(1))),
        (RESET, without("appId")),
        (RESET, without("resetToken")),
        (RESET, without("newPassword")),
        (RESET, with("resetToken", json!({ "$ne": "" }))),
        (RESET, with("newPassword", json!("x".repeat(101)))),
    ] {
        let refused = post(&core, path, ORIGIN, &body).await;
        let expected = error(400, "invalid-parameters-format");
        assert_eq!(refused.error(), expected, "{path} {body}");
    }
    assert_eq!(core.mails.posted().len(), 1);
    assert_eq!(login(&core, PASSWORD).await.status, 200);
}

#[tokio::test]
async fn users_elsewhere_and_nowhere_are_answered_as_on_other_routes() {
    let core = Core::new();
    core.fake.add_elsewhere("samplebeta3");
    let body = json!({ "appId": "sample-app", "resetToken": "x", "newPassword": NEW });
    for route in ["request-password-reset", "reset-password"] {
        let path = format!("/samplebeta3/account/{route}");
        let elsewhere = post(&core, &path, ORIGIN, &body).await;
        assert_eq!(elsewhere.status, 421);
        assert_eq!(elsewhere.json()["error"]["coreUrl"], THERE);
        let path = format!("/nobody-here/account/{route}");
        let nobody = post(&core, &path, ORIGIN, &body).await;
        assert_eq!(nobody.error(), error(404, "unknown-resource"));
    }
}

#[tokio::test]
async fn without_mail_the_answer_is_the_same_and_a_full_queue_is_told() {
    let core = Core::new();
    core.register("samplebeta1").await;
    core.mails.off.store(true, Ordering::SeqCst);
    assert!(is_only_meta(&request(&core).await));
    core.mails.off.store(false, Ordering::SeqCst);
    core.mails.full.store(true, Ordering::SeqCst);
    let full = request(&core).await;
    assert_eq!(full.error(), error(503, "api-unavailable"));
    assert_eq!(full.header("retry-after"), Some("7"));
    core.mails.full.store(false, Ordering::SeqCst);
    // Anybody can ask; the person gets a few mails, not one each.
    for _ in 0..12 {
        assert!(is_only_meta(&request(&core).await));
    }
    assert_eq!(core.mails.posted().len(), 5);
}

#[tokio::test]
async fn an_expired_password_is_left_by_a_reset_under_the_same_rules() {
    let core = Core::of(Wanted {
        passwords: PasswordPolicy {
            age_max: Some(Duration::ZERO),
            categories_min: 2,
            history: 2,
            ..PasswordPolicy::default()
        },
        ..Wanted::default()
    });
    core.register("samplebeta1").await;
    let expired = login(&core, PASSWORD).await;
    assert!(expired.json()["error"]["data"]["expiredTime"].is_number());
    request(&core).await;
    let token = core.mails.token();
    let simple = reset(&core, &token, "simplesimple").await;
    assert_eq!(simple.error(), error(400, "invalid-parameters-format"));
    assert!(simple.json()["error"]["data"][0].is_string());
    let used = reset(&core, &token, PASSWORD).await;
    assert_eq!(used.error(), error(400, "invalid-operation"));
    assert_eq!(reset(&core, &token, NEW).await.status, 200);
}

#[tokio::test]
async fn resets_are_limited_by_user_and_by_address() {
    let rule = RateRule {
        burst: 2,
        per_second: 0.001,
    };
    for (rate, requests, resets) in [
        (Rate::ResetByUser, 429, 401),
        (Rate::ResetByClient, 429, 401),
        (Rate::LoginByUser, 200, 429),
        (Rate::LoginByClient, 200, 429),
    ] {
        let core = Core::of(Wanted {
            rates: BTreeMap::from([(rate, rule)]),
            ..Wanted::default()
        });
        core.register("samplebeta1").await;
        for _ in 0..2 {
            assert_eq!(request(&core).await.status, 200);
            assert_eq!(reset(&core, "nope", NEW).await.status, 401);
        }
        let third = request(&core).await;
        assert_eq!(third.status, requests, "{rate:?}");
        assert_eq!(third.header("retry-after").is_some(), requests == 429);
        let third = reset(&core, "nope", NEW).await;
        assert_eq!(third.status, resets, "{rate:?}");
        assert_eq!(third.header("retry-after").is_some(), resets == 429);
    }
}
