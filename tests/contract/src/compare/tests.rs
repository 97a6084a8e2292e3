//! A sound answer passes; each way of breaking it is told, with its place.

use super::*;
use serde_json::json;

const ID: &str = "r4c055aeg1twae3d8ge2ex3j";
const OUR_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";

fn message(status: u16, body: Value) -> Message {
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("api-version", "2.0.0"),
        ("date", "today"),
    ];
    Message {
        status,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        body,
    }
}

fn recorded() -> Message {
    message(
        200,
        json!({
            "meta": { "serverTime": 1_795_369_710.397, "apiVersion": "2" },
            "event": {
                "id": ID, "type": "mass/kg", "content": 70, "modified": 1_795_369_710.0,
                "attachments": [{ "size": 4 }], "a/b": true,
            },
        }),
    )
}

fn ours() -> Message {
    let mut ours = message(
        200,
        json!({
            "meta": { "serverTime": 1_800_000_000, "apiVersion": "3" },
            "event": {
                "id": OUR_ID, "type": "mass/kg", "content": 70.0, "modified": 1_800_000_000.5,
                "attachments": [{ "size": 4 }], "a/b": true,
            },
        }),
    );
    let _ = ours
        .headers
        .insert("content-type".to_owned(), "application/json".to_owned());
    ours
}

fn known() -> Bindings {
    let mut known = Bindings::default();
    known.bind(ID, OUR_ID);
    known
}

/// The pointers of the differences after something was done to a sound answer.
fn broken(breaking: impl FnOnce(&mut Message)) -> Vec<String> {
    let mut ours = ours();
    breaking(&mut ours);
    compare(&recorded(), &ours, &known())
        .into_iter()
        .map(|difference| difference.pointer)
        .collect()
}

fn set(answer: &mut Message, pointer: &str, value: Value) {
    *answer.body.pointer_mut(pointer).unwrap() = value;
}

fn event(answer: &mut Message) -> &mut serde_json::Map<String, Value> {
    answer.body["event"].as_object_mut().unwrap()
}

#[test]
fn a_sound_answer_has_none() {
    assert_eq!(compare(&recorded(), &ours(), &known()), []);
}

#[test]
fn a_wrong_status() {
    assert_eq!(broken(|answer| answer.status = 201), ["/status"]);
}

#[test]
fn a_missing_field() {
    let pointers = broken(|answer| {
        event(answer).remove("content");
        event(answer).remove("a/b");
    });
    assert_eq!(pointers, ["/body/event/content", "/body/event/a~1b"]);
}

#[test]
fn an_additional_field() {
    let pointers = broken(|answer| {
        event(answer).insert("new".to_owned(), Value::Null);
    });
    assert_eq!(pointers, ["/body/event/new"]);
}

#[test]
fn a_wrong_type() {
    let pointers = broken(|answer| set(answer, "/event/content", json!("70")));
    assert_eq!(pointers, ["/body/event/content"]);
    let pointers = broken(|answer| set(answer, "/event/attachments/0", json!(null)));
    assert_eq!(pointers, ["/body/event/attachments/0"]);
    // Worded texts and times, too, have their types.
    let pointers = broken(|answer| set(answer, "/meta/apiVersion", json!(3)));
    assert_eq!(pointers, ["/body/meta/apiVersion"]);
    let pointers = broken(|answer| set(answer, "/meta/serverTime", json!("now")));
    assert_eq!(pointers, ["/body/meta/serverTime"]);
}

#[test]
fn a_wrong_value() {
    let pointers = broken(|answer| set(answer, "/event/content", json!(71)));
    assert_eq!(pointers, ["/body/event/content"]);
    let pointers = broken(|answer| set(answer, "/event/id", json!(ID)));
    assert_eq!(pointers, ["/body/event/id"]);
    let pointers = broken(|answer| set(answer, "/event/modified", json!(1_800_000_000_000_u64)));
    assert_eq!(pointers, ["/body/event/modified"]);
}

#[test]
fn a_list_of_another_length() {
    let pointers = broken(|answer| set(answer, "/event/attachments", json!([])));
    assert_eq!(pointers, ["/body/event/attachments"]);
}

#[test]
fn a_wrong_header() {
    let pointers = broken(|answer| {
        answer.headers.remove("api-version");
        let location = ("location".to_owned(), "/".to_owned());
        answer.headers.extend([location]);
        let kind = ("content-type".to_owned(), "text/html".to_owned());
        answer.headers.extend([kind]);
    });
    assert_eq!(
        pointers,
        [
            "/headers/api-version",
            "/headers/content-type",
            "/headers/location"
        ]
    );
}

#[test]
fn a_wrong_error() {
    let error =
        |id: &str, text: &str| message(400, json!({ "error": { "id": id, "message": text } }));
    let recorded = error("forbidden", "No.");
    let none = compare(&recorded, &error("forbidden", "Never."), &known());
    assert_eq!(none, []);
    let found = compare(&recorded, &error("unknown-resource", "No."), &known());
    let told = "/body/error/id: expected \"forbidden\", got \"unknown-resource\"";
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].to_string(), told);
    let found = compare(&recorded, &message(400, Value::Null), &known());
    assert_eq!(found[0].pointer, "/body");
}

#[test]
fn counters_and_operands_are_compared_by_type() {
    let body = |calls: Value| message(200, json!({ "calls": calls }));
    let recorded = body(json!({ "events:get": 1 }));
    assert_eq!(compare(&recorded, &body(json!({})), &known()), []);
    assert_eq!(compare(&recorded, &body(json!([])), &known()).len(), 1);
}

#[test]
fn hashes_of_items_are_compared_by_kind() {
    let same = |recorded: &str, ours: &str| {
        let body = |text: &str| message(200, json!({ "integrity": text }));
        compare(&body(recorded), &body(ours), &known()).is_empty()
    };
    assert!(same("EVENT:0:sha256-abcd", "EVENT:0:sha256-efgh"));
    for other in [
        "EVENT:1:sha256-abcd",
        "ACCESS:0:sha256-abcd",
        "abcd",
        "EVENT:0:sha256-abc",
    ] {
        assert!(!same("EVENT:0:sha256-abcd", other), "{other}");
    }
    assert!(same("sha256-abcd", "sha256-abcd"));
    assert!(!same("sha256-abcd", "sha256-efgh"));
}
