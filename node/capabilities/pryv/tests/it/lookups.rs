//! Is it taken, where does it live, where may one register.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use homecore_http::{Rate, RateRule};
use serde_json::{Value, json};

use crate::support::{Core, HERE, THERE, Wanted, error};

#[tokio::test]
async fn names_are_taken_reserved_or_free() {
    let core = Core::new();
    core.register("samplebeta1").await;
    core.fake.add_elsewhere("bobby");
    for (name, reserved, reason) in [
        ("samplebeta1", true, None),
        ("SampleBeta1", true, None),
        ("bobby", true, None),
        ("samplebeta2", false, None),
        ("admin", true, Some("RESERVED_USER_NAME")),
        ("core-b", true, Some("RESERVED_USER_NAME")),
        ("sandbox", true, Some("RESERVED_USER_NAME")),
    ] {
        let answer = core.get(&format!("/reg/{name}/check_username")).await;
        assert_eq!(
            (answer.status, &answer.json()["reserved"]),
            (200, &json!(reserved)),
            "{name}"
        );
        assert_eq!(answer.json()["reason"].as_str(), reason, "{name}");
    }
    for name in ["bob", "a_b_c_d", "-alice", "%C3%A9l%C3%A9onore"] {
        let answer = core.get(&format!("/reg/{name}/check_username")).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters-format"),
            "{name}"
        );
        assert_eq!(answer.json()["error"]["data"][0]["path"], "#/username");
    }
}

#[tokio::test]
async fn addresses_are_taken_or_free() {
    let core = Core::new();
    core.register("samplebeta1").await;
    let free = core.get("/reg/nobody@example.com/check_email").await;
    assert_eq!(
        (free.status, &free.json()["reserved"]),
        (200, &json!(false))
    );
    for path in [
        "/reg/samplebeta1@example.com/check_email",
        "/reg/SampleBeta1%40Example.com/check_email",
    ] {
        let taken = core.get(path).await;
        assert_eq!(taken.error(), error(409, "item-already-exists"));
        assert_eq!(
            taken.json()["error"]["data"],
            json!({ "email": "samplebeta1@example.com" })
        );
    }
    let bad = core.get("/reg/nonsense/check_email").await;
    assert_eq!(bad.error(), error(400, "invalid-parameters-format"));
    assert_eq!(bad.json()["error"]["data"][0]["param"], "email");
}

#[tokio::test]
async fn cores_are_found_without_telling_addresses() {
    let core = Core::new();
    core.register("samplebeta1").await;
    core.fake.add_elsewhere("bobby");
    for (query, url) in [
        ("username=samplebeta1", HERE),
        ("username=Bobby", THERE),
        ("email=bobby@example.com", THERE),
        ("email=nobody@example.com", HERE),
        ("email=nonsense", HERE),
    ] {
        let answer = core.get(&format!("/reg/cores?{query}")).await;
        assert_eq!(answer.json()["core"], json!({ "url": url }), "{query}");
    }
    for query in ["", "username=a&email=b", "other=1"] {
        let answer = core.get(&format!("/reg/cores?{query}")).await;
        assert_eq!(
            answer.error(),
            error(400, "invalid-parameters-format"),
            "{query}"
        );
    }
    for query in ["username=nobody-here", "username=%20", "username=a/b"] {
        let answer = core.get(&format!("/reg/cores?{query}")).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"), "{query}");
    }

    let single = Core::of(Wanted {
        single: true,
        ..Wanted::default()
    });
    single.register("samplebeta1").await;
    let answer = single.get("/reg/cores?username=samplebeta1").await;
    assert_eq!(answer.json()["core"]["url"], format!("{HERE}samplebeta1/"));
    let answer = single.get("/reg/cores?email=samplebeta1@example.com").await;
    assert_eq!(
        answer.json()["core"]["url"],
        HERE,
        "an address is not told to be known"
    );
}

#[tokio::test]
async fn servers_have_a_slash_where_there_are_many() {
    for (single, url) in [(false, HERE), (true, HERE.trim_end_matches('/'))] {
        let core = Core::of(Wanted {
            single,
            ..Wanted::default()
        });
        core.register("samplebeta1").await;
        let answer = core.post("/reg/SampleBeta1/server", &json!({})).await;
        assert_eq!(
            answer.json(),
            json!({ "server": url, "alias": "samplebeta1" })
        );
        let answer = core.get("/reg/samplebeta1/server").await;
        assert_eq!(answer.status, 302);
        assert_eq!(
            answer.header("location").unwrap(),
            format!("{url}?username=samplebeta1")
        );
        for name in ["nobody-here", "x", "a b"] {
            let name = name.replace(' ', "%20");
            let path = format!("/reg/{name}/server");
            for answer in [core.get(&path).await, core.post(&path, &json!({})).await] {
                assert_eq!(answer.error(), error(404, "unknown-user"), "{name}");
                assert!(answer.json().get("meta").is_none());
            }
        }
    }
}

#[tokio::test]
async fn addresses_lead_to_names() {
    let core = Core::new();
    core.fake.add_elsewhere("bobby");
    for key in ["uid", "username"] {
        let answer = core.get(&format!("/reg/bobby@example.com/{key}")).await;
        assert_eq!(answer.json(), json!({ key: "bobby" }));
        for address in ["nobody@example.com", "nonsense"] {
            let answer = core.get(&format!("/reg/{address}/{key}")).await;
            assert_eq!(answer.error(), error(404, "unknown-email"));
            assert!(answer.json().get("meta").is_none());
        }
    }
}

#[tokio::test]
async fn hostings_show_what_is_available() {
    let default = Core::new().get("/reg/hostings").await.json();
    let hosting = &default["regions"]["default"]["zones"]["default"]["hostings"]["default"];
    assert_eq!(
        *hosting,
        json!({ "name": "Default", "available": true, "availableCore": HERE })
    );

    let tree = json!({ "eu": { "name": "Europe", "localizedName": { "fr": "Europe" }, "zones": {
        "ch": { "name": "Switzerland", "hostings": {
            "default": { "name": "Here", "url": "https://x.test" },
            "europe": { "name": "There", "description": "closed" },
            "nowhere": { "name": "Nowhere", "available": true },
            "broken": 3,
        } },
        "empty": { "name": "Empty" },
    } }, "odd": [] });
    let Value::Object(regions) = tree else {
        panic!("an object")
    };
    let core = Core::of(Wanted {
        hosting_regions: Some(regions),
        ..Wanted::default()
    });
    let shown = core.get("/reg/hostings").await.json();
    let eu = &shown["regions"]["eu"];
    assert_eq!(eu["localizedName"], json!({ "fr": "Europe" }));
    assert_eq!(
        eu["zones"]["ch"]["hostings"],
        json!({
            "default": {
                "name": "Here", "url": "https://x.test", "available": true, "availableCore": HERE,
            },
            "europe": {
                "name": "There", "description": "closed", "available": false, "availableCore": "",
            },
            "nowhere": { "name": "Nowhere", "available": false, "availableCore": "" },
            "broken": 3,
        })
    );
    assert!(shown["meta"].is_object());
}

/// A read of the platform that fails is no reason to forget what this core knows.
#[tokio::test]
async fn what_is_known_is_told_in_an_outage() {
    for single in [false, true] {
        let core = Core::of(Wanted {
            single,
            ..Wanted::default()
        });
        core.register("samplebeta1").await;
        core.fake.add_elsewhere("bobby");
        let mut paths = vec![
            "/reg/cores?username=SampleBeta1",
            "/reg/samplebeta1/server",
            "/reg/samplebeta1/check_username",
            "/reg/admin/check_username",
            "/reg/hostings",
        ];
        if single {
            paths.push("/reg/cores?email=samplebeta1@example.com");
            paths.push("/reg/cores?email=nobody@example.com");
        } else {
            core.fake.add_former("robert", "bobby");
            paths.extend([
                "/reg/cores?username=bobby",
                "/reg/bobby/server",
                "/reg/cores?username=robert",
                "/reg/robert/server",
                "/reg/robert/check_username",
            ]);
        }
        for path in paths {
            core.fake.down.store(false, Ordering::SeqCst);
            let up = core.get(path).await;
            assert!(up.status < 400, "{path} {up:?}");
            core.fake.down.store(true, Ordering::SeqCst);
            let down = core.get(path).await;
            let told = |answer: &crate::support::Answer| {
                let mut body = answer.json();
                if let Some(body) = body.as_object_mut() {
                    body.remove("meta");
                }
                let location = answer.header("location").map(str::to_owned);
                (answer.status, body, location)
            };
            assert_eq!(told(&down), told(&up), "{path}");
        }
        for path in [
            "/reg/cores?username=nobody-here",
            "/reg/nobody-here/server",
            "/reg/nobody-here/check_username",
        ] {
            let answer = core.get(path).await;
            assert_eq!(answer.error(), error(503, "api-unavailable"), "{path}");
            assert_eq!(
                answer.json()["error"]["message"],
                "The platform cannot answer now; try again"
            );
        }
    }
}

#[tokio::test]
async fn places_to_register_are_limited_too() {
    let rule = RateRule {
        burst: 1,
        per_second: 0.001,
    };
    let core = Core::of(Wanted {
        rates: BTreeMap::from([(Rate::Lookup, rule)]),
        ..Wanted::default()
    });
    assert_eq!(core.get("/reg/hostings").await.status, 200);
    let answer = core.get("/reg/hostings").await;
    assert_eq!(answer.error(), error(429, "too-many-requests"));
}

#[tokio::test]
async fn questions_are_limited_and_doubt_is_told() {
    let rule = RateRule {
        burst: 1,
        per_second: 0.001,
    };
    let rates = BTreeMap::from([(Rate::Lookup, rule)]);
    for path in [
        "/reg/alice/check_username",
        "/reg/a@b.c/check_email",
        "/reg/cores?username=alice",
        "/reg/a@b.c/uid",
        "/reg/a@b.c/username",
        "/reg/alice/server",
    ] {
        let core = Core::of(Wanted {
            rates: rates.clone(),
            ..Wanted::default()
        });
        core.fake.down.store(true, Ordering::SeqCst);
        let answer = core.get(path).await;
        assert_eq!(answer.error(), error(503, "api-unavailable"), "{path}");
        assert_eq!(answer.header("retry-after"), Some("2"), "{path}");
        assert_eq!(
            core.get(path).await.error(),
            error(429, "too-many-requests"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn apps_and_invitations() {
    let Value::Object(app) = json!({ "id": "my-app", "displayName": "Mine" }) else {
        panic!("an object")
    };
    let core = Core::of(Wanted {
        apps: vec![app.clone()],
        ..Wanted::default()
    });
    for prefix in ["", "/reg"] {
        assert_eq!(
            core.get(&format!("{prefix}/apps")).await.json(),
            json!({ "apps": [app] })
        );
        assert_eq!(
            core.get(&format!("{prefix}/apps/my-app")).await.json(),
            json!({ "app": app })
        );
        let answer = core.get(&format!("{prefix}/apps/other")).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"));
    }
    core.fake.invite("good", None);
    core.fake.invite("used", Some("somebody"));
    for path in [
        "/access/invitationtoken/check",
        "/reg/access/invitationtoken/check",
    ] {
        for (body, expected) in [
            (json!({ "invitationtoken": "good" }), "true"),
            (json!({ "invitationToken": "good" }), "true"),
            (json!({ "invitationtoken": "used" }), "false"),
            (json!({ "invitationtoken": 1 }), "false"),
            (json!({}), "false"),
        ] {
            let answer = core.post(path, &body).await;
            assert_eq!(
                (answer.status, answer.text.as_str()),
                (200, expected),
                "{body}"
            );
            assert_eq!(
                answer.header("content-type"),
                Some("text/plain; charset=utf-8")
            );
        }
    }
}
