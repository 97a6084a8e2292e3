//! Administration: the key, the lists, DNS records.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;

use axum::body::Body;
use homecore_kernel::ports::Records;
use http::Request;
use serde_json::{Value, json};

use crate::support::{ADMIN, Core, HERE, THERE, Wanted, error};

#[tokio::test]
async fn without_the_key_nothing_is_there() {
    let core = Core::new();
    core.register("samplebeta1").await;
    for (method, path, plain) in [
        ("GET", "/system/admin/users", false),
        ("GET", "/system/admin/cores", false),
        ("GET", "/system/status", false),
        ("GET", "/system/user-info/samplebeta1", false),
        ("POST", "/system/admin/invitations", false),
        ("GET", "/reg/admin/users/samplebeta1", true),
        ("GET", "/reg/admin/servers", true),
        ("GET", "/reg/admin/servers/core-a/users", true),
        ("GET", "/reg/admin/servers/core-a/rename/core-b", true),
        ("GET", "/reg/admin/invitations", true),
        ("GET", "/reg/admin/invitations/post?count=1", true),
    ] {
        for key in [
            None,
            Some(""),
            Some("wrong"),
            Some("peer-admin-keyX"),
            Some("Bearer peer-admin-key"),
        ] {
            let mut request = Request::builder().method(method).uri(path);
            if let Some(key) = key {
                request = request.header("authorization", key);
            }
            let answer = core.ask(request, Body::empty()).await;
            assert_eq!(
                answer.error(),
                error(404, "unknown-resource"),
                "{path} {key:?}"
            );
            assert_eq!(answer.json().get("meta").is_none(), plain, "{path}");
        }
        let query = Request::builder()
            .method(method)
            .uri(format!("{path}?auth={ADMIN}"));
        assert_eq!(core.ask(query, Body::empty()).await.status, 404, "{path}");
    }
    for request in [
        Request::post("/reg/records"),
        Request::delete("/reg/records/x"),
    ] {
        let answer = core.ask(request, Body::empty()).await;
        assert_eq!(answer.error(), error(403, "forbidden"));
    }
}

#[tokio::test]
async fn users_are_listed_by_core() {
    let core = Core::new();
    for name in ["samplebeta1", "samplebeta2", "samplebeta3"] {
        core.register(name).await;
    }
    core.fake.add_elsewhere("bobby");
    let names = |body: &Value| -> Vec<String> {
        let users = body["users"].as_array().unwrap();
        users
            .iter()
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = core.get_as(ADMIN, "/system/admin/users").await.json();
    assert_eq!(names(&all), ["samplebeta1", "samplebeta2", "samplebeta3"]);
    assert_eq!(all["users"][0]["email"], "samplebeta1@example.com");
    assert_eq!(all["users"][0]["language"], "en");
    assert_eq!(all["users"][0]["core"], "core-a");
    assert!(all["meta"].is_object());
    let page = core
        .get_as(ADMIN, "/system/admin/users?limit=1&after=samplebeta1")
        .await
        .json();
    assert_eq!(names(&page), ["samplebeta2"]);
    for query in ["limit=x", "limit=-1", "limit=1.5", "after=!"] {
        let answer = core
            .get_as(ADMIN, &format!("/system/admin/users?{query}"))
            .await;
        assert_eq!(answer.error(), error(400, "invalid-parameters"), "{query}");
    }

    for (server, expected) in [
        ("core-b", vec!["bobby"]),
        ("core-b.test", vec!["bobby"]),
        (
            "127.0.0.1",
            vec!["samplebeta1", "samplebeta2", "samplebeta3"],
        ),
        (
            "http",
            vec!["samplebeta1", "samplebeta2", "samplebeta3", "bobby"],
        ),
    ] {
        let path = format!("/reg/admin/servers/{server}/users");
        let answer = core.get_as(ADMIN, &path).await.json();
        assert_eq!(names(&answer), expected, "{server}");
        assert_eq!(answer.get("meta"), None);
    }
    let none = core.get_as(ADMIN, "/reg/admin/servers/nowhere/users").await;
    assert_eq!(none.error(), error(404, "unknown-resource"));
    let one = core
        .get_as(ADMIN, "/reg/admin/users/SampleBeta1")
        .await
        .json();
    assert_eq!(
        (&one["username"], &one["appId"]),
        (&json!("samplebeta1"), &json!("sample-app"))
    );
    assert!(one.get("email").is_none());
    let none = core.get_as(ADMIN, "/reg/admin/users/nobody-here").await;
    assert_eq!(none.error(), error(404, "unknown-resource"));

    core.fake.down.store(true, Ordering::SeqCst);
    for path in [
        "/system/admin/users",
        "/reg/admin/servers/core-a/users",
        "/reg/admin/invitations",
    ] {
        let answer = core.get_as(ADMIN, path).await;
        assert_eq!(
            answer.error(),
            error(503, "api-unavailable"),
            "not an answer that is cut off"
        );
    }
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let core = Core::new();
    for n in 0..2_345 {
        core.fake.add_elsewhere(&format!("user-{n:05}"));
    }
    let answer = core
        .get_as(ADMIN, "/reg/admin/servers/core-b/users")
        .await
        .json();
    let users = answer["users"].as_array().unwrap();
    assert_eq!(users.len(), 2_345);
    assert_eq!(users[2_344], json!({ "username": "user-02344" }));
}

#[tokio::test]
async fn cores_are_listed() {
    let core = Core::new();
    core.register("samplebeta1").await;
    core.fake.add_elsewhere("bobby");
    let cores = json!([
        { "id": "core-a", "url": HERE, "hosting": null, "available": true, "userCount": 1 },
        { "id": "core-b", "url": THERE, "hosting": "europe", "available": false, "userCount": 1 },
    ]);
    assert_eq!(
        core.get_as(ADMIN, "/system/admin/cores").await.json()["cores"],
        cores
    );
    let status = core.get_as(ADMIN, "/system/status").await.json()["status"].clone();
    assert_eq!((&status["core"], &status["cores"]), (&cores[0], &cores));
    let servers = core.get_as(ADMIN, "/reg/admin/servers").await.json();
    assert_eq!(
        servers,
        json!({ "servers": { HERE: { "userCount": 1 }, THERE: { "userCount": 1 } } })
    );
    let rename = core
        .get_as(ADMIN, "/reg/admin/servers/core-a/rename/core-b")
        .await;
    assert_eq!(rename.error(), error(410, "removed-method"));
}

#[tokio::test]
async fn invitations_are_made_and_listed() {
    let core = Core::of(Wanted {
        single: true,
        ..Wanted::default()
    });
    let made = core
        .get_as(
            ADMIN,
            "/reg/admin/invitations/post?count=2&message=hello+you",
        )
        .await
        .json();
    assert_eq!(made["data"].as_array().unwrap().len(), 2);
    assert_eq!(made["data"][0]["description"], "hello you");
    assert!(made["data"][0]["createdAt"].is_i64());
    let body = json!({ "count": 1, "message": "more" });
    let posted = core
        .post_as(ADMIN, "/system/admin/invitations", &body)
        .await;
    assert_eq!(
        (
            posted.status,
            posted.json()["invitations"].as_array().unwrap().len()
        ),
        (201, 1)
    );
    let listed = core.get_as(ADMIN, "/reg/admin/invitations").await.json();
    assert_eq!(listed["invitations"].as_array().unwrap().len(), 3);
    for query in ["count=0", "count=1001", "count=x", "count=1.5", "count=-1"] {
        let answer = core
            .get_as(ADMIN, &format!("/reg/admin/invitations/post?{query}"))
            .await;
        assert_eq!(answer.error(), error(400, "invalid-parameters"), "{query}");
    }
    for body in [json!({ "count": "1" }), json!({ "message": 1 }), json!([])] {
        let answer = core
            .post_as(ADMIN, "/system/admin/invitations", &body)
            .await;
        assert_eq!(answer.status, 400, "{body}");
    }
}

#[tokio::test]
async fn records_are_checked_and_kept() {
    let core = Core::new();
    core.fake.add_elsewhere("bobby");
    let put = async |subdomain: Value, records: Value| {
        let body = json!({ "subdomain": subdomain, "records": records });
        core.post_as(ADMIN, "/reg/records", &body).await
    };
    let records = json!({
        "a": "10.0.0.1", "aaaa": ["2001:db8::1"], "txt": ["one", "two"],
        "caa": [{ "flags": 0, "tag": "issue", "value": "ca.test" }],
    });
    let answer = put(json!("_acme-challenge.Site"), records.clone()).await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({ "subdomain": "_acme-challenge.site", "records": records, "status": "ok" })
        )
    );
    assert_eq!(
        core.fake.records("_acme-challenge.site"),
        Some(Records {
            a: vec![Ipv4Addr::new(10, 0, 0, 1)],
            aaaa: vec!["2001:db8::1".parse::<Ipv6Addr>().unwrap()],
            cname: None,
            txt: vec!["one".to_owned(), "two".to_owned()],
            caa: vec![(0, "issue".to_owned(), "ca.test".to_owned())],
        })
    );
    assert_eq!(
        put(json!("alias"), json!({ "cname": "target.test." }))
            .await
            .status,
        200
    );

    for (subdomain, records) in [
        (json!(1), json!({ "a": "10.0.0.1" })),
        (json!(""), json!({ "a": "10.0.0.1" })),
        (json!("a..b"), json!({ "a": "10.0.0.1" })),
        (json!("-a"), json!({ "a": "10.0.0.1" })),
        (json!("x y"), json!({ "a": "10.0.0.1" })),
        (json!("ok"), json!({})),
        (json!("ok"), json!([])),
        (json!("ok"), json!({ "a": "10.0.0" })),
        (json!("ok"), json!({ "a": [1] })),
        (json!("ok"), json!({ "aaaa": "10.0.0.1" })),
        (json!("ok"), json!({ "mx": "x" })),
        (json!("ok"), json!({ "cname": "bad name" })),
        (json!("ok"), json!({ "cname": "x.test", "a": "10.0.0.1" })),
        (json!("ok"), json!({ "caa": [{ "tag": "", "value": "x" }] })),
        (
            json!("ok"),
            json!({ "caa": [{ "flags": 300, "tag": "issue", "value": "x" }] }),
        ),
        (json!("ok"), json!({ "txt": vec!["x"; 51] })),
    ] {
        let answer = put(subdomain.clone(), records.clone()).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters"),
            "{subdomain} {records}"
        );
        assert!(answer.json().get("meta").is_none());
    }
    let taken = put(json!("bobby"), json!({ "a": "10.0.0.1" })).await;
    assert_eq!(taken.error(), error(409, "item-already-exists"));

    let delete = async |label: &str| {
        let request =
            Request::delete(format!("/reg/records/{label}")).header("authorization", ADMIN);
        core.ask(request, Body::empty()).await
    };
    assert_eq!(
        delete("alias").await.json(),
        json!({ "subdomain": "alias", "status": "deleted" })
    );
    assert_eq!(
        delete("alias").await.error(),
        error(404, "unknown-resource")
    );
    assert_eq!(
        delete("x%20y").await.error(),
        error(400, "invalid-parameters")
    );
}

#[tokio::test]
async fn an_administrator_sees_how_much_a_user_stores_and_calls() {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let path = "/system/user-info/samplebeta1";
    let before = core.get_as(ADMIN, path).await.json();
    assert_eq!(before["userInfo"]["callsTotal"], 0);
    assert_eq!(before["userInfo"]["lastAccess"].as_f64(), Some(0.0));
    let accesses = "/samplebeta1/accesses";
    let mut tokens = vec![token.clone()];
    for (kind, name) in [
        ("app", "my-app"),
        ("shared", "my doctor"),
        ("shared", "my son"),
    ] {
        let access = json!({ "type": kind, "name": name,
            "permissions": [{ "streamId": "*", "level": "read" }] });
        let made = core.send_as(&token, "POST", accesses, Some(&access)).await;
        let made = made.json()["access"]["token"].clone();
        tokens.push(made.as_str().unwrap().to_owned());
    }
    for token in &tokens {
        core.get_as(token, "/samplebeta1/events").await;
    }
    let info = core.get_as(ADMIN, path).await.json()["userInfo"].clone();
    assert_eq!(info["username"], "samplebeta1");
    assert!(info["storageUsed"]["dbDocuments"].as_u64().unwrap() > 0);
    assert_eq!(info["storageUsed"]["attachedFiles"], 0);
    assert!(info["lastAccess"].as_f64().unwrap() > 0.0);
    assert_eq!(info["callsTotal"], 7);
    let detail = json!({ "accesses:create": 3, "events:get": 4 });
    assert_eq!(info["callsDetail"], detail);
    let calls = info["callsPerAccess"].as_object().unwrap();
    assert_eq!((&calls["my-app"], &calls["shared"]), (&json!(1), &json!(2)));
    assert_eq!(calls.len(), 3, "what a person calls an access is not told");

    core.fake.add_elsewhere("bobby");
    let elsewhere = core.get_as(ADMIN, "/system/user-info/bobby").await;
    assert_eq!(elsewhere.error(), error(421, "wrong-core"));
    let nobody = core.get_as(ADMIN, "/system/user-info/nobody").await;
    assert_eq!(nobody.error(), error(404, "unknown-resource"));
}
