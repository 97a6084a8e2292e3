//! Batches through the real store's threads.

use serde_json::json;

use super::*;
use crate::testing::{json as read_json, kernel, new_account, owner};
use crate::{Credential, EventsPart};

async fn person() -> (Kernel, Actor) {
    let (kernel, _) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let credential = Credential::parse(token.expose()).unwrap();
    let actor = kernel.authenticate(&owner(), credential).await.unwrap();
    (kernel, actor)
}

/// Results as on the wire; what is not the kernel's as its method id.
async fn run(kernel: &Kernel, actor: &Actor, calls: Value) -> Vec<Value> {
    let outcomes = kernel.call_batch(actor, calls).await.unwrap();
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Done(reply) => read_json(reply.as_bytes()),
            Outcome::Refused(error) => json!({ "error": error.id().wire() }),
            Outcome::Foreign { method, .. } => json!(method),
        })
        .collect()
}

/// What is sent beside the changes is ignored, as with every other method; the changes are not.
#[tokio::test]
async fn members_beside_the_changes_are_ignored() {
    let (kernel, me) = person().await;
    let made = run(
        &kernel,
        &me,
        json!([
            { "method": "streams.create", "params": { "id": "s", "name": "S" } },
            { "method": "events.create", "params": { "streamIds": ["s"], "type": "a/b" } },
            { "method": "accesses.create", "params": { "name": "a",
                "permissions": [{ "streamId": "s", "level": "read" }] } }
        ]),
    )
    .await;
    for (method, name, id) in [
        ("streams.update", "stream", &made[0]["stream"]["id"]),
        ("events.update", "event", &made[1]["event"]["id"]),
        ("accesses.update", "access", &made[2]["access"]["id"]),
    ] {
        let call = |update: Value| {
            json!({ "method": method,
                "params": { "id": id, "update": update, "auth": "x", "name": 1 } })
        };
        let calls = json!([
            call(json!({ "clientData": { "x": 1 } })),
            call(json!({ "nope": 1 }))
        ]);
        let results = run(&kernel, &me, calls).await;
        assert_eq!(
            results[0][name]["clientData"],
            json!({ "x": 1 }),
            "{results:?}"
        );
        assert_eq!(results[1], json!({ "error": "invalid-parameters-format" }));
    }
}

#[tokio::test]
async fn later_calls_see_earlier_ones_and_errors_stop_nothing() {
    let (kernel, me) = person().await;
    let results = run(
        &kernel,
        &me,
        json!([
            { "method": "streams.create", "params": { "id": "batchs", "name": "Batch" } },
            { "method": "events.create", "params": { "streamIds": ["batchs"],
                "type": "count/generic", "content": 1, "time": 1_700_000_500 } },
            { "method": "events.create", "params": { "streamIds": ["nope"], "type": "a/b" } },
            { "method": "streams.get", "params": { "id": "batchs" } },
            { "method": "events.get", "params": { "streams": ["batchs"] } },
            { "method": "nosuch.method", "params": {} },
            { "method": "service.info", "params": [] },
            { "method": "events.create", "params": { "streamIds": ["batchs"], "type": "wrong" } },
            { "method": "getAccessInfo", "params": {} }
        ]),
    )
    .await;
    assert_eq!(results.len(), 9);
    assert_eq!(results[0]["stream"]["id"], "batchs");
    assert_eq!(results[1]["event"]["content"], 1);
    assert_eq!(
        results[2],
        json!({ "error": "unknown-referenced-resource" })
    );
    assert_eq!(
        results[3]["streams"][0]["name"], "Batch",
        "a read inside a run sees its writes"
    );
    assert_eq!(results[4]["events"], json!([results[1]["event"]]));
    assert_eq!(results[5], "nosuch.method");
    assert_eq!(results[6], "service.info");
    assert_eq!(results[7], json!({ "error": "invalid-parameters-format" }));
    assert_eq!(results[8]["type"], "personal");
}

#[tokio::test]
async fn a_batch_of_writes_is_one_request_to_the_store() {
    let (kernel, me) = person().await;
    let before = kernel.users().stats().groups;
    let mut calls =
        vec![json!({ "method": "streams.create", "params": { "id": "s", "name": "s" } })];
    for i in 0..200 {
        calls.push(json!({ "method": "events.create",
            "params": { "streamIds": ["s"], "type": "count/generic", "content": i } }));
    }
    let results = run(&kernel, &me, Value::Array(calls)).await;
    assert!(results.iter().all(|result| result.get("error").is_none()));
    assert_eq!(kernel.users().stats().groups - before, 1, "one disk sync");
}

/// Short readings never wait for anything: without a pause the thread would be the batch's alone.
#[tokio::test]
async fn others_have_their_turn_between_readings() {
    let (kernel, me) = person().await;
    let get = json!({ "method": "events.get", "params": { "limit": 1 } });
    run(&kernel, &me, json!([get, get])).await;
    let turns = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&turns);
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    run(&kernel, &me, json!(vec![get; 50])).await;
    other.abort();
    let turns = turns.load(std::sync::atomic::Ordering::Relaxed);
    assert!(turns >= 50, "{turns}");
}

#[tokio::test]
async fn malformed_batches_are_refused_whole() {
    let (kernel, me) = person().await;
    for (calls, code, path) in [
        (json!({ "method": "events.get" }), "INVALID_TYPE", "#"),
        (
            json!([{ "params": {} }]),
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            "#/0/",
        ),
        (
            json!([{ "method": "x" }]),
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            "#/0/",
        ),
        (
            json!([{ "method": "x", "params": {} }, 5]),
            "INVALID_TYPE",
            "#/1",
        ),
        (
            json!([{ "method": 1, "params": {} }]),
            "INVALID_TYPE",
            "#/0/method",
        ),
        (
            json!([{ "method": "x", "params": "y" }]),
            "INVALID_TYPE",
            "#/0/params",
        ),
    ] {
        let error = kernel.call_batch(&me, calls.clone()).await.unwrap_err();
        assert_eq!(error.id(), ErrorId::InvalidParametersFormat, "{calls}");
        let item = &error.data().unwrap()[0];
        assert_eq!(
            (item["code"].as_str(), item["path"].as_str()),
            (Some(code), Some(path))
        );
    }
    assert!(run(&kernel, &me, json!([])).await.is_empty());
}

#[tokio::test]
async fn events_come_page_by_page() {
    let (kernel, me) = person().await;
    let mut calls =
        vec![json!({ "method": "streams.create", "params": { "id": "s", "name": "s" } })];
    for i in 0..700 {
        calls.push(json!({ "method": "events.create",
            "params": { "streamIds": ["s"], "type": "count/generic", "content": 1, "time": i } }));
    }
    run(&kernel, &me, Value::Array(calls)).await;
    let query = json!({ "streams": ["s"], "fromTime": 0, "modifiedSince": 0,
        "includeDeletions": true });
    let mut pages = kernel.events_get(&me, query).await.unwrap();
    assert!(pages.has_deletions());
    let mut times = Vec::new();
    while let Some(part) = pages.next().await.unwrap() {
        let EventsPart::Events(events) = part else {
            panic!("nothing was deleted")
        };
        times.extend(
            events
                .iter()
                .map(|event| read_json(&event.json)["time"].as_u64().unwrap()),
        );
    }
    assert_eq!(times, (0..700).rev().collect::<Vec<_>>());
    let refused = kernel
        .events_get(&me, json!({ "streams": ["nope"] }))
        .await
        .unwrap_err();
    assert_eq!(refused.id(), ErrorId::UnknownReferencedResource);
}
