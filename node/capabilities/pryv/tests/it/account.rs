//! The account over HTTP: its fields, its password, its end.

use std::collections::BTreeMap;
use std::time::Duration;

use homecore_capability_pryv::AccountDeletion;
use homecore_http::Rate;
use homecore_http::rate::RateRule;
use homecore_kernel::account::passwords::PasswordPolicy;
use serde_json::{Value, json};

use super::support::{ADMIN, Answer, Core, ORIGIN, PASSWORD, THERE, Wanted, error, registration};

const ACCOUNT: &str = "/samplebeta1/account";
const USER: &str = "/users/samplebeta1";

async fn login(core: &Core, password: &str) -> u16 {
    log_in(core, password).await.status
}

async fn log_in(core: &Core, password: &str) -> Answer {
    let body = json!({ "username": "samplebeta1", "password": password, "appId": "sample-app" });
    let request = http::Request::post("/samplebeta1/auth/login")
        .header("content-type", "application/json")
        .header("origin", ORIGIN);
    core.ask(request, body.to_string()).await
}

fn deletable(deletion: AccountDeletion) -> Core {
    Core::of(Wanted {
        deletion,
        ..Wanted::default()
    })
}

#[tokio::test]
async fn an_account_is_shown_and_changed() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let shown = core.get_as(&token, ACCOUNT).await;
    assert_eq!(shown.status, 200, "{}", shown.text);
    let account = shown.json()["account"].clone();
    assert_eq!(account["email"], "samplebeta1@example.com");
    assert!(account["storageUsed"]["dbDocuments"].as_u64().unwrap() > 0);
    assert_eq!(account["storageUsed"]["attachedFiles"], 0);

    let change = json!({ "email": "new@example.com", "language": "fr" });
    let changed = core.send_as(&token, "PUT", ACCOUNT, Some(&change)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(changed.json()["account"]["email"], "new@example.com");
    let admin = core.get_as(ADMIN, "/reg/admin/users/samplebeta1").await;
    assert_eq!(admin.json()["language"], "fr");
    for held in ["samplebeta1@example.com", "new@example.com"] {
        let held = core.get(&format!("/reg/{held}/check_email")).await;
        assert_eq!(held.status, 409, "the former one stays the account's");
    }
    let change = json!({ "emails": { "remove": ["samplebeta1@example.com"] } });
    let changed = core.send_as(&token, "PUT", ACCOUNT, Some(&change)).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let free = core.get("/reg/samplebeta1@example.com/check_email").await;
    assert_eq!(free.status, 200);
}

#[tokio::test]
async fn an_address_is_added_and_proved_by_whoever_reads_it() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    core.register("samplebeta2").await;
    let change = json!({ "emails": { "add": ["two@example.com"] } });
    let changed = core.send_as(&token, "PUT", ACCOUNT, Some(&change)).await;
    assert_eq!(changed.json()["account"]["emails"][1]["status"], "pending");
    let owner = core.get("/reg/two@example.com/username").await;
    assert_eq!(owner.json()["username"], "samplebeta1");
    let mut other = registration("samplebeta3");
    other["email"] = json!("two@example.com");
    let other = core.post("/users", &other).await;
    assert_eq!(other.error(), error(409, "item-already-exists"));

    let prove = async |path: &str, origin: &str, link: &str| {
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .header("origin", origin);
        let body = json!({ "appId": "sample-app", "token": link });
        core.ask(request, body.to_string()).await
    };
    let path = "/samplebeta1/account/verify-email";
    let link = core.mails.token();
    let untrusted = prove(path, "https://elsewhere.example.com", &link).await;
    assert_eq!(untrusted.error(), error(401, "invalid-credentials"));
    let elsewhere = prove("/samplebeta2/account/verify-email", ORIGIN, &link).await;
    assert_eq!(elsewhere.error(), error(401, "invalid-access-token"));
    let proved = prove(path, ORIGIN, &link).await;
    assert_eq!(proved.status, 200, "{}", proved.text);
    assert_eq!(proved.json()["email"], "two@example.com");
    let again = prove(path, ORIGIN, &link).await;
    assert_eq!(again.error(), error(401, "invalid-access-token"));
    let shown = core.get_as(&token, ACCOUNT).await;
    assert_eq!(shown.json()["account"]["emails"][1]["status"], "verified");
    let log = "/samplebeta1/events?streams=%5B%22:_audit:access-email-verification-token%22%5D";
    let log = core.get_as(&token, log).await;
    assert_eq!(log.json()["events"].as_array().unwrap().len(), 1);

    // Apps and strangers change no address.
    let change = json!({ "emails": { "remove": ["two@example.com"] } });
    let refused = core.send_as("nobody", "PUT", ACCOUNT, Some(&change)).await;
    assert_eq!(refused.error(), error(403, "invalid-access-token"));
}

#[tokio::test]
async fn another_users_address_is_not_taken() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    core.register("samplebeta2").await;
    let change = json!({ "email": "samplebeta2@example.com" });
    let refused = core.send_as(&token, "PUT", ACCOUNT, Some(&change)).await;
    assert_eq!(refused.error(), error(409, "item-already-exists"));
    assert_eq!(refused.json()["error"]["data"], change);
    core.fake
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let free = json!({ "email": "free@example.com" });
    let refused = core.send_as(&token, "PUT", ACCOUNT, Some(&free)).await;
    assert_eq!(refused.error(), error(503, "api-unavailable"));
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn accounts_need_a_token() {
    let core = Core::new();
    core.register("samplebeta1").await;
    for (method, path, body) in [
        ("GET", ACCOUNT, None),
        ("PUT", ACCOUNT, Some(json!({}))),
        (
            "POST",
            "/samplebeta1/account/change-password",
            Some(json!({})),
        ),
    ] {
        let request = http::Request::builder().method(method).uri(path);
        let body: Option<Value> = body;
        let text = body.as_ref().map(Value::to_string).unwrap_or_default();
        let missing = core
            .ask(request.header("content-type", "application/json"), text)
            .await;
        assert_eq!(
            missing.error(),
            error(401, "invalid-access-token"),
            "{method} {path}"
        );
        let wrong = core.send_as("nope", method, path, body.as_ref()).await;
        assert_eq!(
            wrong.error(),
            error(403, "invalid-access-token"),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn a_password_is_changed_and_sessions_live_on() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let path = "/samplebeta1/account/change-password";
    let wrong = json!({ "oldPassword": "nope-nope", "newPassword": "sample-pass-2" });
    let refused = core.post_as(&token, path, &wrong).await;
    assert_eq!(refused.error(), error(400, "invalid-operation"));
    let change = json!({ "oldPassword": PASSWORD, "newPassword": "sample-pass-2" });
    let changed = core.post_as(&token, path, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let body = changed.json();
    assert_eq!(
        body.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["meta"]
    );
    assert_eq!(login(&core, PASSWORD).await, 401);
    assert_eq!(login(&core, "sample-pass-2").await, 200);
    assert_eq!(core.get_as(&token, ACCOUNT).await.status, 200);
}

#[tokio::test]
async fn passwords_are_guessed_as_slowly_in_a_batch_as_one_by_one() {
    let rule = RateRule {
        burst: 3,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::LoginByUser, rule)]),
        ..Wanted::default()
    });
    let token = core.register("samplebeta1").await;
    let guess = json!({ "oldPassword": "nope-nope", "newPassword": "sample-pass-2" });
    let call = json!({ "method": "account.changePassword", "params": guess });
    let calls = json!([call, call, call, call, { "method": "account.get", "params": {} }]);
    let answer = core.post_as(&token, "/samplebeta1/", &calls).await;
    let results = answer.json()["results"].clone();
    for (i, id) in ["invalid-operation"; 3].iter().enumerate() {
        assert_eq!(results[i]["error"]["id"], *id);
    }
    assert_eq!(results[3]["error"]["id"], "too-many-requests");
    assert!(results[4]["account"].is_object());
    // The same limit for the route and for log-ins.
    let path = "/samplebeta1/account/change-password";
    let refused = core.post_as(&token, path, &guess).await;
    assert_eq!(refused.error(), error(429, "too-many-requests"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(login(&core, PASSWORD).await, 429);
}

#[tokio::test]
async fn an_account_is_changed_as_seldom_in_a_batch_as_one_by_one() {
    let rule = RateRule {
        burst: 3,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::AccountChange, rule)]),
        ..Wanted::default()
    });
    let token = core.register("samplebeta1").await;
    let other = core.register("samplebeta2").await;
    let language = json!({ "language": "fr" });
    let update = json!({ "method": "account.update", "params": { "update": language } });
    let other_language = json!({ "language": "de" });
    let again = json!({ "method": "account.update", "params": { "update": other_language } });
    let name = |name: &str| json!({ "method": "account.changeUsername", "params": { "newUsername": name } });
    let calls = json!([
        update, name("samplebeta2"), name("samplebeta3"), again, name("samplebeta4"),
        { "method": "account.get", "params": {} },
    ]);
    let answer = core.post_as(&token, "/samplebeta1/", &calls).await;
    let results = answer.json()["results"].clone();
    assert!(results[0]["account"].is_object());
    assert_eq!(results[1]["error"]["id"], "item-already-exists");
    assert_eq!(results[2]["account"]["username"], "samplebeta3");
    for i in [3, 4] {
        assert_eq!(results[i]["error"]["id"], "too-many-requests");
    }
    assert_eq!(results[5]["account"]["username"], "samplebeta3");
    // The same for the routes, whatever the name is; what changes nothing is not counted.
    let refused = core
        .send_as(&token, "PUT", ACCOUNT, Some(&other_language))
        .await;
    assert_eq!(refused.error(), error(429, "too-many-requests"));
    assert!(refused.header("retry-after").is_some());
    let path = "/samplebeta3/account/change-username";
    let body = json!({ "newUsername": "samplebeta4" });
    let refused = core.post_as(&token, path, &body).await;
    assert_eq!(refused.error(), error(429, "too-many-requests"));
    let path = "/samplebeta2/account";
    for changes in [language, json!({}), json!({}), json!({}), json!({})] {
        let good = core.send_as(&other, "PUT", path, Some(&changes)).await;
        assert_eq!(good.status, 200, "{}", good.text);
    }
}

#[tokio::test]
async fn an_expired_password_is_refused_at_log_in() {
    let aged = |age_max| {
        Core::of(Wanted {
            passwords: PasswordPolicy {
                age_max: Some(age_max),
                ..PasswordPolicy::default()
            },
            ..Wanted::default()
        })
    };
    let core = aged(Duration::from_secs(24 * 3_600));
    let token = core.register("samplebeta1").await;
    let logged_in = log_in(&core, PASSWORD).await;
    assert_eq!(logged_in.status, 200, "{}", logged_in.text);
    let expires = logged_in.json()["passwordExpires"].clone();
    assert!(expires.is_number());
    assert!(logged_in.json().get("passwordCanBeChanged").is_none());
    let info = core.get_as(&token, "/samplebeta1/access-info").await;
    let user = json!({ "username": "samplebeta1", "passwordExpires": expires });
    assert_eq!(info.json()["user"], user);

    let core = aged(Duration::ZERO);
    core.register("samplebeta1").await;
    let refused = log_in(&core, PASSWORD).await;
    assert_eq!(refused.error(), error(401, "invalid-credentials"));
    assert!(refused.json()["error"]["data"]["expiredTime"].is_number());
}

#[tokio::test]
async fn registrations_follow_the_password_policy() {
    let core = Core::of(Wanted {
        passwords: PasswordPolicy {
            chars_min: 20,
            ..PasswordPolicy::default()
        },
        ..Wanted::default()
    });
    let refused = core.post("/users", &registration("samplebeta1")).await;
    assert_eq!(refused.error(), error(400, "invalid-parameters-format"));
    let told = refused.json()["error"].clone();
    let rule = told["data"][0].as_str().unwrap();
    assert!(rule.contains("20 are required"), "{rule}");
    // Consent pages show the message alone.
    assert!(told["message"].as_str().unwrap().ends_with(rule), "{told}");
}

#[tokio::test]
async fn an_administrator_deletes_an_account() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    // Without the key, and with a token where the person may not: as if there were nothing.
    for given in ["nope", token.as_str()] {
        let refused = core.send_as(given, "DELETE", USER, None).await;
        assert_eq!(refused.error(), error(404, "unknown-resource"), "{given}");
    }
    let deleted = core.send_as(ADMIN, "DELETE", USER, None).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    assert_eq!(
        deleted.json()["userDeletion"],
        json!({ "username": "samplebeta1" })
    );
    assert!(deleted.header("pryv-access-id").is_none());
    assert_eq!(
        core.get_as(&token, ACCOUNT).await.error(),
        error(404, "unknown-resource")
    );
    let again = core.send_as(ADMIN, "DELETE", USER, None).await;
    assert_eq!(again.error(), error(404, "unknown-resource"));
    // The names are free, and lead to nothing of before.
    let other = core.register("samplebeta1").await;
    assert_eq!(
        core.get_as(&token, ACCOUNT).await.error(),
        error(403, "invalid-access-token")
    );
    assert_eq!(core.get_as(&other, ACCOUNT).await.status, 200);
}

#[tokio::test]
async fn a_person_deletes_the_own_account() {
    let core = deletable(AccountDeletion {
        by_admin: false,
        by_person: true,
    });
    let mine = core.register("samplebeta1").await;
    let others = core.register("samplebeta2").await;
    for (given, status, id) in [
        (ADMIN, 403, "invalid-access-token"),
        (others.as_str(), 403, "invalid-access-token"),
    ] {
        let refused = core.send_as(given, "DELETE", USER, None).await;
        assert_eq!(refused.error(), error(status, id));
    }
    let missing = core
        .ask(http::Request::delete(USER), axum::body::Body::empty())
        .await;
    assert_eq!(missing.error(), error(401, "invalid-access-token"));
    let unknown = core
        .send_as(&mine, "DELETE", "/users/nobody-here", None)
        .await;
    assert_eq!(unknown.error(), error(404, "unknown-resource"));
    let deleted = core.send_as(&mine, "DELETE", USER, None).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    assert!(deleted.header("pryv-access-id").is_some());
    assert_eq!(
        core.get_as(&others, "/samplebeta2/account").await.status,
        200
    );
}

#[tokio::test]
async fn a_deletion_at_the_wrong_core_or_cut_off_can_be_made_again() {
    let core = deletable(AccountDeletion {
        by_admin: true,
        by_person: true,
    });
    core.fake.add_elsewhere("samplebeta3");
    let elsewhere = core
        .send_as(ADMIN, "DELETE", "/users/samplebeta3", None)
        .await;
    assert_eq!(elsewhere.status, 421);
    assert_eq!(elsewhere.json()["error"]["coreUrl"], THERE);

    let token = core.register("samplebeta1").await;
    core.fake
        .down
        .store(true, std::sync::atomic::Ordering::SeqCst);
    let cut = core.send_as(ADMIN, "DELETE", USER, None).await;
    assert_eq!(cut.error(), error(503, "api-unavailable"));
    assert_eq!(
        core.get_as(&token, ACCOUNT).await.error(),
        error(404, "unknown-resource")
    );
    core.fake
        .down
        .store(false, std::sync::atomic::Ordering::SeqCst);
    let taken = core.post("/users", &registration("samplebeta1")).await;
    assert_eq!(taken.error(), error(409, "item-already-exists"));
    assert_eq!(core.send_as(ADMIN, "DELETE", USER, None).await.status, 200);
}
