//! Access requests: every state, every refusal.

use std::sync::atomic::Ordering;

use homecore_http::RateLimits;
use serde_json::{Value, json};
use url::Url;

use crate::support::{Answer, Core, HERE, Wanted, error};

fn wish() -> Value {
    json!({
        "requestingAppId": "sample-web-app",
        "requestedPermissions": [{ "streamId": "diary", "level": "read", "defaultName": "Diary" }],
        "languageCode": "fr",
        "returnURL": "https://app.test/back?x=1&y=é",
        "oauthState": "st/ate",
        "clientData": { "x": 1 },
        "deviceName": "phone",
        "expireAfter": 86400,
        "referer": "https://ref.test",
        "key": "chosenbyclient16",
        "status": "ACCEPTED",
        "token": "mine",
    })
}

async fn open(core: &Core) -> String {
    let answer = core.post("/reg/access", &wish()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    answer.json()["key"].as_str().unwrap().to_owned()
}

fn accepted() -> Value {
    json!({ "status": "ACCEPTED", "username": "alice", "token": "tok", "apiEndpoint": "https://tok@x/alice/" })
}

#[tokio::test]
async fn a_request_is_opened_and_shown() {
    let core = Core::new();
    let answer = core.post("/reg/access/", &wish()).await;
    let body = answer.json();
    let names: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(names, ["status", "key", "authUrl", "poll", "poll_rate_ms"]);
    let key = body["key"].as_str().unwrap();
    assert_eq!(key.len(), 16);
    assert_ne!(key, "chosenbyclient16");
    assert_eq!(body["poll"], format!("{HERE}reg/access/{key}"));

    let url = Url::parse(body["authUrl"].as_str().unwrap()).unwrap();
    assert_eq!(url.path(), "/access/access.html");
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let expected = [
        ("lang", "fr"),
        ("key", key),
        ("requestingAppId", "sample-web-app"),
        ("poll", body["poll"].as_str().unwrap()),
        ("poll_rate_ms", "1000"),
        ("serviceInfo", "http://127.0.0.1:3000/reg/service/info"),
        ("returnURL", "https://app.test/back?x=1&y=é"),
        ("oauthState", "st/ate"),
    ];
    assert_eq!(
        query,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );

    let polled = core.get(&format!("/reg/access/{key}")).await;
    assert_eq!(polled.status, 201);
    let shown = polled.json();
    assert_eq!(shown["status"], "NEED_SIGNIN");
    assert_eq!(shown["authUrl"], body["authUrl"]);
    assert_eq!(shown["serviceInfo"]["name"], "Test platform");
    assert_eq!(
        (
            &shown["lang"],
            &shown["deviceName"],
            &shown["expireAfter"],
            &shown["clientData"],
            &shown["token"]
        ),
        (
            &json!("fr"),
            &json!("phone"),
            &json!(86400),
            &json!({ "x": 1 }),
            &json!("mine")
        )
    );
    assert!(shown.get("meta").is_none());
}

#[tokio::test]
async fn optional_fields_may_be_absent() {
    let core = Core::new();
    let body = json!({ "requestingAppId": "a", "returnURL": false,
        "requestedPermissions": [{ "streamId": "*", "level": "read" }] });
    let answer = core.post("/reg/access", &body).await.json();
    assert!(!answer["authUrl"].as_str().unwrap().contains("returnURL"));
    let key = answer["key"].as_str().unwrap();
    let shown = core.get(&format!("/reg/access/{key}")).await.json();
    assert_eq!(
        (&shown["lang"], &shown["returnURL"], &shown["oauthState"]),
        (&json!("en"), &json!(false), &Value::Null)
    );
    for name in [
        "clientData",
        "deviceName",
        "expireAfter",
        "token",
        "referer",
    ] {
        assert_eq!(shown.get(name), None, "only where it was given");
    }
}

#[tokio::test]
async fn what_is_only_handed_on_may_be_of_any_simple_type() {
    let core = Core::new();
    let mut body = wish();
    body["requestedPermissions"] = json!([{ "streamId": "a", "level": "none" }]);
    for (field, value, told) in [
        ("deviceName", json!(1), json!(1)),
        ("deviceName", json!(true), json!(true)),
        ("referer", json!(2), json!(2)),
        ("oauthState", json!(3), json!(3)),
        ("languageCode", json!(4), json!(4)),
        ("expireAfter", json!("3600"), json!(3600)),
        ("expireAfter", json!(" 1.5 "), json!(1.5)),
    ] {
        body[field] = value;
        let answer = core.post("/reg/access", &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        let key = answer.json()["key"].as_str().unwrap().to_owned();
        let shown = core.get(&format!("/reg/access/{key}")).await.json();
        let name = if field == "languageCode" {
            "lang"
        } else {
            field
        };
        assert_eq!(shown[name], told, "{field}");
        assert_eq!(shown["requestedPermissions"], body["requestedPermissions"]);
    }
    let url = core.post("/reg/access", &body).await.json()["authUrl"].take();
    let url = url.as_str().unwrap().to_owned();
    assert!(
        url.contains("lang=4&") && url.ends_with("&oauthState=3"),
        "{url}"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named() {
    let core = Core::new();
    for (field, value) in [
        ("requestingAppId", Value::Null),
        ("requestingAppId", json!("")),
        ("requestingAppId", json!(1)),
        ("requestedPermissions", Value::Null),
        ("requestedPermissions", json!([])),
        ("requestedPermissions", json!("x")),
        ("requestedPermissions", json!([1])),
        ("requestedPermissions", json!([{}])),
        (
            "requestedPermissions[0].level",
            json!([{ "streamId": "a" }]),
        ),
        (
            "requestedPermissions[0].level",
            json!([{ "streamId": "a", "level": "write" }]),
        ),
        (
            "requestedPermissions[1].streamId",
            json!([{ "streamId": "a", "level": "read" }, { "streamId": "", "level": "read" }]),
        ),
        (
            "requestedPermissions[0].defaultName",
            json!([{ "streamId": "a", "level": "read", "defaultName": 1 }]),
        ),
        (
            "requestedPermissions[0].setting",
            json!([{ "feature": "selfRevoke", "setting": "maybe" }]),
        ),
        ("clientData", json!("x")),
        ("clientData", json!([1])),
        ("expireAfter", json!(-1)),
        ("languageCode", json!([])),
        ("returnURL", json!(1)),
        ("oauthState", json!({})),
        ("deviceName", json!([1])),
        ("expireAfter", json!(true)),
        ("expireAfter", json!("-1")),
        ("expireAfter", json!("inf")),
        ("expireAfter", json!("x")),
        ("authUrl", json!("https://evil.test/consent")),
        ("authUrl", json!("https://pages.test/consentious")),
        ("authUrl", json!("https://pages.test/consent/../x")),
        ("authUrl", json!("http://pages.test/consent")),
        ("authUrl", json!("https://me@pages.test/consent")),
        ("authUrl", json!("https://pages.test:8443/consent")),
        ("authUrl", json!("javascript:alert(1)")),
        ("authUrl", json!("nonsense")),
    ] {
        let mut body = wish();
        body[field.split('[').next().unwrap()] = value.clone();
        let answer = core.post("/reg/access", &body).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters"),
            "{field} {value}"
        );
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .contains(field)
        );
        assert!(answer.json().get("meta").is_none());
    }
    let mut body = wish();
    body["clientData"] = json!({ "long": "x".repeat(70_000) });
    assert_eq!(
        core.post("/reg/access", &body).await.error(),
        error(400, "invalid-parameters")
    );

    for url in [
        "https://pages.test/consent",
        "https://pages.test:443/consent/a?b=c#d",
    ] {
        let mut body = wish();
        body["authUrl"] = json!(url);
        let answer = core.post("/reg/access", &body).await;
        let chosen = answer.json()["authUrl"].as_str().unwrap().to_owned();
        assert!(
            chosen.starts_with(url.split('#').next().unwrap()),
            "{chosen}"
        );
        assert_eq!(
            Url::parse(&chosen).unwrap().fragment(),
            url.split_once('#').map(|(_, f)| f)
        );
    }
}

#[tokio::test]
async fn a_request_is_small() {
    let core = Core::new();
    let with = |bytes: usize| {
        let mut body = wish();
        body["clientData"] = json!({ "long": "x".repeat(bytes) });
        body
    };
    let answer = core.post("/reg/access", &with(23_000)).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    for bytes in [24_576, 40_000] {
        let answer = core.post("/reg/access", &with(bytes)).await;
        assert_eq!(answer.error(), error(400, "invalid-parameters"), "{bytes}");
        assert_eq!(
            answer.json()["error"]["message"],
            "The access request is larger than 24576 bytes"
        );
    }
    let path = format!("/reg/access/{}", open(&core).await);
    let refused = |bytes| json!({ "status": "REFUSED", "message": "x".repeat(bytes) });
    let answer = core.post(&path, &refused(24_576)).await;
    assert_eq!(answer.error(), error(400, "invalid-parameters"));
    assert_eq!(core.post(&path, &refused(24_000)).await.status, 403);
}

#[tokio::test]
async fn few_requests_are_opened_by_one_client() {
    let core = Core::of(Wanted {
        rates: RateLimits::default_rules(),
        ..Wanted::default()
    });
    for _ in 0..50 {
        open(&core).await;
    }
    let answer = core.post("/reg/access", &wish()).await;
    assert_eq!(answer.error(), error(429, "too-many-requests"));
    assert!(answer.json().get("meta").is_none());
    let wait: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&wait), "{wait}");
    let polled = core.get("/reg/access/nosuchkey1234567").await;
    assert_eq!(polled.error(), error(400, "unknown-access-key"));
}

#[tokio::test]
async fn answers_have_their_codes_and_are_final() {
    let core = Core::new();
    for (answer, code, fields) in [
        (
            accepted(),
            200,
            vec!["status", "username", "token", "apiEndpoint"],
        ),
        (
            json!({ "status": "REFUSED", "reasonId": "R", "message": "no", "code": 200, "key": "x" }),
            403,
            vec!["status", "reasonId", "message"],
        ),
        (json!({ "status": "REFUSED" }), 403, vec!["status"]),
        (
            json!({ "status": "ERROR", "reasonId": "E", "message": "m" }),
            403,
            vec!["status", "reasonId", "message"],
        ),
        (
            json!({ "status": "REDIRECTED", "redirectUrl": "https://other.test/poll" }),
            301,
            vec!["status", "poll", "redirectUrl"],
        ),
    ] {
        let key = open(&core).await;
        let path = format!("/reg/access/{key}");
        let names = |answer: &Answer| -> Vec<String> {
            answer.json().as_object().unwrap().keys().cloned().collect()
        };
        let first = core.post(&path, &answer).await;
        assert_eq!(
            (first.status, names(&first)),
            (code, fields.iter().map(|f| f.to_string()).collect())
        );
        let polled = core.get(&path).await;
        assert_eq!((polled.status, &polled.text), (code, &first.text));
        assert_eq!(polled.header("location"), None);
        let again = core.post(&path, &answer).await;
        assert_eq!(
            (again.status, &again.text),
            (code, &first.text),
            "the same answer again"
        );

        let mut other = accepted();
        other["token"] = json!("another");
        let other = core.post(&path, &other).await;
        assert_eq!(other.error(), error(400, "invalid-operation"));
        assert_eq!(
            core.get(&path).await.text,
            first.text,
            "the first answer stands"
        );
    }
}

#[tokio::test]
async fn answers_must_be_complete() {
    let core = Core::new();
    let key = open(&core).await;
    let path = format!("/reg/access/{key}");
    for body in [
        json!({}),
        json!([]),
        json!({ "status": "NEED_SIGNIN" }),
        json!({ "status": "NONSENSE" }),
        json!({ "status": 1 }),
        json!({ "status": "ACCEPTED", "username": "alice" }),
        json!({ "status": "ACCEPTED", "token": "tok" }),
        json!({ "status": "ACCEPTED", "username": 1, "token": "tok" }),
        json!({ "status": "REDIRECTED" }),
        json!({ "status": "REDIRECTED", "redirectUrl": "javascript:alert(1)" }),
        json!({ "status": "REFUSED", "message": { "x": 1 } }),
        json!({ "status": "REFUSED", "message": "x".repeat(70_000) }),
    ] {
        let answer = core.post(&path, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json().get("meta").is_none());
    }
    assert_eq!(core.get(&path).await.json()["status"], "NEED_SIGNIN");
}

#[tokio::test]
async fn keys_that_are_none_are_unknown() {
    let core = Core::new();
    for key in [
        "nosuchkey",
        "nosuchkey1234567",
        "oauth-code%2F1234",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fab",
        "aaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaa%00",
    ] {
        let path = format!("/reg/access/{key}");
        assert_eq!(
            core.get(&path).await.error(),
            error(400, "unknown-access-key"),
            "{key}"
        );
        let answer = core.post(&path, &accepted()).await;
        assert_eq!(answer.error(), error(400, "unknown-access-key"), "{key}");
    }
    let key = open(&core).await;
    core.fake.down.store(true, Ordering::SeqCst);
    for answer in [
        core.get(&format!("/reg/access/{key}")).await,
        core.post(&format!("/reg/access/{key}"), &accepted()).await,
        core.post("/reg/access", &wish()).await,
    ] {
        assert_eq!(answer.error(), error(503, "api-unavailable"));
        assert!(answer.json().get("meta").is_none());
    }
}

#[tokio::test]
async fn with_a_domain_the_urls_are_names() {
    let core = Core::of(Wanted {
        domain: Some("pryv.test"),
        ..Wanted::default()
    });
    let request = http::Request::post("/access")
        .header("host", "access.pryv.test")
        .header("content-type", "application/json");
    let answer = core.ask(request, wish().to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let url = answer.json()["authUrl"].as_str().unwrap().to_owned();
    assert!(
        url.contains("serviceInfo=https%3A%2F%2Freg.pryv.test%2Fservice%2Finfo"),
        "{url}"
    );
}

#[tokio::test]
async fn what_is_no_request_at_all_has_invalid_parameters() {
    let core = Core::new();
    let mut wrong_token = wish();
    wrong_token["token"] = json!(1);
    for body in [json!([]), json!({}), wrong_token] {
        let answer = core.post("/reg/access", &body).await;
        assert_eq!(answer.error(), error(400, "invalid-parameters"), "{body}");
    }
}
