//! Every rule of `events.delete`, and what each mode keeps.

use std::time::Duration;

use super::*;
use crate::Method;
use crate::permission::Permission;
use crate::testing::Home;

const ID: &str = "ckfixture000000000000001";

/// An event with two former versions.
fn planted(mode: DeletionMode) -> Home {
    let mut home = Home::new();
    std::sync::Arc::make_mut(&mut home.context.settings).keep_history = true;
    std::sync::Arc::make_mut(&mut home.context.settings).deletion_mode = mode;
    home.stream("weight", None);
    home.stream("heart", None);
    let me = home.person();
    let new = json!({ "id": ID, "streamIds": ["weight"], "type": "mass/kg", "content": 1,
        "time": 1_700_000_000 });
    home.create_event(&me, &new).unwrap();
    home.clock.advance(Duration::from_secs(1));
    home.update_event(&me, ID, &json!({ "content": 2 }))
        .unwrap();
    home.clock.advance(Duration::from_secs(1));
    home
}

fn gone(mode: DeletionMode) -> Home {
    let mut home = planted(mode);
    let me = home.person();
    home.delete_event(&me, ID).unwrap();
    home.clock.advance(Duration::from_secs(1));
    let deletion = home.delete_event(&me, ID).unwrap();
    assert_eq!(deletion, json!({ "eventDeletion": { "id": ID } }));
    home
}

fn error_of(result: Result<Value, crate::Error>) -> ErrorId {
    result.unwrap_err().id()
}

fn shown(home: &Home, actor: &Actor) -> Value {
    let params = json!({ "id": ID, "includeHistory": true });
    home.read(actor, Method::EventsGetOne, &params).unwrap()
}

fn deletions(home: &Home) -> Value {
    let params = json!({ "modifiedSince": 0, "includeDeletions": true });
    let read = home.read(&home.person(), Method::EventsGet, &params);
    read.unwrap()["eventDeletions"].clone()
}

#[test]
fn the_first_time_it_goes_into_the_trash() {
    let mut home = planted(DeletionMode::KeepNothing);
    let me = home.person();
    let trashed = home.delete_event(&me, ID).unwrap();
    assert_eq!(trashed["event"]["trashed"], true);
    assert_eq!(trashed["event"]["modified"], 1_795_369_713.439);
    assert_eq!(shown(&home, &me)["event"], trashed["event"]);
    assert_eq!(deletions(&home), json!([]));
}

#[test]
fn the_second_time_it_goes_with_its_history_and_its_id_stays_taken() {
    let mut home = gone(DeletionMode::KeepNothing);
    let me = home.person();
    let event = json!({ "id": ID, "deleted": 1_795_369_714.439 });
    assert_eq!(shown(&home, &me), json!({ "event": event, "history": [] }));
    let mut listed = event.as_object().unwrap().clone();
    let integrity = crate::integrity::of_event(&listed);
    listed.insert("integrity".to_owned(), Value::from(integrity));
    assert_eq!(deletions(&home), json!([listed]));
    assert_eq!(
        error_of(home.delete_event(&me, ID)),
        ErrorId::UnknownResource
    );
    let again = json!({ "id": ID, "streamIds": ["heart"], "type": "mass/kg", "content": 2 });
    assert_eq!(
        error_of(home.create_event(&me, &again)),
        ErrorId::ItemAlreadyExists
    );
}

#[test]
fn authors_can_be_kept() {
    let home = gone(DeletionMode::KeepAuthors);
    let nobody = home.app(Vec::new());
    let read = shown(&home, &nobody);
    let author = "caccess00000000000000001";
    assert_eq!(
        read["event"],
        json!({ "id": ID, "modified": 1_795_369_713.439, "modifiedBy": author,
            "deleted": 1_795_369_714.439 })
    );
    let history: Vec<Value> = [1_795_369_711.439, 1_795_369_712.439]
        .into_iter()
        .map(|modified| {
            let version = json!({ "id": ID, "modified": modified, "modifiedBy": author });
            let version = StoredEvent::sealed(version.as_object().unwrap().clone());
            serde_json::from_slice(&version.json).unwrap()
        })
        .collect();
    assert_eq!(read["history"], json!(history));
    let listed = deletions(&home);
    assert_eq!(listed[0]["deleted"], 1_795_369_714.439);
    assert_eq!(listed[0].get("modifiedBy"), None);
}

#[test]
fn long_histories_are_read_and_rewritten_whole() {
    let mut home = planted(DeletionMode::KeepAuthors);
    let me = home.person();
    for content in 3..30 {
        home.update_event(&me, ID, &json!({ "content": content }))
            .unwrap();
    }
    let history = shown(&home, &me)["history"].clone();
    let contents: Vec<&Value> = history
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["content"])
        .collect();
    let expected: Vec<Value> = (1..29).map(Value::from).collect();
    assert_eq!(contents, expected.iter().collect::<Vec<_>>());
    home.delete_event(&me, ID).unwrap();
    home.delete_event(&me, ID).unwrap();
    let history = shown(&home, &me)["history"].clone();
    assert_eq!(
        history.as_array().unwrap().len(),
        29,
        "with the one before the trash"
    );
}

#[test]
fn everything_can_be_kept_for_those_who_could_read_it() {
    let home = gone(DeletionMode::KeepEverything);
    let read = shown(&home, &home.person());
    assert_eq!(read["event"]["content"], 2);
    assert_eq!(read["event"]["deleted"], 1_795_369_714.439);
    assert_eq!(read["history"][0]["content"], 1);
    let listed = deletions(&home);
    let integrity = crate::integrity::of_event(read["event"].as_object().unwrap());
    assert_eq!(read["event"]["integrity"], integrity);
    assert_eq!(listed[0]["integrity"], integrity);
    let names: Vec<&String> = listed[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "deleted", "integrity"]);
    let stranger = home.app(vec![Permission::stream("heart", Level::Manage)]);
    assert_eq!(
        shown(&home, &stranger),
        json!({ "event": { "id": ID, "deleted": 1_795_369_714.439 }, "history": [] })
    );
}

#[test]
fn who_may_not_is_refused() {
    let mut home = planted(DeletionMode::KeepNothing);
    for level in [Level::Read, Level::CreateOnly, Level::None] {
        let app = home.app(vec![Permission::stream("weight", level)]);
        assert_eq!(
            error_of(home.delete_event(&app, ID)),
            ErrorId::Forbidden,
            "{level}"
        );
    }
    let app = home.app(vec![Permission::stream("weight", Level::Contribute)]);
    assert_eq!(
        error_of(home.delete_event(&app, "nosuchevent")),
        ErrorId::UnknownResource
    );
    home.delete_event(&app, ID).unwrap();
}

#[test]
fn account_fields_are_not_deleted() {
    let mut home = planted(DeletionMode::KeepNothing);
    let me = home.person();
    let app = home.app(vec![Permission::stream("*", Level::Manage)]);
    for (actor, id, error) in [
        (&me, ":_system:language", ErrorId::InvalidOperation),
        (&me, ":system:email", ErrorId::InvalidOperation),
        (&me, ":_system:referer", ErrorId::Forbidden),
        (&app, ":_system:language", ErrorId::Forbidden),
    ] {
        assert_eq!(error_of(home.delete_event(actor, id)), error, "{id}");
    }
}
