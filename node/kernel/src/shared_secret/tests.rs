//! Every rule of shared secrets, on one user and on a kernel with its threads.

use homecore_store::{Base, Kind, Write};
use serde_json::{Value, json};

use super::*;
use crate::actor::Actor;
use crate::audit::Source;
use crate::indexes;
use crate::permission::{Level, Permission, SECRET_SHARING, Setting};
use crate::stream::cache::Trees;
use crate::testing::{Home, json as read_json, kernel, kernel_with, new_account, owner};
use crate::{Error, Kernel, Method};

fn asked() -> Value {
    json!({ "ttl": 60, "title": "for my doctor", "secret": { "pin": 1234 },
        "onConsumed": { "message": "It was used", "returnUrl": "https://example.com/back" } })
}

fn with(changes: &Value) -> Value {
    let mut asked = asked();
    for (name, value) in changes.as_object().unwrap() {
        asked[name] = value.clone();
    }
    asked
}

fn make(home: &mut Home, actor: &Actor, params: &Value) -> Result<Value, Error> {
    let context = home.context.clone();
    let mut trees = context.trees.for_writing(&home.owner.id);
    let trees: &mut dyn Trees = &mut trees;
    let reply = home.attempt(|tx| create(tx, &context, trees, actor, params))?;
    Ok(read_json(reply.as_bytes())["sharedSecret"].take())
}

fn status(home: &mut Home, actor: &Actor, key: &Value) -> Result<Value, Error> {
    let context = home.context.clone();
    let params = json!({ "key": key });
    let reply = home.attempt(|tx| get_one(tx, &context, actor, &params))?;
    Ok(read_json(reply.as_bytes())["sharedSecret"].take())
}

/// What a take answers; what it changed stays whatever it answers.
fn take(home: &mut Home, params: &Value) -> Result<Value, Error> {
    let context = home.context.clone();
    let taken = retrieve::take(params, |work| home.attempt(|tx| work(tx, &context)))?;
    Ok(read_json(taken.as_bytes())["secret"].take())
}

fn data_id(error: &Error) -> (u16, String) {
    let id = error.data().map(|data| data["id"].clone());
    let id = id.unwrap_or_else(|| json!(error.id().wire()));
    (error.id().status(), id.as_str().unwrap().to_owned())
}

fn unavailable() -> (u16, String) {
    (403, "shared-secret-unavailable".to_owned())
}

fn stored(home: &Home, id: &Value, kind: Kind) -> String {
    let document = home.look(|view| view.get(kind, id.as_str().unwrap()).unwrap());
    let body = document.map(|document| document.body).unwrap_or_default();
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn a_secret_is_handed_over_once() {
    let mut home = Home::new();
    let me = home.person();
    let made = make(&mut home, &me, &asked()).unwrap();
    let now = home.context.now().as_seconds();
    let key = made["key"].clone();
    assert_eq!(
        made,
        json!({ "id": made["id"], "title": "for my doctor", "status": "pending",
            "statusHistory": [{ "status": "pending", "time": now }],
            "onConsumed": { "message": "It was used", "returnUrl": "https://example.com/back" },
            "expires": now + 60.0, "key": key })
    );
    assert_eq!(status(&mut home, &me, &key).unwrap()["status"], "pending");
    assert_eq!(
        take(&mut home, &json!({ "key": key })).unwrap(),
        json!({ "pin": 1234 })
    );
    let again = take(&mut home, &json!({ "key": key })).unwrap_err();
    assert_eq!(data_id(&again), unavailable());
    assert_eq!(again.message(), "It was used");
    assert_eq!(
        again.data().unwrap()["returnUrl"],
        "https://example.com/back"
    );
    let after = status(&mut home, &me, &key).unwrap();
    assert_eq!(after["status"], "consumed");
    assert_eq!(after["statusHistory"][1]["status"], "consumed");
    assert!(after.get("key").is_none());
}

#[test]
fn neither_secret_nor_key_nor_proof_is_on_disk() {
    let mut home = Home::new();
    let me = home.person();
    let proof = json!({ "type": "secret", "value": "open-sesame" });
    let params = with(&json!({ "secret": "treasure-map", "signature": proof }));
    let made = make(&mut home, &me, &params).unwrap();
    assert_eq!(made["signatureType"], "secret");
    let random = made["key"].as_str().unwrap().split_once('.').unwrap().1;
    for kind in [Kind::Event, Kind::SharedSecret] {
        let text = stored(&home, &made["id"], kind);
        assert!(!text.is_empty());
        for hidden in [random, "treasure-map", "open-sesame"] {
            assert!(!text.contains(hidden), "{kind:?}: {text}");
        }
    }
    let params = json!({ "key": made["key"],
        "signature": { "type": "secret", "payload": "open-sesame" } });
    assert_eq!(take(&mut home, &params).unwrap(), "treasure-map");
    assert_eq!(stored(&home, &made["id"], Kind::SharedSecret), "");
}

#[test]
fn what_the_client_has_the_key_of_is_sealed_too() {
    let mut home = Home::new();
    let me = home.person();
    let random = "r".repeat(32);
    let changes = json!({ "keyHash": seal::hash(&random), "secret": "between-us" });
    let made = make(&mut home, &me, &with(&changes)).unwrap();
    let text = stored(&home, &made["id"], Kind::SharedSecret);
    assert!(
        !text.contains("between-us") && text.contains("platform"),
        "{text}"
    );
    let key = format!("{}.{random}", made["id"].as_str().unwrap());
    let taken = take(&mut home, &json!({ "key": key })).unwrap();
    assert_eq!(taken, "between-us");
}

#[test]
fn a_wrong_proof_ends_it_and_a_missing_one_does_not() {
    let random = "r".repeat(32);
    for (kind, value) in [("secret", "right"), ("hmac-sha256", "aa55")] {
        for (payload, given, taken) in [
            (value, kind, true),
            ("wrong", kind, false),
            (
                value,
                if kind == "secret" {
                    "hmac-sha256"
                } else {
                    "secret"
                },
                false,
            ),
        ] {
            let mut home = Home::new();
            let me = home.person();
            let signature = json!({ "type": kind, "value": value });
            let changes = json!({ "signature": signature, "keyHash": seal::hash(&random) });
            let made = make(&mut home, &me, &with(&changes)).unwrap();
            assert!(made.get("key").is_none(), "the client has it");
            let key = format!("{}.{random}", made["id"].as_str().unwrap());
            let none = take(&mut home, &json!({ "key": key })).unwrap_err();
            assert_eq!(data_id(&none), unavailable());
            let still = status(&mut home, &me, &json!(key)).unwrap();
            assert_eq!(still["status"], "pending");
            let signature = json!({ "type": given, "payload": payload });
            let params = json!({ "key": key, "signature": signature });
            let first = take(&mut home, &params);
            assert_eq!(first.is_ok(), taken);
            let right = json!({ "key": key, "signature": { "type": kind, "payload": value } });
            let second = take(&mut home, &right).unwrap_err();
            assert_eq!(data_id(&second), unavailable());
            let after = status(&mut home, &me, &json!(key)).unwrap();
            let info = (!taken).then_some("The signature does not match");
            assert_eq!(after["statusHistory"][1]["info"].as_str(), info);
        }
    }
}

#[test]
fn doubtful_keys_are_all_unknown() {
    let mut home = Home::new();
    let me = home.person();
    let made = make(&mut home, &me, &asked()).unwrap();
    let (id, random) = made["key"].as_str().unwrap().split_once('.').unwrap();
    let event = json!({ "streamIds": ["a"], "type": "a/b" });
    home.stream("a", None);
    let other = home.create_event(&me, &event).unwrap();
    for key in [
        String::new(),
        id.to_owned(),
        format!("{id}."),
        format!("{id}.{}", "x".repeat(31)),
        format!("{id}.{}", "x".repeat(43)),
        format!("{id}.{random}x"),
        format!("{id}.{}", "x".repeat(200)),
        format!("nosuchitem.{random}"),
        format!("{}.{random}", other["id"].as_str().unwrap()),
        format!(":_audit:x.{random}"),
    ] {
        let taken = take(&mut home, &json!({ "key": key })).unwrap_err();
        assert_eq!(
            data_id(&taken),
            (404, "unknown-resource".to_owned()),
            "{key}"
        );
        let seen = status(&mut home, &me, &json!(key)).unwrap_err();
        assert_eq!(
            data_id(&seen),
            (404, "unknown-resource".to_owned()),
            "{key}"
        );
    }
    take(&mut home, &json!({ "key": made["key"] })).expect("guesses change nothing");
}

#[test]
fn time_runs_out() {
    let mut home = Home::new();
    let me = home.person();
    let made = [(); 3].map(|()| make(&mut home, &me, &asked()).unwrap());
    home.clock.advance(Duration::from_millis(60_001));
    let late = take(&mut home, &json!({ "key": made[0]["key"] })).unwrap_err();
    assert_eq!(data_id(&late), unavailable());
    let over = status(&mut home, &me, &made[1]["key"]).unwrap();
    assert_eq!(over["expired"], true);
    make(&mut home, &me, &asked()).unwrap();
    for made in &made {
        let text = stored(&home, &made["id"], Kind::SharedSecret);
        assert_eq!(text, "", "asked for, looked at, or neither: gone");
        let after = status(&mut home, &me, &made["key"]).unwrap();
        assert_eq!(after["status"], "discarded");
        assert_eq!(after["statusHistory"][1]["info"], "expired");
        assert_eq!(after["expired"], true, "of each that nobody took in time");
    }
}

#[test]
fn every_parameter_is_checked() {
    let mut home = Home::new();
    let me = home.person();
    let long = |n: usize| "x".repeat(n);
    for (changes, id) in [
        (json!({ "ttl": null }), "invalid-ttl"),
        (json!({ "ttl": 0 }), "invalid-ttl"),
        (json!({ "ttl": "60" }), "invalid-ttl"),
        (json!({ "ttl": 2_592_001 }), "ttl-too-long"),
        (json!({ "title": "" }), "invalid-title"),
        (json!({ "title": long(256) }), "invalid-title"),
        (json!({ "onConsumed": null }), "invalid-on-consumed"),
        (
            json!({ "onConsumed": { "message": "" } }),
            "invalid-on-consumed",
        ),
        (
            json!({ "onConsumed": { "message": "m", "x": 1 } }),
            "invalid-on-consumed",
        ),
        (
            json!({ "onConsumed": { "message": "m", "returnUrl": "javascript:x" } }),
            "invalid-return-url",
        ),
        (
            json!({ "onConsumed": { "message": "m", "returnUrl": "https://" } }),
            "invalid-return-url",
        ),
        (json!({ "secret": long(4_095) }), "too-large"),
        (json!({ "keyHash": "ab" }), "invalid-key-hash"),
        (json!({ "keyHash": "A".repeat(64) }), "invalid-key-hash"),
        (json!({ "signature": {} }), "invalid-signature"),
        (
            json!({ "signature": { "type": "other", "value": "x" } }),
            "invalid-signature",
        ),
        (
            json!({ "signature": { "type": "secret", "value": "" } }),
            "invalid-signature",
        ),
        (
            json!({ "signature": { "type": "hmac-sha256", "value": "x" } }),
            "invalid-key-hash",
        ),
    ] {
        let refused = make(&mut home, &me, &with(&changes)).unwrap_err();
        assert_eq!(
            data_id(&refused),
            (400, format!("shared-secret-{id}")),
            "{changes}"
        );
    }
    let mut without = asked();
    without.as_object_mut().unwrap().shift_remove("secret");
    let refused = make(&mut home, &me, &without).unwrap_err();
    assert_eq!(data_id(&refused).1, "shared-secret-missing-secret");
    let refused = make(&mut home, &me, &with(&json!({ "secret": null }))).unwrap_err();
    assert_eq!(data_id(&refused).1, "shared-secret-missing-secret");
    make(&mut home, &me, &with(&json!({ "x": 1 }))).unwrap_err();
    for secret in [json!(false), json!(long(4_094)), json!([1])] {
        let made = make(&mut home, &me, &with(&json!({ "secret": secret }))).unwrap();
        let taken = take(&mut home, &json!({ "key": made["key"] })).unwrap();
        assert_eq!(taken, secret);
    }
}

#[test]
fn who_may_make_and_see_them() {
    let mut home = Home::new();
    let me = home.me();
    let all = json!([{ "streamId": "*", "level": "manage" }]);
    let mut app_named = |name: &str| {
        let params = json!({ "type": "app", "name": name, "permissions": all });
        let access = home.create_access(&me, &params).unwrap();
        home.through(&access)
    };
    let (app, other) = (app_named("one"), app_named("two"));
    let forbidden = home.app(vec![
        Permission::stream("*", Level::Manage),
        Permission::Feature {
            feature: SECRET_SHARING.to_owned(),
            setting: Setting::Forbidden,
        },
    ]);
    let no = (403, "shared-secret-forbidden".to_owned());
    let refused = make(&mut home, &forbidden, &asked()).unwrap_err();
    assert_eq!(data_id(&refused), no);
    let made = make(&mut home, &app, &asked()).unwrap();
    assert!(status(&mut home, &app, &made["key"]).is_ok());
    assert!(status(&mut home, &me, &made["key"]).is_ok());
    let refused = status(&mut home, &other, &made["key"]).unwrap_err();
    assert_eq!(data_id(&refused), no);

    // As an event it is its maker's and the person's to see, when asked for, and to discard.
    let stream = format!(":_shared-secrets:{}", app.access.id);
    let get = |home: &Home, actor: &Actor, params: Value| {
        let found = home.read(actor, Method::EventsGet, &params)?;
        let events = found["events"].as_array().unwrap().iter();
        let items = events.filter(|event| event["type"] == "shared-secret/item");
        Ok::<_, Error>(items.count())
    };
    let asking = |stream: &str| json!({ "streams": [stream], "state": "all" });
    assert_eq!(get(&home, &me, json!({})).unwrap(), 0);
    assert_eq!(get(&home, &me, asking(&stream)).unwrap(), 1);
    assert_eq!(get(&home, &me, asking(":_shared-secrets:")).unwrap(), 1);
    let others = format!(":_shared-secrets:{}", other.access.id);
    assert_eq!(get(&home, &app, asking(&stream)).unwrap(), 1);
    assert_eq!(get(&home, &other, asking(&others)).unwrap(), 0);
    assert!(get(&home, &app, asking(&others)).is_err());
    assert!(get(&home, &other, asking(&stream)).is_err());
    let params = json!({ "id": made["id"] });
    home.read(&app, Method::EventsGetOne, &params).unwrap();
    assert!(home.read(&other, Method::EventsGetOne, &params).is_err());
    for actor in [&app, &other] {
        assert_eq!(get(&home, actor, json!({ "state": "all" })).unwrap(), 0);
        let star = json!({ "streams": ["*"], "state": "all" });
        assert_eq!(get(&home, actor, star).unwrap(), 0);
        assert!(get(&home, actor, asking(":_shared-secrets:")).is_err());
        let streams = home.read(actor, Method::StreamsGet, &json!({})).unwrap();
        assert!(!streams.to_string().contains("shared-secrets"), "{streams}");
    }
    let id = made["id"].as_str().unwrap().to_owned();
    let reader = json!({ "type": "app", "name": "reader",
        "permissions": [{ "streamId": "*", "level": "read" }] });
    let reader = home.create_access(&me, &reader).unwrap();
    let reader = home.through(&reader);
    let of_reader = make(&mut home, &reader, &asked()).unwrap();
    let of_reader = of_reader["id"].as_str().unwrap();
    for (actor, id) in [
        (&other, id.as_str()),
        (&app, of_reader),
        (&reader, of_reader),
    ] {
        let refused = home.delete_event(actor, id).unwrap_err();
        assert_eq!(refused.id().wire(), "forbidden");
    }
    let gone = home.delete_event(&app, &id).unwrap();
    assert_eq!(gone["event"]["content"]["status"], "discarded");
    let gone = home.delete_event(&me, of_reader).unwrap();
    assert_eq!(gone["event"]["content"]["status"], "discarded");
    let late = take(&mut home, &json!({ "key": made["key"] })).unwrap_err();
    assert_eq!(data_id(&late), unavailable());
    let gone = home.delete_event(&app, &id).unwrap();
    assert_eq!(gone, json!({ "eventDeletion": { "id": id } }));
    let unknown = take(&mut home, &json!({ "key": made["key"] })).unwrap_err();
    assert_eq!(data_id(&unknown).0, 404);
}

#[test]
fn nobody_writes_items_by_hand() {
    let mut home = Home::new();
    let me = home.person();
    home.stream("a", None);
    let made = make(&mut home, &me, &asked()).unwrap();
    let id = made["id"].as_str().unwrap().to_owned();
    let stream = format!(":_shared-secrets:{}", me.access.id);
    let content = json!({ "keyHash": "0".repeat(64), "title": "t", "status": "pending",
        "statusHistory": [], "onConsumed": { "message": "m" } });
    for stream in ["a", &stream, ":_shared-secrets:"] {
        let event = json!({ "streamIds": [stream], "type": "shared-secret/item",
            "content": content });
        let refused = home.create_event(&me, &event).unwrap_err();
        assert_eq!(data_id(&refused).1, "shared-secret-forbidden", "{stream}");
    }
    for changes in [
        json!({ "trashed": false }),
        json!({ "content": content }),
        json!({ "streamIds": ["a"] }),
        json!({ "type": "note/txt", "content": "x" }),
        json!({ "streamIds": ["a"], "type": "note/txt", "content": "x" }),
    ] {
        let refused = home.update_event(&me, &id, &changes).unwrap_err();
        let immutable = (403, "shared-secret-immutable".to_owned());
        assert_eq!(data_id(&refused), immutable, "{changes}");
    }
    let plain = json!({ "streamIds": ["a"], "type": "a/b" });
    let plain = home.create_event(&me, &plain).unwrap();
    let changes = json!({ "type": "shared-secret/item", "content": content });
    home.update_event(&me, plain["id"].as_str().unwrap(), &changes)
        .unwrap_err();
    home.delete_stream(&me, ":_shared-secrets:", None)
        .unwrap_err();
    home.update_stream(&me, &stream, &json!({ "name": "x" }))
        .unwrap_err();
    take(&mut home, &json!({ "key": made["key"] })).unwrap();
}

/// The same before the first secret makes the stream, and after.
#[test]
fn nobody_puts_events_beside_them() {
    let mut home = Home::new();
    home.stream("a", None);
    let me = home.me();
    let all = json!({ "type": "app", "name": "app",
        "permissions": [{ "streamId": "*", "level": "manage" }] });
    let app = home.create_access(&me, &all).unwrap();
    let app = home.through(&app);
    let event = json!({ "streamIds": ["a"], "type": "a/b" });
    let event = home.create_event(&me, &event).unwrap();
    for _ in 0..2 {
        for actor in [&me, &app] {
            let stream = format!(":_shared-secrets:{}", actor.access.id);
            let streams = json!({ "streamIds": [stream, "a"] });
            let new = json!({ "streamIds": [stream], "type": "a/b" });
            for refused in [
                home.create_event(actor, &new),
                home.update_event(actor, event["id"].as_str().unwrap(), &streams),
            ] {
                let forbidden = (403, "shared-secret-forbidden".to_owned());
                assert_eq!(data_id(&refused.unwrap_err()), forbidden, "{stream}");
            }
            make(&mut home, actor, &asked()).unwrap();
        }
    }
}

#[test]
fn their_number_is_bounded() {
    let mut home = Home::new();
    let me = home.person();
    for _ in 0..64 {
        make(&mut home, &me, &asked()).unwrap();
    }
    let refused = make(&mut home, &me, &asked()).unwrap_err();
    assert_eq!(refused.id().wire(), "invalid-operation");
    home.clock.advance(Duration::from_secs(61));
    make(&mut home, &me, &asked()).expect("those whose time is over make room");
}

#[test]
fn a_secret_is_as_deep_as_a_request_can_be() {
    let mut home = Home::new();
    let me = home.person();
    let random = "r".repeat(32);
    // Parsers stop at 128 levels; a request is one around it.
    let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
    let deep: Value = serde_json::from_str(&deep).unwrap();
    for changes in [
        json!({ "secret": deep, "keyHash": seal::hash(&random) }),
        json!({ "secret": deep }),
    ] {
        let made = make(&mut home, &me, &with(&changes)).unwrap();
        let id = made["id"].as_str().unwrap();
        let by_client = format!("{id}.{random}");
        let key = made["key"].as_str().unwrap_or(&by_client);
        make(&mut home, &me, &asked()).expect("it is in nobody's way");
        let taken = take(&mut home, &json!({ "key": key })).unwrap();
        assert_eq!(taken, deep);
    }
}

#[test]
fn what_can_no_longer_be_handed_over_makes_room() {
    let mut home = Home::new();
    let me = home.person();
    let made = make(&mut home, &me, &asked()).unwrap();
    let id = made["id"].as_str().unwrap();
    let over = json!({ "access": "x", "expires": 1.0, "sealed": "" }).to_string();
    for (id, body) in [(id, "{"), ("unreadable", "{"), ("over", &over)] {
        let write = Write {
            kind: Kind::SharedSecret,
            id: id.to_owned(),
            base: Base::Any,
            body: body.as_bytes().to_vec().into(),
            deleted: false,
            entries: vec![indexes::secret_entry(1.0)],
            keep_previous: false,
        };
        home.attempt(|tx| tx.put(write.clone())).unwrap();
    }
    make(&mut home, &me, &asked()).unwrap();
    for id in [id, "unreadable", "over"] {
        assert_eq!(stored(&home, &json!(id), Kind::SharedSecret), "", "{id}");
    }
    let after = status(&mut home, &me, &made["key"]).unwrap();
    assert_eq!(after["statusHistory"][1]["info"], "lost");
}

#[test]
fn what_is_imported_is_of_no_use() {
    let mut event = json!({ "id": "x", "streamIds": [":_shared-secrets:y"], "time": 1, "duration": 9,
        "type": "shared-secret/item", "modified": 2, "content": { "keyHash": "k", "status": "pending",
        "statusHistory": [{ "status": "pending", "time": 1 }], "secret": "treasure-map",
        "signature": { "type": "secret", "value": "open-sesame" } } });
    let event = event.as_object_mut().unwrap();
    assert!(after_import(event));
    let text = json!(event).to_string();
    assert!(!text.contains("treasure-map") && !text.contains("open-sesame"));
    assert_eq!(event["content"]["status"], "discarded");
    assert_eq!(event["trashed"], true);
    assert!(!after_import(event), "once");
}

async fn user(kernel: &Kernel) -> Actor {
    let token = kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let credential = crate::Credential::parse(token.expose()).unwrap();
    kernel.authenticate(&owner(), credential).await.unwrap()
}

#[tokio::test]
async fn of_many_who_ask_at_once_one_gets_it() {
    let (kernel, _clock) = kernel();
    let me = user(&kernel).await;
    let method = Method::SharedSecretsCreate;
    let made = kernel.call(&me, method, asked()).await.unwrap();
    let key = read_json(made.as_bytes())["sharedSecret"]["key"].take();
    let asking: Vec<_> = (0..16)
        .map(|_| {
            let (kernel, params) = (kernel.clone(), json!({ "key": key }));
            tokio::spawn(async move {
                let source = Source::default();
                kernel
                    .retrieve_shared_secret(&owner(), &params, source)
                    .await
            })
        })
        .collect();
    let mut taken = 0;
    for asking in asking {
        match asking.await.unwrap() {
            Ok(_) => taken += 1,
            Err(error) => assert_eq!(data_id(&error), unavailable()),
        }
    }
    assert_eq!(taken, 1);
    // Every call is in the audit log, and neither key nor secret is.
    let params = json!({ "streams": [":_audit:accesses"], "limit": 99 });
    let log = kernel.call(&me, Method::EventsGet, params).await.unwrap();
    let log = read_json(log.as_bytes());
    let of = |action: &str, refused: bool| {
        let entries = log["events"].as_array().unwrap().iter();
        entries
            .filter(|entry| entry["content"]["action"] == action)
            .filter(|entry| entry["content"].get("id").is_some() == refused)
            .count()
    };
    assert_eq!(of("sharedSecrets.create", false), 1);
    assert_eq!(of("sharedSecrets.retrieve", false), 1);
    assert_eq!(of("sharedSecrets.retrieve", true), 15);
    let random = key.as_str().unwrap().split_once('.').unwrap().1;
    assert!(!log.to_string().contains(random) && !log.to_string().contains("1234"));
}

#[tokio::test]
async fn they_can_be_switched_off() {
    let (kernel, _clock) = kernel_with(|settings| settings.shared_secrets.active = false);
    let me = user(&kernel).await;
    let key = json!({ "key": "x" });
    for (method, params) in [
        (Method::SharedSecretsCreate, asked()),
        (Method::SharedSecretsGetOne, key.clone()),
    ] {
        let refused = kernel.call(&me, method, params).await.unwrap_err();
        assert_eq!(refused.id().status(), 451);
    }
    let source = Source::default();
    let refused = kernel.retrieve_shared_secret(&owner(), &key, source).await;
    assert_eq!(refused.unwrap_err().id().wire(), "unavailable-method");
}
