//! Files of events through the real store's threads, on blobs in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homecore_types::Secret;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::audit::Source;
use crate::testing::{TestClock, json as read_json, kernel, new_account, owner};
use crate::{Actor, Credential, Error, Kernel, Method};

async fn person() -> (Kernel, Actor, Arc<TestClock>) {
    let (kernel, clock) = kernel();
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let credential = Credential::parse(token.expose()).unwrap();
    let me = kernel.authenticate(&owner(), credential).await.unwrap();
    let stream = json!({ "id": "photos", "name": "Photos" });
    kernel.streams_create(&me, stream).await.unwrap();
    (kernel, me, clock)
}

async fn blob(kernel: &Kernel, me: &Actor, bytes: &[u8]) -> PinnedBlob {
    let mut upload = kernel.receive_file(me).unwrap();
    upload.write(bytes).await.unwrap();
    upload.finish().await.unwrap()
}

async fn files(kernel: &Kernel, me: &Actor, contents: &[&[u8]]) -> Vec<NewFile> {
    let mut files = Vec::new();
    for bytes in contents {
        files.push(NewFile {
            name: format!("{} bytes.txt", bytes.len()),
            kind: "text/plain".to_owned(),
            blob: blob(kernel, me, bytes).await,
        });
    }
    files
}

async fn create(kernel: &Kernel, me: &Actor, contents: &[&[u8]]) -> Result<Value, Error> {
    let files = files(kernel, me, contents).await;
    let params = json!({ "streamIds": ["photos"], "type": "picture/attached", "time": 10 });
    let reply = kernel.event_create_with_files(me, params, files).await?;
    Ok(read_json(reply.as_bytes())["event"].clone())
}

async fn call(kernel: &Kernel, me: &Actor, method: Method, params: Value) -> Result<Value, Error> {
    let reply = kernel.call(me, method, params).await?;
    Ok(read_json(reply.as_bytes()))
}

async fn stored(kernel: &Kernel) -> Vec<BlobHash> {
    let found = kernel.blobs().list(&owner().id, None, 1_000).await.unwrap();
    found.iter().map(|info| info.hash).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[tokio::test]
async fn a_file_comes_back_as_it_was_sent() {
    let (kernel, me, _) = person().await;
    let event = create(&kernel, &me, &[b"hello attachment", b""])
        .await
        .unwrap();
    let attached = event["attachments"].as_array().unwrap();
    assert_eq!(attached[0]["fileName"], "16 bytes.txt");
    assert_eq!(attached[0]["type"], "text/plain");
    assert_eq!(attached[0]["size"], 16);
    assert_eq!(
        attached[0]["integrity"],
        "sha256-f6NrldXJiFntcrR4fzwosp6qEDlweGdVyXEcuxm+Yxw="
    );
    assert_eq!(attached[1]["size"], 0);
    let (id, file) = (text(&event["id"]), text(&attached[0]["id"]));
    let mut open = kernel.event_file(&me, id, file).await.unwrap();
    assert_eq!(open.attachment.file_name, "16 bytes.txt");
    assert_eq!(
        open.download.read_at(0, 99).await.unwrap(),
        b"hello attachment".as_slice()
    );
    let usage = kernel.usage(&owner().id).await.unwrap();
    assert_eq!(usage.attached_files_bytes, 16);
    for (id, file, message) in [
        (id, "nosuchfile", "Unknown attachment \"nosuchfile\""),
        ("nosuchevent", file, "Unknown event \"nosuchevent\""),
    ] {
        let refused = kernel.event_file(&me, id, file).await.unwrap_err();
        assert_eq!(refused.message(), message);
    }
}

#[tokio::test]
async fn every_answer_with_the_event_has_the_callers_read_tokens_and_none_is_stored() {
    let (kernel, me, _) = person().await;
    let event = create(&kernel, &me, &[b"one"]).await.unwrap();
    let token = &event["attachments"][0]["readToken"];
    assert!(text(token).starts_with(&format!("{}-", me.access.id)));
    let one = json!({ "id": event["id"] });
    let read = call(&kernel, &me, Method::EventsGetOne, one).await.unwrap();
    assert_eq!(read["event"], event);
    let all = json!({ "streams": ["photos"] });
    let read = call(&kernel, &me, Method::EventsGet, all).await.unwrap();
    assert_eq!(read["events"], json!([event]));
    let id = text(&event["id"]).to_owned();
    let body = kernel
        .read(&owner().id, move |view, _| {
            view.get(homecore_store::Kind::Event, &id)
                .unwrap()
                .unwrap()
                .body
        })
        .await
        .unwrap();
    assert!(
        !String::from_utf8(body.to_vec())
            .unwrap()
            .contains("readToken")
    );
    let mut without = event.as_object().unwrap().clone();
    without.insert("integrity".to_owned(), json!("other"));
    assert_eq!(
        event["integrity"],
        crate::integrity::of_event(&without).as_str()
    );
}

#[tokio::test]
async fn a_read_token_opens_its_file_and_no_other() {
    let (kernel, me, clock) = person().await;
    let event = create(&kernel, &me, &[b"one", b"two"]).await.unwrap();
    let attached = event["attachments"].as_array().unwrap();
    let (one, two) = (text(&attached[0]["id"]), text(&attached[1]["id"]));
    let token = text(&attached[0]["readToken"]);
    let ask = async |token: &str, file: &str| {
        kernel
            .authenticate_read_token(&owner(), Secret::new(token), file, Source::default())
            .await
            .map(|actor| actor.access.id.clone())
            .map_err(|error| (error.id().wire(), error.id().status()))
    };
    assert_eq!(ask(token, one).await, Ok(me.access.id.clone()));
    let wrong = Err(("invalid-access-token", 401));
    assert_eq!(ask(token, two).await, wrong);
    let other_access = token.replacen(&me.access.id, "caccess00000000000000001", 1);
    for bad in [
        "",
        "-",
        "abc-def",
        "abcdef",
        &other_access,
        &format!("{token}a"),
    ] {
        assert_eq!(ask(bad, one).await, wrong, "{bad}");
    }
    clock.advance(Duration::from_secs(20 * 24 * 3_600));
    assert_eq!(ask(token, one).await, Err(("invalid-access-token", 403)));
}

#[tokio::test]
async fn an_app_without_the_right_gets_no_file_and_changes_none() {
    use crate::access::{Access, AccessType, StoredAccess};
    let (kernel, me, _) = person().await;
    let event = create(&kernel, &me, &[b"one"]).await.unwrap();
    let (id, file) = (
        text(&event["id"]),
        text(&event["attachments"][0]["id"]).to_owned(),
    );
    for (level, reads, updates) in [
        ("none", false, false),
        ("create-only", false, false),
        ("read", true, false),
        ("contribute", true, true),
    ] {
        let permissions =
            serde_json::from_value(json!([{ "streamId": "photos", "level": level }])).unwrap();
        let access = StoredAccess {
            kind: AccessType::App,
            permissions: Some(permissions),
            ..me.access.stored.clone()
        };
        let app = Actor {
            access: Arc::new(Access::new("capp", access)),
            ..me.clone()
        };
        let read = kernel.event_file(&app, id, &file).await;
        assert_eq!(read.is_ok(), reads, "{level}");
        assert_eq!(kernel.may_attach(&app, id).await.is_ok(), updates);
        let more = files(&kernel, &app, &[b"more"]).await;
        let added = kernel.event_attach(&app, id, more).await;
        assert_eq!(added.is_ok(), updates, "{level}");
    }
    kernel.free_blobs().await;
    assert_eq!(stored(&kernel).await.len(), 2);
}

#[tokio::test]
async fn files_are_added_and_taken_away() {
    let (kernel, me, _) = person().await;
    let event = create(&kernel, &me, &[b"one"]).await.unwrap();
    let id = text(&event["id"]);
    let more = files(&kernel, &me, &[b"two"]).await;
    let reply = kernel.event_attach(&me, id, more).await.unwrap();
    let changed = read_json(reply.as_bytes())["event"].clone();
    assert_eq!(changed["attachments"].as_array().unwrap().len(), 2);
    assert_eq!(changed["attachments"][0], event["attachments"][0]);
    assert_ne!(changed["integrity"], event["integrity"]);
    let delete = |file: &Value| json!({ "id": id, "fileId": file["id"] });
    let first = delete(&event["attachments"][0]);
    let left = call(&kernel, &me, Method::EventsDeleteAttachment, first.clone())
        .await
        .unwrap();
    assert_eq!(
        left["event"]["attachments"],
        json!([changed["attachments"][1]])
    );
    let again = call(&kernel, &me, Method::EventsDeleteAttachment, first).await;
    assert_eq!(again.unwrap_err().id().wire(), "unknown-resource");
    let last = delete(&changed["attachments"][1]);
    let left = call(&kernel, &me, Method::EventsDeleteAttachment, last).await;
    assert_eq!(left.unwrap()["event"].get("attachments"), None);
    assert_eq!(kernel.free_blobs().await, 2);
    assert_eq!(stored(&kernel).await, []);
    let usage = kernel.usage(&owner().id).await.unwrap();
    assert_eq!(usage.attached_files_bytes, 0);
    let missing = call(&kernel, &me, Method::EventsDeleteAttachment, json!({})).await;
    assert_eq!(
        missing.unwrap_err().id().wire(),
        "invalid-parameters-format"
    );
}

#[tokio::test]
async fn bytes_stay_as_long_as_one_event_has_them() {
    let (kernel, me, _) = person().await;
    let one = create(&kernel, &me, &[b"same", b"same"]).await.unwrap();
    let two = create(&kernel, &me, &[b"same"]).await.unwrap();
    assert_eq!(stored(&kernel).await.len(), 1);
    assert_eq!(
        kernel
            .usage(&owner().id)
            .await
            .unwrap()
            .attached_files_bytes,
        12
    );
    let delete = |event: &Value, n: usize| json!({ "id": event["id"], "fileId": event["attachments"][n]["id"] });
    for (params, left) in [
        (delete(&one, 0), 1),
        (delete(&one, 1), 1),
        (delete(&two, 0), 0),
    ] {
        call(&kernel, &me, Method::EventsDeleteAttachment, params)
            .await
            .unwrap();
        kernel.free_blobs().await;
        assert_eq!(stored(&kernel).await.len(), left);
    }
}

#[tokio::test]
async fn a_changed_event_keeps_its_files_and_a_deleted_one_does_not() {
    let (kernel, me, _) = person().await;
    let event = create(&kernel, &me, &[b"one", b"two"]).await.unwrap();
    let id = json!({ "id": event["id"] });
    let update = json!({ "id": event["id"], "update": { "description": "x" } });
    let changed = call(&kernel, &me, Method::EventsUpdate, update)
        .await
        .unwrap();
    assert_eq!(changed["event"]["attachments"], event["attachments"]);
    let trashed = call(&kernel, &me, Method::EventsDelete, id.clone())
        .await
        .unwrap();
    assert_eq!(trashed["event"]["attachments"], event["attachments"]);
    assert_eq!(kernel.free_blobs().await, 0);
    let usage = kernel.usage(&owner().id).await.unwrap();
    assert_eq!(usage.attached_files_bytes, 6);
    call(&kernel, &me, Method::EventsDelete, id).await.unwrap();
    assert_eq!(kernel.free_blobs().await, 2);
    assert_eq!(stored(&kernel).await, []);
    let usage = kernel.usage(&owner().id).await.unwrap();
    assert_eq!(usage.attached_files_bytes, 0);
}

#[tokio::test]
async fn many_send_the_same_bytes_while_they_are_deleted() {
    let (kernel, me, _) = person().await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (kernel, me) = (kernel.clone(), me.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let event = create(&kernel, &me, &[b"same"]).await.unwrap();
                let (id, file) = (text(&event["id"]), text(&event["attachments"][0]["id"]));
                assert!(kernel.event_file(&me, id, file).await.is_ok());
                let params = json!({ "id": id, "fileId": file });
                call(&kernel, &me, Method::EventsDeleteAttachment, params)
                    .await
                    .unwrap();
                kernel.free_blobs().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    kernel.free_blobs().await;
    assert_eq!(stored(&kernel).await, []);
}

#[tokio::test]
async fn a_refused_event_leaves_no_file() {
    let (kernel, me, _) = person().await;
    let sent = files(&kernel, &me, &[b"one"]).await;
    let params = json!({ "streamIds": ["nope"], "type": "a/b" });
    let refused = kernel.event_create_with_files(&me, params, sent).await;
    assert_eq!(
        refused.unwrap_err().id().wire(),
        "unknown-referenced-resource"
    );
    let sent = files(&kernel, &me, &[b"two"]).await;
    let params = json!({ "streamIds": [":_system:language"], "type": "language/iso-639-1",
        "content": "fr" });
    let refused = kernel.event_create_with_files(&me, params, sent).await;
    assert_eq!(refused.unwrap_err().id().wire(), "invalid-operation");
    assert_eq!(kernel.free_blobs().await, 2);
    assert_eq!(stored(&kernel).await, []);
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    /// The process dies after the blob is on disk, before the event is.
    DieBeforeEvent(u8),
    DeleteOldest,
    /// The process dies after the event was changed, before the blob is deleted.
    DieBeforeDelete,
    Free,
    Wait,
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_u8).prop_map(Step::Create),
        2 => (0..4_u8).prop_map(Step::DieBeforeEvent),
        2 => Just(Step::DeleteOldest),
        1 => Just(Step::DieBeforeDelete),
        1 => Just(Step::Free),
        1 => Just(Step::Wait),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..25)
}

/// What a process knew and did not write down.
fn forget_suspects(kernel: &Kernel) {
    while kernel.blobs().next_suspect().is_some() {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whenever a writer dies: no event refers to a blob that is not there, and what nobody refers
    /// to is gone once it was old enough and a pass was made.
    #[test]
    fn nothing_dangles_and_nothing_leaks(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (kernel, me, clock) = person().await;
            let mut events: Vec<(Value, u8)> = Vec::new();
            for step in steps {
                match step {
                    Step::Create(n) => {
                        events.push((create(&kernel, &me, &[&[n]]).await.unwrap(), n));
                    }
                    Step::DieBeforeEvent(n) => {
                        drop(blob(&kernel, &me, &[n]).await);
                        forget_suspects(&kernel);
                    }
                    Step::DeleteOldest | Step::DieBeforeDelete if !events.is_empty() => {
                        let (event, _) = events.remove(0);
                        let file = &event["attachments"][0]["id"];
                        let params = json!({ "id": event["id"], "fileId": file });
                        call(&kernel, &me, Method::EventsDeleteAttachment, params)
                            .await
                            .unwrap();
                        if matches!(step, Step::DieBeforeDelete) {
                            forget_suspects(&kernel);
                        }
                    }
                    Step::DeleteOldest | Step::DieBeforeDelete => {}
                    Step::Free => {
                        kernel.free_blobs().await;
                    }
                    Step::Wait => clock.advance(Duration::from_secs(700)),
                    Step::Sweep => kernel.sweep_blobs_of(&owner().id).await.unwrap(),
                }
                let there = stored(&kernel).await;
                for (event, n) in &events {
                    prop_assert!(there.contains(&BlobHash::of(&[*n])), "{event} dangles");
                }
            }
            clock.advance(Duration::from_secs(700));
            kernel.sweep_blobs().await.unwrap();
            kernel.free_blobs().await;
            let wanted: BTreeMap<BlobHash, ()> =
                events.iter().map(|(_, n)| (BlobHash::of(&[*n]), ())).collect();
            prop_assert_eq!(stored(&kernel).await, wanted.into_keys().collect::<Vec<_>>());
            Ok(())
        })?;
    }
}

/// Computed apart, with another library: the form of spec/pryv-api App. B.6.
#[test]
fn read_tokens_are_those_of_the_contract() {
    let key = token::ReadTokenKey::fixed(Secret::new("files-secret"));
    let token = key
        .token("caccess", "tok", "cfile0000000000000000001")
        .unwrap();
    assert_eq!(token.expose(), "caccess-gtOvYJUWLbE_JaqugF0lUZ9Cc5E");
}
