//! Every rule of `streams.create` as a row.

use serde_json::json;

use super::*;
use crate::permission::Permission;
use crate::testing::Home;

fn refused(result: Result<Value, crate::Error>) -> (ErrorId, Option<Value>) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned())
}

#[test]
fn a_stream_is_answered_as_recorded() {
    let mut home = Home::new();
    let me = home.person();
    home.create_stream(&me, &json!({ "id": "health", "name": "Health" }))
        .unwrap();
    let made = home
        .create_stream(
            &me,
            &json!({ "id": "weight", "name": "Weight", "parentId": "health",
                "clientData": { "color": "red" }, "created": 5, "createdBy": "somebody" }),
        )
        .unwrap();
    assert_eq!(
        made,
        json!({ "stream": {
            "id": "weight", "name": "Weight", "parentId": "health",
            "clientData": { "color": "red" },
            "created": 1_795_369_711.439, "createdBy": "caccess00000000000000001",
            "modified": 1_795_369_711.439, "modifiedBy": "caccess00000000000000001"
        }})
    );
    let auto = home
        .create_stream(&me, &json!({ "name": "Auto id" }))
        .unwrap();
    assert_eq!(auto["stream"]["id"].as_str().unwrap().len(), 24);
    assert_eq!(auto["stream"]["parentId"], Value::Null);
    let slug = home
        .create_stream(&me, &json!({ "id": "Not A Slug!", "name": "X4" }))
        .unwrap();
    assert_eq!(slug["stream"]["id"], "Not-A-Slug");
}

#[test]
fn each_rule_refuses() {
    use ErrorId::{InvalidItemId, InvalidOperation, ItemAlreadyExists, UnknownReferencedResource};
    let mut home = Home::new();
    let me = home.person();
    home.stream("health", None);
    home.create_stream(&me, &json!({ "id": "bin", "name": "Bin", "trashed": true }))
        .unwrap();
    for (params, id, data) in [
        (
            json!({ "id": "health", "name": "Other" }),
            ItemAlreadyExists,
            json!({ "id": "health" }),
        ),
        (
            json!({ "id": "h2", "name": "health" }),
            ItemAlreadyExists,
            json!({ "name": "health" }),
        ),
        // A sibling in the trash counts too.
        (
            json!({ "name": "Bin" }),
            ItemAlreadyExists,
            json!({ "name": "Bin" }),
        ),
        (
            json!({ "name": "x", "parentId": "nope" }),
            UnknownReferencedResource,
            json!({ "parentId": "nope" }),
        ),
        (
            json!({ "name": "x", "parentId": "bin" }),
            InvalidOperation,
            json!({ "trashedReference": "parentId" }),
        ),
        (
            json!({ "id": "null", "name": "x" }),
            InvalidItemId,
            Value::Null,
        ),
        (
            json!({ "id": "undefined", "name": "x" }),
            InvalidItemId,
            Value::Null,
        ),
        (
            json!({ "id": "*", "name": "x" }),
            InvalidItemId,
            Value::Null,
        ),
        (
            json!({ "id": "/", "name": "x" }),
            InvalidItemId,
            Value::Null,
        ),
        (
            json!({ "id": ":dummy:x", "name": "x" }),
            InvalidItemId,
            Value::Null,
        ),
        (
            json!({ "id": ":_system:x", "name": "x" }),
            InvalidOperation,
            Value::Null,
        ),
        (
            json!({ "id": ":_cmc:x", "name": "x" }),
            InvalidOperation,
            Value::Null,
        ),
        (
            json!({ "name": "x", "parentId": ":_system:account" }),
            InvalidOperation,
            Value::Null,
        ),
        (
            json!({ "name": "x", "parentId": ":_emails:" }),
            InvalidOperation,
            json!({ "id": "emails-reserved-stream" }),
        ),
    ] {
        let (found, found_data) = refused(home.create_stream(&me, &params));
        assert_eq!(
            (found, found_data.unwrap_or_default()),
            (id, data),
            "{params}"
        );
    }
}

#[test]
fn the_form_is_checked() {
    let mut home = Home::new();
    let me = home.person();
    for (params, codes) in [
        (
            json!({ "id": "x1" }),
            vec!["OBJECT_MISSING_REQUIRED_PROPERTY"],
        ),
        (json!({ "name": "" }), vec!["MIN_LENGTH"]),
        (json!({ "name": "x", "parentId": "" }), vec!["MIN_LENGTH"]),
        (
            json!({ "name": "x", "singleActivity": true }),
            vec!["OBJECT_ADDITIONAL_PROPERTIES"],
        ),
        (
            json!({ "name": 1, "parentId": 2, "clientData": [], "trashed": "no" }),
            vec!["INVALID_TYPE"; 4],
        ),
        (json!([]), vec!["INVALID_TYPE"]),
    ] {
        let (found, data) = refused(home.create_stream(&me, &params));
        assert_eq!(found, ErrorId::InvalidParametersFormat, "{params}");
        let data = data.unwrap();
        let found: Vec<_> = data
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["code"].as_str().unwrap())
            .collect();
        assert_eq!(found, codes, "{params}");
    }
}

#[test]
fn managing_the_parent_is_needed_and_asked_first() {
    let mut home = Home::new();
    home.stream("a", None);
    home.stream("b", None);
    home.stream("a1", Some("a"));
    let app = home.app(vec![
        Permission::stream("a", Level::Manage),
        Permission::stream("b", Level::Contribute),
    ]);
    for (parent, allowed) in [
        (json!("a"), true),
        (json!("a1"), true),
        (json!("b"), false),
        (Value::Null, false),
    ] {
        let made = home.create_stream(&app, &json!({ "name": "x", "parentId": parent }));
        assert_eq!(made.is_ok(), allowed, "{parent}");
    }
    // An unknown parent is nothing it manages; with a grant on everything it is unknown.
    let unknown = json!({ "name": "x", "parentId": "nope" });
    assert_eq!(
        refused(home.create_stream(&app, &unknown)).0,
        ErrorId::Forbidden
    );
    let all = home.app(vec![Permission::stream("*", Level::Manage)]);
    let (id, _) = refused(home.create_stream(&all, &unknown));
    assert_eq!(id, ErrorId::UnknownReferencedResource);
}

#[test]
fn nesting_has_an_end() {
    let mut home = Home::new();
    home.stream("s1", None);
    for i in 2..=STREAM_DEPTH_MAX {
        home.stream(&format!("s{i}"), Some(&format!("s{}", i - 1)));
    }
    let me = home.person();
    let parent = format!("s{STREAM_DEPTH_MAX}");
    let deeper = home.create_stream(&me, &json!({ "name": "x", "parentId": parent }));
    assert_eq!(refused(deeper).0, ErrorId::InvalidOperation);
    let listed = home
        .read(&me, crate::Method::StreamsGet, &json!({ "id": "s1" }))
        .unwrap();
    assert!(listed.to_string().contains(&format!("\"{parent}\"")));
}
