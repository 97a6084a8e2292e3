//! Deletions through the real store's threads. A step is short in tests.

use serde_json::json;

use super::*;
use crate::Credential;
use crate::testing::{json as read_json, kernel, new_account, owner};

const EVENTS: usize = 23;

/// The person, and a stream in the trash with events in it.
async fn planted() -> (Kernel, Actor) {
    let (kernel, _) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let credential = Credential::parse(token.expose()).unwrap();
    let me = kernel.authenticate(&owner(), credential).await.unwrap();
    let mut calls =
        vec![json!({ "method": "streams.create", "params": { "id": "s", "name": "s" } })];
    calls.extend((0..EVENTS).map(|time| {
        json!({ "method": "events.create",
            "params": { "streamIds": ["s"], "type": "count/generic", "content": 1, "time": time } })
    }));
    calls.push(json!({ "method": "streams.delete", "params": { "id": "s" } }));
    let outcomes = kernel.call_batch(&me, Value::Array(calls)).await.unwrap();
    assert_eq!(outcomes.len(), EVENTS + 2);
    (kernel, me)
}

async fn read(kernel: &Kernel, me: &Actor, method: Method, params: Value) -> Value {
    read_json(kernel.call(me, method, params).await.unwrap().as_bytes())
}

async fn events_left(kernel: &Kernel, me: &Actor) -> usize {
    let params = json!({ "streams": ["s"], "state": "all", "limit": 1000 });
    let read = read(kernel, me, Method::EventsGet, params).await;
    read["events"].as_array().unwrap().len()
}

/// The entries of deletions in the audit log: whether each was refused, and its content.
async fn entries(kernel: &Kernel, me: &Actor) -> Vec<(bool, Value)> {
    let params = json!({ "streams": [":_audit:action-streams.delete"], "limit": 1000 });
    let read = read(kernel, me, Method::EventsGet, params).await;
    let entries = read["events"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            let refused = entry["type"] == "audit-log/pryv-api-error";
            (refused, entry["content"].clone())
        })
        .collect()
}

async fn begin(kernel: &Kernel, me: &Actor) -> StreamDeletion {
    let asked = json!({ "id": "s", "mergeEventsWithParent": false });
    match kernel.stream_delete(me, &asked).await.unwrap() {
        StreamDeleted::ForGood(deletion) => *deletion,
        StreamDeleted::Trashed(reply) => panic!("{reply:?}"),
    }
}

#[tokio::test]
async fn a_deletion_goes_step_by_step() {
    let (kernel, me) = planted().await;
    let mut deletion = begin(&kernel, &me).await;
    let (mut told, mut steps) = (0, 0);
    while let Some(changes) = deletion.next().await.unwrap() {
        told += changes.len();
        steps += 1;
    }
    assert_eq!(told, EVENTS);
    assert!(steps > 4, "{steps}");
    assert_eq!(deletion.deletion(), "{\"id\":\"s\"}");
    assert_eq!(deletion.next().await.unwrap(), None);
    drop(deletion);
    let log = entries(&kernel, &me).await;
    assert_eq!(log.len(), 2, "one for the trash, one for the deletion");
    assert!(log.iter().all(|(refused, _)| !refused));
}

#[tokio::test]
async fn what_was_given_up_is_told_and_goes_on_when_asked_again() {
    let (kernel, me) = planted().await;
    let mut deletion = begin(&kernel, &me).await;
    let told = deletion.next().await.unwrap().unwrap().len();
    drop(deletion);
    let left = events_left(&kernel, &me).await;
    assert!(told > 0 && left == EVENTS - told, "{told} {left}");
    let log = entries(&kernel, &me).await;
    let given_up: Vec<&Value> = log
        .iter()
        .map(|(_, content)| content)
        .filter(|content| content["recordCountIncomplete"] == true)
        .collect();
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0]["recordCount"], told);
    let asked = json!({ "id": "s", "mergeEventsWithParent": false });
    let rest = read(&kernel, &me, Method::StreamsDelete, asked).await;
    assert_eq!(rest["updatedEvents"].as_array().unwrap().len(), left);
    assert_eq!(rest["streamDeletion"], json!({ "id": "s" }));
}

#[tokio::test]
async fn what_comes_between_ends_it() {
    let (kernel, me) = planted().await;
    let mut deletion = begin(&kernel, &me).await;
    let restore = json!({ "id": "s", "update": { "trashed": false } });
    read(&kernel, &me, Method::StreamsUpdate, restore).await;
    deletion.next().await.unwrap().unwrap();
    let error = deletion.next().await.unwrap_err();
    assert_eq!(error.id().wire(), "invalid-operation");
    assert_eq!(deletion.next().await.unwrap(), None);
    drop(deletion);
    let log = entries(&kernel, &me).await;
    assert_eq!(log.iter().filter(|(refused, _)| *refused).count(), 1);
    assert!(events_left(&kernel, &me).await > 0);
}
