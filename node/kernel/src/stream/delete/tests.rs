//! Every rule of `streams.delete`. A step is short in tests, so that most deletions take several.

use std::time::Duration;

use super::*;
use crate::Method;
use crate::permission::Permission;
use crate::settings::DeletionMode;
use crate::testing::Home;

fn refused(result: Result<Value, crate::Error>) -> (ErrorId, Value) {
    let error = result.unwrap_err();
    (error.id(), error.data().cloned().unwrap_or_default())
}

fn event_id(n: usize) -> String {
    format!("cevent0000000000000000{n:03}")
}

/// `a › a1 › a11` and `b`.
fn planted() -> Home {
    let mut home = Home::new();
    home.stream("a", None);
    home.stream("a1", Some("a"));
    home.stream("a11", Some("a1"));
    home.stream("b", None);
    home
}

fn put_event(home: &mut Home, n: usize, streams: &[&str]) {
    let me = home.person();
    let event = json!({ "id": event_id(n), "streamIds": streams, "type": "count/generic",
        "content": n, "time": n });
    home.create_event(&me, &event).unwrap();
}

/// Puts a stream into the trash.
fn trash(home: &mut Home, id: &str) {
    let me = home.person();
    home.clock.advance(Duration::from_secs(1));
    let trashed = home.delete_stream(&me, id, None).unwrap();
    assert_eq!(trashed["stream"]["trashed"], true);
    home.clock.advance(Duration::from_secs(1));
}

fn ids(reply: &Value) -> Vec<(String, String)> {
    let items = reply["updatedEvents"].as_array().unwrap().iter();
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    items
        .map(|item| (text(item, "action"), text(item, "id")))
        .collect()
}

fn event(home: &Home, n: usize) -> Value {
    let params = json!({ "id": event_id(n) });
    let read = home.read(&home.person(), Method::EventsGetOne, &params);
    read.unwrap()["event"].take()
}

#[test]
fn the_first_time_it_goes_into_the_trash() {
    let mut home = planted();
    let me = home.person();
    home.clock.advance(Duration::from_secs(1));
    assert_eq!(
        home.delete_stream(&me, "a1", Some(true)).unwrap(),
        json!({ "stream": {
            "id": "a1", "name": "a1", "parentId": "a", "trashed": true,
            "created": 1_795_369_711.439, "createdBy": "caccess00000000000000001",
            "modified": 1_795_369_712.439, "modifiedBy": "caccess00000000000000001"
        }})
    );
    let all = json!({ "id": "a1", "state": "all" });
    let read = home.read(&me, Method::StreamsGet, &all).unwrap();
    let child = &read["streams"][0]["children"][0];
    assert_eq!(child.get("trashed"), None, "only itself is marked");
    let restored = home.update_stream(&me, "a1", &json!({ "trashed": false }));
    assert_eq!(restored.unwrap()["stream"].get("trashed"), None);
}

#[test]
fn the_second_time_it_goes_with_everything_below() {
    let mut home = planted();
    let me = home.person();
    trash(&mut home, "a");
    assert_eq!(
        home.delete_stream(&me, "a", None).unwrap(),
        json!({ "updatedEvents": [], "streamDeletion": { "id": "a" } })
    );
    let asked = json!({ "state": "all", "includeDeletionsSince": 0 });
    let read = home.read(&me, Method::StreamsGet, &asked).unwrap();
    let mut deleted: Vec<Value> = read["streamDeletions"].as_array().unwrap().clone();
    deleted.sort_by_key(|item| item["id"].as_str().unwrap().to_owned());
    let expected = |id: &str| json!({ "id": id, "deleted": 1_795_369_713.439 });
    assert_eq!(deleted, ["a", "a1", "a11"].map(expected));
    assert!(!read["streams"].to_string().contains("a11"));
    let late = json!({ "includeDeletionsSince": 1_795_369_713.439 });
    let read = home.read(&me, Method::StreamsGet, &late).unwrap();
    assert_eq!(read["streamDeletions"], json!([]));
    assert_eq!(
        refused(home.delete_stream(&me, "a", None)).0,
        ErrorId::UnknownResource
    );
    // The id is free again, and no deletion then.
    home.stream("a", None);
    let read = home.read(&me, Method::StreamsGet, &asked).unwrap();
    assert!(!read["streamDeletions"].to_string().contains("\"a\""));
}

#[test]
fn with_events_somebody_must_say_what_becomes_of_them() {
    let mut home = planted();
    let me = home.person();
    put_event(&mut home, 1, &["a11", "b"]);
    trash(&mut home, "a1");
    let found = refused(home.delete_stream(&me, "a1", None));
    assert_eq!(found, (ErrorId::InvalidParametersFormat, Value::Null));
    assert_eq!(event(&home, 1)["streamIds"], json!(["a11", "b"]));
    // One that is in the trash itself is not asked about, and not told of.
    home.delete_event(&me, &event_id(1)).unwrap();
    let gone = home.delete_stream(&me, "a1", None).unwrap();
    assert_eq!(gone["updatedEvents"], json!([]));
    assert_eq!(event(&home, 1)["streamIds"], json!(["b"]));
}

#[test]
fn events_that_are_nowhere_else_are_deleted() {
    let mut home = planted();
    Arc::make_mut(&mut home.context.settings).keep_history = true;
    let me = home.person();
    put_event(&mut home, 1, &["a1"]);
    put_event(&mut home, 2, &["a11", "a1"]);
    put_event(&mut home, 3, &["a11", "b", "a"]);
    put_event(&mut home, 4, &["b"]);
    put_event(&mut home, 5, &["a1"]);
    home.delete_event(&me, &event_id(5)).unwrap();
    trash(&mut home, "a1");
    let reply = home.delete_stream(&me, "a1", Some(false)).unwrap();
    assert_eq!(reply["streamDeletion"], json!({ "id": "a1" }));
    let mut found = ids(&reply);
    found.sort();
    let expected = [("deleted", 1), ("deleted", 2), ("updatedStreamIds", 3)];
    assert_eq!(
        found,
        expected.map(|(action, n)| (action.to_owned(), event_id(n)))
    );
    for n in [1, 2, 5] {
        assert_eq!(event(&home, n)["deleted"], 1_795_369_713.439, "{n}");
    }
    let narrowed = event(&home, 3);
    assert_eq!(narrowed["streamIds"], json!(["b", "a"]));
    assert_eq!(narrowed["modified"], 1_795_369_713.439);
    let mut sealed = narrowed.as_object().unwrap().clone();
    let integrity = sealed.shift_remove("integrity").unwrap();
    assert_eq!(integrity, crate::integrity::of_event(&sealed));
    assert_eq!(event(&home, 4)["modified"], 1_795_369_711.439);
    // Found where it is now, and former versions are kept as the operator wants.
    let params = json!({ "streams": ["a"] });
    let read = home.read(&me, Method::EventsGet, &params).unwrap();
    assert_eq!(read["events"].as_array().unwrap().len(), 1);
    let params = json!({ "id": event_id(3), "includeHistory": true });
    let read = home.read(&me, Method::EventsGetOne, &params).unwrap();
    assert_eq!(read["history"][0]["streamIds"], json!(["a11", "b", "a"]));
}

#[test]
fn events_move_to_the_parent() {
    let mut home = planted();
    let me = home.person();
    put_event(&mut home, 1, &["a11", "a1"]);
    put_event(&mut home, 2, &["a11", "b"]);
    put_event(&mut home, 3, &["a", "a1"]);
    put_event(&mut home, 4, &["a1"]);
    home.delete_event(&me, &event_id(4)).unwrap();
    trash(&mut home, "a1");
    let reply = home.delete_stream(&me, "a1", Some(true)).unwrap();
    let mut found = ids(&reply);
    found.sort();
    let merged = |n| ("mergedToParent".to_owned(), event_id(n));
    assert_eq!(found, [1, 2, 3].map(merged));
    for (n, streams) in [
        (1, json!(["a"])),
        (2, json!(["b", "a"])),
        (3, json!(["a"])),
        (4, json!(["a"])),
    ] {
        assert_eq!(event(&home, n)["streamIds"], streams, "{n}");
    }
    assert_eq!(event(&home, 4)["trashed"], true);
}

#[test]
fn a_root_has_no_parent_to_merge_with() {
    let mut home = planted();
    let me = home.person();
    trash(&mut home, "a");
    let found = refused(home.delete_stream(&me, "a", Some(true)));
    assert_eq!(
        found,
        (ErrorId::InvalidOperation, json!({ "streamId": "a" }))
    );
}

#[test]
fn many_events_take_many_steps_and_each_is_sound() {
    let mut home = planted();
    Arc::make_mut(&mut home.context.settings).deletion_mode = DeletionMode::KeepAuthors;
    let me = home.person();
    for n in 0..40 {
        put_event(
            &mut home,
            n,
            if n % 2 == 0 { &["a11"] } else { &["a1", "b"] },
        );
    }
    trash(&mut home, "a1");
    let asked = DeleteStream {
        id: "a1".to_owned(),
        merge: Some(false),
    };
    let context = home.context.clone();
    let take = |home: &mut Home, first| {
        let mut trees = context.trees.for_writing(&home.owner.id);
        home.attempt(|tx| step(tx, &context, &mut trees, &me, &asked, first))
    };
    let (mut steps, mut told) = (1, 0);
    let mut last = take(&mut home, true).unwrap();
    while let Step::Going(changes) = last {
        assert!(!changes.is_empty() && changes.len() <= STEP_WRITES);
        told += changes.len();
        let read = home.read(
            &me,
            Method::StreamsGet,
            &json!({ "id": "a1", "state": "all" }),
        );
        assert_eq!(read.unwrap()["streams"][0]["trashed"], true);
        steps += 1;
        last = take(&mut home, false).unwrap();
    }
    let Step::Gone(changes) = last else {
        panic!("{last:?}")
    };
    assert_eq!(told + changes.len(), 40);
    assert!(steps >= 8, "{steps}");
    let left = json!({ "streams": ["b"], "limit": 99 });
    let left = home.read(&me, Method::EventsGet, &left).unwrap();
    assert_eq!(left["events"].as_array().unwrap().len(), 20);

    // In one step or not at all.
    for n in 40..60 {
        put_event(&mut home, n, &["b"]);
    }
    trash(&mut home, "b");
    let asked = DeleteStream {
        id: "b".to_owned(),
        merge: Some(false),
    };
    let mut trees = context.trees.for_writing(&home.owner.id);
    let all = home.attempt(|tx| at_once(tx, &context, &mut trees, &me, &asked));
    assert!(matches!(all, Err(StreamsDeleteError::TooMany)), "{all:?}");
    assert_eq!(event(&home, 50)["streamIds"], json!(["b"]));
}

#[test]
fn what_comes_between_two_steps_is_seen() {
    let mut home = planted();
    let me = home.person();
    for n in 0..40 {
        put_event(&mut home, n, &["a1"]);
    }
    trash(&mut home, "a1");
    let asked = DeleteStream {
        id: "a1".to_owned(),
        merge: Some(true),
    };
    let context = home.context.clone();
    let take = |home: &mut Home, first| {
        let mut trees = context.trees.for_writing(&home.owner.id);
        home.attempt(|tx| step(tx, &context, &mut trees, &me, &asked, first))
    };
    assert!(matches!(take(&mut home, true), Ok(Step::Going(_))));
    home.update_stream(&me, "a1", &json!({ "trashed": false }))
        .unwrap();
    let restored = take(&mut home, false).unwrap_err();
    assert_eq!(restored.id(), ErrorId::InvalidOperation);
    // Asking again goes on.
    trash(&mut home, "a1");
    home.delete_stream(&me, "a1", Some(true)).unwrap();
    let gone = take(&mut home, false).unwrap_err();
    assert_eq!(gone.id(), ErrorId::UnknownResource);
    let merged = json!({ "streams": ["a"], "limit": 99 });
    let merged = home.read(&me, Method::EventsGet, &merged).unwrap();
    assert_eq!(merged["events"].as_array().unwrap().len(), 40);
}

#[test]
fn who_may_not_is_refused() {
    let mut home = planted();
    for level in Level::ALL.iter().filter(|level| !level.manages()) {
        for actor in [
            home.app(vec![Permission::stream("a1", *level)]),
            home.shared(vec![Permission::stream("a1", *level)]),
        ] {
            let found = refused(home.delete_stream(&actor, "a1", None));
            assert_eq!(found, (ErrorId::Forbidden, Value::Null), "{level}");
            let unknown = refused(home.delete_stream(&actor, "nope", None));
            assert_eq!(unknown.0, ErrorId::UnknownResource, "{level}");
        }
    }
    trash(&mut home, "a1");
    put_stream_event_later(&mut home);
    let manage = |id: &str| Permission::stream(id, Level::Manage);
    // A part of the branch is withheld from it.
    for level in [Level::None, Level::Read, Level::Contribute] {
        let app = home.app(vec![manage("a"), Permission::stream("a11", level)]);
        let found = refused(home.delete_stream(&app, "a1", Some(false)));
        assert_eq!(found.0, ErrorId::Forbidden, "{level}");
    }
    // It could not put the events into the parent one by one.
    for level in [Level::None, Level::Read, Level::CreateOnly] {
        let app = home.shared(vec![manage("a1"), Permission::stream("a", level)]);
        let found = refused(home.delete_stream(&app, "a1", Some(true)));
        assert_eq!(found.0, ErrorId::Forbidden, "{level}");
    }
    let app = home.app(vec![
        manage("a1"),
        Permission::stream("a", Level::Contribute),
    ]);
    let merged = home.delete_stream(&app, "a1", Some(true)).unwrap();
    assert_eq!(merged["streamDeletion"], json!({ "id": "a1" }));
}

/// An event in a stream that is in the trash already.
fn put_stream_event_later(home: &mut Home) {
    let me = home.person();
    home.update_stream(&me, "a1", &json!({ "trashed": false }))
        .unwrap();
    put_event(home, 1, &["a11"]);
    trash(home, "a1");
}

#[test]
fn system_streams_stay() {
    let mut home = planted();
    let me = home.person();
    let app = home.app(vec![Permission::stream("*", Level::Manage)]);
    for (actor, id, error) in [
        (&me, ":_system:account", ErrorId::InvalidOperation),
        (&me, ":_system:language", ErrorId::InvalidOperation),
        (&me, ":_audit:", ErrorId::InvalidOperation),
        (&me, ":_emails:", ErrorId::InvalidOperation),
        (&app, ":_system:language", ErrorId::Forbidden),
        (&me, ":_system:nope", ErrorId::UnknownResource),
        (&me, ":dummy:x", ErrorId::UnknownResource),
        (&me, "*", ErrorId::UnknownResource),
    ] {
        let found = refused(home.delete_stream(actor, id, None));
        assert_eq!(found.0, error, "{id}");
    }
    let emails = home.delete_stream(&me, ":_emails:", None).unwrap_err();
    let data = json!({ "id": "emails-reserved-stream" });
    assert_eq!(emails.data(), Some(&data));
}

#[test]
fn the_form_is_checked() {
    let codes = |params: Value| {
        let invalid = DeleteStream::parse(&params).unwrap_err();
        let codes = invalid.0.iter().map(|violation| violation.code.to_string());
        codes.collect::<Vec<_>>()
    };
    assert_eq!(codes(json!({})), ["OBJECT_MISSING_REQUIRED_PROPERTY"]);
    assert_eq!(
        codes(json!({ "id": 1, "mergeEventsWithParent": "yes" })),
        ["INVALID_TYPE"; 2]
    );
}
