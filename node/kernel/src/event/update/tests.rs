//! Every rule of `events.update`.

use std::time::Duration;

use super::*;
use crate::Method;
use crate::permission::Permission;
use crate::testing::Home;

const ID: &str = "ckfixture000000000000001";

fn planted() -> Home {
    let mut home = Home::new();
    for id in ["weight", "heart", "diary"] {
        home.stream(id, None);
    }
    let me = home.person();
    home.create_stream(&me, &json!({ "id": "bin", "name": "bin", "trashed": true }))
        .unwrap();
    home.create_event(
        &me,
        &json!({ "id": ID, "streamIds": ["weight"], "type": "mass/kg", "content": 72.5,
            "time": 1_700_000_000, "description": "first", "clientData": { "app:k": 1 } }),
    )
    .unwrap();
    home.clock.advance(Duration::from_secs(1));
    home
}

fn refused(result: Result<Value, crate::Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

#[test]
fn what_is_named_is_replaced_and_the_rest_stays() {
    let mut home = planted();
    let me = home.person();
    let changed = home
        .update_event(
            &me,
            ID,
            &json!({ "content": 74, "clientData": { "app:k": null, "app:j": 2 } }),
        )
        .unwrap();
    let mut expected = json!({
        "id": ID, "streamIds": ["weight"], "time": 1_700_000_000, "type": "mass/kg",
        "content": 74, "description": "first", "clientData": { "app:j": 2 },
        "created": 1_795_369_711.439, "createdBy": "caccess00000000000000001",
        "modified": 1_795_369_712.439, "modifiedBy": "caccess00000000000000001"
    });
    let integrity = crate::integrity::of_event(expected.as_object().unwrap());
    expected["integrity"] = json!(integrity);
    assert_eq!(changed, expected);
    let read = home.read(&me, Method::EventsGetOne, &json!({ "id": ID }));
    assert_eq!(read.unwrap(), json!({ "event": expected }));
}

#[test]
fn null_empties_and_duration_null_runs() {
    let mut home = planted();
    let me = home.person();
    let mut change = |changes: Value| home.update_event(&me, ID, &changes).unwrap();
    let emptied = change(json!({ "type": "a/b", "content": null, "description": null,
        "clientData": null }));
    for name in ["content", "description", "clientData", "duration"] {
        assert_eq!(emptied.get(name), None, "{name}");
    }
    let running = change(json!({ "duration": null }));
    assert_eq!(running.get("duration"), Some(&Value::Null));
    assert_eq!(change(json!({ "duration": 60 }))["duration"], 60);
    assert_eq!(change(json!({ "duration": 0 })).get("duration"), None);
    assert_eq!(change(json!({ "clientData": {} }))["clientData"], json!({}));
    assert_eq!(change(json!({ "trashed": true }))["trashed"], true);
    assert_eq!(
        change(json!({ "time": 5 }))["time"],
        5,
        "while it is in the trash"
    );
    assert_eq!(change(json!({ "trashed": false })).get("trashed"), None);
    change(json!({ "trashed": true }));
    assert_eq!(change(json!({ "trashed": null })).get("trashed"), None);
    let moved = change(json!({ "streamIds": ["heart", "diary", "heart"], "type": "t-note/txt" }));
    assert_eq!(moved["streamIds"], json!(["heart", "diary"]));
    assert_eq!(moved["type"], "t-note/txt");
}

#[test]
fn schema_violations_are_all_reported() {
    let mut home = planted();
    let me = home.person();
    for (changes, expected) in [
        (json!([]), vec![("INVALID_TYPE", "#/update")]),
        (
            json!({ "tags": [] }),
            vec![("OBJECT_ADDITIONAL_PROPERTIES", "#/update")],
        ),
        (
            json!({ "streamIds": [], "type": "nope", "time": null }),
            vec![
                ("ARRAY_LENGTH_SHORT", "#/update/streamIds"),
                ("PATTERN", "#/update/type"),
                ("INVALID_TYPE", "#/update/time"),
            ],
        ),
        (
            json!({ "duration": "1", "description": 1, "clientData": 1, "trashed": 1,
                "streamIds": null, "createdBy": "me" }),
            vec![
                ("INVALID_TYPE", "#/update/streamIds"),
                ("INVALID_TYPE", "#/update/duration"),
                ("INVALID_TYPE", "#/update/description"),
                ("INVALID_TYPE", "#/update/clientData"),
                ("INVALID_TYPE", "#/update/trashed"),
            ],
        ),
    ] {
        let (id, data) = refused(home.update_event(&me, ID, &changes));
        assert_eq!(id, ErrorId::InvalidParametersFormat, "{changes}");
        let items: Vec<(&str, &str)> = data
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
        assert_eq!(items, expected, "{changes}");
    }
    for params in [
        json!({ "id": ID }),
        json!({ "update": {} }),
        json!({ "id": 1, "update": {} }),
    ] {
        assert!(EventChanges::parse(&params, false).is_err(), "{params}");
    }
}

#[test]
fn protected_fields_are_refused_or_dropped() {
    let mut home = planted();
    let me = home.person();
    for name in PROTECTED {
        let error = home
            .update_event(&me, ID, &json!({ *name: null, "content": 1 }))
            .unwrap_err();
        assert_eq!(error.id(), ErrorId::Forbidden);
        assert_eq!(
            error.message(),
            format!(
                "Forbidden update was attempted on the following protected field(s): [{name}]."
            )
        );
    }
    Arc::make_mut(&mut home.context.settings).ignore_protected_fields = true;
    let changed = home
        .update_event(
            &me,
            ID,
            &json!({ "createdBy": "x", "id": "x", "content": 1 }),
        )
        .unwrap();
    assert_eq!(changed["id"], ID);
    assert_eq!(changed["createdBy"], "caccess00000000000000001");
    assert_eq!(changed["content"], 1);
}

#[test]
fn what_is_not_there_is_not_changed() {
    let mut home = planted();
    let me = home.person();
    let wrong_parent = json!({ "streamIds": ["nowhere"] });
    assert_eq!(
        refused(home.update_event(&me, "nosuchevent", &wrong_parent)).0,
        ErrorId::UnknownResource
    );
    home.delete_event(&me, ID).unwrap();
    home.delete_event(&me, ID).unwrap();
    assert_eq!(
        refused(home.update_event(&me, ID, &json!({ "content": 1 }))).0,
        ErrorId::UnknownResource
    );
}

#[test]
fn streams_must_be_there_and_types_of_a_kind() {
    let mut home = planted();
    let me = home.person();
    for (changes, id, data) in [
        (
            json!({ "streamIds": ["weight", "x", "y"] }),
            ErrorId::UnknownReferencedResource,
            json!({ "streamIds": ["x", "y"] }),
        ),
        (
            json!({ "streamIds": ["bin"] }),
            ErrorId::InvalidOperation,
            json!({ "trashedReference": "streamIds" }),
        ),
        (
            json!({ "streamIds": ["weight", ":_system:language"] }),
            ErrorId::InvalidOperation,
            json!({ "streamId": ":_system:language" }),
        ),
        (
            json!({ "type": "series:mass/kg" }),
            ErrorId::InvalidOperation,
            Value::Null,
        ),
        (
            json!({ "content": "str" }),
            ErrorId::InvalidParametersFormat,
            json!([{ "code": "INVALID_TYPE", "params": ["number"], "message": "must be number",
                "path": "#" }]),
        ),
        (
            json!({ "type": "activity/plain" }),
            ErrorId::InvalidParametersFormat,
            json!([{ "code": "INVALID_TYPE", "params": ["null"], "message": "must be null",
                "path": "#" }]),
        ),
    ] {
        let found = refused(home.update_event(&me, ID, &changes));
        assert_eq!(found, (id, data), "{changes}");
    }
}

#[test]
fn rights_are_needed_on_what_stays_comes_and_goes() {
    let mut home = planted();
    let me = home.person();
    home.update_event(&me, ID, &json!({ "streamIds": ["weight", "heart"] }))
        .unwrap();
    let may = |home: &Home, entries: &[(&str, Level)]| {
        let entries = entries
            .iter()
            .map(|(id, level)| Permission::stream(*id, *level));
        home.app(entries.collect())
    };
    let content = json!({ "content": 1 });
    for (entries, changes, allowed) in [
        (vec![("weight", Level::Contribute)], content.clone(), true),
        (vec![("weight", Level::Read)], content.clone(), false),
        (vec![("weight", Level::CreateOnly)], content.clone(), false),
        (vec![("diary", Level::Manage)], content, false),
        (
            vec![("weight", Level::Contribute), ("diary", Level::Read)],
            json!({ "streamIds": ["weight", "heart", "diary"] }),
            false,
        ),
        (
            vec![("weight", Level::Contribute), ("diary", Level::CreateOnly)],
            json!({ "streamIds": ["weight", "heart", "diary"] }),
            false,
        ),
        (
            vec![("weight", Level::Contribute)],
            json!({ "streamIds": ["weight"] }),
            false,
        ),
        (
            vec![("weight", Level::Contribute), ("diary", Level::Contribute)],
            json!({ "streamIds": ["heart", "diary"] }),
            true,
        ),
    ] {
        let app = may(&home, &entries);
        let result = home.update_event(&app, ID, &changes);
        if allowed {
            result.unwrap();
        } else {
            assert_eq!(
                refused(result).0,
                ErrorId::Forbidden,
                "{entries:?} {changes}"
            );
        }
    }
}

#[test]
fn account_fields_are_changed_as_events() {
    let mut home = planted();
    let me = home.person();
    let language = ":_system:language";
    let is_to_set = |result: Result<Value, crate::Error>| {
        let error = result.unwrap_err();
        let cause = error.cause().downcast_ref::<UpdateError>();
        matches!(
            cause,
            Some(UpdateError::Event(
                CreateError::AccountFieldOfPlatform { .. }
            ))
        )
    };
    let change = json!({ "content": "fr", "type": "note/txt" });
    assert!(is_to_set(home.update_event(&me, language, &change)));
    let untouched = home
        .update_event(&me, language, &json!({ "time": 1 }))
        .unwrap();
    assert_eq!(untouched["content"], "en");
    for (id, changes, error) in [
        (
            language,
            json!({ "content": ["fr"] }),
            ErrorId::InvalidOperation,
        ),
        (
            language,
            json!({ "streamIds": ["weight"] }),
            ErrorId::InvalidOperation,
        ),
        (
            ":_system:dbDocuments",
            json!({ "content": 1 }),
            ErrorId::InvalidOperation,
        ),
        (
            ":_system:referer",
            json!({ "content": "x" }),
            ErrorId::InvalidOperation,
        ),
        (
            ":system:email",
            json!({ "content": "a@b.org" }),
            ErrorId::InvalidOperation,
        ),
    ] {
        assert_eq!(
            refused(home.update_event(&me, id, &changes)).0,
            error,
            "{id} {changes}"
        );
    }
    let star = home.app(vec![Permission::stream("*", Level::Manage)]);
    assert_eq!(
        refused(home.update_event(&star, language, &json!({ "content": "de" }))).0,
        ErrorId::Forbidden
    );
    let named = home.app(vec![Permission::stream(language, Level::Contribute)]);
    assert!(is_to_set(home.update_event(
        &named,
        language,
        &json!({ "content": "de" })
    )));
}

#[test]
fn history_is_kept_when_the_operator_wants_it() {
    let mut home = planted();
    let me = home.person();
    let one = json!({ "id": ID, "includeHistory": true });
    let first = home.read(&me, Method::EventsGetOne, &one).unwrap()["event"].clone();
    home.update_event(&me, ID, &json!({ "content": 1 }))
        .unwrap();
    let read = home.read(&me, Method::EventsGetOne, &one).unwrap();
    assert_eq!(read["history"], json!([]));
    Arc::make_mut(&mut home.context.settings).keep_history = true;
    home.update_event(&me, ID, &json!({ "content": 72.5 }))
        .unwrap();
    home.update_event(&me, ID, &json!({ "content": 3 }))
        .unwrap();
    home.delete_event(&me, ID).unwrap();
    let read = home.read(&me, Method::EventsGetOne, &one).unwrap();
    let contents: Vec<&Value> = read["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|version| &version["content"])
        .collect();
    assert_eq!(contents, [&json!(1), &json!(72.5), &json!(3)]);
    assert_eq!(read["history"][0]["id"], first["id"]);
    assert_eq!(read["event"]["trashed"], true);
}

#[test]
fn a_series_from_an_archive_keeps_its_type_and_content() {
    use crate::archive::{event, import};
    let mut home = planted();
    let me = home.person();
    let record = json!({ "id": "series1", "streamIds": ["weight"], "type": "series:mass/kg",
        "time": 1, "modified": 2, "content": { "elementType": "mass/kg" } });
    let taken = event::read(record.as_object().unwrap().clone()).unwrap();
    let event::EventRecord::Event(event) = taken.item else {
        panic!("it is an event");
    };
    let item = import::Item::Event(event.seal().unwrap());
    home.attempt(|tx| import::put(tx, item)).unwrap();
    for (changes, id) in [
        (
            json!({ "content": { "elementType": "mass/lb" } }),
            ErrorId::InvalidEventType,
        ),
        (
            json!({ "type": "series:mass/lb" }),
            ErrorId::InvalidEventType,
        ),
        (json!({ "type": "mass/kg" }), ErrorId::InvalidOperation),
    ] {
        let result = home.update_event(&me, "series1", &changes);
        assert_eq!(refused(result).0, id, "{changes}");
    }
    let changes = json!({ "description": "d", "streamIds": ["heart"], "type": "series:mass/kg" });
    let changed = home.update_event(&me, "series1", &changes).unwrap();
    assert_eq!(changed["content"], json!({ "elementType": "mass/kg" }));
    assert_eq!(changed["streamIds"], json!(["heart"]));
}
