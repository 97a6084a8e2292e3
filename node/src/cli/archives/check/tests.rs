//! What is damage, where it is, and what of it is sent.

use std::path::Path;

use homecore_archive::{Archive, Unlock};
use homecore_kernel::archive::account::Names;
use serde_json::json;

use super::*;
use crate::cli::archives::folder::Folder;
use crate::cli::archives::tests::Scratch;
use crate::cli::import::sender::tests::sent;

const USER: &str = "users/cku0sampleuser0000000001";
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

/// A user with some lines in some files.
fn archive(root: &Path, files: &[(&str, Vec<Value>)], stats: Value) {
    let write = |path: &str, text: String| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let user = json!({"userId": "cku0sampleuser0000000001", "username": "samplebeta1",
        "stats": stats});
    write(&format!("{USER}/user-manifest.json"), user.to_string());
    let manifest = json!({"formatVersion": 1, "users": [user], "compressed": false});
    write("manifest.json", manifest.to_string());
    let account = json!({"passwords": [{"time": 1, "hash": HASH}],
        "accountFields": [{"field": "email", "value": "a@b.c", "time": 1}]});
    write(&format!("{USER}/account.jsonl"), account.to_string());
    for (file, records) in files {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        write(&format!("{USER}/{file}"), lines);
    }
}

/// What is told of it, whether it is good without the flag, and the records that are sent with it.
fn checked(name: &str, files: &[(&str, Vec<Value>)], stats: Value) -> (String, bool, Vec<Value>) {
    let scratch = Scratch::new(name);
    let root = scratch.at("archive");
    archive(&root, files, stats);
    let archive = Archive::open(Folder::at(&root), &Unlock::default()).unwrap();
    let user = archive.user(&archive.manifest().users[0]).unwrap();
    let (report, plan) = check(&user, &Names::default());
    let text = report.text();
    assert!(report.is_good(true), "{text}");
    let is_good = report.is_good(false);
    (text, is_good, sent(&user, &plan, !is_good))
}

fn access(id: &str, other: Value) -> Value {
    let mut access = json!({"id": id, "token": "t", "type": "app", "name": "n", "permissions": [],
        "created": 1, "createdBy": "x", "modified": 1, "modifiedBy": "x"});
    if let (Value::Object(access), Value::Object(other)) = (&mut access, other) {
        access.extend(other);
    }
    access
}

fn event(id: &str, other: Value) -> Value {
    let mut event = json!({"id": id, "streamIds": ["a"], "type": "a/b", "time": 1, "created": 1,
        "createdBy": "x", "modified": 1, "modifiedBy": "x"});
    if let (Value::Object(event), Value::Object(other)) = (&mut event, other) {
        event.extend(other);
    }
    event
}

/// Ids, with what they are versions of.
fn told(sent: &[Value]) -> Vec<String> {
    sent.iter()
        .map(|record| {
            let text = |name: &str| record[name].as_str().unwrap_or_default();
            let head = text("headId");
            let of = if head.is_empty() { "" } else { " of " };
            format!("{}{of}{head}", text("id"))
        })
        .collect()
}

#[test]
fn older_versions_of_accesses_never_live() {
    let accesses = vec![
        access("old", json!({})),
        access("older", json!({"headId": "old"})),
        access("live", json!({"serial": 1, "modified": 5})),
    ];
    let (text, is_good, sent) = checked("versions", &[("accesses.jsonl", accesses)], json!({}));
    assert!(is_good, "{text}");
    assert!(
        text.contains("1 accesses, 2 former versions of accesses"),
        "{text}"
    );
    assert!(text.contains(r#"accesses.jsonl, line 1: access "old" is an older version of "live""#));
    assert_eq!(told(&sent), ["live", "old of live", "older of live"]);
}

#[test]
fn two_owners_of_one_token_are_damage() {
    let accesses = vec![
        access("one", json!({})),
        access("two", json!({"createdBy": "y", "modified": 2, "name": "m"})),
        access("lost", json!({"headId": "one"})),
        access("two", json!({"token": "u", "name": "o"})),
    ];
    let (text, is_good, sent) = checked("owners", &[("accesses.jsonl", accesses)], json!({}));
    assert!(!is_good);
    for part in [
        r#"accesses.jsonl, line 1: access "one" has the token, or the type and name, of access "two""#,
        r#"line 3: it is a former version of access "one", which is not there"#,
        r#"line 4: access "two" is there twice"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert_eq!(told(&sent), ["two"]);
}

#[test]
fn what_comes_twice_or_without_its_head_is_told_by_its_line() {
    let stream = json!({"id": "a", "name": "n", "created": 1, "createdBy": "x", "modified": 1,
        "modifiedBy": "x"});
    let mut system = stream.clone();
    system["id"] = json!(":_system:account");
    let profile = json!({"id": "an-app", "data": {}});
    let first = vec![
        event("e1", json!({})),
        event("v1", json!({"headId": "e1"})),
        event("v2", json!({"headId": "gone"})),
        event("v3", json!({"headId": "bad"})),
        event("field", json!({"streamIds": [":_system:email"]})),
        event(
            "v4",
            json!({"headId": "field", "streamIds": [":_system:email"]}),
        ),
    ];
    let second = vec![
        event("e1", json!({"content": "again"})),
        event("bad", json!({"time": "then"})),
        json!({"id": "e2", "deleted": 5}),
        json!({"id": "e2", "deleted": 6}),
    ];
    let files = [
        ("streams.jsonl", vec![stream.clone(), stream, system]),
        ("profile.jsonl", vec![profile.clone(), profile]),
        ("events/events-0001.jsonl", first),
        ("events/events-0002.jsonl", second),
    ];
    let (text, is_good, sent) = checked("twice", &files, json!({}));
    assert!(!is_good);
    for part in [
        r#"streams.jsonl, line 2: stream "a" is there twice"#,
        r#"streams.jsonl, line 3, field "id": is reserved"#,
        "profile.jsonl, line 2: profile \"app:an-app\" is there twice",
        r#"events-0001.jsonl, line 3: it is a former version of event "gone", which is not there"#,
        r#"events-0001.jsonl, line 4: it is a former version of event "bad", which is not there"#,
        r#"events-0002.jsonl, line 1: event "e1" is there twice"#,
        r#"events-0002.jsonl, line 2, field "time""#,
        r#"events-0002.jsonl, line 4: event "e2" is there twice"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(
        text.contains("1 former versions of account fields"),
        "{text}"
    );
    assert_eq!(told(&sent), ["a", "an-app", "e1", "e2", "v1 of e1"]);
}

#[test]
fn attachments_that_are_counted_are_there() {
    for (count, is_there) in [(0, true), (1, false)] {
        let (text, is_good, _) = checked("files", &[], json!({"attachments": count}));
        assert_eq!(is_good, is_there, "{text}");
        let said = "user-manifest.json counts 1 attachments, but 0 are in users/";
        assert_eq!(text.contains(said), !is_there, "{text}");
    }
}

#[test]
fn what_an_export_left_out_is_said_and_no_damage() {
    let scratch = Scratch::new("lacking");
    let root = scratch.at("archive");
    archive(&root, &[], json!({}));
    let path = root.join(USER).join("user-manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["damagedLeftOut"] = json!(3);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let archive = Archive::open(Folder::at(&root), &Unlock::default()).unwrap();
    let user = archive.user(&archive.manifest().users[0]).unwrap();
    let (report, _) = check(&user, &Names::default());
    assert!(report.is_good(false));
    let said = "note: the archive is not whole: 3 damaged were left out of it";
    assert!(report.text().contains(said), "{}", report.text());
    assert_eq!(report.json(false)["damagedLeftOut"], 3);
}

#[test]
fn a_missing_account_is_named() {
    let scratch = Scratch::new("account");
    let root = scratch.at("archive");
    archive(&root, &[], json!({}));
    std::fs::remove_file(root.join(USER).join("account.jsonl")).unwrap();
    let archive = Archive::open(Folder::at(&root), &Unlock::default()).unwrap();
    let user = archive.user(&archive.manifest().users[0]).unwrap();
    let (report, _) = check(&user, &Names::default());
    let broken = report.broken.unwrap();
    assert!(
        broken.contains(&format!("{USER}/account.jsonl")),
        "{broken}"
    );
}

#[test]
fn the_platform_says_what_accounts_do_not() {
    let scratch = Scratch::new("platform");
    let root = scratch.at("archive");
    archive(&root, &[], json!({}));
    let rows = [
        json!({"isUnique": true, "field": "email", "username": "samplebeta1", "value": "a@b.c"}),
        json!({"key": "user-unique/email/b/c@d.e", "value": "samplebeta1"}),
        json!({"key": "user-indexed/language/samplebeta1", "value": "de"}),
        json!({"isUnique": false, "field": "language", "username": "other", "value": "fr"}),
        json!({"isUnique": true, "field": "alias", "username": "other", "value": "older"}),
    ];
    std::fs::create_dir_all(root.join("platform")).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(root.join("platform/platform.jsonl"), lines).unwrap();
    let archive = Archive::open(Folder::at(&root), &Unlock::default()).unwrap();
    let names = platform_names(&archive).unwrap();
    let (one, other) = (&names["samplebeta1"], &names["other"]);
    assert_eq!(one.emails, ["a@b.c", "b/c@d.e"]);
    assert_eq!(one.language.as_deref(), Some("de"));
    assert_eq!(other.language.as_deref(), Some("fr"));
    assert_eq!(other.former, ["older"]);
}
