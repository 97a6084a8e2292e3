//! Every rule of `events.create` as a row, and their order.

use serde_json::json;

use super::*;
use crate::permission::Permission;
use crate::testing::Home;

fn planted() -> Home {
    let mut home = Home::new();
    home.stream("weight", None);
    home.stream("heart", None);
    let me = home.person();
    home.create_stream(&me, &json!({ "id": "bin", "name": "bin", "trashed": true }))
        .unwrap();
    home
}

fn refused(result: Result<Value, crate::Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

#[test]
fn an_event_comes_back_as_it_was_sent() {
    let mut home = planted();
    let me = home.person();
    let made = home
        .create_event(
            &me,
            &json!({
                "id": "ckfixture000000000000001", "streamIds": ["weight", "heart", "weight"],
                "type": "t-mass/kg", "content": { "a": [1, 2.50, { "b": null }] },
                "time": 1_700_000_000.123_456_7, "duration": 3600, "description": "first",
                "clientData": { "app:k": 1 }, "created": 1, "createdBy": "me", "integrity": "x"
            }),
        )
        .unwrap();
    let mut expected = json!({
        "id": "ckfixture000000000000001", "streamIds": ["weight", "heart"],
        "time": 1_700_000_000.123_456_7, "duration": 3600, "type": "t-mass/kg",
        "content": { "a": [1, 2.5, { "b": null }] }, "description": "first",
        "clientData": { "app:k": 1 },
        "created": 1_795_369_711.439, "createdBy": "caccess00000000000000001",
        "modified": 1_795_369_711.439, "modifiedBy": "caccess00000000000000001"
    });
    let integrity = integrity::of_event(expected.as_object().unwrap());
    expected["integrity"] = json!(integrity);
    assert_eq!(made, expected);
    let read = home
        .read(
            &me,
            crate::Method::EventsGetOne,
            &json!({ "id": "ckfixture000000000000001" }),
        )
        .unwrap();
    assert_eq!(read, json!({ "event": expected }));
}

#[test]
fn what_is_empty_is_left_out() {
    let mut home = planted();
    let me = home.person();
    let plain = json!({ "streamIds": ["heart"], "type": "activity/plain", "content": null,
        "duration": 0, "description": null, "clientData": null, "trashed": false,
        "integrity": null });
    let made = home.create_event(&me, &plain).unwrap();
    let names: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "id",
            "streamIds",
            "time",
            "type",
            "created",
            "createdBy",
            "modified",
            "modifiedBy",
            "integrity"
        ]
    );
    assert_eq!(made["time"], 1_795_369_711.439, "now");
    let running = home
        .create_event(
            &me,
            &json!({ "streamIds": ["heart"], "type": "activity/plain", "duration": null }),
        )
        .unwrap();
    assert_eq!(
        running.get("duration"),
        Some(&Value::Null),
        "running is shown as null"
    );
}

#[test]
fn schema_violations_are_all_reported() {
    let mut home = planted();
    let me = home.person();
    for (params, expected) in [
        (
            json!({}),
            vec![
                ("OBJECT_MISSING_REQUIRED_PROPERTY", "#/"),
                ("OBJECT_MISSING_REQUIRED_PROPERTY", "#/"),
            ],
        ),
        (json!([]), vec![("INVALID_TYPE", "#")]),
        (
            json!({ "streamIds": ["weight"], "type": "nope" }),
            vec![("PATTERN", "#/type")],
        ),
        (
            json!({ "streamIds": [], "type": "a/b" }),
            vec![("ARRAY_LENGTH_SHORT", "#/streamIds")],
        ),
        (
            json!({ "streamIds": "weight", "type": "a/b" }),
            vec![("INVALID_TYPE", "#/streamIds")],
        ),
        (
            json!({ "streamIds": ["weight", 1], "type": 5 }),
            vec![
                ("INVALID_TYPE", "#/streamIds/1"),
                ("INVALID_TYPE", "#/type"),
            ],
        ),
        (
            json!({ "streamIds": ["weight"], "type": "a/b", "tags": [], "streamId": "weight",
                "attachments": [] }),
            vec![("OBJECT_ADDITIONAL_PROPERTIES", "#"); 3],
        ),
        (
            json!({ "streamIds": ["weight"], "type": "a/b", "time": "now", "duration": "1",
                "description": 1, "clientData": 1, "trashed": 1, "id": "short" }),
            vec![
                ("PATTERN", "#/id"),
                ("INVALID_TYPE", "#/duration"),
                ("INVALID_TYPE", "#/time"),
                ("INVALID_TYPE", "#/description"),
                ("INVALID_TYPE", "#/clientData"),
                ("INVALID_TYPE", "#/trashed"),
            ],
        ),
    ] {
        let (id, data) = refused(home.create_event(&me, &params));
        assert_eq!(id, ErrorId::InvalidParametersFormat, "{params}");
        let found: Vec<_> = data
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                (
                    item["code"].as_str().unwrap(),
                    item["path"].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(found, expected, "{params}");
    }
}

#[test]
fn each_check_refuses() {
    use ErrorId::{
        InvalidEventType, InvalidOperation, InvalidParametersFormat, InvalidRequestStructure,
        ItemAlreadyExists,
    };
    let mut home = planted();
    let me = home.person();
    let taken = "ckfixture000000000000001";
    home.create_event(
        &me,
        &json!({ "id": taken, "streamIds": ["weight"], "type": "a/b" }),
    )
    .unwrap();
    for (params, id, data) in [
        (
            json!({ "streamIds": ["x", "weight", "y"], "type": "a/b" }),
            ErrorId::UnknownReferencedResource,
            json!({ "streamIds": ["x", "y"] }),
        ),
        (
            json!({ "streamIds": ["weight", "bin"], "type": "a/b" }),
            InvalidOperation,
            json!({ "trashedReference": "streamIds" }),
        ),
        (
            json!({ "streamIds": ["weight"], "type": "series:no/thing" }),
            InvalidEventType,
            json!({ "type": "series:no/thing" }),
        ),
        (
            json!({ "streamIds": ["weight"], "type": "series:mass/kg" }),
            InvalidEventType,
            json!({ "type": "series:mass/kg" }),
        ),
        (
            json!({ "streamIds": ["weight"], "type": "mass/kg", "content": "heavy" }),
            InvalidParametersFormat,
            json!([{ "code": "INVALID_TYPE", "params": ["number"], "message": "must be number",
                "path": "#" }]),
        ),
        (
            json!({ "id": taken, "streamIds": ["weight"], "type": "a/b" }),
            ItemAlreadyExists,
            json!({ "id": taken }),
        ),
        (
            json!({ "streamIds": ["weight", ":_system:language"], "type": "a/b", "content": "fr" }),
            InvalidOperation,
            json!({ "streamId": ":_system:language" }),
        ),
        (
            json!({ "streamIds": [":_system:dbDocuments"], "type": "a/b", "content": 1 }),
            InvalidOperation,
            json!({ "streamId": ":_system:dbDocuments" }),
        ),
        (
            json!({ "streamIds": [":_system:language"], "type": "a/b", "content": ["fr"] }),
            InvalidOperation,
            json!({ "streamId": ":_system:language" }),
        ),
        (
            json!({ "streamIds": [":_emails:"], "type": "a/b" }),
            InvalidOperation,
            json!({ "streamId": ":_emails:", "id": "emails-reserved-stream" }),
        ),
        (
            json!({ "streamIds": ["weight", ":_audit:accesses"], "type": "a/b" }),
            InvalidRequestStructure,
            Value::Null,
        ),
        (
            json!({ "id": ":other:id", "streamIds": ["weight"], "type": "a/b" }),
            InvalidRequestStructure,
            Value::Null,
        ),
    ] {
        assert_eq!(
            refused(home.create_event(&me, &params)),
            (id, data),
            "{params}"
        );
    }
}

#[test]
fn creating_is_needed_in_every_stream_and_asked_after_existence() {
    let mut home = planted();
    let app = home.app(vec![
        Permission::stream("weight", Level::CreateOnly),
        Permission::stream("heart", Level::Read),
    ]);
    for (streams, expected) in [
        (json!(["weight"]), None),
        (json!(["heart"]), Some(ErrorId::Forbidden)),
        (json!(["weight", "heart"]), Some(ErrorId::Forbidden)),
        (json!(["nope"]), Some(ErrorId::UnknownReferencedResource)),
        (
            json!(["heart", "nope"]),
            Some(ErrorId::UnknownReferencedResource),
        ),
        (json!([":_system:language"]), Some(ErrorId::Forbidden)),
    ] {
        let made = home.create_event(&app, &json!({ "streamIds": streams, "type": "a/b" }));
        assert_eq!(made.err().map(|error| error.id()), expected, "{streams}");
    }
}

#[test]
fn an_event_in_an_account_stream_ends_with_the_field_to_set() {
    let mut home = planted();
    let me = home.person();
    let language =
        json!({ "streamIds": [":_system:language"], "type": "any/type", "content": "fr" });
    let email = json!({ "streamIds": [":system:email"], "type": "a/b", "content": "X@y.z" });
    for (event, expected) in [
        (
            language,
            Wanted {
                language: Some("fr".to_owned()),
                ..Wanted::default()
            },
        ),
        (
            email,
            Wanted {
                email: homecore_types::Email::parse("x@y.z").ok(),
                ..Wanted::default()
            },
        ),
    ] {
        let error = home.create_event(&me, &event).unwrap_err();
        match error.cause().downcast_ref::<CreateError>() {
            Some(CreateError::AccountFieldOfPlatform { changes, .. }) => {
                assert_eq!(*changes, expected);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn ids_have_one_of_three_forms() {
    for (id, good) in [
        ("ckfixture000000000000001", true),
        ("r4c055aeg1twae3d8ge2ex3j", true),
        ("cabcdefgh0000000000000-001", false),
        ("c00000000-0000000000000-1", true),
        ("x00000000-0000000000000-1", false),
        (":store:item", true),
        (":_system:language", true),
        (":_audit:ab-1", true),
        (":store:ab/cd", false),
        (":store:ab/../cd", false),
        (":store:ab\"cd", false),
        (":store:ab cd", false),
        (":store:ab\\cd", false),
        (":st/re:item", false),
        (":store:", false),
        ("::x", false),
        ("Short", false),
        ("4c055aeg1twae3d8ge2ex3jr", false),
        ("", false),
    ] {
        assert_eq!(is_event_id(id), good, "{id}");
    }
}

#[test]
fn events_of_one_moment_are_listed_as_they_were_made() {
    let mut home = planted();
    let me = home.person();
    let made: Vec<Value> = (0..50)
        .map(|i| {
            let event = json!({ "streamIds": ["weight"], "type": "t/n", "content": i });
            home.create_event(&me, &event).unwrap()["content"].take()
        })
        .collect();
    let listed = |ascending: bool| -> Vec<Value> {
        let params = json!({ "streams": ["weight"], "limit": 50, "sortAscending": ascending });
        let read = home.read(&me, crate::Method::EventsGet, &params).unwrap();
        let events = read["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["content"].clone())
            .collect()
    };
    assert_eq!(listed(true), made);
    let reversed: Vec<Value> = made.into_iter().rev().collect();
    assert_eq!(listed(false), reversed);
}

#[test]
fn a_stream_below_one_in_the_trash_takes_events_and_streams() {
    let mut home = planted();
    let me = home.person();
    home.stream("inner", Some("weight"));
    home.delete_stream(&me, "weight", None).unwrap();
    let event = json!({ "streamIds": ["inner"], "type": "t/n", "content": 1 });
    let id = home.create_event(&me, &event).unwrap()["id"].take();
    let read = |streams: &str| {
        let params = json!({ "streams": [streams] });
        let read = home.read(&me, crate::Method::EventsGet, &params).unwrap();
        let events = read["events"].as_array().unwrap();
        events.iter().map(|e| e["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(read("inner"), [id]);
    assert_eq!(read("weight"), [] as [Value; 0]);
    home.stream("innermost", Some("inner"));
    home.update_stream(&me, "heart", &json!({ "parentId": "inner" }))
        .unwrap();
}
