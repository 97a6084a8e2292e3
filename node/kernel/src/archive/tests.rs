//! Records of the other server as they become documents, and our own there and back.

use homecore_store::{BlobHash, Kind, Rev};
use homecore_types::{Millis, Secret};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::access::AccessRecord;
use super::event::{EventRecord, FormerVersion};
use super::export::{Cursor, page};
use super::import::{ImportError, Item, put};
use super::{access, account, event, profile, stream};
use crate::access::tracking::Uses;
use crate::settings::DeletionMode;
use crate::testing::Home;

mod damaged;
mod odd;

const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

fn map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn golden(file: &str) -> Vec<Map<String, Value>> {
    let user = "../../tests/golden/archive/plain/users/cku0sampleuser0000000001";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(user);
    let text = std::fs::read_to_string(path.join(file)).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

type Records = Vec<(Kind, Map<String, Value>)>;

fn export(home: &Home) -> Records {
    let mut records = Vec::new();
    let mut next = Some(Cursor::default());
    while let Some(cursor) = next {
        let page = home.look(|view| page(view, cursor)).unwrap();
        records.extend(page.records.into_iter().map(|record| (page.kind, record)));
        next = page.next;
    }
    records
}

/// Imports records; former versions last, each alone, in the order given.
fn import(records: &Records) -> Result<Home, ImportError> {
    let mut home = Home::empty();
    let mut former = Vec::new();
    for (kind, record) in records {
        let item = match kind {
            Kind::Account => {
                let account = account::read("samplebeta1", record, &account::Names::default())
                    .unwrap()
                    .item;
                let base = homecore_store::Base::Absent;
                home.attempt(|tx| crate::account::store(tx, &account, base))?;
                continue;
            }
            Kind::Stream => Item::Stream(stream::read(record).unwrap().item),
            Kind::Profile => Item::Profile(profile::read(record).unwrap()),
            Kind::Access => {
                let access = access::read(record).unwrap().item;
                if access.is_former {
                    let order = f64::from(access.access.serial);
                    let body = access.access.encode().unwrap();
                    former.push(FormerVersion {
                        kind: *kind,
                        id: access.id,
                        order,
                        body,
                    });
                    continue;
                }
                Item::Access(access)
            }
            _ => match event::read(record.clone()).unwrap().item {
                EventRecord::Event(event) => Item::Event(event.seal().unwrap()),
                EventRecord::Deletion { id, deleted, body } => {
                    Item::EventDeletion { id, deleted, body }
                }
                EventRecord::Former(version) => {
                    former.push(version);
                    continue;
                }
            },
        };
        home.attempt(|tx| put(tx, item))?;
    }
    for version in former {
        home.attempt(|tx| put(tx, Item::Former(vec![version])))?;
    }
    Ok(home)
}

fn golden_records() -> Records {
    let mut records = Vec::new();
    for (kind, file) in [
        (Kind::Account, "account.jsonl"),
        (Kind::Stream, "streams.jsonl"),
        (Kind::Access, "accesses.jsonl"),
        (Kind::Profile, "profile.jsonl"),
        (Kind::Event, "events/events-0001.jsonl"),
        (Kind::Event, "events/events-0002.jsonl"),
    ] {
        records.extend(golden(file).into_iter().map(|record| (kind, record)));
    }
    records
}

#[test]
fn a_user_of_the_other_server_is_taken_whole() {
    let home = import(&golden_records()).unwrap();
    let account = home.look(crate::account::load).unwrap();
    assert_eq!(account.language, "fr", "the latest value of the field");
    assert!(
        account.password_hash.starts_with("$2b$10$Vux"),
        "and the latest password"
    );
    assert_eq!(account.email.as_str(), "samplebeta1@example.com");

    let person = home.person();
    let all = json!({"state": "all", "sortAscending": true, "limit": 100});
    let events = home.read(&person, crate::Method::EventsGet, &all).unwrap();
    let events: Vec<&Value> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| !event["id"].as_str().unwrap().starts_with(':'))
        .collect();
    // One is in a stream that was deleted, which lists do not show; it is kept.
    assert_eq!(events.len(), 4);
    let lost = home
        .look(|view| view.get(Kind::Event, "cke000000000000000000006"))
        .unwrap();
    assert!(lost.is_some_and(|event| !event.deleted));
    assert_eq!(events[0]["description"], "Café \u{2028} \"q\" \u{ad}");
    assert!(events[0].get("duration").is_none() && events[0].get("endTime").is_none());
    assert_eq!(events[1]["duration"], 60.5);
    assert_eq!(events[3]["duration"], Value::Null, "it runs");
    for (event, line) in events.iter().zip([0, 2, 4, 6]) {
        let lines = golden_records();
        let line = &lines
            .iter()
            .filter(|(kind, _)| *kind == Kind::Event)
            .nth(line)
            .unwrap()
            .1;
        assert_eq!(event["integrity"], line["integrity"]);
    }

    let one = json!({"id": "cke000000000000000000002", "includeHistory": true});
    let one = home
        .read(&person, crate::Method::EventsGetOne, &one)
        .unwrap();
    let contents: Vec<&Value> = one["history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| &v["content"])
        .collect();
    assert_eq!(
        contents,
        [73, 74],
        "oldest first, whatever the order in the archive"
    );
    assert_eq!(one["event"]["content"], 75);

    let token = Secret::new("ctokenapp000000000000001");
    let context = home.context.clone();
    let found = home
        .look(|view| crate::access::token::find(view, &context, &token))
        .unwrap();
    assert_eq!(
        found.access.id, "cka0app00000000000000001",
        "the app goes on"
    );
    let gone = Secret::new("ctokengone00000000000001");
    assert!(
        home.look(|view| crate::access::token::find(view, &context, &gone))
            .is_err()
    );

    for (kind, record) in golden_records() {
        let notes = match kind {
            Kind::Stream => stream::read(&record).unwrap().notes,
            Kind::Access => access::read(&record).unwrap().notes,
            Kind::Event => event::read(record.clone()).unwrap().notes,
            _ => Vec::new(),
        };
        assert!(notes.is_empty(), "{record:?}: {notes:?}");
    }
}

#[test]
fn what_is_wrong_with_an_event_is_said() {
    let good = json!({"id": "e1", "streamIds": ["a"], "type": "a/b", "time": 1, "modified": 2});
    let with = |name: &str, value: Value| {
        let mut event = map(good.clone());
        event.insert(name.to_owned(), value);
        event::read(event)
    };
    for (name, value) in [
        ("id", json!(5)),
        ("id", json!("")),
        ("id", json!("x".repeat(256))),
        ("streamIds", json!([])),
        ("streamIds", json!("a")),
        ("streamIds", json!([1])),
        ("streamIds", json!(["x".repeat(901)])),
        ("time", json!("1")),
        ("type", json!(null)),
        ("duration", json!("1")),
        ("trashed", json!("yes")),
        ("deleted", json!("2020")),
        ("headId", json!(1)),
        ("attachments", json!({})),
        ("attachments", json!([{}])),
        ("attachments", json!([{"id": "f", "size": -1}])),
    ] {
        let wrong = with(name, value.clone()).unwrap_err();
        assert_eq!(wrong.field, name, "{value}");
    }
    let notes = |taken: super::Taken<EventRecord>| -> Vec<&str> {
        taken.notes.iter().map(|note| note.field).collect()
    };
    assert_eq!(
        notes(event::read(map(good.clone())).unwrap()),
        ["integrity"]
    );
    assert_eq!(
        notes(with("integrity", json!("EVENT:0:sha256-x")).unwrap()),
        ["integrity"]
    );
    let mut without = map(good);
    without.remove("modified");
    assert_eq!(
        notes(event::read(without).unwrap()),
        ["integrity", "modified"]
    );
}

/// Rows of columns, and forms of long ago.
#[test]
fn older_forms_are_understood() {
    let row = json!({"id": "e1", "stream_ids": ["a"], "type": "a/b", "time": 1.5, "end_time": 4.0,
        "content": null, "created": 1, "created_by": "x", "modified": 2, "modified_by": "x",
        "trashed": false, "deleted": null, "head_id": null, "client_data": {"k": 1}});
    let legacy = json!({"id": "e1", "streamId": "a", "type": "a/b", "time": 1.5, "duration": 2.5,
        "created": 1, "createdBy": "x", "modified": 2, "modifiedBy": "x", "clientData": {"k": 1}});
    let sealed = |value: Value| match event::read(map(value)).unwrap().item {
        EventRecord::Event(event) => {
            serde_json::from_slice::<Value>(&event.seal().unwrap().body).unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(sealed(row), sealed(legacy));
}

#[test]
fn a_file_says_what_its_event_does_not() {
    let event = json!({"id": "e1", "streamIds": ["a"], "type": "a/b", "time": 1, "modified": 2,
        "attachments": [{"id": "f1", "fileName": "x", "readToken": "secret"}]});
    let EventRecord::Event(mut event) = event::read(map(event)).unwrap().item else {
        panic!()
    };
    assert_eq!(event.files()[0].hash, None);
    let hash = BlobHash::of(b"bytes");
    assert!(event.complete_file("f1", &hash, 5));
    assert!(!event.complete_file("f1", &hash, 5));
    assert_eq!(event.files()[0].hash, Some(hash));
    let sealed = event.seal().unwrap();
    let body: Map<String, Value> = serde_json::from_slice(&sealed.body).unwrap();
    assert_eq!(
        body["integrity"],
        Value::from(crate::integrity::of_event(&body))
    );
    assert!(body["attachments"][0].get("readToken").is_none());
}

#[test]
fn accesses_never_gain_rights() {
    let access = |permissions: Value| {
        access::read(&map(
            json!({"id": "a1", "token": "t", "type": "app", "name": "n",
            "permissions": permissions, "created": 1, "createdBy": "x", "modified": 1,
            "modifiedBy": "x"}),
        ))
    };
    assert!(access(json!([{"streamId": "a", "level": "read"}])).is_ok());
    for unknown in [
        json!([{"streamId": "a", "level": "all"}]),
        json!([{"tag": "x", "level": "none"}]),
        json!({}),
    ] {
        assert!(access(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn accounts_must_be_usable() {
    let good = json!({"passwords": [{"time": 1, "hash": HASH}],
        "accountFields": [{"field": "email", "value": "A@b.c", "time": 1},
            {"field": "phone", "value": "1", "time": 1}]});
    let read = |record: &Value, name: &str, email: Option<&str>| {
        let names = account::Names {
            emails: email.map(str::to_owned).into_iter().collect(),
            ..account::Names::default()
        };
        account::read(name, &map(record.clone()), &names)
    };
    let taken = read(&good, "samplebeta1", None).unwrap();
    assert_eq!((taken.item.email.as_str(), taken.notes.len()), ("a@b.c", 1));
    assert_eq!(read(&good, "Bad!", None).unwrap_err().field, "username");
    let mut bad = good.clone();
    bad["accountFields"] = json!([]);
    assert_eq!(read(&bad, "samplebeta1", None).unwrap_err().field, "email");
    assert!(
        read(&bad, "samplebeta1", Some("x@y.z")).is_ok(),
        "the platform knows it"
    );
    for passwords in [json!([]), json!(null), json!([{"hash": "plain"}])] {
        let mut bad = good.clone();
        bad["passwords"] = passwords;
        assert_eq!(
            read(&bad, "samplebeta1", None).unwrap_err().field,
            "passwords"
        );
    }
}

#[test]
fn nothing_comes_twice_and_nothing_hangs_in_the_air() {
    let mut twice = golden_records();
    twice.push(
        twice
            .iter()
            .find(|(kind, _)| *kind == Kind::Stream)
            .unwrap()
            .clone(),
    );
    assert!(matches!(
        import(&twice),
        Err(ImportError::Twice { kind: "stream", .. })
    ));
    let mut orphan = golden_records();
    orphan.retain(|(_, record)| record.get("id") != Some(&json!("cke000000000000000000002")));
    assert!(matches!(import(&orphan), Err(ImportError::NoHead { .. })));
}

#[derive(Clone, Debug)]
enum Op {
    Create {
        time: f64,
        duration: Option<Option<f64>>,
        content: Value,
        trashed: bool,
    },
    Update {
        which: usize,
        content: Value,
        time: f64,
    },
    Delete {
        which: usize,
    },
    Wait,
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (0_u32..2_000_000_000).prop_map(f64::from),
        (0.0..2e9_f64),
        Just(-0.5),
    ]
}

fn content() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<String>().prop_map(Value::from),
        number().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        proptest::collection::btree_map(any::<String>(), any::<f32>().prop_map(f64::from), 0..3)
            .prop_map(|map| json!(map)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let duration = proptest::option::of(proptest::option::of(0.0..1e5_f64));
    prop_oneof![
        4 => (number(), duration, content(), any::<bool>())
            .prop_map(|(time, duration, content, trashed)| Op::Create { time, duration, content, trashed }),
        4 => (any::<usize>(), content(), number())
            .prop_map(|(which, content, time)| Op::Update { which, content, time }),
        2 => any::<usize>().prop_map(|which| Op::Delete { which }),
        1 => Just(Op::Wait),
    ]
}

/// A user who did these things.
fn lived(ops: &[Op], mode: DeletionMode) -> Home {
    let mut home = Home::new();
    let mut account = home.look(crate::account::load).unwrap();
    account.password_hash = HASH.to_owned();
    home.attempt(|tx| crate::account::store(tx, &account, homecore_store::Base::Any))
        .unwrap();
    std::sync::Arc::make_mut(&mut home.context.settings).keep_history = true;
    std::sync::Arc::make_mut(&mut home.context.settings).deletion_mode = mode;
    home.stream("health", None);
    home.stream("weight", Some("health"));
    let person = home.person();
    let mut access = AccessRecord {
        id: "caccess00000000000000002".to_owned(),
        access: Box::new(home.app(Vec::new()).access.stored.clone()),
        is_former: false,
        uses: None,
    };
    let mut used = access.clone();
    used.id = "caccess00000000000000003".to_owned();
    used.access.token = "another-token".to_owned();
    used.access.name = "another-app".to_owned();
    used.uses = Some(Uses {
        last_used: Millis(4_001),
        calls: [("events.get".to_owned(), 7)].into(),
    });
    home.attempt(|tx| put(tx, Item::Access(used))).unwrap();
    home.attempt(|tx| put(tx, Item::Access(access.clone())))
        .unwrap();
    for serial in 1..4 {
        access.access.serial = serial;
        access.access.deleted = (serial == 3).then_some(Millis(5_500));
        home.attempt(|tx| {
            crate::access::put(tx, &access.id, &access.access, crate::access::Former::Kept)
        })
        .unwrap();
    }
    let profile = json!({"id": "an-app", "data": {"a": [1.5, null]}});
    let profile = profile::read(&map(profile)).unwrap();
    home.attempt(|tx| put(tx, Item::Profile(profile))).unwrap();
    let mut ids: Vec<String> = Vec::new();
    for op in ops {
        match op {
            Op::Create {
                time,
                duration,
                content,
                trashed,
            } => {
                let mut event = json!({"streamIds": ["weight", "health"], "type": "test/anything",
                    "time": time, "content": content, "trashed": trashed});
                if let Some(duration) = duration {
                    event["duration"] = json!(duration);
                }
                let made = home.create_event(&person, &event).unwrap();
                ids.push(made["id"].as_str().unwrap().to_owned());
            }
            Op::Update {
                which,
                content,
                time,
            } if !ids.is_empty() => {
                let changes = json!({"content": content, "time": time});
                let id = ids[which % ids.len()].clone();
                // It may be deleted already.
                drop(home.update_event(&person, &id, &changes));
            }
            Op::Delete { which } if !ids.is_empty() => {
                let id = ids[which % ids.len()].clone();
                drop(home.delete_event(&person, &id));
            }
            Op::Wait => home.clock.advance(std::time::Duration::from_millis(1_500)),
            Op::Update { .. } | Op::Delete { .. } => {}
        }
    }
    home
}

/// Id, whether it is deleted, body, and the bodies of former versions.
type StoredBytes = (String, bool, Vec<u8>, Vec<Vec<u8>>);

/// Everything stored of events, to the byte.
fn stored(home: &Home, kind: Kind) -> Vec<StoredBytes> {
    home.look(|view| {
        view.list(kind, None, 10_000)
            .unwrap()
            .into_iter()
            .filter(|document| !document.id.starts_with(':'))
            .map(|document| {
                let history = view.history(kind, &document.id, Rev(0), 10_000).unwrap();
                let history = history.into_iter().map(|v| v.body.to_vec()).collect();
                (
                    document.id,
                    document.deleted,
                    document.body.to_vec(),
                    history,
                )
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Out and in again gives the same user: to the byte where bytes are stored, and in every
    /// record.
    #[test]
    fn import_undoes_export(
        ops in proptest::collection::vec(op(), 0..60),
        mode in 0_usize..3,
    ) {
        let mode = [DeletionMode::KeepNothing, DeletionMode::KeepAuthors, DeletionMode::KeepEverything][mode];
        let home = lived(&ops, mode);
        let records = export(&home);
        let again = import(&records).unwrap();
        for kind in [Kind::Event, Kind::Access, Kind::AccessUses, Kind::Stream, Kind::Profile] {
            prop_assert_eq!(stored(&again, kind), stored(&home, kind));
        }
        let without_ids = |records: Records| -> Records {
            // A former version has no id of its own.
            records.into_iter().map(|(kind, mut record)| {
                if record.contains_key("headId") { record.remove("id"); }
                (kind, record)
            }).collect()
        };
        prop_assert_eq!(without_ids(export(&again)), without_ids(records));
    }
}

#[test]
fn names_that_were_had_come_along() {
    let names = |former: &[&str]| account::Names {
        former: former.iter().map(|name| (*name).to_owned()).collect(),
        ..account::Names::default()
    };
    let plain = json!({"passwords": [{"time": 1, "hash": HASH}],
        "accountFields": [{"field": "email", "value": "a@b.c", "time": 1}]});
    let mut counted = plain.clone();
    counted["usernameChanges"] = json!(5);
    for (record, former, kept, changes, notes) in [
        (&plain, &[][..], &[][..], 0, 0),
        (&counted, &[], &[], 0, 0),
        (
            &plain,
            &["older", "elder", "older"],
            &["older", "elder"],
            2,
            0,
        ),
        (&counted, &["older"], &["older"], 5, 0),
        // The present one, random ones, and what can be nobody's.
        (
            &plain,
            &["samplebeta1", "r-abcdefgh", "No", "older"],
            &["older"],
            1,
            1,
        ),
    ] {
        let taken = account::read("samplebeta1", &map(record.clone()), &names(former)).unwrap();
        let had: Vec<&str> = taken
            .item
            .former_usernames
            .iter()
            .map(AsRef::as_ref)
            .collect();
        assert_eq!(
            (had.as_slice(), taken.item.username_changes),
            (kept, changes)
        );
        assert_eq!(taken.notes.len(), notes, "{former:?}");
        // Out, and in again.
        let again = account::read("samplebeta1", &account::write(&taken.item), &names(kept));
        let again = again.unwrap().item;
        assert_eq!(again.former_usernames, taken.item.former_usernames);
        assert_eq!(again.username_changes, changes);
    }
}

#[test]
fn an_access_keeps_its_alias() {
    let mut home = lived(&[], DeletionMode::KeepNothing);
    let asked = json!({"type": "app", "name": "an-app", "randomAlias": true,
        "permissions": [{"streamId": "*", "level": "read"}]});
    let made = home.create_access(&home.me(), &asked).unwrap();
    let update = json!({"name": "renamed"});
    let update = home.update_access(&home.me(), made["id"].as_str().unwrap(), &update);
    let records = export(&home);
    let again = import(&records).unwrap();
    let used = again.look(crate::access::alias::in_use).unwrap();
    let used: Vec<&str> = used.iter().map(AsRef::as_ref).collect();
    assert_eq!(used, [made["alias"].as_str().unwrap()]);
    assert_eq!(
        again.through(&made).access.stored.alias,
        home.through(&made).access.stored.alias
    );
    let shown = json!({"id": update.unwrap()["id"], "includeHistory": true});
    let read = |home: &Home| home.read(&home.person(), crate::Method::AccessesGetOne, &shown);
    assert_eq!(read(&again).unwrap(), read(&home).unwrap());

    let record = records
        .iter()
        .find(|(_, record)| record.get("alias") == made.get("alias"));
    let mut other = record.unwrap().1.clone();
    other.insert("alias".to_owned(), json!("somebody"));
    let taken = access::read(&other).unwrap();
    assert_eq!(taken.item.access.alias, None);
    assert!(taken.notes.iter().any(|note| note.field == "alias"));
}
