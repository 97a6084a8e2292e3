//! What holds for every route: ownership, cross-origin headers, greetings, hosts.

use std::collections::BTreeMap;

use axum::body::Body;
use homecore_http::Rate;
use homecore_http::rate::RateRule;
use http::Request;
use serde_json::json;

use crate::support::{Core, THERE, Wanted, error, registration};

/// spec/platform §4.2, with its recommendation that nothing of a user is exempt.
#[tokio::test]
async fn wrong_core_covers_everything_of_a_user() {
    let core = Core::new();
    core.fake.add_elsewhere("bobby");
    for (method, path) in [
        ("GET", "/bobby/events"),
        ("GET", "/bobby/streams"),
        ("GET", "/bobby/access-info"),
        ("GET", "/bobby/service/info"),
        ("GET", "/bobby/auth/who-am-i"),
        ("POST", "/bobby/auth/login"),
        ("POST", "/bobby/auth/logout"),
        ("POST", "/bobby/events"),
        ("POST", "/bobby/events/start"),
        ("POST", "/bobby/"),
        ("POST", "/bobby"),
        ("GET", "/bobby"),
        ("GET", "/bobby/"),
        ("POST", "/bobby/events/x/series"),
        ("POST", "/bobby/series/batch"),
        ("GET", "/bobby/events/x/preview"),
        ("DELETE", "/bobby/anything"),
        ("POST", "/BOBBY/"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("authorization", "whatever");
        let answer = core.ask(request, "[]").await;
        assert_eq!(answer.status, 421, "{method} {path}");
        let body = answer.json();
        assert_eq!(body["error"]["id"], "wrong-core");
        assert_eq!(body["error"]["coreUrl"], THERE);
        assert_eq!(body["error"]["data"], json!({ "coreUrl": THERE }));
        assert!(body.get("meta").is_none());
    }
    for (method, path, status) in [
        ("GET", "/reg/cores?username=bobby", 200),
        ("POST", "/reg/bobby/server", 200),
        ("GET", "/reg/bobby/check_username", 200),
        ("GET", "/apps", 200),
        ("GET", "/service/info", 200),
        ("GET", "/system/status", 404),
        ("DELETE", "/users/bobby", 404),
        ("OPTIONS", "/bobby/events", 200),
    ] {
        let request = Request::builder().method(method).uri(path);
        assert_eq!(
            core.ask(request, Body::empty()).await.status,
            status,
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_the_common_headers() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    core.fake.add_elsewhere("bobby");
    for path in [
        "/",
        "/reg/service/info",
        "/reg/nosuch",
        "/system/status",
        "/reg/access/nosuchkey",
        "/apps/x",
        "/bobby/events",
        "/samplebeta1/events",
        "/samplebeta1/events?nosuch=1",
        "/samplebeta1/nosuch",
        "/nosuchuser/events",
        "/reg/samplebeta1/server",
    ] {
        for token in ["", token.as_str()] {
            let request = Request::get(path)
                .header("origin", "https://o.test")
                .header("authorization", token);
            let answer = core.ask(request, Body::empty()).await;
            for (name, value) in [
                ("access-control-allow-origin", "https://o.test"),
                ("access-control-expose-headers", "API-Version"),
                ("access-control-allow-credentials", "true"),
                ("api-version", "2.0.0"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path} {name}");
            }
        }
    }
}

#[tokio::test]
async fn calls_with_no_good_token_are_in_the_log() {
    let rule = RateRule {
        burst: 4,
        per_second: 0.0,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::Stranger, rule)]),
        ..Wanted::default()
    });
    let token = core.register("samplebeta1").await;
    let update = Some(json!({}));
    for (token, method, path, body) in [
        ("nosuch", "GET", "/events", None),
        ("", "GET", "/accesses/x", None),
        ("nosuch", "PUT", "/profile/public", update.as_ref()),
        ("nosuch", "POST", "/events/x", update.as_ref()),
        ("nosuch", "GET", "/streams", None),
        ("nosuch", "GET", "/no-route", None),
    ] {
        let path = format!("/samplebeta1{path}");
        core.send_as(token, method, &path, body).await;
    }
    let path = "/samplebeta1/events?streams=:_audit:access-invalid&sortAscending=true";
    let log = core.get_as(&token, path).await.json();
    let log = log["events"].as_array().unwrap();
    let seen: Vec<[&str; 3]> = log
        .iter()
        .map(|entry| {
            assert_eq!(entry["type"], "audit-log/pryv-api-error");
            let content = &entry["content"];
            assert_eq!(content["source"]["name"], "http");
            [&content["action"], &content["id"], &content["message"]]
                .map(|text| text.as_str().unwrap())
        })
        .collect();
    let unknown = "Cannot find access from token.";
    assert_eq!(seen[0], ["events.get", "invalid-access-token", unknown]);
    let actions: Vec<&str> = seen.iter().map(|[action, ..]| *action).collect();
    // The fifth is one too many: who has no token cannot fill the log.
    let expected = [
        "events.get",
        "accesses.getOne",
        "profile.update",
        "events.update",
    ];
    assert_eq!(actions, expected);
}

#[tokio::test]
async fn roots_greet() {
    let core = Core::new();
    core.register("samplebeta1").await;
    for path in ["/", "/samplebeta1", "/samplebeta1/"] {
        let answer = core.get(path).await;
        assert_eq!(answer.json()["cheersFrom"], "Pryv API", "{path}");
        assert!(answer.json()["meta"]["serverTime"].is_f64());
        for accept in ["text/plain", "text/html,application/json;q=0.9"] {
            let request = Request::get(path).header("accept", accept);
            let answer = core.ask(request, Body::empty()).await;
            assert_eq!(
                answer.header("content-type"),
                Some("text/html; charset=utf-8")
            );
            assert!(
                answer.text.starts_with("# Cheers from the Pryv API!"),
                "{}",
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn service_info_stands_in_many_places() {
    let core = Core::new();
    core.register("samplebeta1").await;
    for path in [
        "/service/info",
        "/reg/service/info",
        "/reg/service/info/",
        "/samplebeta1/service/info",
        "/samplebeta1/service/infos",
    ] {
        let info = core.get(path).await.json();
        assert_eq!(info["api"], "http://127.0.0.1:3000/{username}/", "{path}");
        assert_eq!(info["register"], "http://127.0.0.1:3000/reg/");
        assert_eq!(info["access"], "http://127.0.0.1:3000/reg/access/");
        assert_eq!(
            info["assets"]["definitions"],
            "http://127.0.0.1:3000/www/assets/index.json"
        );
        assert_eq!(info["features"]["noHF"], true);
        assert_eq!(info["version"], "2.0.0");
        assert_eq!(info["serial"], info["meta"]["serial"]);
    }
}

#[tokio::test]
async fn names_lead_to_users_and_registration() {
    let core = Core::of(Wanted {
        domain: Some("pryv.test"),
        ..Wanted::default()
    });
    let at = async |method: &str, host: &str, path: &str, body: String| {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .header("content-type", "application/json");
        core.ask(request, body).await
    };
    let new = registration("samplebeta1").to_string();
    let made = at("POST", "reg.pryv.test", "/users", new).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let endpoint = made.json()["apiEndpoint"].as_str().unwrap().to_owned();
    assert!(endpoint.ends_with("@samplebeta1.pryv.test/"), "{endpoint}");
    core.fake.add_elsewhere("bobby");

    let none = String::new;
    for (host, path, status) in [
        ("samplebeta1.pryv.test", "/service/info", 200),
        ("samplebeta1.pryv.test", "/", 200),
        ("SampleBeta1.pryv.test", "/access-info", 401),
        ("samplebeta1.pryv.test", "/samplebeta1/access-info", 401),
        ("core-a.pryv.test", "/samplebeta1/access-info", 401),
        ("bobby.pryv.test", "/access-info", 421),
        ("nobody-here.pryv.test", "/access-info", 404),
        ("reg.pryv.test", "/service/info", 200),
        ("reg.pryv.test", "/reg/service/info", 200),
        ("access.pryv.test", "/service/info", 200),
        ("access.pryv.test", "/access/nosuchkey", 400),
        ("reg.pryv.test", "/apps", 200),
        ("pryv.test", "/service/info", 200),
        ("samplebeta1.pryv.test", "/reg/hostings", 200),
    ] {
        assert_eq!(
            at("GET", host, path, none()).await.status,
            status,
            "{host} {path}"
        );
    }
    let twice = Request::builder()
        .uri("/service/info")
        .header("host", "samplebeta1.pryv.test")
        .header("host", "bobby.pryv.test");
    let twice = core.ask(twice, none()).await;
    assert_eq!(twice.error(), error(400, "missing-header"));
    let batch = at("POST", "bobby.pryv.test", "/", "[]".to_owned()).await;
    assert_eq!(batch.error(), error(421, "wrong-core"));
    let server = at("POST", "reg.pryv.test", "/bobby/server", "{}".to_owned()).await;
    assert_eq!(
        server.json(),
        json!({ "server": THERE, "alias": "bobby.pryv.test" })
    );
}

#[tokio::test]
async fn unknown_routes_and_methods_are_not_found() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    for (method, path) in [
        ("GET", "/nosuch"),
        ("GET", "/reg"),
        ("GET", "/reg/nosuch"),
        ("PUT", "/reg/hostings"),
        ("GET", "/users"),
        ("POST", "/reg/hostings"),
        ("GET", "/system"),
        ("GET", "/system/nosuch"),
        ("GET", "/samplebeta1/nosuch"),
        ("DELETE", "/samplebeta1/events"),
        ("POST", "/samplebeta1/events/abc"),
        ("PATCH", "/samplebeta1"),
        ("GET", "/samplebeta1/auth/login"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", token.as_str());
        let answer = core.ask(request, Body::empty()).await;
        assert_eq!(
            answer.error(),
            error(404, "unknown-resource"),
            "{method} {path}"
        );
        assert!(answer.json()["meta"].is_object(), "{method} {path}");
    }
    for path in ["/samplebeta1/auth/who-am-i", "/samplebeta1/auth/who-am-i/"] {
        assert_eq!(core.get(path).await.error(), error(410, "removed-method"));
    }
    for path in [
        "/samplebeta1/events/start",
        "/samplebeta1/events/stop",
        "/reg/username/check",
        "/reg/email/check",
    ] {
        assert_eq!(
            core.post(path, &json!({})).await.error(),
            error(410, "removed-method"),
            "{path}"
        );
    }
}

/// The SDK's sign-in button does not come up without them.
#[tokio::test]
async fn what_an_app_shows_of_the_service_is_there() {
    let core = Core::new();
    let index = core.get("/www/assets/index.json").await;
    assert_eq!(index.status, 200);
    let button = &index.json()["lib-js"]["buttonSignIn"];
    for (name, media_type) in [
        (&index.json()["favicon"]["default"]["url"], "image/x-icon"),
        (&index.json()["css"]["default"]["url"], "text/css"),
        (&button["css"], "text/css"),
        (&button["html"], "text/html"),
        (&button["messages"], "application/json"),
    ] {
        let name = name.as_str().unwrap();
        let request = Request::builder().uri(format!("/www/assets/{name}"));
        let origin = request.header("origin", "https://app.example.com");
        let file = core.ask(origin, String::new()).await;
        assert_eq!(file.status, 200, "{name}");
        let sent = file.header("content-type").unwrap();
        assert!(sent.starts_with(media_type), "{name}: {sent}");
        assert!(file.header("access-control-allow-origin").is_some());
    }
    assert_eq!(core.get("/favicon.ico").await.status, 200);
    for absent in [
        "/www/assets/x.css",
        "/www/assets/",
        "/www/assets/../index.json",
        "/www",
    ] {
        let answer = core.get(absent).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"), "{absent}");
    }
}
