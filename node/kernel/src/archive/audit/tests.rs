//! Records of the audit log: our own there and back, and those of the other server.

use homecore_types::Millis;
use serde_json::{Map, Value, json};

use super::read;
use crate::archive::import::{ImportError, Item, put};
use crate::audit::entry::{Draft, Entry};
use crate::audit::page as audit_page;
use crate::testing::Home;

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// Entries as the log keeps them.
fn entries(home: &Home, count: i64) -> Vec<Entry> {
    let at = |n: i64| Millis(crate::testing::NOW.0 + n * 3_001);
    let me = home.me();
    let entry = |n: i64| {
        let draft = Draft::of(&me, "events.get", at(n)).asking(&json!({ "limit": n, "auth": "x" }));
        match n % 3 {
            0 => draft.finish(),
            1 => draft.counted(7, false).finish(),
            _ => draft
                .refused(&ImportError::NoHead { id: "x".to_owned() }.into())
                .finish(),
        }
    };
    (0..count).map(entry).collect()
}

#[test]
fn an_audit_log_comes_back_as_it_was() {
    let mut home = Home::new();
    let entries = entries(&home, 600);
    let context = home.context.clone();
    home.attempt(|tx| audit_page::append(tx, &context, &entries))
        .unwrap();
    let log = |home: &Home| -> Vec<Map<String, Value>> {
        let all = json!({ "streams": [":_audit:accesses"], "sortAscending": true, "limit": 1000 });
        let events = home
            .read(&home.person(), crate::Method::EventsGet, &all)
            .unwrap();
        events["events"]
            .as_array()
            .unwrap()
            .iter()
            .cloned()
            .map(map)
            .collect()
    };
    let before = log(&home);
    assert_eq!(before.len(), 600);
    // However it is cut.
    for cut in [1, 7, 600] {
        let mut again = Home::new();
        for some in before.chunks(cut) {
            let records = some.iter().map(|record| read(record).unwrap());
            let item = Item::Audit(records.collect());
            again.attempt(|tx| put(tx, item)).unwrap();
        }
        assert_eq!(log(&again), before, "{cut}");
        let record = vec![read(&before[0]).unwrap()];
        let twice = again.attempt(|tx| put(tx, Item::Audit(record)));
        assert!(matches!(twice, Err(ImportError::Twice { .. })));
    }
}

#[test]
fn audit_records_of_the_other_server_are_read() {
    let list = json!({"eventid": "ckd1", "time": 1_700_000_000, "type": "audit-log/pryv-api",
        "stream_ids": [":_audit:access-cabc", ":_audit:action-events.get"],
        "content": {"action": "events.get", "query": {"limit": 1}}});
    let text = json!({"id": "0e-1f", "time": 1_700_000_001.5, "type": "audit-log/pryv-api-error",
        "streamIds": "access-cabc action-events.get ..", "content": "{\"id\":\"forbidden\"}"});
    let records: Vec<_> = [list.clone(), text]
        .into_iter()
        .map(|r| read(&map(r)).unwrap())
        .collect();
    let shown = |n: usize| {
        (
            records[n].entry.access.clone(),
            records[n].entry.action.clone(),
            records[n].entry.refused,
        )
    };
    assert_eq!(
        shown(0),
        ("cabc".to_owned(), "events.get".to_owned(), false)
    );
    assert_eq!(shown(1), ("cabc".to_owned(), "events.get".to_owned(), true));
    let mut home = Home::new();
    home.attempt(|tx| put(tx, Item::Audit(records))).unwrap();
    let all = json!({ "streams": [":_audit:access-cabc"], "limit": 10 });
    let events = home
        .read(&home.person(), crate::Method::EventsGet, &all)
        .unwrap();
    let events = events["events"].as_array().unwrap();
    let ids: Vec<&str> = events
        .iter()
        .map(|event| event["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, [":_audit:ckd1-1", ":_audit:ckd1"]);
    assert_eq!(events[0]["content"], json!({"id": "forbidden"}));
    assert_eq!(events[1]["content"]["query"], json!({"limit": 1}));
    for (name, value, field) in [
        ("time", json!("x"), "time"),
        ("time", json!(null), "time"),
        ("eventid", json!(7), "id"),
        ("eventid", json!(":-"), "id"),
        ("stream_ids", json!(["access-x"]), ""),
        ("stream_ids", json!(["action-x"]), "streamIds"),
        ("stream_ids", json!(null), "streamIds"),
        ("content", json!("{"), "content"),
        ("content", json!([]), "content"),
        ("content", json!({ "x": "y".repeat(70_000) }), "content"),
        (
            "content",
            json!(format!("{{\"x\":[{}0]}}", "0,".repeat(40_000))),
            "content",
        ),
    ] {
        let mut record = map(list.clone());
        record.insert(name.to_owned(), value.clone());
        let result = read(&record);
        assert_eq!(
            result.err().map_or("", |wrong| wrong.field),
            field,
            "{name} {value}"
        );
    }
}
