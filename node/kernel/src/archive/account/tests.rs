//! Addresses of an account, out and in again.

use super::*;

const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

#[test]
fn every_address_comes_along_as_it_was_proved() {
    let plain = json!({"passwords": [{"time": 1, "hash": HASH}],
        "accountFields": [{"field": "email", "value": "a@b.c", "time": 1}]});
    let link = json!({"hash": "aGFzaA==", "sent": 1_700_000_000.5});
    let list = json!([
        {"value": "A@b.c", "primary": true, "status": "verified", "verifiedAt": 5.25,
            "verificationMethod": "email-link"},
        {"value": "b@b.c", "status": "verified", "verifiedAt": 7.5, "verificationMethod": "operator"},
        {"value": "c@b.c", "status": "pending", "verifiedAt": null, "verificationMethod": null,
            "link": link},
        {"value": "d@b.c", "status": "verified", "verificationMethod": null},
        {"value": "d@b.c", "status": "pending"},
        {"value": "none of these"},
    ]);
    let names = |emails: &[&str]| Names {
        emails: emails.iter().map(|email| (*email).to_owned()).collect(),
        ..Names::default()
    };
    let read = |record: &Value, emails: &[&str]| {
        read("samplebeta1", record.as_object().unwrap(), &names(emails))
    };
    let mut several = plain.clone();
    several["emails"] = list;
    several["emailChanges"] = json!(9);
    // The platform's part knows one more, and one that is none.
    let taken = read(&several, &["c@b.c", "a@b.c", "e@b.c", "no address"]).unwrap();
    assert_eq!(taken.notes.len(), 2);
    let account = taken.item;
    let others: Vec<&str> = account.other_emails().map(AsRef::as_ref).collect();
    assert_eq!(others, ["b@b.c", "c@b.c", "d@b.c", "e@b.c"]);
    assert_eq!(
        (account.email.as_str(), account.email_changes),
        ("a@b.c", 9)
    );
    assert_eq!(account.email_verified, Some(Millis(5_250)));
    let record = Value::Object(write(&account));
    let said = |at: usize, name: &str| record["emails"][at][name].clone();
    let methods: Vec<Value> = (0..5).map(|at| said(at, "verificationMethod")).collect();
    assert_eq!(
        Value::from(methods),
        json!(["email-link", "operator", null, "legacy", null])
    );
    assert_eq!(said(2, "link"), several["emails"][2]["link"]);
    // Out, and in again: the same, to the byte.
    let again = read(&record, &others).unwrap();
    assert!(again.notes.is_empty(), "{:?}", again.notes);
    let bytes = |account: &Account| serde_json::to_vec(account).unwrap();
    assert_eq!(bytes(&again.item), bytes(&account));
    assert_eq!(Value::Object(write(&again.item)), record);

    // An account with one address has no list, and what the platform's part adds waits to be proved.
    let taken = read(&plain, &["a@b.c"]).unwrap().item;
    assert!(!write(&taken).contains_key("emails"));
    let taken = read(&plain, &["z@b.c", "a@b.c"]).unwrap().item;
    let record = Value::Object(write(&taken));
    assert_eq!(record["emails"][1]["status"], "pending");

    let many: Vec<String> = (0..20).map(|n| format!("{n}@b.c")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(read(&plain, &many[1..]).is_ok());
    assert_eq!(read(&plain, &many).unwrap_err().field, "emails");
    for bad in [
        json!({}),
        json!([1]),
        json!([{"value": 1}]),
        json!([{"value": "x@b.c", "verifiedAt": "then"}]),
        json!([{"value": "x@b.c", "link": {"hash": "aGFzaA=="}}]),
        json!([{"value": "x@b.c", "link": {"hash": 1, "sent": 1}}]),
    ] {
        let mut record = plain.clone();
        record["emails"] = bad;
        assert_eq!(read(&record, &[]).unwrap_err().field, "emails", "{record}");
    }
}

#[test]
fn former_passwords_come_along_in_their_order() {
    let hash = |n: u8| HASH.replace("CCCC.", &format!("CCC{n}."));
    let entry = |n: u8, time: i32| json!({"time": time, "hash": hash(n)});
    let record = json!({
        "passwords": [entry(2, 20), {"time": 25, "hash": "plain"}, entry(4, 40), entry(3, 30), entry(1, 10)],
        "accountFields": [{"field": "email", "value": "a@b.c", "time": 1}]});
    let read =
        |record: &Map<String, Value>| read("samplebeta1", record, &Names::default()).unwrap().item;
    let account = read(record.as_object().unwrap());
    assert_eq!(account.password_hash, hash(4));
    assert_eq!(account.former_passwords, [hash(3), hash(2), hash(1)]);
    let again = read(&write(&account));
    assert_eq!(again.password_set, account.password_set);
    assert_eq!(again.password_hash, account.password_hash);
    assert_eq!(again.former_passwords, account.former_passwords);
}

#[test]
fn the_platform_knows_a_language_and_keeps_names_to_itself() {
    let mut record = json!({"passwords": [{"time": 1, "hash": HASH}],
        "accountFields": [{"field": "email", "value": "a@b.c", "time": 1}]});
    let names = Names {
        language: Some("de".to_owned()),
        ..Names::default()
    };
    let of = |record: &Value, name: &str| read(name, record.as_object().unwrap(), &names);
    assert_eq!(of(&record, "samplebeta1").unwrap().item.language, "de");
    let language = json!({"field": "language", "value": "fr", "time": 1});
    record["accountFields"]
        .as_array_mut()
        .unwrap()
        .push(language);
    assert_eq!(of(&record, "samplebeta1").unwrap().item.language, "fr");
    for name in ["admin", "system", "account"] {
        assert_eq!(of(&record, name).unwrap_err().field, "username");
    }
}
