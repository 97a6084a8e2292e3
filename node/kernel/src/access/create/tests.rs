//! Who may create which access, and what becomes of it.

use serde_json::{Value, json};

use crate::error::Error;
use crate::method::Method;
use crate::testing::Home;

fn refused(result: Result<Value, Error>) -> (&'static str, Value) {
    let error = result.unwrap_err();
    let data = error.data().cloned().unwrap_or(Value::Null);
    (error.id().wire(), data)
}

fn id_of(result: Result<Value, Error>) -> &'static str {
    refused(result).0
}

/// A user with streams, and an app with permissions.
fn with_app(permissions: &Value) -> (Home, crate::Actor) {
    let mut home = Home::new();
    home.stream("health", None);
    home.stream("weight", Some("health"));
    home.stream("secret", Some("health"));
    let app = json!({ "type": "app", "name": "an-app", "permissions": permissions });
    let app = home.create_access(&home.me(), &app).unwrap();
    let app = home.through(&app);
    (home, app)
}

#[test]
fn an_access_is_as_it_was_asked_for() {
    let mut home = Home::new();
    let me = home.me();
    let asked =
        json!({ "name": "For doctor", "permissions": [{ "streamId": "health", "level": "read" }] });
    let shared = home.create_access(&me, &asked).unwrap();
    for name in ["id", "token"] {
        assert_eq!(shared[name].as_str().unwrap().len(), 24);
    }
    assert_eq!(shared["type"], "shared");
    assert_eq!(shared["deviceName"], Value::Null);
    assert!(shared.as_object().unwrap().contains_key("deviceName"));
    assert_eq!(shared["permissions"], asked["permissions"]);
    assert_eq!(shared["createdBy"], me.access.id.as_str());
    assert_eq!(shared["modifiedBy"], me.access.id.as_str());
    assert!(
        shared["integrity"]
            .as_str()
            .unwrap()
            .starts_with("ACCESS:0:sha256-")
    );
    assert_eq!(shared.get("expires"), None);

    let app = json!({ "type": "app", "name": "app", "token": "My Own Töken",
        "permissions": [{ "streamId": "*", "level": "manage" }], "clientData": { "x": 1 },
        "expireAfter": 3600, "createdBy": "me", "integrity": 1, "alias": null });
    let app = home.create_access(&me, &app).unwrap();
    assert_eq!(app["token"], "My-Own-Token");
    let prefixed = json!({ "name": "prefixed", "token": ":x: A/b", "permissions": [] });
    let prefixed = home.create_access(&me, &prefixed).unwrap();
    assert_eq!(prefixed["token"], "x-Ab");
    assert_eq!(app.get("deviceName"), None);
    assert_eq!(app["clientData"], json!({ "x": 1 }));
    assert_eq!(
        app["expires"].as_f64().unwrap() - app["created"].as_f64().unwrap(),
        3600.0
    );
    assert_eq!(app["createdBy"], me.access.id.as_str());
}

#[test]
fn the_form_is_checked() {
    let mut home = Home::new();
    let me = home.me();
    let fine = json!({ "name": "a", "permissions": [{ "streamId": "s", "level": "read" }] });
    for (name, value, code, path) in [
        ("id", json!("x"), "OBJECT_ADDITIONAL_PROPERTIES", "#"),
        ("deleted", json!(1), "OBJECT_ADDITIONAL_PROPERTIES", "#"),
        ("expires", json!(1), "OBJECT_ADDITIONAL_PROPERTIES", "#"),
        ("name", json!(""), "MIN_LENGTH", "#/name"),
        ("name", json!(1), "INVALID_TYPE", "#/name"),
        ("type", json!("robot"), "ENUM_MISMATCH", "#/type"),
        ("clientData", json!(null), "INVALID_TYPE", "#/clientData"),
        ("expireAfter", json!(-1), "MINIMUM", "#/expireAfter"),
        ("expireAfter", json!("1"), "INVALID_TYPE", "#/expireAfter"),
        ("deviceName", json!("phone"), "INVALID_TYPE", "#/deviceName"),
        ("token", json!("t".repeat(256)), "MAX_LENGTH", "#/token"),
        ("permissions", json!({}), "INVALID_TYPE", "#/permissions"),
        ("permissions", json!([1]), "INVALID_TYPE", "#/permissions/0"),
        (
            "permissions",
            json!([{ "streamId": "s", "level": "admin" }]),
            "ENUM_MISMATCH",
            "#/permissions/0/level",
        ),
        (
            "permissions",
            json!([{ "streamId": "s" }]),
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            "#/permissions/0/",
        ),
        (
            "permissions",
            json!([{ "tag": "s", "level": "read" }]),
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            "#/permissions/0/",
        ),
        (
            "permissions",
            json!([{ "streamId": "s", "level": "read", "defaultName": " " }]),
            "MIN_LENGTH",
            "#/permissions/0/defaultName",
        ),
        (
            "permissions",
            json!([{ "feature": "forcedStreams", "streams": ["s"] }]),
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            "#/permissions/0/",
        ),
        (
            "permissions",
            json!([{ "feature": "selfRevoke", "setting": "x" }]),
            "ENUM_MISMATCH",
            "#/permissions/0/setting",
        ),
        (
            "permissions",
            json!(vec![json!({ "streamId": "s", "level": "read" }); 1_001]),
            "ARRAY_LENGTH_LONG",
            "#/permissions",
        ),
    ] {
        let mut asked = fine.clone();
        asked[name] = value.clone();
        let (id, data) = refused(home.create_access(&me, &asked));
        assert_eq!(id, "invalid-parameters-format", "{name}: {value}");
        assert_eq!(
            (&data[0]["code"], &data[0]["path"]),
            (&json!(code), &json!(path))
        );
    }
    let (id, data) = refused(home.create_access(&me, &json!({})));
    assert_eq!(id, "invalid-parameters-format");
    assert_eq!(data.as_array().unwrap().len(), 2, "{data}");
}

#[test]
fn what_a_person_may_not_create() {
    let mut home = Home::new();
    let me = home.me();
    let on = |stream: &str, level: &str| json!([{ "streamId": stream, "level": level }]);
    for (extra, id) in [
        (json!({ "type": "personal" }), "forbidden"),
        (
            json!({ "permissions": on("a\"b", "read") }),
            "invalid-request-structure",
        ),
        (
            json!({ "permissions": on("a\tb", "read") }),
            "invalid-request-structure",
        ),
        (
            json!({ "permissions": on(":_system:nope", "read") }),
            "forbidden",
        ),
        (
            json!({ "permissions": on(":system:nope", "read") }),
            "forbidden",
        ),
        (
            json!({ "permissions": on(":_system:referer", "read") }),
            "invalid-operation",
        ),
        (
            json!({ "permissions": on(":_system:language", "manage") }),
            "invalid-operation",
        ),
        (json!({ "token": "null" }), "invalid-item-id"),
        (json!({ "token": "*" }), "invalid-item-id"),
        (
            json!({ "randomAlias": "true" }),
            "invalid-parameters-format",
        ),
        (json!({ "clientData": { "dpop": 1 } }), "forbidden"),
        (json!({ "clientData": { "cmc": 1 } }), "forbidden"),
        (
            json!({ "clientData": { "x": "y".repeat(300_000) } }),
            "invalid-operation",
        ),
    ] {
        let mut asked = json!({ "name": "a", "permissions": on("s", "read") });
        for (name, value) in extra.as_object().unwrap() {
            asked[name] = value.clone();
        }
        assert_eq!(id_of(home.create_access(&me, &asked)), id, "{asked}");
    }
    let fine = json!({ "name": "a", "permissions": on(":_system:language", "contribute") });
    home.create_access(&me, &fine).unwrap();
}

#[test]
fn tokens_and_names_are_unique_among_those_that_are_not_deleted() {
    let mut home = Home::new();
    let me = home.me();
    let asked = |kind: &str, name: &str, token: &str, device: Value| {
        json!({ "type": kind, "name": name, "token": token, "deviceName": device,
            "permissions": [], "expireAfter": 0 })
    };
    let first = home
        .create_access(&me, &asked("app", "n", "t1", json!(null)))
        .unwrap();
    let (id, data) = refused(home.create_access(&me, &asked("app", "m", "t1", json!(null))));
    assert_eq!(
        (id, data),
        ("item-already-exists", json!({ "token": "(hidden)" }))
    );
    let (id, data) = refused(home.create_access(&me, &asked("app", "n", "t2", json!(null))));
    let taken = json!({ "type": "app", "name": "n", "deviceName": null });
    assert_eq!((id, data), ("item-already-exists", taken));
    home.create_access(&me, &asked("app", "n", "t2", json!("phone")))
        .unwrap();
    home.create_access(&me, &asked("shared", "n", "t3", json!(null)))
        .unwrap();

    home.delete_access(&me, first["id"].as_str().unwrap())
        .unwrap();
    home.create_access(&me, &asked("app", "n", "t1", json!(null)))
        .unwrap();
}

#[test]
fn an_app_gives_no_more_than_it_has() {
    let (mut home, app) = with_app(&json!([{ "streamId": "health", "level": "contribute" },
        { "streamId": "box", "level": "create-only" }]));
    let on = |stream: &str, level: &str| json!([{ "streamId": stream, "level": level }]);
    for (n, (permissions, kind, may)) in [
        (on("health", "read"), "shared", true),
        (on("weight", "contribute"), "shared", true),
        (on("weight", "create-only"), "shared", true),
        (on("health", "none"), "shared", true),
        (on("health", "manage"), "shared", false),
        (on("*", "read"), "shared", false),
        (on("other", "read"), "shared", false),
        (on("box", "create-only"), "shared", false),
        (on(":_system:language", "read"), "shared", false),
        (on("health", "read"), "app", false),
        (json!([]), "shared", false),
        (
            json!([{ "feature": "selfRevoke", "setting": "forbidden" }]),
            "shared",
            false,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let asked = json!({ "name": n.to_string(), "type": kind, "permissions": permissions });
        let made = home.create_access(&app, &asked);
        match made {
            Ok(made) => {
                assert!(may, "{asked}");
                assert_eq!(made["permissions"], permissions);
                assert_eq!(made["createdBy"], app.access.id.as_str());
            }
            Err(error) => {
                assert!(!may, "{asked}: {error}");
                assert_eq!(error.id().wire(), "forbidden");
            }
        }
    }
}

#[test]
fn what_an_app_is_denied_it_denies_to_whom_it_gives() {
    let (mut home, app) = with_app(&json!([{ "streamId": "health", "level": "manage" },
        { "streamId": "secret", "level": "none" },
        { "feature": "secretSharing", "setting": "forbidden" }]));
    let asked =
        json!({ "name": "child", "permissions": [{ "streamId": "health", "level": "read" }] });
    let child = home.create_access(&app, &asked).unwrap();
    assert_eq!(
        child["permissions"],
        json!([{ "streamId": "health", "level": "read" },
            { "streamId": "secret", "level": "none" },
            { "feature": "secretSharing", "setting": "forbidden" }])
    );
}

#[test]
fn a_child_that_ends_ends_no_later_than_its_app() {
    let mut home = Home::new();
    let on = json!([{ "streamId": "health", "level": "read" }]);
    let app = json!({ "type": "app", "name": "app", "permissions": on, "expireAfter": 100 });
    let app = home.create_access(&home.me(), &app).unwrap();
    let app = home.through(&app);
    let mut child = json!({ "name": "c", "permissions": on, "expireAfter": 101 });
    let (id, data) = refused(home.create_access(&app, &child));
    assert_eq!(id, "invalid-operation");
    assert!(data["parentExpires"].is_number() && data["requestedExpires"].is_number());
    child["expireAfter"] = json!(100);
    home.create_access(&app, &child).unwrap();
    let unending = json!({ "name": "d", "permissions": on });
    home.create_access(&app, &unending).unwrap();
}

#[test]
fn an_access_that_was_deleted_meanwhile_creates_none() {
    let (mut home, app) = with_app(&json!([{ "streamId": "health", "level": "manage" }]));
    home.delete_access(&home.me(), &app.access.id.clone())
        .unwrap();
    let asked =
        json!({ "name": "child", "permissions": [{ "streamId": "health", "level": "read" }] });
    assert_eq!(id_of(home.create_access(&app, &asked)), "forbidden");
    assert_eq!(
        id_of(home.create_access(&home.person(), &asked)),
        "forbidden"
    );
}

#[test]
fn streams_with_default_names_are_made() {
    let mut home = Home::new();
    let me = home.me();
    home.stream("old", None);
    let trashed = json!({ "id": "bin", "name": "Bin", "trashed": true });
    home.create_stream(&me, &trashed).unwrap();
    let asked =
        |name: &str, entries: Value| json!({ "type": "app", "name": name, "permissions": entries });
    let entry =
        |id: &str, name: &str| json!({ "streamId": id, "level": "read", "defaultName": name });
    let made = home
        .create_access(
            &me,
            &asked(
                "one",
                json!([
                    entry("new", "New"),
                    entry("old", "Other"),
                    entry("bin", "x"),
                    entry("new", "Again"),
                    entry("*", "All"),
                    entry(":_cmc:x", "C")
                ]),
            ),
        )
        .unwrap();
    assert_eq!(
        made["permissions"][0],
        json!({ "streamId": "new", "level": "read" })
    );
    let streams = home.read(&me, Method::StreamsGet, &json!({})).unwrap();
    let find = |id: &str| {
        let all = streams["streams"].as_array().unwrap().iter();
        all.clone().find(|stream| stream["id"] == id).cloned()
    };
    assert_eq!(find("new").unwrap()["name"], "New");
    assert_eq!(find("old").unwrap()["name"], "old");
    assert_eq!(find("bin").unwrap().get("trashed"), None);

    for (entries, id) in [
        (json!([entry("other", "New")]), "item-already-exists"),
        (
            json!([entry("a", "Same"), entry("b", "Same")]),
            "item-already-exists",
        ),
        (
            json!([entry("Upper", "Upper")]),
            "invalid-request-structure",
        ),
        (json!([entry(":dummy:x", "X")]), "invalid-request-structure"),
    ] {
        assert_eq!(id_of(home.create_access(&me, &asked("two", entries))), id);
    }
    // Nothing of what was refused is there, and an app makes no streams.
    let unknown = home.read(&me, Method::StreamsGet, &json!({ "id": "a" }));
    assert!(unknown.is_err());
}
