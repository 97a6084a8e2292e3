//! Streams over HTTP: changed, moved, trashed, restored, deleted, by every kind of token.

use serde_json::{Value, json};

use crate::support::{Answer, Core, error};

const PATH: &str = "/samplebeta1/streams";

/// `health › weight › morning` and `diary`.
struct Streams {
    core: Core,
    me: String,
}

impl Streams {
    async fn planted() -> Self {
        let core = Core::new();
        let me = core.register("samplebeta1").await;
        for (id, parent) in [
            ("health", Value::Null),
            ("weight", json!("health")),
            ("morning", json!("weight")),
            ("diary", Value::Null),
        ] {
            let stream = json!({ "id": id, "name": id, "parentId": parent });
            core.post_as(&me, PATH, &stream).await;
        }
        Self { core, me }
    }

    async fn access(&self, kind: &str, level: &str) -> String {
        let asked = json!({ "type": kind, "name": format!("{kind} {level}"),
            "permissions": [{ "streamId": "weight", "level": level }] });
        let path = "/samplebeta1/accesses";
        let answer = self.core.post_as(&self.me, path, &asked).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["access"]["token"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn ask(&self, token: &str, method: &str, rest: &str, body: Option<&Value>) -> Answer {
        let path = format!("{PATH}/{rest}");
        self.core.send_as(token, method, &path, body).await
    }

    async fn put(&self, id: &str, changes: &Value) -> Answer {
        self.ask(&self.me, "PUT", id, Some(changes)).await
    }

    async fn delete(&self, rest: &str) -> Answer {
        self.ask(&self.me, "DELETE", rest, None).await
    }

    async fn batch(&self, calls: &[Value]) -> Value {
        let calls = Value::from(calls);
        let answer = self.core.post_as(&self.me, "/samplebeta1", &calls).await;
        answer.json()["results"].take()
    }

    async fn put_events(&self, count: usize, streams: &Value) {
        let calls: Vec<Value> = (0..count)
            .map(|time| {
                json!({ "method": "events.create", "params": { "streamIds": streams,
                    "type": "count/generic", "content": time, "time": time } })
            })
            .collect();
        let results = self.batch(&calls).await;
        assert!(
            results
                .as_array()
                .unwrap()
                .iter()
                .all(|r| r["event"].is_object())
        );
    }
}

fn merge(id: &str, merge: Option<bool>) -> Value {
    json!({ "method": "streams.delete", "params": { "id": id, "mergeEventsWithParent": merge } })
}

#[tokio::test]
async fn a_stream_is_changed_and_moved() {
    let streams = Streams::planted().await;
    let changes = json!({ "name": "Body weight", "clientData": { "unit": "kg" } });
    let answer = streams.put("weight", &changes).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert!(body["meta"].is_object());
    assert_eq!(body["stream"]["name"], "Body weight");
    assert_eq!(body["stream"]["parentId"], "health");
    let moved = streams.put("weight", &json!({ "parentId": "diary" })).await;
    assert_eq!(moved.json()["stream"]["parentId"], "diary");
    let read = streams
        .core
        .get_as(&streams.me, "/samplebeta1/streams?parentId=diary");
    let read = read.await.json();
    assert_eq!(read["streams"][0]["clientData"], json!({ "unit": "kg" }));
    assert_eq!(read["streams"][0]["children"][0]["id"], "morning");
}

#[tokio::test]
async fn changes_are_refused_with_their_reasons() {
    let streams = Streams::planted().await;
    for (id, changes, expected) in [
        ("nope", json!({ "name": "x" }), (404, "unknown-resource")),
        ("weight", json!({ "createdBy": "me" }), (403, "forbidden")),
        (
            "weight",
            json!({ "singleActivity": true }),
            (400, "invalid-parameters-format"),
        ),
        ("weight", json!([]), (400, "invalid-parameters-format")),
        (
            "weight",
            json!({ "parentId": "nope" }),
            (400, "unknown-referenced-resource"),
        ),
        (
            "weight",
            json!({ "parentId": "morning" }),
            (400, "invalid-operation"),
        ),
        (
            "health",
            json!({ "name": "diary" }),
            (409, "item-already-exists"),
        ),
        (
            ":_system:language",
            json!({ "name": "x" }),
            (400, "invalid-operation"),
        ),
    ] {
        let answer = streams.put(id, &changes).await;
        assert_eq!(answer.error(), error(expected.0, expected.1), "{changes}");
    }
}

#[tokio::test]
async fn a_stream_is_trashed_restored_and_deleted() {
    let streams = Streams::planted().await;
    streams.put_events(3, &json!(["morning"])).await;
    streams.put_events(1, &json!(["morning", "diary"])).await;
    let trashed = streams.delete("weight").await;
    assert_eq!(trashed.status, 200, "{}", trashed.text);
    assert_eq!(trashed.json()["stream"]["trashed"], true);
    let restored = streams.put("weight", &json!({ "trashed": false })).await;
    assert_eq!(restored.json()["stream"].get("trashed"), None);
    streams.delete("weight").await;
    for (query, expected) in [
        ("", error(400, "invalid-parameters-format")),
        (
            "?mergeEventsWithParent=maybe",
            error(400, "invalid-parameters-format"),
        ),
    ] {
        let answer = streams.delete(&format!("weight{query}")).await;
        assert_eq!(answer.error(), expected, "{query}");
    }
    let gone = streams.delete("weight?mergeEventsWithParent=false").await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert!(
        gone.text.starts_with("{\"updatedEvents\":[{"),
        "{}",
        gone.text
    );
    let body = gone.json();
    let actions = body["updatedEvents"].as_array().unwrap().iter();
    let actions: Vec<&str> = actions.map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!(actions.iter().filter(|a| **a == "deleted").count(), 3);
    assert_eq!(
        actions.iter().filter(|a| **a == "updatedStreamIds").count(),
        1
    );
    assert_eq!(body["streamDeletion"], json!({ "id": "weight" }));
    assert!(body["meta"].is_object());
    let path = "/samplebeta1/streams?includeDeletionsSince=0";
    let read = streams.core.get_as(&streams.me, path).await.json();
    assert_eq!(read["streamDeletions"].as_array().unwrap().len(), 2);
    for id in ["weight", "morning"] {
        let again = streams.delete(id).await;
        assert_eq!(again.error(), error(404, "unknown-resource"), "{id}");
    }
    streams.delete("health").await;
    let root = streams.delete("health?mergeEventsWithParent=true").await;
    assert_eq!(root.error(), error(400, "invalid-operation"));
    let system = streams.delete(":_system:account").await;
    assert_eq!(system.error(), error(400, "invalid-operation"));
}

#[tokio::test]
async fn many_events_are_told_of_while_they_go() {
    let streams = Streams::planted().await;
    streams.put_events(1_300, &json!(["morning"])).await;
    streams.delete("morning").await;
    let merged = streams.delete("morning?mergeEventsWithParent=true").await;
    let events = merged.json()["updatedEvents"].as_array().unwrap().len();
    assert_eq!(events, 1_300);

    // In a batch the answer is whole, and later calls see what was done.
    let calls = [
        merge("weight", None),
        merge("weight", None),
        merge("weight", Some(false)),
        json!({ "method": "streams.get", "params": { "id": "weight", "state": "all" } }),
        merge("weight", Some(false)),
    ];
    let results = streams.batch(&calls).await;
    assert_eq!(results[0]["stream"]["trashed"], true);
    assert_eq!(results[1]["error"]["id"], "invalid-parameters-format");
    let events = results[2]["updatedEvents"].as_array().unwrap();
    assert_eq!(events.len(), 1_300);
    assert_eq!(results[2]["streamDeletion"], json!({ "id": "weight" }));
    assert_eq!(results[3]["error"]["id"], "unknown-referenced-resource");
    assert_eq!(results[4]["error"]["id"], "unknown-resource");

    // Each call has its entry, refused or not.
    let path = "/samplebeta1/events?streams=:_audit:action-streams.delete&limit=9";
    let log = streams.core.get_as(&streams.me, path).await.json();
    let log = log["events"].as_array().unwrap();
    assert_eq!(log.len(), 6);
    let refused = |entry: &&Value| entry["type"] == "audit-log/pryv-api-error";
    assert_eq!(log.iter().filter(refused).count(), 2);
}

#[tokio::test]
async fn only_those_who_manage_a_stream_change_it() {
    let streams = Streams::planted().await;
    let name = json!({ "name": "x" });
    for kind in ["app", "shared"] {
        for level in ["read", "create-only", "contribute"] {
            let token = streams.access(kind, level).await;
            let changed = streams.ask(&token, "PUT", "morning", Some(&name)).await;
            assert_eq!(changed.error(), error(403, "forbidden"), "{kind} {level}");
            let deleted = streams.ask(&token, "DELETE", "morning", None).await;
            assert_eq!(deleted.error(), error(403, "forbidden"), "{kind} {level}");
        }
    }
    for (token, expected) in [
        ("nosuchtoken", error(403, "invalid-access-token")),
        ("", error(401, "invalid-access-token")),
    ] {
        let changed = streams.ask(token, "PUT", "morning", Some(&name)).await;
        assert_eq!(changed.error(), expected);
        let deleted = streams.ask(token, "DELETE", "morning", None).await;
        assert_eq!(deleted.error(), expected);
    }
    for kind in ["app", "shared"] {
        let token = streams.access(kind, "manage").await;
        let changed = streams.ask(&token, "PUT", "morning", Some(&name)).await;
        assert_eq!(changed.json()["stream"]["name"], "x", "{}", changed.text);
        let root = json!({ "parentId": null });
        let moved = streams.ask(&token, "PUT", "morning", Some(&root)).await;
        assert_eq!(moved.error(), error(403, "forbidden"));
        let above = streams.ask(&token, "DELETE", "health", None).await;
        assert_eq!(above.error(), error(403, "forbidden"));
        let trashed = streams.ask(&token, "DELETE", "morning", None).await;
        assert_eq!(trashed.status, 200, "{}", trashed.text);
        streams.put("morning", &json!({ "trashed": null })).await;
    }
}
