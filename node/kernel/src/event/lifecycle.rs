//! Random lives of events against a plain map of them: whatever is asked, the answer is that of the
//! map.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::Method;
use crate::integrity;
use crate::testing::Home;

const STREAMS: &[&str] = &["a", "b", "c"];

/// What is asked for, and the streams that are meant.
const QUERIES: &[(&[&str], &[&str])] = &[
    (&["a"], &["a", "c"]),
    (&["a!"], &["a"]),
    (&["b"], &["b"]),
    (&["b", "c"], &["b", "c"]),
];

#[derive(Clone, Debug)]
enum Step {
    Create(usize, Value),
    Update(usize, Value),
    Delete(usize),
}

/// Live events in their wire form without hash, and when others were deleted.
type Model = BTreeMap<String, Result<Map<String, Value>, f64>>;

fn streams() -> impl Strategy<Value = Value> {
    proptest::sample::subsequence(STREAMS, 1..=STREAMS.len()).prop_map(|ids| json!(ids))
}

fn durations() -> impl Strategy<Value = Value> {
    select(vec![json!(null), json!(0), json!(2.5), json!(4000)])
}

fn fields() -> impl Strategy<Value = Value> {
    (
        streams(),
        0..50_i64,
        proptest::option::of(durations()),
        select(vec!["a/b", "t-note/txt"]),
        any::<bool>(),
    )
        .prop_map(|(streams, time, duration, kind, trashed)| {
            let mut fields = json!({ "streamIds": streams, "time": time, "type": kind,
                "content": time, "trashed": trashed });
            if let Some(duration) = duration {
                fields["duration"] = duration;
            }
            fields
        })
}

/// Some of the fields.
fn changes() -> impl Strategy<Value = Value> {
    (fields(), any::<u8>()).prop_map(|(fields, chosen)| {
        let chosen = |i: usize| (chosen >> i) & 1 == 1;
        let Value::Object(fields) = fields else {
            return Value::Null;
        };
        let some = fields.into_iter().enumerate().filter(|(i, _)| chosen(*i));
        Value::Object(some.map(|(_, field)| field).collect())
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_usize, fields()).prop_map(|(n, fields)| Step::Create(n, fields)),
        4 => (0..6_usize, changes()).prop_map(|(n, changes)| Step::Update(n, changes)),
        3 => (0..6_usize).prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 1..25)
}

fn id(number: usize) -> String {
    format!("cevent00000000000000000{number}")
}

/// The rules on fields that are empty.
fn put(event: &mut Map<String, Value>, fields: &Value) {
    for (name, value) in fields.as_object().unwrap() {
        let empty = match name.as_str() {
            "duration" => value == &json!(0),
            "trashed" => value == &json!(false),
            _ => false,
        };
        if empty {
            event.shift_remove(name);
        } else {
            event.insert(name.clone(), value.clone());
        }
    }
}

fn take(home: &mut Home, model: &mut Model, step: &Step) {
    let me = home.person();
    let now = home.context.now().as_seconds();
    let author = "caccess00000000000000001";
    let touch = |event: &mut Map<String, Value>| {
        event.insert("modified".to_owned(), json!(now));
        event.insert("modifiedBy".to_owned(), json!(author));
    };
    match step {
        Step::Create(n, fields) => {
            let mut new = fields.clone();
            new["id"] = json!(id(*n));
            let created = home.create_event(&me, &new);
            assert_eq!(created.is_ok(), !model.contains_key(&id(*n)));
            if created.is_ok() {
                let mut event = Map::new();
                put(&mut event, &new);
                event.insert("created".to_owned(), json!(now));
                event.insert("createdBy".to_owned(), json!(author));
                touch(&mut event);
                model.insert(id(*n), Ok(event));
            }
        }
        Step::Update(n, changes) => {
            let updated = home.update_event(&me, &id(*n), changes);
            match model.get_mut(&id(*n)) {
                Some(Ok(event)) => {
                    put(event, changes);
                    touch(event);
                    assert_eq!(updated.unwrap(), sealed(event));
                }
                _ => assert!(updated.is_err()),
            }
        }
        Step::Delete(n) => {
            let deleted = home.delete_event(&me, &id(*n));
            match model.get_mut(&id(*n)) {
                Some(Ok(event)) if event.contains_key("trashed") => {
                    let deletion = json!({ "eventDeletion": { "id": id(*n) } });
                    assert_eq!(deleted.unwrap(), deletion);
                    model.insert(id(*n), Err(now));
                }
                Some(Ok(event)) => {
                    event.insert("trashed".to_owned(), json!(true));
                    touch(event);
                    assert_eq!(deleted.unwrap(), json!({ "event": sealed(event) }));
                }
                _ => assert!(deleted.is_err()),
            }
        }
    }
}

fn sealed(event: &Map<String, Value>) -> Value {
    let mut event = event.clone();
    let integrity = integrity::of_event(&event);
    event.insert("integrity".to_owned(), json!(integrity));
    Value::Object(event)
}

fn by_id(list: &Value) -> BTreeMap<String, Value> {
    let items = list.as_array().unwrap().iter();
    items
        .map(|item| (item["id"].as_str().unwrap().to_owned(), item.clone()))
        .collect()
}

fn check(home: &Home, model: &Model, since: f64) {
    let me = home.person();
    let get = |params: Value| home.read(&me, Method::EventsGet, &params).unwrap();
    for (asked, meant) in QUERIES {
        for state in ["default", "trashed", "all"] {
            for since in [None, Some(since)] {
                let mut params = json!({ "streams": asked, "state": state, "limit": 99 });
                if let Some(since) = since {
                    params["modifiedSince"] = json!(since);
                }
                let expected: BTreeMap<String, Value> = model
                    .iter()
                    .filter_map(|(id, event)| Some((id.clone(), event.as_ref().ok()?)))
                    .filter(|(_, event)| {
                        let trashed = event.contains_key("trashed");
                        let there = event["streamIds"].as_array().unwrap();
                        (state == "all" || trashed == (state == "trashed"))
                            && there.iter().any(|id| meant.contains(&id.as_str().unwrap()))
                            && since.is_none_or(|since| event["modified"].as_f64().unwrap() > since)
                    })
                    .map(|(id, event)| (id, sealed(event)))
                    .collect();
                let found = get(params.clone());
                let count = found["events"].as_array().unwrap().len();
                assert_eq!(by_id(&found["events"]), expected, "{params}");
                assert_eq!(count, expected.len(), "each once: {params}");
            }
        }
    }
    let params = json!({ "streams": ["a"], "modifiedSince": since, "includeDeletions": true });
    let mut deletions: Vec<(&String, f64)> = model
        .iter()
        .filter_map(|(id, event)| Some((id, *event.as_ref().err()?)))
        .filter(|(_, deleted)| *deleted > since)
        .collect();
    deletions.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let deletions = deletions
        .into_iter()
        .map(|(id, deleted)| tombstone(id, deleted));
    assert_eq!(
        get(params)["eventDeletions"],
        json!(deletions.collect::<Vec<_>>())
    );
    for (id, event) in model {
        let params = json!({ "id": id });
        let read = home.read(&me, Method::EventsGetOne, &params).unwrap();
        let expected = match event {
            Ok(event) => sealed(event),
            Err(deleted) => json!({ "id": id, "deleted": deleted }),
        };
        assert_eq!(read, json!({ "event": expected }));
    }
}

fn tombstone(id: &str, deleted: f64) -> Value {
    sealed(json!({ "id": id, "deleted": deleted }).as_object().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn events_live_as_in_the_model(steps in steps(), since in 0..25_u32) {
        let mut home = Home::new();
        home.stream("a", None);
        home.stream("b", None);
        home.stream("c", Some("a"));
        let since = home.context.now().as_seconds() + f64::from(since);
        let mut model = Model::new();
        for step in &steps {
            home.clock.advance(Duration::from_secs(1));
            take(&mut home, &mut model, step);
            check(&home, &model, since);
        }
    }
}
