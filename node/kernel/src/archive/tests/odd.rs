//! Records that would be something else here than they were: two owners of one token, versions of authors,
//! streams that are the platform's.

use super::*;

#[test]
fn one_token_and_one_name_lead_to_one_access() {
    let access = |id: &str, token: &str, name: &str| {
        json!({"id": id, "token": token, "type": "app", "name": name, "permissions": [],
            "created": 1, "createdBy": "x", "modified": 1, "modifiedBy": "x"})
    };
    let first = access("a1", "t", "n");
    let mut deleted = access("a0", "t", "n");
    deleted["deleted"] = json!(5);
    for (second, what) in [
        (access("a2", "t", "m"), Some("token")),
        (access("a2", "u", "n"), Some("type and name")),
        (access("a2", "u", "m"), None),
        (deleted, None),
    ] {
        let mut records = golden_records();
        records.extend([&first, &second].map(|it| (Kind::Access, map(it.clone()))));
        let shared = match import(&records) {
            Err(ImportError::Shared { id, other, what }) => {
                assert_eq!((&*id, &*other), ("a2", "a1"));
                Some(what)
            }
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        };
        assert_eq!(shared, what, "{second}");
    }
}

/// Whoever sends it: no row of the index leads from a token to who had it.
#[test]
fn a_revoked_token_does_not_live_on() {
    let access = |id: &str, serial: u32, deleted: Value| {
        json!({"id": id, "token": "t", "type": "app", "name": "n", "permissions": [], "created": 1,
            "createdBy": "x", "modified": 1, "modifiedBy": "x", "serial": serial, "deleted": deleted})
    };
    for (deleted, is_refused) in [(json!(null), false), (json!(5), true)] {
        let mut records = golden_records();
        if is_refused {
            records.push((Kind::Access, map(access("old", 0, json!(null)))));
        }
        records.push((Kind::Access, map(access("now", 1, deleted))));
        let home = import(&records).unwrap();
        let checked = home.look(crate::archive::import::check_lineage);
        assert_eq!(
            matches!(checked, Err(ImportError::Shared { id, other, .. }) if (&*id, &*other) == ("old", "now")),
            is_refused
        );
    }
}

#[test]
fn authors_are_versions_of_accesses() {
    let read = |by: &str, serial: Value| {
        let record = json!({"id": "a", "token": "t", "type": "app", "name": "n", "created": 1,
            "createdBy": by, "createdBySerial": serial, "modified": 1, "modifiedBy": "y",
            "modifiedBySerial": 7});
        access::read(&map(record)).unwrap().item.access
    };
    for (by, serial, author) in [
        ("x", json!(2), "x:2"),
        ("x robot", json!(2), "x:2 robot"),
        ("x", json!(0), "x"),
        ("x", json!(null), "x"),
        ("x:3", json!(2), "x:3"),
    ] {
        let access = read(by, serial);
        assert_eq!(access.created_by, author);
        assert_eq!(access.modified_by, "y:7");
    }
}

#[test]
fn reserved_streams_are_damage() {
    for (id, is_taken) in [
        ("health", true),
        ("*", false),
        ("null", false),
        (":_system:account", false),
        (":system:email", false),
        (":_audit:", false),
        (":_emails:", false),
    ] {
        for deleted in [json!(null), json!(5)] {
            let record = json!({"id": id, "name": "n", "created": 1, "createdBy": "x",
                "modified": 1, "modifiedBy": "x", "deleted": deleted});
            assert_eq!(stream::read(&map(record)).is_ok(), is_taken, "{id}");
        }
    }
}
