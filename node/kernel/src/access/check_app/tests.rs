//! What a consent page is told.

use serde_json::{Value, json};

use crate::error::Error;
use crate::method::Method;
use crate::testing::Home;

fn entry(id: &str, level: &str, name: &str) -> Value {
    json!({ "streamId": id, "level": level, "defaultName": name })
}

fn check(home: &Home, params: &Value) -> Result<Value, Error> {
    home.read(&home.me(), Method::AccessesCheckApp, params)
}

fn home() -> Home {
    let mut home = Home::new();
    home.stream("health", None);
    home.stream("weight", Some("health"));
    let bin = json!({ "id": "bin", "name": "The bin", "trashed": true });
    home.create_stream(&home.me(), &bin).unwrap();
    home
}

#[test]
fn entries_are_shown_with_the_names_that_streams_have() {
    let home = home();
    let asked = json!({ "requestingAppId": "app", "deviceName": "pc", "requestedPermissions": [
        entry("weight", "read", "W"), entry("bin", "read", "B"), entry("new", "manage", "New"),
        { "streamId": "*", "level": "read", "defaultName": "All" },
        { "streamId": "*", "level": "read" }, entry(":_system:language", "read", "L"),
        { "feature": "selfRevoke", "setting": "forbidden" }] });
    let expected = json!({ "checkedPermissions": [
        { "streamId": "weight", "level": "read", "name": "weight" },
        { "streamId": "bin", "level": "read", "name": "The bin" },
        { "streamId": "new", "level": "manage", "defaultName": "New" },
        { "streamId": "*", "level": "read" }, { "streamId": "*", "level": "read" },
        { "streamId": ":_system:language", "level": "read", "name": "Language" },
        { "feature": "selfRevoke", "setting": "forbidden" }] });
    assert_eq!(check(&home, &asked).unwrap(), expected);
}

#[test]
fn a_stream_is_no_clash_with_itself() {
    let home = home();
    let asked = json!({ "requestingAppId": "app", "requestedPermissions": [
        entry("new", "read", "New"), entry("new", "contribute", "New"), entry("h", "read", "health"),
        entry("h", "manage", "health")] });
    let checked = check(&home, &asked).unwrap();
    let names = checked["checkedPermissions"].as_array().unwrap().iter();
    let names: Vec<&Value> = names.map(|entry| &entry["defaultName"]).collect();
    assert_eq!(names, ["New", "New", "health (1)", "health (1)"]);
    assert_eq!(checked["error"]["id"], "item-already-exists");

    let twice = json!([
        entry("new", "read", "New"),
        entry("new", "contribute", "New")
    ]);
    let asked = json!({ "requestingAppId": "app", "requestedPermissions": twice });
    let checked = check(&home, &asked).unwrap();
    assert_eq!(checked, json!({ "checkedPermissions": twice }));
}

#[test]
fn default_names_that_are_taken_are_numbered() {
    let mut home = home();
    let second = json!({ "id": "h1", "name": "health (1)" });
    home.create_stream(&home.me(), &second).unwrap();
    let asked = json!({ "requestingAppId": "app", "requestedPermissions": [
        entry("a", "read", "health"), entry("b", "read", "weight"), entry("c", "read", "weight")] });
    let checked = check(&home, &asked).unwrap();
    let names = checked["checkedPermissions"].as_array().unwrap().iter();
    let names: Vec<&Value> = names.map(|entry| &entry["defaultName"]).collect();
    assert_eq!(names, ["health (2)", "weight", "weight (1)"]);
    assert_eq!(checked["error"]["id"], "item-already-exists");
    // What is shown can be sent back.
    let create = json!({ "type": "app", "name": "app",
        "permissions": checked["checkedPermissions"] });
    home.create_access(&home.me(), &create).unwrap();
}

#[test]
fn an_access_matches_if_it_is_what_is_asked_for() {
    let mut home = home();
    let me = home.me();
    let app = json!({ "type": "app", "name": "app", "deviceName": "pc",
        "clientData": { "x": [1] }, "expireAfter": 60, "permissions": [
            entry("weight", "read", "W"), { "streamId": "*", "level": "none" }] });
    let app = home.create_access(&me, &app).unwrap();
    let asked = json!({ "requestingAppId": "app", "deviceName": "pc", "clientData": { "x": [1] },
        "requestedPermissions": [{ "streamId": "*", "level": "none" },
            entry("weight", "read", "other")] });
    assert_eq!(
        check(&home, &asked).unwrap(),
        json!({ "matchingAccess": app })
    );

    let change = |name: &str, value: Value| {
        let mut changed = asked.clone();
        changed[name] = value;
        changed
    };
    for changed in [
        change("clientData", json!({ "x": [2] })),
        change("clientData", json!(null)),
        change(
            "requestedPermissions",
            json!([entry("weight", "read", "W")]),
        ),
        change(
            "requestedPermissions",
            json!([entry("weight", "manage", "W"),
            { "streamId": "*", "level": "none" }]),
        ),
        change(
            "requestedPermissions",
            json!([entry("weight", "read", "W"),
            { "streamId": "*", "level": "none" }, { "streamId": "*", "level": "none" }]),
        ),
    ] {
        let checked = check(&home, &changed).unwrap();
        assert_eq!(checked["mismatchingAccess"], app, "{changed}");
        assert!(checked["checkedPermissions"].is_array());
    }
    for other in [
        change("deviceName", json!("phone")),
        change("requestingAppId", json!("b")),
    ] {
        let checked = check(&home, &other).unwrap();
        assert_eq!(checked.get("mismatchingAccess"), None);
        assert_eq!(checked.get("matchingAccess"), None);
    }
    home.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(check(&home, &asked).unwrap()["mismatchingAccess"], app);
    home.delete_access(&me, app["id"].as_str().unwrap())
        .unwrap();
    assert_eq!(check(&home, &asked).unwrap().get("mismatchingAccess"), None);
}

#[test]
fn what_a_consent_page_knows_of_the_request_is_taken() {
    let home = home();
    let asked = json!({ "requestingAppId": "app", "deviceName": "pc", "expireAfter": 3600,
        "token": "as-the-app-wants", "requestedPermissions": [entry("weight", "read", "W")] });
    let checked = check(&home, &asked).unwrap();
    assert_eq!(checked["checkedPermissions"][0]["name"], "weight");
    for (name, value) in [
        ("expireAfter", json!(-1)),
        ("expireAfter", json!("1")),
        ("token", json!("")),
        ("token", json!(1)),
    ] {
        let mut wrong = asked.clone();
        wrong[name] = value;
        let error = check(&home, &wrong).unwrap_err();
        assert_eq!(error.data().unwrap()[0]["path"], format!("#/{name}"));
    }
}

#[test]
fn what_is_refused() {
    let home = home();
    let fine = json!({ "requestingAppId": "app", "requestedPermissions": [] });
    check(&home, &fine).unwrap();
    for (name, value, path) in [
        ("x", json!(1), "#"),
        ("deviceName", json!(null), "#/deviceName"),
        ("deviceName", json!(1), "#/deviceName"),
        ("requestingAppId", json!(""), "#/requestingAppId"),
        (
            "requestedPermissions",
            json!([{ "streamId": "weight", "level": "read" }]),
            "#/requestedPermissions/0/",
        ),
        (
            "requestedPermissions",
            json!([entry("weight", "read", "")]),
            "#/requestedPermissions/0/defaultName",
        ),
        (
            "requestedPermissions",
            json!([{ "streamId": "weight" }]),
            "#/requestedPermissions/0/",
        ),
        ("clientData", json!([]), "#/clientData"),
    ] {
        let mut asked = fine.clone();
        asked[name] = value;
        let error = check(&home, &asked).unwrap_err();
        assert_eq!(error.id().wire(), "invalid-parameters-format", "{asked}");
        assert_eq!(error.data().unwrap()[0]["path"], path);
    }
    let missing = check(&home, &json!({ "deviceName": "pc" })).unwrap_err();
    assert_eq!(missing.data().unwrap().as_array().unwrap().len(), 2);
    let odd =
        json!({ "requestingAppId": "app", "requestedPermissions": [entry("a'b", "read", "A")] });
    assert_eq!(
        check(&home, &odd).unwrap_err().id().wire(),
        "invalid-request-structure"
    );
    let by_app = home.read(&home.app(Vec::new()), Method::AccessesCheckApp, &json!({}));
    assert_eq!(by_app.unwrap_err().id().wire(), "forbidden");
}
