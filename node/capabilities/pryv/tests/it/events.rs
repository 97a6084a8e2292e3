//! The life of an event over HTTP: changed, trashed, restored, deleted.

use serde_json::{Value, json};

use crate::support::{Answer, Core, error};

const ID: &str = "ckfixture000000000000001";

struct Events {
    core: Core,
    token: String,
}

impl Events {
    async fn planted() -> Self {
        let core = Core::new();
        let token = core.register("samplebeta1").await;
        let stream = json!({ "id": "weight", "name": "Weight" });
        core.post_as(&token, "/samplebeta1/streams", &stream).await;
        let event = json!({ "id": ID, "streamIds": ["weight"], "type": "mass/kg",
            "content": 72.5, "description": "first", "clientData": { "app:k": 1 } });
        let made = core.post_as(&token, "/samplebeta1/events", &event).await;
        assert_eq!(made.status, 201, "{}", made.text);
        Self { core, token }
    }

    async fn put(&self, id: &str, changes: &Value) -> Answer {
        let path = format!("/samplebeta1/events/{id}");
        let changes = Some(changes);
        self.core.send_as(&self.token, "PUT", &path, changes).await
    }

    async fn delete(&self, id: &str) -> Answer {
        let path = format!("/samplebeta1/events/{id}");
        self.core.send_as(&self.token, "DELETE", &path, None).await
    }

    async fn get(&self, path: &str) -> Value {
        let path = format!("/samplebeta1/events{path}");
        self.core.get_as(&self.token, &path).await.json()
    }
}

#[tokio::test]
async fn an_event_is_changed() {
    let events = Events::planted().await;
    let changes = json!({ "content": 74, "clientData": { "app:k": null, "app:j": 2 } });
    let answer = events.put(ID, &changes).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let body = answer.json();
    assert!(body["meta"].is_object());
    assert_eq!(body["event"]["content"], 74);
    assert_eq!(body["event"]["description"], "first");
    assert_eq!(body["event"]["clientData"], json!({ "app:j": 2 }));
    let read = events.get(&format!("/{ID}")).await;
    assert_eq!(read["event"], body["event"]);
}

#[tokio::test]
async fn changes_are_refused_with_their_reasons() {
    let events = Events::planted().await;
    for (id, changes, expected) in [
        (
            "nosuchevent",
            json!({ "content": 1 }),
            (404, "unknown-resource"),
        ),
        (ID, json!({ "createdBy": "me" }), (403, "forbidden")),
        (
            ID,
            json!({ "tags": [] }),
            (400, "invalid-parameters-format"),
        ),
        (ID, json!([]), (400, "invalid-parameters-format")),
        (
            ID,
            json!({ "streamIds": ["nowhere"] }),
            (400, "unknown-referenced-resource"),
        ),
        (
            ID,
            json!({ "type": "series:mass/kg" }),
            (400, "invalid-operation"),
        ),
    ] {
        let answer = events.put(id, &changes).await;
        assert_eq!(answer.error(), error(expected.0, expected.1), "{changes}");
    }
    let path = format!("/samplebeta1/events/{ID}");
    for method in ["PUT", "DELETE"] {
        let body = Some(json!({})).filter(|_| method == "PUT");
        let answer = events
            .core
            .send_as("nosuchtoken", method, &path, body.as_ref())
            .await;
        assert_eq!(
            answer.error(),
            error(403, "invalid-access-token"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn an_event_is_trashed_restored_and_deleted() {
    let events = Events::planted().await;
    let trashed = events.delete(ID).await;
    assert_eq!(trashed.status, 200, "{}", trashed.text);
    assert_eq!(trashed.json()["event"]["trashed"], true);
    let listed = events.get("?state=trashed").await;
    assert_eq!(listed["events"], json!([trashed.json()["event"]]));

    let restored = events.put(ID, &json!({ "trashed": false })).await;
    assert_eq!(restored.json()["event"].get("trashed"), None);
    assert_eq!(events.get("?state=trashed").await["events"], json!([]));

    events.delete(ID).await;
    let gone = events.delete(ID).await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert_eq!(gone.json()["eventDeletion"], json!({ "id": ID }));
    let deletions = events
        .get("?modifiedSince=0&includeDeletions=true&limit=1")
        .await;
    assert_eq!(deletions["eventDeletions"][0]["id"], ID);
    assert!(deletions["eventDeletions"][0]["integrity"].is_string());
    let one = events.get(&format!("/{ID}?includeHistory=true")).await;
    assert!(one["event"]["deleted"].is_number());
    assert_eq!(one["history"], json!([]));
    assert_eq!(
        events.delete(ID).await.error(),
        error(404, "unknown-resource")
    );
    let language = events.delete(":_system:language").await;
    assert_eq!(language.error(), error(400, "invalid-operation"));
}

#[tokio::test]
async fn a_batch_changes_and_deletes() {
    let events = Events::planted().await;
    let calls = json!([
        { "method": "events.update", "params": { "id": ID, "update": { "content": 1 } } },
        { "method": "events.update", "params": { "id": ID, "content": 1 } },
        { "method": "events.delete", "params": { "id": ID } },
        { "method": "events.delete", "params": { "id": ID } },
        { "method": "events.getOne", "params": { "id": ID } }
    ]);
    let answer = events
        .core
        .post_as(&events.token, "/samplebeta1", &calls)
        .await;
    let results = answer.json()["results"].clone();
    assert_eq!(results[0]["event"]["content"], 1);
    assert_eq!(results[1]["error"]["id"], "invalid-parameters-format");
    assert_eq!(results[2]["event"]["trashed"], true);
    assert_eq!(results[3], json!({ "eventDeletion": { "id": ID } }));
    assert_eq!(results[4]["event"]["id"], ID);
}

#[tokio::test]
async fn what_a_batch_creates_is_listed_in_its_order() {
    let events = Events::planted().await;
    let create = |n: u32| {
        let event =
            json!({ "streamIds": ["weight"], "type": "note/txt", "content": n.to_string() });
        json!({ "method": "events.create", "params": event })
    };
    let calls = Value::from_iter((0..50).map(create));
    let made = events.core.post_as(&events.token, "/samplebeta1", &calls);
    assert_eq!(made.await.status, 200);
    let listed = events
        .get("?types[]=note/txt&sortAscending=true&limit=100")
        .await;
    let contents: Vec<_> = listed["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["content"].as_str().unwrap().parse::<u32>().unwrap())
        .collect();
    assert_eq!(contents, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn lists_in_a_query_may_have_places() {
    let events = Events::planted().await;
    let other = json!({ "id": "heart", "name": "Heart" });
    let made = events
        .core
        .post_as(&events.token, "/samplebeta1/streams", &other);
    assert_eq!(made.await.status, 201);
    let found = events
        .get("?streams[0]=weight&streams[1]=heart&types[0]=mass/kg")
        .await;
    assert_eq!(found["events"][0]["id"], ID);
    for query in ["streams[any]=weight", "streams[0][any][0]=weight"] {
        let refused = events.get(&format!("?{query}")).await;
        assert_eq!(
            refused["error"]["id"], "invalid-request-structure",
            "{query}"
        );
    }
}

#[tokio::test]
async fn the_audit_log_shows_what_was_sent() {
    let events = Events::planted().await;
    events
        .get("?limit=1&sortAscending=TRUE&streams[]=weight")
        .await;
    let log = events.get("?streams=:_audit:action-events.get").await;
    assert_eq!(
        log["events"][0]["content"]["query"],
        json!({ "limit": "1", "sortAscending": "TRUE", "streams": ["weight"] })
    );
}
