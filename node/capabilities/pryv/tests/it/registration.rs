//! Registration: form, conflicts, invitations, older names.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use homecore_http::{Rate, RateRule};
use http::Request;
use serde_json::{Value, json};
use url::Url;

use crate::support::{ADMIN, Answer, Core, HERE, Wanted, error, registration};

#[tokio::test]
async fn a_user_is_made_and_can_be_used_at_once() {
    let core = Core::new();
    for (path, name) in [
        ("/users", "alice"),
        ("/reg/users", "bobby"),
        ("//reg//users/", "carol"),
        ("/users/", "david"),
    ] {
        let answer = core.post(path, &registration(name)).await;
        assert_eq!(answer.status, 201, "{path} {}", answer.text);
        assert_eq!(answer.json()["username"], name);
        let endpoint = answer.json()["apiEndpoint"].as_str().unwrap().to_owned();
        let (token, rest) = endpoint
            .strip_prefix("http://")
            .unwrap()
            .split_once('@')
            .unwrap();
        assert_eq!(format!("http://{rest}"), format!("{HERE}{name}/"));
        let info = core.get_as(token, &format!("/{name}/access-info")).await;
        assert_eq!(
            (info.status, &info.json()["type"]),
            (200, &json!("personal"))
        );
    }
}

#[tokio::test]
async fn older_names_of_fields_are_understood() {
    let core = Core::new();
    core.fake.invite("secret", None);
    let body = json!({
        "appid": "sample-app", "username": "samplebeta1", "password": "sample-pass-1",
        "email": "a@example.com", "languageCode": "de", "invitationtoken": "secret",
    });
    assert_eq!(core.post("/reg/user", &body).await.status, 201);
}

#[tokio::test]
async fn every_fault_is_named() {
    let core = Core::new();
    for (field, value, code) in [
        ("username", json!("A_b!"), "username-invalid"),
        ("username", json!(["x"]), "username-invalid"),
        ("password", json!("abc"), "password-invalid"),
        ("email", json!("notanemail"), "email-invalid"),
        ("appId", json!("x"), "appid-invalid"),
        ("language", json!("toolong"), "language-invalid"),
        ("referer", json!("x".repeat(100)), "referer-invalid"),
        ("invitationToken", json!(3), "invitationToken-invalid"),
        (
            "invitationToken",
            json!("x".repeat(301)),
            "invitationToken-invalid",
        ),
        ("language", json!("a\u{0}"), "language-invalid"),
        ("hosting", json!("x".repeat(301)), "hosting-invalid"),
        ("hosting", json!(1), "hosting-invalid"),
        ("hosting", json!(["default"]), "hosting-invalid"),
    ] {
        let mut body = registration("samplebeta1");
        body[field] = value;
        let answer = core.post("/users", &body).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters-format"),
            "{field}"
        );
        let data = answer.json()["error"]["data"].clone();
        assert_eq!(data[0]["code"], code, "{data}");
        assert_eq!(data[0]["path"], format!("#/{field}"));
        assert_eq!(data[0]["param"], field);
    }
    let answer = core.post("/users", &json!({})).await;
    let params: Vec<Value> = answer.json()["error"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["param"].clone())
        .collect();
    assert_eq!(params, ["username", "password", "appId", "email"]);
    for body in [json!([]), json!("x"), json!(1)] {
        assert_eq!(core.post("/users", &body).await.status, 400, "{body}");
    }
}

/// spec/platform §3.5: validated, and nothing is stored.
#[tokio::test]
async fn one_name_is_for_trying() {
    let core = Core::new();
    core.fake.down.store(true, Ordering::SeqCst);
    for path in ["/users", "/reg/users", "/reg/user"] {
        let answer = core.post(path, &registration("backloop")).await;
        assert_eq!(answer.status, 201, "{path} {}", answer.text);
        let body = answer.json();
        assert_eq!(body["username"], "backloop");
        assert!(body["meta"].is_object());
        let endpoint = Url::parse(body["apiEndpoint"].as_str().unwrap()).unwrap();
        assert!(endpoint.username().len() > 20, "{endpoint}");
        assert_eq!(endpoint.path(), "/backloop/");
    }
    let mut body = registration("backloop");
    body["password"] = json!("abc");
    let answer = core.post("/users", &body).await;
    assert_eq!(answer.error(), error(400, "invalid-parameters-format"));
    assert_eq!(answer.json()["error"]["data"][0]["param"], "password");
    core.fake.down.store(false, Ordering::SeqCst);
    let answer = core.get("/backloop/access-info").await;
    assert_eq!(answer.error(), error(404, "unknown-resource"));
    let free = core.get("/reg/backloop@example.com/check_email").await;
    assert_eq!(free.status, 200);
}

#[tokio::test]
async fn conflicts_come_together() {
    let core = Core::new();
    core.register("samplebeta1").await;
    let both = core.post("/users", &registration("samplebeta1")).await;
    assert_eq!(both.error(), error(409, "item-already-exists"));
    assert_eq!(
        both.json()["error"]["data"],
        json!({ "username": "samplebeta1", "email": "samplebeta1@example.com" })
    );
    let mut body = registration("another1");
    body["email"] = json!("SampleBeta1@Example.com");
    let one = core.post("/users", &body).await;
    assert_eq!(
        one.json()["error"]["data"],
        json!({ "email": "samplebeta1@example.com" })
    );

    for name in [
        "admin",
        "pryvtest",
        "core-b",
        "sandbox",
        "r-12345678",
        "system",
    ] {
        let answer = core.post("/users", &registration(name)).await;
        assert_eq!(answer.error(), error(409, "item-already-exists"), "{name}");
        assert_eq!(answer.json()["error"]["data"], json!({ "username": name }));
    }
}

#[tokio::test]
async fn what_the_platform_refuses_is_told() {
    let core = Core::new();
    core.fake.invite("good", None);
    core.fake.invite("used", Some("somebody"));
    for token in ["enjoy", "used", ""] {
        let mut body = registration("samplebeta1");
        body["invitationToken"] = json!(token);
        let answer = core.post("/users", &body).await;
        assert_eq!(answer.error(), error(400, "invalid-operation"), "{token}");
    }
    let mut body = registration("samplebeta1");
    body["invitationToken"] = json!("good");
    body["hosting"] = json!("nowhere");
    let answer = core.post("/users", &body).await;
    assert_eq!(answer.error(), error(400, "invalid-parameters-format"));
    let fault = &answer.json()["error"]["data"][0];
    assert_eq!(
        (&fault["code"], &fault["param"]),
        (&json!("hosting-invalid"), &json!("hosting"))
    );
    assert!(fault["message"].as_str().unwrap().contains("nowhere"));

    core.fake.down.store(true, Ordering::SeqCst);
    let answer = core.post("/users", &registration("samplebeta1")).await;
    assert_eq!(answer.error(), error(503, "api-unavailable"));
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert!(!answer.text.contains("quorum"), "{}", answer.text);
}

#[tokio::test]
async fn too_many_registrations_are_slowed_down() {
    let rule = RateRule {
        burst: 2,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::Registration, rule)]),
        ..Wanted::default()
    });
    for _ in 0..2 {
        assert_eq!(core.post("/users", &json!({})).await.status, 400);
    }
    let answer = core.post("/users", &json!({})).await;
    assert_eq!(answer.error(), error(429, "too-many-requests"));
    assert!(answer.header("retry-after").is_some());
}

#[tokio::test]
async fn a_form_registers_too() {
    let core = Core::new();
    let request =
        Request::post("/users").header("content-type", "application/x-www-form-urlencoded");
    let form = "username=samplebeta1&password=sample-pass-1&email=a%40example.com&appId=sample-app";
    let answer = core.ask(request, form).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// Asks again what was refused, for refusals make a core look a few times a second only.
async fn taken(ask: impl AsyncFn() -> Answer) -> Answer {
    let again = async {
        loop {
            let answer = ask().await;
            if answer.status != 400 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), again).await;
    waited.unwrap()
}

/// What this core refuses by a declaration of fields that is the platform's no more is looked at again.
#[tokio::test]
async fn a_field_that_was_declared_a_moment_ago_is_taken() {
    let core = Core::new();
    let plan = |pattern: &str| json!([{ "id": "plan", "name": "Plan", "type": "string/pryv", "regexValidation": pattern }]);
    let mut body = registration("alice");
    body["plan"] = json!("a");
    let create = json!({ "username": "bobby", "password": "sample-pass-1", "language": "en",
        "email": "bobby@example.com", "plan": "a" });
    let path = "/system/create-user";
    let refused = core.post_as(ADMIN, path, &create).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    core.fake.fields.declare(1, &plan("^a$"));
    let created = taken(async || core.post_as(ADMIN, path, &create).await).await;
    assert_eq!(created.status, 201, "{}", created.text);
    body["plan"] = json!("b");
    let refused = core.post("/users", &body).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    core.fake.fields.declare(2, &plan("^b$"));
    let answer = taken(async || core.post("/users", &body).await).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    core.fake.down.store(true, Ordering::SeqCst);
    body["plan"] = json!("c");
    let refused = core.post("/users", &body).await;
    assert_eq!(refused.status, 400, "as far as is known: {}", refused.text);
}
