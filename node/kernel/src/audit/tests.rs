//! What calls leave behind, who may read it, and in which order.

use std::sync::Arc;
use std::time::Duration;

use homecore_types::UserId;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::entry::Draft;
use super::*;
use crate::access::{Access, AccessType, StoredAccess};
use crate::kernel::Kernel;
use crate::permission::{Level, Permission};
use crate::testing::{
    Home, NOW, TestClock, json as parse, kernel, kernel_with, new_account, owner,
};
use crate::{Actor, Credential, Method};

const ORIGIN: &str = "https://l.backloop.dev";

/// A person who has logged in.
async fn person() -> (Kernel, Arc<TestClock>, Actor) {
    let (kernel, clock) = kernel();
    kernel
        .create_account(&owner().id, new_account())
        .await
        .unwrap();
    let params =
        json!({ "username": "samplebeta1", "password": "sample-pass-1", "appId": "sample-app" });
    let opened = kernel
        .login(&owner(), &params, ORIGIN, Source::default())
        .await
        .unwrap();
    let given = Credential::parse(opened.token.expose()).unwrap();
    let actor = kernel.authenticate(&owner(), given).await.unwrap();
    (kernel, clock, actor)
}

async fn call(kernel: &Kernel, actor: &Actor, method: Method, params: Value) -> Value {
    parse(kernel.call(actor, method, params).await.unwrap().as_bytes())
}

async fn log(kernel: &Kernel, actor: &Actor, streams: Value) -> Vec<Value> {
    let params = json!({ "streams": streams, "limit": 1000 });
    let answer = call(kernel, actor, Method::EventsGet, params).await;
    answer["events"].as_array().unwrap().clone()
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| entry["content"]["action"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn every_call_leaves_one_entry() {
    let (kernel, clock, me) = person().await;
    let step = Duration::from_millis(10);
    clock.advance(step);
    call(
        &kernel,
        &me,
        Method::StreamsCreate,
        json!({ "id": "diary", "name": "Diary" }),
    )
    .await;
    clock.advance(step);
    let new = json!({ "streamIds": ["diary"], "type": "note/txt", "content": "hi" });
    let made = call(&kernel, &me, Method::EventsCreate, new).await;
    clock.advance(step);
    call(
        &kernel,
        &me,
        Method::EventsGet,
        json!({ "streams": ["diary"] }),
    )
    .await;
    clock.advance(step);
    let unknown = json!({ "streamIds": ["nope"], "type": "note/txt", "content": "hi" });
    kernel
        .call(&me, Method::EventsCreate, unknown)
        .await
        .unwrap_err();
    clock.advance(step);
    kernel.access_info(&me).await.unwrap();
    clock.advance(step);
    let calls = json!([{ "method": "streams.get", "params": {} }]);
    kernel.call_batch(&me, calls).await.unwrap();
    clock.advance(step);

    let entries = log(&kernel, &me, json!([":_audit:"])).await;
    assert_eq!(
        actions(&entries),
        [
            "callBatch",
            "streams.get",
            "getAccessInfo",
            "events.create",
            "events.get",
            "events.create",
            "streams.create",
            "auth.login"
        ]
    );
    let refused = &entries[3];
    assert_eq!(refused["type"], "audit-log/pryv-api-error");
    assert_eq!(refused["content"]["id"], "unknown-referenced-resource");
    let read = &entries[4];
    assert_eq!(read["content"]["recordCount"], 1);
    assert_eq!(read["content"]["scopedStreamIds"], json!(["diary"]));
    assert_eq!(read["content"]["query"], json!({ "streams": ["diary"] }));
    let written = &entries[5];
    let event = &made["event"];
    assert_eq!(
        written["content"]["record"],
        json!({
            "key": format!("EVENT:0:{}:{}", event["id"].as_str().unwrap(), event["modified"]),
            "integrity": event["integrity"],
        })
    );
    assert_eq!(
        written["streamIds"],
        json!([
            format!(":_audit:access-{}", me.access.id),
            ":_audit:action-events.create"
        ])
    );
    let login = entries.last().unwrap();
    assert_eq!(login["streamIds"][0], ":_audit:access-valid-password");

    // By one stream, and by id.
    let created = log(&kernel, &me, json!([":_audit:action-events.create"])).await;
    assert_eq!(actions(&created), ["events.create", "events.create"]);
    let one = json!({ "id": created[0]["id"] });
    assert_eq!(
        call(&kernel, &me, Method::EventsGetOne, one).await["event"],
        created[0]
    );
    // The log is no part of everything.
    let everything = call(&kernel, &me, Method::EventsGet, json!({ "limit": 1000 })).await;
    let mut ids = everything["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["id"]);
    assert!(ids.all(|id| !id.as_str().unwrap().starts_with(":_audit:")));
}

#[tokio::test]
async fn entries_of_readings_say_what_of_and_how_much() {
    let (kernel, _clock, me) = person().await;
    let diary = json!({ "id": "diary", "name": "Diary" });
    call(&kernel, &me, Method::StreamsCreate, diary).await;
    let new = json!({ "streamIds": ["diary"], "type": "note/txt", "content": "hi" });
    let made = call(&kernel, &me, Method::EventsCreate, new).await;
    call(&kernel, &me, Method::EventsGet, json!({})).await;
    let one = json!({ "id": made["event"]["id"] });
    call(&kernel, &me, Method::EventsGetOne, one).await;
    let unknown = kernel.call(&me, Method::EventsGetOne, json!({ "id": "nope" }));
    unknown.await.unwrap_err();

    let all = log(&kernel, &me, json!([":_audit:action-events.get"])).await;
    assert_eq!(all[0]["content"]["scopedStreamIds"], json!(["*"]));
    assert_eq!(all[0]["content"]["scopedStreamCount"], 1);
    let one = log(&kernel, &me, json!([":_audit:action-events.getOne"])).await;
    let mut counts: Vec<_> = one
        .iter()
        .map(|e| e["content"].get("recordCount"))
        .collect();
    counts.sort_by_key(Option::is_some);
    assert_eq!(counts, [None, Some(&json!(1))]);
}

#[tokio::test]
async fn what_waits_is_written_when_told_and_when_there_is_much() {
    let (kernel, _clock, me) = person().await;
    let written = || async {
        let user = owner().id;
        kernel
            .users()
            .read(&user, |view| {
                view.list(homecore_store::Kind::Audit, None, 100)
            })
            .await
            .unwrap()
            .unwrap()
            .len()
    };
    let before = written().await;
    for _ in 0..10 {
        kernel.access_info(&me).await.unwrap();
    }
    assert_eq!(written().await, before);
    kernel.flush_audit().await;
    assert_eq!(written().await, before + 1);
    for _ in 0..600 {
        kernel.access_info(&me).await.unwrap();
    }
    assert_eq!(written().await, before + 3);
}

#[tokio::test]
async fn entries_that_are_being_written_are_seen() {
    let (kernel, _clock, me) = person().await;
    for n in 1..=100 {
        kernel.access_info(&me).await.unwrap();
        let streams = json!([":_audit:action-getAccessInfo"]);
        let ((), entries) = tokio::join!(kernel.flush_audit(), log(&kernel, &me, streams));
        assert_eq!(entries.len(), n);
    }
}

/// Remembers what it is told, but for `events.getOne`.
#[derive(Debug, Default)]
struct Ear(std::sync::Mutex<Vec<(String, bool)>>);

impl AuditListener for Ear {
    fn hears(&self, method: &str) -> bool {
        method != "events.getOne"
    }

    fn tell(&self, user: &UserId, entry: Entry) {
        assert_eq!(*user, owner().id);
        self.0.lock().unwrap().push((entry.action, entry.refused));
    }
}

#[tokio::test]
async fn who_listens_is_told_of_every_call_whatever_the_log_keeps() {
    let (kernel, clock) = kernel_with(|settings| {
        settings.audit.exclude = set(&["streams.all", "events.get", "auth.all"]);
    });
    let ear = Arc::new(Ear::default());
    kernel.connect_audit_listener(Arc::clone(&ear) as Arc<dyn AuditListener>);
    let user = owner().id;
    kernel.create_account(&user, new_account()).await.unwrap();
    let mut params =
        json!({ "username": "samplebeta1", "password": "sample-pass-1", "appId": "sample-app" });
    let source = Source::default();
    let opened = kernel.login(&owner(), &params, ORIGIN, source).await;
    let given = Credential::parse(opened.unwrap().token.expose()).unwrap();
    let me = kernel.authenticate(&owner(), given).await.unwrap();
    params["password"] = json!("wrong");
    kernel
        .login(&owner(), &params, ORIGIN, source)
        .await
        .unwrap_err();
    let stream = json!({ "id": "diary", "name": "Diary" });
    call(&kernel, &me, Method::StreamsCreate, stream).await;
    let event = json!({ "streamIds": ["diary"], "type": "note/txt", "content": "hi" });
    let nowhere = json!({ "streamIds": ["nope"], "type": "note/txt" });
    let made = call(&kernel, &me, Method::EventsCreate, event.clone()).await;
    kernel
        .call(&me, Method::EventsCreate, nowhere.clone())
        .await
        .unwrap_err();
    let one = json!({ "id": made["event"]["id"] });
    call(&kernel, &me, Method::EventsGetOne, one.clone()).await;
    call(&kernel, &me, Method::EventsGet, json!({})).await;
    let calls = json!([
        { "method": "events.create", "params": event },
        { "method": "events.create", "params": nowhere },
        { "method": "events.get", "params": {} },
        { "method": "events.getOne", "params": one },
        { "method": "streams.get", "params": {} },
    ]);
    kernel.call_batch(&me, calls).await.unwrap();
    let gone = json!({ "id": "diary" });
    call(&kernel, &me, Method::StreamsDelete, gone.clone()).await;
    call(
        &kernel,
        &me,
        Method::StreamsDelete,
        json!({ "id": "diary", "mergeEventsWithParent": false }),
    )
    .await;
    clock.advance(Duration::from_secs(1));
    kernel.logout(&me).await.unwrap();

    let told = ear.0.lock().unwrap().clone();
    let told: Vec<(&str, bool)> = told
        .iter()
        .map(|(m, refused)| (m.as_str(), *refused))
        .collect();
    assert_eq!(
        told,
        [
            ("auth.login", false),
            ("auth.login", true),
            ("streams.create", false),
            ("events.create", false),
            ("events.create", true),
            ("events.get", false),
            ("events.create", false),
            ("events.create", true),
            ("events.get", false),
            ("streams.get", false),
            ("callBatch", false),
            ("streams.delete", false),
            ("streams.delete", false),
            ("auth.logout", false),
        ]
    );
}

#[tokio::test]
async fn the_whole_log_can_be_read_before_the_user_goes() {
    let (kernel, clock, me) = person().await;
    clock.advance(Duration::from_millis(10));
    for _ in 0..6_000 {
        kernel.access_info(&me).await.unwrap();
    }
    let user = owner().id;
    let (mut kept, mut after, mut turns) = (Vec::new(), None, 0);
    while let Some((events, place)) = kernel.audit_log(&user, after).await.unwrap() {
        kept.extend(events.iter().map(|event| parse(event)));
        after = Some(place);
        turns += 1;
    }
    // By ids it is the same.
    let (mut readable, mut last) = (Vec::new(), None);
    while let Some(read) = kernel.readable_audit_log(&user, last).await.unwrap() {
        assert!(read.left_out.is_empty());
        readable.extend(read.events.iter().map(|event| parse(event)));
        last = Some(read.last);
    }
    assert_eq!(readable, kept);
    let kept = actions(&kept);
    assert_eq!((kept.len(), kept[0], turns), (6_001, "auth.login", 2));
    kernel.remove_account(&user).await.unwrap();
    let gone = kernel.audit_log(&user, None).await.unwrap_err();
    assert_eq!(gone.id(), homecore_types::ErrorId::UnknownResource);
}

fn set(names: &[&str]) -> MethodSet {
    MethodSet::new(names.iter().map(|name| name.parse().unwrap()))
}

#[test]
fn what_can_be_no_method_is_refused() {
    for name in ["", "events.", ".get", "events.get.all", "events/get", "*"] {
        assert!(name.parse::<MethodPattern>().is_err(), "{name}");
    }
    assert!(!set(&["eventsx.all"]).holds("events.get"));
}

#[test]
fn filters_hold_methods_families_and_all() {
    let some = AuditSettings {
        include: Some(set(&["events.all", "auth.login"])),
        exclude: set(&["events.get"]),
        active: true,
    };
    assert!(some.covers("events.create") && some.covers("auth.login"));
    assert!(!some.covers("events.get") && !some.covers("streams.get"));
    let none = AuditSettings {
        active: false,
        ..AuditSettings::default()
    };
    assert!(!none.covers("events.create"));
    let nothing = AuditSettings {
        exclude: set(&["all"]),
        ..AuditSettings::default()
    };
    assert!(!nothing.covers("events.create"));
}

fn shared(home: &Home, id: &str, permissions: Vec<Permission>) -> Actor {
    let person = home.person();
    let stored = StoredAccess {
        kind: AccessType::Shared,
        permissions: Some(permissions),
        ..person.access.stored.clone()
    };
    Actor {
        access: Arc::new(Access::new(id, stored)),
        ..person
    }
}

/// Puts entries as if they had been made by calls, in pages as given.
fn put(home: &mut Home, pages: &[Vec<Entry>]) {
    let context = home.context.clone();
    for page in pages {
        home.attempt(|tx| page::append(tx, &context, page)).unwrap();
    }
}

fn entry(access: &str, action: &str, at: i64) -> Entry {
    let at = homecore_types::Millis(NOW.0 + at);
    Draft::anonymous(&Source::default(), access, action, at).finish()
}

#[test]
fn an_access_reads_its_own_log_and_no_other() {
    let mut home = Home::new();
    put(
        &mut home,
        &[vec![
            entry("cmine", "events.get", 1),
            entry("cother", "events.get", 2),
        ]],
    );
    let diary = vec![Permission::stream("diary", Level::Read)];
    let mine = shared(&home, "cmine", diary);
    let read = |actor: &Actor, streams: Value| {
        let params = json!({ "streams": streams, "limit": 100 });
        home.read(actor, Method::EventsGet, &params)
    };
    // The whole log is to it what it may read of it.
    for streams in [
        json!([":_audit:access-cmine"]),
        json!([":_audit:"]),
        json!({ "any": [":_audit:"], "not": [":_audit:action-streams.get"] }),
    ] {
        let own = read(&mine, streams.clone()).unwrap();
        let own = own["events"].as_array().unwrap();
        assert_eq!(own.len(), 1, "{streams}");
        assert_eq!(own[0]["streamIds"][0], ":_audit:access-cmine");
    }
    let none = json!({ "any": [":_audit:"], "not": [":_audit:action-events.get"] });
    assert_eq!(read(&mine, none).unwrap()["events"], json!([]));
    let others_id = {
        let all = read(&home.person(), json!([":_audit:access-cother"])).unwrap();
        all["events"][0]["id"].clone()
    };
    let by_id = home.read(&mine, Method::EventsGetOne, &json!({ "id": others_id }));
    assert_eq!(by_id.unwrap_err().id().wire(), "forbidden");
    for streams in [
        json!([":_audit:access-cother"]),
        json!([":_audit:accesses"]),
        json!([":_audit:action-events.get"]),
        json!([":_audit:!"]),
        json!([":_audit:", ":_audit:accesses"]),
    ] {
        assert_eq!(
            read(&mine, streams.clone()).unwrap_err().id().wire(),
            "forbidden",
            "{streams}"
        );
    }
    let forbidden = shared(
        &home,
        "cmine",
        vec![Permission::Feature {
            feature: "selfAudit".to_owned(),
            setting: crate::permission::Setting::Forbidden,
        }],
    );
    for streams in [":_audit:access-cmine", ":_audit:"] {
        let refused = read(&forbidden, json!([streams])).unwrap_err();
        assert_eq!(refused.id().wire(), "forbidden", "{streams}");
    }
}

#[test]
fn entries_of_one_moment_come_in_the_order_in_which_they_were_written() {
    let mut home = Home::new();
    // More pages than are read at once.
    let made: Vec<String> = (0..40).map(|n| format!("m.{}", letters(n))).collect();
    for pair in made.chunks(2) {
        let page = pair.iter().map(|action| entry("cmine", action, 5));
        put(&mut home, &[page.collect()]);
    }
    for ascending in [true, false] {
        let params = json!({ "streams": [":_audit:"], "sortAscending": ascending, "limit": 100 });
        let found = home.read(&home.person(), Method::EventsGet, &params);
        let found = found.unwrap();
        let mut found = actions(found["events"].as_array().unwrap());
        if !ascending {
            found.reverse();
        }
        assert_eq!(found, made, "ascending: {ascending}");
    }
}

fn letters(number: u8) -> String {
    let letter = |n: u8| char::from(b'a' + n);
    [letter(number / 26), letter(number % 26)].iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However entries fell into pages, a query finds those that a plain filter finds, in order.
    #[test]
    fn pages_are_read_in_the_order_of_time(
        pages in prop::collection::vec(
            (0_i64..60_000, prop::collection::vec((0_u8..3, 0_u8..3, 0_i64..9_000), 1..8)),
            0..40,
        ),
        window in prop::option::of((0_i64..60_000, 0_i64..60_000)),
        stream in 0_u8..6,
        ascending: bool,
        limit in 1_usize..60,
    ) {
        let mut home = Home::new();
        let mut all = Vec::new();
        let made: Vec<Vec<Entry>> = pages
            .iter()
            .map(|(from, entries)| {
                let mut page: Vec<Entry> = entries
                    .iter()
                    .map(|(access, action, at)| {
                        entry(&format!("c{access}"), &format!("m.{action}"), from + at)
                    })
                    .collect();
                page.sort_by_key(|entry| entry.at);
                all.extend(page.iter().cloned());
                page
            })
            .collect();
        put(&mut home, &made);
        let stream = match stream {
            0 => ":_audit:".to_owned(),
            1 => ":_audit:accesses".to_owned(),
            2 => ":_audit:action-m.1".to_owned(),
            n => format!(":_audit:access-c{}", n - 3),
        };
        let time = |at: i64| (NOW.0 + at) as f64 / 1000.0;
        let mut params = json!({ "streams": [stream], "sortAscending": ascending, "limit": limit });
        if let Some((a, b)) = window {
            params["fromTime"] = json!(time(a.min(b)));
            params["toTime"] = json!(time(a.max(b)));
        }
        let found = home.read(&home.person(), Method::EventsGet, &params).unwrap();
        let found: Vec<f64> =
            found["events"].as_array().unwrap().iter().map(|e| e["time"].as_f64().unwrap()).collect();
        let mut wanted: Vec<f64> = all
            .iter()
            .filter(|entry| {
                let own = entry.streams();
                stream == ":_audit:" || stream == ":_audit:accesses" || own.contains(&stream)
            })
            .map(|entry| entry.at.as_seconds())
            .filter(|at| window.is_none_or(|(a, b)| *at >= time(a.min(b)) && *at <= time(a.max(b))))
            .collect();
        wanted.sort_by(f64::total_cmp);
        if !ascending {
            wanted.reverse();
        }
        wanted.truncate(limit);
        prop_assert_eq!(found, wanted);
    }
}
