//! Versions that do not say so, and what only looks like one.

use serde_json::{Map, Value, json};

use super::*;
use crate::archive::access::read;

/// An access of the token `t`, with some members other than usual.
fn access(id: &str, other: Value) -> StoredAccess {
    let mut map: Map<String, Value> = serde_json::from_value(json!({
        "id": id, "token": "t", "type": "app", "name": "n", "permissions": [],
        "created": 1, "createdBy": "x", "modified": 1, "modifiedBy": "x",
    }))
    .unwrap();
    if let Value::Object(other) = other {
        map.extend(other);
    }
    *read(&map).unwrap().item.access
}

fn settled(accesses: &[(&str, Value)]) -> Vec<String> {
    let mut lineage = Lineage::default();
    for (id, other) in accesses {
        lineage.add(id, &access(id, other.clone()));
    }
    let told = |(id, standing)| match standing {
        Standing::FormerOf(head) => format!("{id} was {head}"),
        Standing::Disputed(rival) => format!("{id} against {rival}"),
    };
    lineage.settle().into_iter().map(told).collect()
}

#[test]
fn what_an_update_left_is_a_former_version() {
    for (accesses, expected) in [
        // In either order, renamed meanwhile, and of several versions each of the last.
        (
            vec![("a", json!({})), ("b", json!({"serial": 1, "modified": 5}))],
            vec!["a was b"],
        ),
        (
            vec![
                ("a", json!({"serial": 2, "modified": 5, "name": "m"})),
                ("b", json!({"serial": 1, "modified": 5})),
                ("c", json!({})),
            ],
            vec!["b was a", "c was a"],
        ),
        // Of one that was revoked.
        (
            vec![
                ("a", json!({})),
                ("b", json!({"serial": 1, "modified": 5, "deleted": 9})),
            ],
            vec!["a was b"],
        ),
        // Of one that is itself a version, by its name.
        (
            vec![
                ("a", json!({})),
                ("b", json!({"serial": 1})),
                ("c", json!({"serial": 2, "token": "other"})),
            ],
            vec!["a was c", "b was c"],
        ),
        // Found by its name only.
        (
            vec![
                ("a", json!({})),
                ("b", json!({"serial": 1, "token": "other"})),
            ],
            vec!["a was b"],
        ),
    ] {
        assert_eq!(settled(&accesses), expected, "{accesses:?}");
    }
}

#[test]
fn what_is_not_certain_is_nobodys() {
    for (accesses, expected) in [
        // Two of one token: the later one stands, or the first.
        (
            vec![
                ("a", json!({})),
                ("b", json!({"name": "m", "modified": 2, "createdBy": "y"})),
            ],
            vec!["a against b"],
        ),
        (
            vec![("a", json!({})), ("b", json!({}))],
            vec!["b against a"],
        ),
        // An earlier number that was changed later.
        (
            vec![
                ("a", json!({"modified": 6})),
                ("b", json!({"serial": 1, "modified": 5})),
            ],
            vec!["a against b"],
        ),
        // A token that was revoked, whatever the number.
        (
            vec![
                ("a", json!({"serial": 2, "modified": 9})),
                ("b", json!({"serial": 1, "deleted": 5})),
            ],
            vec!["a against b"],
        ),
        (
            vec![("a", json!({"name": "m"})), ("b", json!({"deleted": 5}))],
            vec!["a against b"],
        ),
        // The head gives way by its name, and with it what it was.
        (
            vec![
                ("a", json!({})),
                ("b", json!({"serial": 1})),
                (
                    "c",
                    json!({"serial": 2, "token": "other", "createdBy": "y"}),
                ),
            ],
            vec!["a against c", "b against c"],
        ),
        // One name.
        (
            vec![("a", json!({})), ("b", json!({"token": "other"}))],
            vec!["b against a"],
        ),
    ] {
        assert_eq!(settled(&accesses), expected, "{accesses:?}");
    }
}

#[test]
fn what_has_nothing_to_do_with_it_stays() {
    for accesses in [
        vec![],
        vec![("a", json!({}))],
        vec![
            ("a", json!({})),
            ("b", json!({"token": "other", "name": "m"})),
            ("c", json!({"token": "more", "deviceName": "phone"})),
            ("d", json!({"token": "most", "type": "shared"})),
        ],
        // Made anew after it was deleted, and deleted twice.
        vec![
            ("a", json!({"created": 7, "modified": 7})),
            ("b", json!({"deleted": 5})),
            ("c", json!({"deleted": 6})),
        ],
        // A name that is free again.
        vec![
            ("a", json!({"token": "other"})),
            ("b", json!({"deleted": 5})),
        ],
    ] {
        assert_eq!(settled(&accesses), Vec::<String>::new(), "{accesses:?}");
    }
}
