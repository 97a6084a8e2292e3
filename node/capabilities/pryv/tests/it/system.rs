//! What administrators create and look up: users, whose an access is, and whether all is in order.

use std::sync::atomic::Ordering;

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, Core, ORIGIN, PASSWORD, Wanted, error, registration};

const CREATE: &str = "/system/create-user";
/// What another server had stored of the password `U*U`.
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn created(name: &str) -> Value {
    json!({
        "username": name, "passwordHash": HASH, "email": format!("{name}@example.com"),
        "language": "fr",
    })
}

async fn log_in(core: &Core, name: &str, password: &str) -> u16 {
    enter(core, name, password).await.status
}

async fn enter(core: &Core, name: &str, password: &str) -> Answer {
    let login = json!({ "username": name, "password": password, "appId": "sample-app" });
    let request = Request::post(format!("/{name}/auth/login"))
        .header("content-type", "application/json")
        .header("origin", ORIGIN);
    core.ask(request, login.to_string()).await
}

#[tokio::test]
async fn without_the_key_nothing_is_created_or_looked_up() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    for (method, path) in [
        ("POST", CREATE),
        ("GET", "/system/accesses/cabc"),
        ("GET", "/system/check-platform-integrity"),
    ] {
        for key in ["", "wrong", token.as_str()] {
            let body = (method == "POST").then(|| created("samplebeta2"));
            let answer = core.send_as(key, method, path, body.as_ref()).await;
            assert_eq!(answer.error(), error(404, "unknown-resource"), "{path}");
        }
    }
    assert_eq!(log_in(&core, "samplebeta2", "U*U").await, 404);
}

#[tokio::test]
async fn a_created_user_logs_in_with_the_password_of_the_hash() {
    let core = Core::new();
    core.fake.invite("enjoy", None);
    let answer = core.post_as(ADMIN, CREATE, &created("SampleBeta1")).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let body = answer.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["meta"]);
    assert_eq!(log_in(&core, "samplebeta1", "U*U").await, 200);
    assert_eq!(log_in(&core, "samplebeta1", "U*V").await, 401);
    let user = core.get_as(ADMIN, "/reg/admin/users/samplebeta1").await;
    assert_eq!(user.json()["language"], "fr");

    let mut clear = created("samplebeta2");
    clear.as_object_mut().unwrap().remove("passwordHash");
    clear["password"] = json!(PASSWORD);
    clear["appId"] = json!("another-app");
    assert_eq!(core.post_as(ADMIN, CREATE, &clear).await.status, 201);
    let entered = enter(&core, "samplebeta2", PASSWORD).await;
    assert_eq!(entered.status, 200, "{}", entered.text);
    // Nobody was logged in before: a registration opens a session of its app.
    let token = entered.json()["token"].as_str().unwrap().to_owned();
    let listed = core.get_as(&token, "/samplebeta2/accesses").await.json();
    assert_eq!(listed["accesses"].as_array().unwrap().len(), 1);
    assert_eq!(listed["accesses"][0]["name"], "sample-app");
}

#[tokio::test]
async fn words_that_are_kept_can_be_given_and_names_of_the_platform_cannot() {
    let core = Core::new();
    for name in ["support", "pryvtest"] {
        let refused = core.post("/users", &registration(name)).await;
        assert_eq!(refused.error(), error(409, "item-already-exists"), "{name}");
        let answer = core.post_as(ADMIN, CREATE, &created(name)).await;
        assert_eq!(answer.status, 201, "{name}");
    }
    for name in ["system", "core-b", "sandbox", "r-12345678", "backloop"] {
        let answer = core.post_as(ADMIN, CREATE, &created(name)).await;
        assert_eq!(answer.error(), error(409, "item-already-exists"), "{name}");
        let taken = json!({ "username": name });
        assert_eq!(answer.json()["error"]["data"], taken);
    }
    // Both fields that are somebody's are told.
    let answer = core.post_as(ADMIN, CREATE, &created("support")).await;
    assert_eq!(answer.error(), error(409, "item-already-exists"));
    let taken = json!({ "username": "support", "email": "support@example.com" });
    assert_eq!(answer.json()["error"]["data"], taken);
}

#[tokio::test]
async fn a_body_that_is_wrong_is_refused_with_the_field() {
    let core = Core::of(Wanted {
        passwords: homecore_kernel::account::passwords::PasswordPolicy {
            chars_min: 8,
            ..Default::default()
        },
        ..Wanted::default()
    });
    let format = "invalid-parameters-format";
    for (field, value) in [
        ("username", json!("!")),
        ("username", Value::Null),
        ("passwordHash", json!("secret")),
        ("passwordHash", Value::Null),
        ("password", json!(PASSWORD)),
        ("email", json!("nowhere")),
        ("language", json!("a-language")),
        ("language", Value::Null),
        ("appId", json!("x")),
        ("invitationToken", json!("x".repeat(301))),
        ("hosting", json!("europe")),
    ] {
        let mut body = created("samplebeta1");
        body[field] = value;
        let answer = core.post_as(ADMIN, CREATE, &body).await;
        assert_eq!(answer.error(), error(400, format), "{field}");
        assert!(answer.text.contains(field), "{field}: {}", answer.text);
    }
    let mut weak = created("samplebeta1");
    weak.as_object_mut().unwrap().remove("passwordHash");
    weak["password"] = json!("secret1");
    let answer = core.post_as(ADMIN, CREATE, &weak).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = Request::post(CREATE)
            .header("content-type", kind)
            .header("authorization", ADMIN);
        let answer = core.ask(request, created("samplebeta1").to_string()).await;
        assert_eq!(answer.error(), error(415, "unsupported-content-type"));
    }
    assert_eq!(log_in(&core, "samplebeta1", "U*U").await, 404);

    core.fake.down.store(true, Ordering::SeqCst);
    let answer = core.post_as(ADMIN, CREATE, &created("samplebeta1")).await;
    assert_eq!(answer.error(), error(503, "api-unavailable"));
}

#[tokio::test]
async fn an_access_is_found_by_its_id_alone() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    core.register("samplebeta2").await;
    let access = json!({ "type": "shared", "name": "my doctor", "expireAfter": 3_600,
        "permissions": [{ "streamId": "*", "level": "read" }] });
    let accesses = "/samplebeta1/accesses";
    let made = core.send_as(&token, "POST", accesses, Some(&access)).await;
    let made = made.json()["access"].clone();
    let id = made["id"].as_str().unwrap();
    let path = format!("/system/accesses/{id}");
    let index = json!({
        "accessId": id, "username": "samplebeta1", "type": "shared", "expires": made["expires"],
        "created": made["created"], "lastModified": made["modified"], "core": "core-a",
    });
    let found = core.get_as(ADMIN, &path).await;
    assert_eq!(found.status, 200, "{}", found.text);
    assert_eq!(found.json()["accessIndex"], index);
    let version = core.get_as(ADMIN, &format!("{path}:1")).await;
    assert_eq!(version.json()["accessIndex"], index);

    let own = format!("{accesses}/{id}");
    let deleted = core.send_as(&token, "DELETE", &own, None).await;
    assert_eq!(deleted.status, 200, "{}", deleted.text);
    let found = core.get_as(ADMIN, &path).await.json()["accessIndex"].clone();
    assert!(found["deleted"].as_f64().unwrap() > 0.0, "{found}");
    assert!(!found.to_string().contains("doctor"), "{found}");

    for unknown in ["cabcdefgh", &format!("{id}:0"), &format!("{id}:x"), &token] {
        let answer = core
            .get_as(ADMIN, &format!("/system/accesses/{unknown}"))
            .await;
        let expected = error(404, "unknown-resource");
        assert_eq!(answer.error(), expected, "{unknown}");
    }
    core.fake.down.store(true, Ordering::SeqCst);
    let answer = core.get_as(ADMIN, &path).await;
    assert_eq!(answer.error(), error(503, "api-unavailable"));
    assert!(answer.text.contains("no quorum"), "the reason is told");
    assert_eq!(answer.headers["retry-after"], "2");
}

#[tokio::test]
async fn a_platform_of_one_core_says_no_core_and_what_never_ends_is_null() {
    let core = Core::of(Wanted {
        single: true,
        ..Wanted::default()
    });
    let token = core.register("samplebeta1").await;
    let listed = core.get_as(&token, "/samplebeta1/accesses").await.json();
    let id = listed["accesses"][0]["id"].as_str().unwrap();
    let found = core.get_as(ADMIN, &format!("/system/accesses/{id}")).await;
    let found = found.json()["accessIndex"].clone();
    assert_eq!(found["type"], "personal");
    assert_eq!((&found["expires"], found.get("core")), (&Value::Null, None));
}

#[tokio::test]
async fn the_checks_of_the_platform_are_told() {
    let core = Core::new();
    let path = "/system/check-platform-integrity";
    let answer = core.get_as(ADMIN, path).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let checks = json!([
        {
            "title": "Platform DB vs users repository",
            "infos": { "usersCountOnPlatform": 2, "usersCountOnRepository": 1 },
            "errors": ["something differs"],
        },
        { "title": "", "infos": {}, "errors": [] },
    ]);
    assert_eq!(answer.json()["checks"], checks);
    core.fake.down.store(true, Ordering::SeqCst);
    let request = Request::get(path).header("authorization", ADMIN);
    let answer = core.ask(request, Body::empty()).await;
    assert_eq!(answer.error(), error(503, "api-unavailable"));
}
