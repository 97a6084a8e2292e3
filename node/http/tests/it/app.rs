//! The order of the request path, and every way it can refuse.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use homecore_http::{App, AppError, Capability, Limits, Readiness};
use http::{Method, Request};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{ALICE, ALICE_ID, Client, ELSEWHERE, Echo};

fn client() -> Client {
    Client::new(None, Limits::default())
}

#[tokio::test]
async fn cross_origin_headers_are_on_every_answer() {
    let client = Client::new(Some("pryv.test"), Limits::default());
    for (path, status) in [
        ("/", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/reg/echo", 200),
        ("/reg/plain", 400),
        ("/reg/nosuch", 404),
        ("/alice/nosuch", 404),
        ("/nosuch-user/events", 404),
        ("/bobby/events", 421),
        ("/doubt/events", 503),
        ("/%ff", 400),
        ("/panic", 500),
    ] {
        let request = Request::get(path)
            .header("host", "pryv.test")
            .header("origin", "https://a.b");
        let answer = client.ask(request, Body::empty()).await;
        assert_eq!(answer.status, status, "{path}");
        for (name, value) in [
            ("access-control-allow-origin", "https://a.b"),
            (
                "access-control-allow-methods",
                "POST, GET, PUT, DELETE, OPTIONS",
            ),
            (
                "access-control-allow-headers",
                "Authorization, Content-Type",
            ),
            ("access-control-expose-headers", "API-Version"),
            ("access-control-max-age", "31536000"),
            ("access-control-allow-credentials", "true"),
            ("api-version", "2.0.0"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path} {name}");
        }
        assert_eq!(answer.header("x-powered-by"), None);
    }
}

#[tokio::test]
async fn a_preflight_is_answered_before_everything() {
    let client = Client::new(Some("pryv.test"), Limits::default());
    for path in [
        "/",
        "/bobby/events",
        "/nosuch-user/x",
        "/reg/nosuch",
        "/%ff",
        "/doubt/x",
    ] {
        let request = Request::options(path)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "x-mine");
        let answer = client.ask(request, Body::empty()).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{path}");
        assert_eq!(answer.header("access-control-allow-methods"), Some("PATCH"));
        assert_eq!(
            answer.header("access-control-allow-headers"),
            Some("x-mine")
        );
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn a_user_route_is_reached_only_by_users_of_this_core() {
    let client = client();
    for path in [
        "/alice/events",
        "/ALICE/events",
        "/old-alice/events",
        "/carol/events",
        "/%61lice/events/",
    ] {
        let answer = client.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.json()["user"], json!([ALICE_ID, ALICE]), "{path}");
        assert_eq!(answer.json()["path"], "/events", "{path}");
    }
    for path in [
        "/nosuch-user/events",
        "/bob/events",
        "/al_ce/x",
        "/wait-not/x",
        "/alice%2Fevents",
    ] {
        assert_eq!(
            client.get(path).await.error(),
            (404, "unknown-resource".to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn another_core_is_named_in_exactly_this_form() {
    let client = client();
    for (method, path) in [
        (Method::GET, "/bobby/events"),
        (Method::GET, "/Bobby/events"),
        (Method::POST, "/bobby"),
        (Method::POST, "/bobby/"),
        (Method::GET, "/bobby"),
        (Method::GET, "/bobby/"),
        (Method::GET, "/bobby/nosuch/route"),
        (Method::DELETE, "/bobby/events/x"),
    ] {
        let request = Request::builder().method(&method).uri(path);
        let answer = client.ask(request, Body::empty()).await;
        assert_eq!(answer.status, 421, "{method} {path}");
        let body = answer.json();
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("bobby"), "{message}");
        assert_eq!(
            body,
            json!({ "error": {
                "id": "wrong-core",
                "message": message,
                "coreUrl": ELSEWHERE,
                "data": { "coreUrl": ELSEWHERE },
            } })
        );
        assert_eq!(answer.header("location"), None);
    }
}

#[tokio::test]
async fn doubt_is_not_a_no() {
    let answer = client().get("/doubt/events").await;
    assert_eq!(answer.error(), (503, "api-unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("2"));
    assert_eq!(
        answer.json()["error"]["message"],
        "The platform cannot answer now; try again",
        "why is for operators"
    );
}

#[tokio::test]
async fn errors_have_one_form() {
    let client = client();
    let body = client.get("/reg/nosuch").await.json();
    assert_eq!(body["error"]["id"], "unknown-resource");
    assert_eq!(body["meta"]["apiVersion"], "2.0.0");
    assert_eq!(body["meta"]["serial"], "2019061301");
    assert!(body["meta"]["serverTime"].is_f64());
    let answer = client.get("/reg/plain").await;
    assert_eq!(
        answer.json(),
        json!({ "error": { "id": "invalid-parameters", "message": "plain" } })
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let answer = client
        .ask(Request::delete("/alice/events"), Body::empty())
        .await;
    assert_eq!(
        answer.error(),
        (404, "unknown-resource".to_owned()),
        "a wrong method is no route"
    );
}

#[tokio::test]
async fn slashes_do_not_matter() {
    let client = client();
    for path in ["/reg/echo", "/reg/echo/", "//reg//echo", "/reg/echo//"] {
        assert_eq!(client.get(path).await.json()["path"], "/reg/echo", "{path}");
    }
    for path in ["/alice", "/alice/", "//alice//"] {
        assert_eq!(client.get(path).await.json()["path"], "/", "{path}");
    }
    assert_eq!(client.get("//").await.json(), json!({ "route": "/" }));
    assert_eq!(
        client.get("/alice/events/?a=b%20c").await.json()["query"],
        json!({ "a": "b c" })
    );
}

#[tokio::test]
async fn hosts_name_users() {
    let client = Client::new(Some("pryv.test"), Limits::default());
    let ask = async |host: &str, path: &str| {
        client
            .ask(Request::get(path).header("host", host), Body::empty())
            .await
    };
    assert_eq!(
        ask("alice.pryv.test", "/events").await.json()["user"],
        json!([ALICE_ID, ALICE])
    );
    assert_eq!(ask("bobby.pryv.test", "/").await.status, 421);
    assert_eq!(
        ask("reg.pryv.test", "/echo").await.json()["path"],
        "/reg/echo"
    );
    assert_eq!(ask("core-b.pryv.test", "/alice/events").await.status, 200);
    let missing = client.get("/alice/events").await;
    assert_eq!(missing.error(), (400, "missing-header".to_owned()));
    let h2 = client.get("http://alice.pryv.test/events").await;
    assert_eq!(
        h2.json()["user"],
        json!([ALICE_ID, ALICE]),
        "the authority of HTTP/2"
    );
}

#[tokio::test]
async fn json_bodies_are_read_within_bounds() {
    let client = Client::new(
        None,
        Limits {
            body_bytes_max: 100,
            ..Limits::default()
        },
    );
    let json = "application/json; charset=utf-8";
    let answer = client.post("/alice/events", json, r#"{"a":1}"#).await;
    assert_eq!(answer.json()["body"], json!({ "a": 1 }));
    for (kind, body) in [
        (json, ""),
        (json, " \n"),
        ("text/plain", "{}"),
        ("text/plain", "{"),
    ] {
        let answer = client.post("/alice/events", kind, body).await;
        assert_eq!(
            (answer.status, &answer.json()["body"]),
            (200, &Value::Null),
            "{kind} {body}"
        );
    }
    let too_large = format!("\"{}\"", "x".repeat(100));
    for body in ["{", "{\"a\":}", "\u{0}", "[1,]", too_large.as_str()] {
        let answer = client.post("/alice/events", json, body.to_owned()).await;
        assert_eq!(
            answer.error(),
            (400, "invalid-request-structure".to_owned()),
            "{body}"
        );
        assert!(answer.json()["meta"].is_object());
    }
    let deep = "[".repeat(90);
    assert_eq!(client.post("/alice/events", json, deep).await.status, 400);
    let zipped = Request::post("/alice/events")
        .header("content-type", json)
        .header("content-encoding", "gzip");
    assert_eq!(client.ask(zipped, "{}").await.status, 400);
}

#[tokio::test]
async fn bodies_together_have_a_bound_too() {
    let limits = Limits {
        body_bytes_max: 10_000,
        buffered_bytes_max: 4_096,
        ..Limits::default()
    };
    let client = Client::new(None, limits);
    let large = format!("\"{}\"", "x".repeat(5_000));
    let answer = client
        .post("/alice/events", "application/json", large)
        .await;
    assert_eq!(answer.error(), (503, "api-unavailable".to_owned()));
    assert!(answer.header("retry-after").is_some());
    let small = client.post("/alice/events", "application/json", "{}").await;
    assert_eq!(small.status, 200, "what was held is given back");
}

#[tokio::test]
async fn forms_stand_for_other_requests() {
    let client = client();
    let form = "application/x-www-form-urlencoded";
    let answer = client
        .post(
            "/alice/events",
            form,
            "_method=get&_auth=tok%2Fen&_json=%7B%22a%22%3A%5B1%5D%7D",
        )
        .await
        .json();
    assert_eq!(
        (&answer["method"], &answer["form"], &answer["body"]),
        (&json!("GET"), &json!("tok/en"), &json!({ "a": [1] }))
    );
    let answer = client.post("/reg/echo", form, "a=1&b=x+y").await.json();
    assert_eq!(
        (&answer["method"], &answer["body"]),
        (&json!("POST"), &json!({ "a": "1", "b": "x y" }))
    );
    for body in ["_json=%7B", "_method=%20", "_method="] {
        let answer = client.post("/alice/events", form, body).await;
        assert_eq!(
            answer.error(),
            (400, "invalid-request-structure".to_owned()),
            "{body}"
        );
    }
    // Other methods have bodies, too; what stands for another request is a POST.
    let put = Request::put("/reg/echo").header("content-type", form);
    let answer = client.ask(put, "a=1&_method=GET&_auth=tok").await.json();
    assert_eq!(
        (&answer["method"], &answer["form"], &answer["body"]),
        (
            &json!("PUT"),
            &json!("tok"),
            &json!({ "a": "1", "_method": "GET" })
        )
    );
    for method in ["PUT", "DELETE", "GET"] {
        let request = Request::builder().method(method).uri("/reg/echo");
        let request = request.header("content-type", form);
        let answer = client.ask(request, "_json=%5B1%5D").await.json();
        assert_eq!(
            (&answer["method"], &answer["body"]),
            (&json!(method), &json!([1]))
        );
    }
    // Nothing but a form overrides.
    let answer = client
        .post("/alice/events", "application/json", r#"{"_method":"GET"}"#)
        .await;
    assert_eq!(answer.json()["method"], "POST");
}

#[tokio::test]
async fn health_is_told_apart_from_readiness() {
    let reasons = vec!["no quorum".to_owned()];
    let limits = Limits {
        in_flight_max: 1,
        ..Limits::default()
    };
    let ready = Readiness {
        ready: false,
        reasons,
    };
    let client = Client::with(Some("pryv.test"), limits, Echo::default(), ready);
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/livez").await.status, 200);
    let answer = client.get("/readyz").await;
    assert_eq!(
        (answer.status, answer.json()),
        (503, json!({ "ready": false, "reasons": ["no quorum"] }))
    );
    let metrics = client.get("/metrics").await;
    assert!(metrics.text.starts_with("homecore_up 1\n"));
    assert!(
        metrics
            .text
            .contains("homecore_http_responses_total{class=\"5xx\"} 0\n")
    );
}

#[tokio::test(start_paused = true)]
async fn requests_have_slots_and_a_time() {
    let gate = Arc::new(Semaphore::new(0));
    let limits = Limits {
        in_flight_max: 1,
        request_timeout: Duration::from_secs(30),
        ..Limits::default()
    };
    let echo = Echo {
        gate: Arc::clone(&gate),
    };
    let ready = Readiness {
        ready: true,
        reasons: vec![],
    };
    let client = Client::with(None, limits, echo, ready);

    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.get("/wait").await }
    });
    while client.app.free_slots() > 0 {
        tokio::task::yield_now().await;
    }
    let refused = client.get("/reg/echo").await;
    assert_eq!(refused.error(), (503, "api-unavailable".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(
        client.get("/healthz").await.status,
        200,
        "health has no slots"
    );
    gate.add_permits(1);
    assert_eq!(waiting.await.unwrap().text, "done");

    // The paused clock jumps to the time limit.
    let late = client.get("/wait").await;
    assert_eq!(late.error(), (503, "api-unavailable".to_owned()));
    assert_eq!(
        client.get("/reg/echo").await.status,
        200,
        "its slot is free again"
    );
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let client = client();
    let answer = client.get("/panic").await;
    assert_eq!(answer.error(), (500, "unexpected-error".to_owned()));
    assert!(!answer.text.contains("a bug"));
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn only_believed_proxies_tell_the_client() {
    for (hops, header, expected) in [
        (0, "10.0.0.1", "0.0.0.0"),
        (1, "10.0.0.1", "10.0.0.1"),
        (1, "1.1.1.1, 10.0.0.2", "10.0.0.2"),
        (2, "1.1.1.1, 10.0.0.2", "1.1.1.1"),
        (3, "1.1.1.1, 10.0.0.2", "0.0.0.0"),
        (1, "nonsense", "0.0.0.0"),
    ] {
        let client = Client::new(
            None,
            Limits {
                forwarded_hops: hops,
                ..Limits::default()
            },
        );
        let request = Request::get("/reg/echo").header("x-forwarded-for", header);
        let answer = client.ask(request, Body::empty()).await;
        assert_eq!(answer.json()["client"], expected, "{hops} {header}");
    }
}

#[test]
fn two_capabilities_cannot_have_one_root() {
    let client = client();
    let echo = || -> Arc<dyn Capability> { Arc::new(Echo::default()) };
    let health = Arc::new(crate::support::Ready(Readiness::default()));
    let error = App::new(Arc::clone(client.app.context()), &[echo(), echo()], health).unwrap_err();
    assert_eq!(
        error,
        AppError::RootTaken {
            segment: "",
            first: "echo",
            second: "echo"
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is asked, the answer is one of ours.
    #[test]
    fn no_request_is_a_defect(
        method in "[A-Z]{1,7}",
        path in "(/([a-z]{0,6}|alice|bobby|reg|echo|%[0-9a-f]{2}|[!-~&&[^#?]]{0,8})){0,5}",
        query in "[!-~&&[^#]]{0,40}",
        host in "[a-z.:\\[\\]-]{0,30}",
        kind in prop::sample::select(vec!["application/json", "application/x-www-form-urlencoded", "x"]),
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let uri = format!("/{path}?{query}");
        let Ok(uri) = uri.parse::<http::Uri>() else { return Ok(()) };
        if method == "CONNECT" { return Ok(()); }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let client = Client::new(Some("pryv.test"), Limits::default());
        let request = Request::builder()
            .method(method.as_str())
            .uri(uri)
            .header("host", host)
            .header("content-type", kind);
        let answer = runtime.block_on(client.ask(request, body));
        prop_assert!(answer.status < 500, "{answer:?}");
    }
}
