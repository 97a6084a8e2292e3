//! Every rule of `streams.update` as a row.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::permission::Permission;
use crate::testing::Home;

fn refused(result: Result<Value, crate::Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

/// `a › a1 › a11`, `b`, and `bin` in the trash.
fn planted() -> Home {
    let mut home = Home::new();
    home.stream("a", None);
    home.stream("a1", Some("a"));
    home.stream("a11", Some("a1"));
    home.stream("b", None);
    let me = home.person();
    let bin = json!({ "id": "bin", "name": "bin", "trashed": true });
    home.create_stream(&me, &bin).unwrap();
    home.clock.advance(Duration::from_secs(1));
    home
}

#[test]
fn what_is_named_is_replaced_and_the_rest_stays() {
    let mut home = planted();
    let me = home.person();
    let data = json!({ "clientData": { "color": "red", "deep": { "x": 1 } } });
    home.update_stream(&me, "a1", &data).unwrap();
    let changes = json!({ "name": "Body weight",
        "clientData": { "color": null, "unit": "kg", "deep": { "y": null } } });
    assert_eq!(
        home.update_stream(&me, "a1", &changes).unwrap(),
        json!({ "stream": {
            "id": "a1", "name": "Body weight", "parentId": "a",
            "clientData": { "deep": { "y": null }, "unit": "kg" },
            "created": 1_795_369_711.439, "createdBy": "caccess00000000000000001",
            "modified": 1_795_369_712.439, "modifiedBy": "caccess00000000000000001"
        }})
    );
    let mut change = |changes: Value| home.update_stream(&me, "a1", &changes).unwrap();
    assert_eq!(
        change(json!({ "clientData": {} }))["stream"]["clientData"]["unit"],
        "kg"
    );
    assert_eq!(
        change(json!({ "clientData": null }))["stream"].get("clientData"),
        None
    );
    assert_eq!(
        change(json!({ "trashed": true }))["stream"]["trashed"],
        true
    );
    assert_eq!(
        change(json!({ "trashed": null }))["stream"].get("trashed"),
        None
    );
    assert_eq!(change(json!({}))["stream"]["name"], "Body weight");
}

#[test]
fn a_stream_moves_with_what_is_below_it() {
    let mut home = planted();
    let me = home.person();
    let moved = home.update_stream(&me, "a1", &json!({ "parentId": "b" }));
    assert_eq!(moved.unwrap()["stream"]["parentId"], "b");
    let listed = home
        .read(&me, crate::Method::StreamsGet, &json!({ "id": "b" }))
        .unwrap();
    assert_eq!(
        listed["streams"][0]["children"][0]["children"][0]["id"],
        "a11"
    );
    let root = home.update_stream(&me, "a11", &json!({ "parentId": null }));
    assert_eq!(root.unwrap()["stream"]["parentId"], Value::Null);
}

#[test]
fn each_rule_refuses() {
    use ErrorId::{Forbidden, InvalidOperation, ItemAlreadyExists, UnknownResource};
    let mut home = planted();
    let me = home.person();
    for (id, changes, error, data) in [
        ("nope", json!({}), UnknownResource, json!(null)),
        (":dummy:x", json!({}), UnknownResource, json!(null)),
        (":_system:nope", json!({}), UnknownResource, json!(null)),
        ("a", json!({ "id": "x" }), Forbidden, json!(null)),
        ("a", json!({ "children": [] }), Forbidden, json!(null)),
        ("a", json!({ "modifiedBy": "x" }), Forbidden, json!(null)),
        (
            ":_system:language",
            json!({ "name": "x" }),
            InvalidOperation,
            json!(null),
        ),
        (
            ":_audit:accesses",
            json!({ "name": "x" }),
            InvalidOperation,
            json!(null),
        ),
        (
            ":_emails:",
            json!({ "name": "x" }),
            InvalidOperation,
            json!({ "id": "emails-reserved-stream" }),
        ),
        (
            "a",
            json!({ "name": "b" }),
            ItemAlreadyExists,
            json!({ "name": "b" }),
        ),
        (
            "a",
            json!({ "name": "bin" }),
            ItemAlreadyExists,
            json!({ "name": "bin" }),
        ),
        (
            "a1",
            json!({ "name": "b", "parentId": null }),
            ItemAlreadyExists,
            json!({ "name": "b" }),
        ),
    ] {
        let found = refused(home.update_stream(&me, id, &changes));
        assert_eq!(found, (error, data), "{id} {changes}");
    }
    // The name of a stream elsewhere is free, and its own name and parent are no change.
    home.update_stream(&me, "a1", &json!({ "name": "b" }))
        .unwrap();
    home.update_stream(&me, "a1", &json!({ "name": "b", "parentId": "a" }))
        .unwrap();
    std::sync::Arc::make_mut(&mut home.context.settings).ignore_protected_fields = true;
    let left_out = home.update_stream(&me, "a", &json!({ "id": "x", "created": 1 }));
    assert_eq!(left_out.unwrap()["stream"]["id"], "a");
}

#[test]
fn a_stream_does_not_move_everywhere() {
    use ErrorId::{InvalidOperation, UnknownReferencedResource};
    let mut home = planted();
    let me = home.person();
    for (id, changes, error, data) in [
        (
            "a",
            json!({ "parentId": "a" }),
            InvalidOperation,
            json!({ "parentId": "a" }),
        ),
        (
            "a",
            json!({ "parentId": "a1" }),
            InvalidOperation,
            json!({ "parentId": "a1" }),
        ),
        (
            "a",
            json!({ "parentId": "a11" }),
            InvalidOperation,
            json!({ "parentId": "a11" }),
        ),
        (
            "a",
            json!({ "parentId": "nope" }),
            UnknownReferencedResource,
            json!({ "parentId": "nope" }),
        ),
        (
            "a",
            json!({ "parentId": "bin" }),
            InvalidOperation,
            json!({ "trashedReference": "parentId" }),
        ),
        (
            "a",
            json!({ "parentId": ":_system:account" }),
            InvalidOperation,
            json!(null),
        ),
        (
            "a",
            json!({ "parentId": ":_emails:" }),
            InvalidOperation,
            json!({ "id": "emails-reserved-stream" }),
        ),
    ] {
        let found = refused(home.update_stream(&me, id, &changes));
        assert_eq!(found, (error, data), "{id} {changes}");
    }
}

#[test]
fn the_form_is_checked() {
    let mut home = planted();
    let me = home.person();
    for (changes, codes) in [
        (json!({ "name": "" }), vec!["MIN_LENGTH"]),
        (json!({ "parentId": "" }), vec!["MIN_LENGTH"]),
        (
            json!({ "singleActivity": true }),
            vec!["OBJECT_ADDITIONAL_PROPERTIES"],
        ),
        (
            json!({ "name": null, "parentId": 2, "clientData": [], "trashed": "no" }),
            vec!["INVALID_TYPE"; 4],
        ),
        (json!([]), vec!["INVALID_TYPE"]),
    ] {
        let (found, data) = refused(home.update_stream(&me, "a", &changes));
        assert_eq!(found, ErrorId::InvalidParametersFormat, "{changes}");
        let items = data.as_array().unwrap().iter();
        let found: Vec<_> = items.map(|item| item["code"].as_str().unwrap()).collect();
        assert_eq!(found, codes, "{changes}");
    }
}

#[test]
fn managing_the_stream_and_its_new_parent_is_needed() {
    let mut home = planted();
    let name = json!({ "name": "x" });
    for level in Level::ALL {
        for actor in [
            home.app(vec![Permission::stream("a", *level)]),
            home.shared(vec![Permission::stream("a", *level)]),
        ] {
            let changed = home.update_stream(&actor, "a1", &name);
            assert_eq!(changed.is_ok(), level.manages(), "{level}");
        }
    }
    let app = home.app(vec![
        Permission::stream("a1", Level::Manage),
        Permission::stream("b", Level::Contribute),
    ]);
    // Its parent is not shown to it, and is not moved by naming it.
    let renamed = home.update_stream(&app, "a1", &json!({ "name": "y" }));
    assert_eq!(renamed.unwrap()["stream"]["parentId"], Value::Null);
    home.update_stream(&app, "a1", &json!({ "parentId": "a" }))
        .unwrap();
    for parent in [json!("b"), json!(null), json!("nope")] {
        let moved = home.update_stream(&app, "a1", &json!({ "parentId": parent }));
        assert_eq!(refused(moved).0, ErrorId::Forbidden, "{parent}");
    }
    let moved = home.update_stream(&app, "a11", &json!({ "parentId": null }));
    assert_eq!(refused(moved).0, ErrorId::Forbidden);
    let all = home.app(vec![Permission::stream("*", Level::Manage)]);
    home.update_stream(&all, "a11", &json!({ "parentId": null }))
        .unwrap();
    let hidden = home.update_stream(&all, ":_system:language", &name);
    assert_eq!(refused(hidden).0, ErrorId::Forbidden);
}

#[test]
fn nesting_has_an_end() {
    let mut home = planted();
    let me = home.person();
    home.stream("s1", None);
    for i in 2..STREAM_DEPTH_MAX {
        home.stream(&format!("s{i}"), Some(&format!("s{}", i - 1)));
    }
    let below = |depth: usize| json!({ "parentId": format!("s{depth}") });
    let mut move_a = |depth| home.update_stream(&me, "a", &below(depth));
    assert_eq!(
        refused(move_a(STREAM_DEPTH_MAX - 2)).0,
        ErrorId::InvalidOperation
    );
    move_a(STREAM_DEPTH_MAX - 3).unwrap();
}
