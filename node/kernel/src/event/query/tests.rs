//! The forms of a streams query.

use serde_json::json;

use super::*;

fn ids(selectors: &[Selector]) -> Vec<String> {
    selectors
        .iter()
        .map(|s| format!("{}{}", s.id, if s.deep { "" } else { "!" }))
        .collect()
}

#[test]
fn the_three_forms_and_their_texts() {
    for same in [
        json!("A"),
        json!(["A"]),
        json!({ "any": ["A"] }),
        json!([{ "any": ["A"] }]),
        json!("[\"A\"]"),
        json!("{\"any\":[\"A\"]}"),
        json!("\"A\""),
    ] {
        let query = StreamsQuery::parse(&same).unwrap();
        assert_eq!(query.clauses.len(), 1, "{same}");
        assert_eq!(ids(&query.clauses[0].any), ["A"], "{same}");
    }
    let full = json!([{ "any": ["A", "B!"], "all": ["C"], "not": ["D!"] }, { "any": ["*"] }]);
    let query = StreamsQuery::parse(&full).unwrap();
    assert_eq!(ids(&query.clauses[0].any), ["A", "B!"]);
    assert_eq!(ids(&query.clauses[0].all), ["C"]);
    assert_eq!(ids(&query.clauses[0].not), ["D!"]);
    assert!(query.clauses[1].is_star());
}

#[test]
fn a_list_is_grouped_by_store() {
    let query = StreamsQuery::parse(&json!(["A", ":_system:language", "B"])).unwrap();
    assert_eq!(query.clauses.len(), 2);
    assert_eq!(ids(&query.clauses[0].any), ["A", "B"]);
    assert_eq!(StreamsQuery::parse(&json!([])).unwrap().clauses, []);
    let query = StreamsQuery::parse(&json!([":_audit:", "*"])).unwrap();
    assert_eq!(ids(&query.clauses[0].any), [":_audit:"]);
    assert!(query.clauses[1].is_star(), "alone in its store");
}

#[test]
fn everything_else_is_refused() {
    for wrong in [
        json!("[\"A\""),
        json!("{any:[]}"),
        json!(1),
        json!(["A", { "any": ["B"] }]),
        json!(["A", null]),
        json!([null]),
        json!([1]),
        json!({}),
        json!({ "all": ["A"] }),
        json!({ "any": [] }),
        json!({ "any": ["A"], "some": ["B"] }),
        json!({ "any": "A" }),
        json!({ "any": [1] }),
        json!({ "any": ["A"], "not": "B" }),
        json!(["#*"]),
        json!(["a\"b"]),
        json!(["a'b"]),
        json!(["a\\b"]),
        json!(["a\nb"]),
        json!(["a\u{0}b"]),
        json!(["a\u{1a}b"]),
        json!([""]),
        json!({ "any": ["A"], "all": ["*"] }),
        json!({ "any": ["A"], "not": ["*"] }),
        json!(["*", "A"]),
        json!(["*", ":_audit:", "A"]),
        json!({ "any": ["*", "A"] }),
        json!({ "any": ["*"], "all": ["A"] }),
        json!({ "any": ["A", ":_audit:x"] }),
        json!({ "any": ["A"], "not": [":_system:language"] }),
    ] {
        assert!(StreamsQuery::parse(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn every_id_is_a_part() {
    let ids = |count: usize| vec!["a"; count];
    for (query, is_taken) in [
        (json!(ids(PARTS_MAX)), true),
        (json!(ids(PARTS_MAX + 1)), false),
        (json!({ "any": ids(PARTS_MAX - 1) }), true),
        (json!({ "any": ids(PARTS_MAX) }), false),
        (json!({ "any": ["a"], "all": ids(PARTS_MAX) }), false),
        (json!([{ "any": ids(6_000) }, { "any": ids(6_000) }]), false),
    ] {
        assert_eq!(StreamsQuery::parse(&query).is_ok(), is_taken);
    }
}
