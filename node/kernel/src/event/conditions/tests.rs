//! What conditions hold of, and which are refused.

use std::borrow::Cow;

use serde_json::json;

use super::*;

fn parse_both(content: &Value, client_data: &Value) -> (Conditions, Vec<Violation>) {
    let params = json!({ "content": content, "clientData": client_data });
    let mut fields = Fields::strict(&params, &[], &["content", "clientData"]).unwrap();
    let read = Conditions::parse(&mut fields);
    let violations = fields
        .finish()
        .map_or_else(|invalid| invalid.0, |()| Vec::new());
    (read, violations)
}

fn parse(content: &Value) -> Result<Conditions, Vec<(&'static str, String)>> {
    let (read, violations) = parse_both(content, &Value::Null);
    if violations.is_empty() {
        return Ok(read);
    }
    Err(violations
        .into_iter()
        .map(|violation| match violation.code {
            Cow::Borrowed(code) => (code, violation.path),
            Cow::Owned(code) => panic!("{code} is of no table"),
        })
        .collect())
}

#[test]
fn each_operator_holds_and_does_not() {
    let event = json!({ "id": "x", "content": { "n": 72.5, "t": "cheval", "z": null,
        "in": { "side": [1, { "a": 1 }] } }, "clientData": { "app:k": 1 } })
    .to_string();
    let holds = |condition: Value| parse(&json!([condition])).unwrap().accept(event.as_bytes());
    for (yes, no) in [
        (
            json!({"path": "n", "eq": 72.5}),
            json!({"path": "n", "eq": "72.5"}),
        ),
        (
            json!({"path": "n", "neq": "72.5"}),
            json!({"path": "n", "neq": 72.50}),
        ),
        (
            json!({"path": "n", "in": [1, 72.5]}),
            json!({"path": "n", "in": ["72.5"]}),
        ),
        (
            json!({"path": "z", "exists": true}),
            json!({"path": "z", "exists": false}),
        ),
        (
            json!({"path": "no.thing", "exists": false}),
            json!({"path": "no.thing", "exists": true}),
        ),
        (
            json!({"path": "n", "gt": 72}),
            json!({"path": "n", "gt": 72.5}),
        ),
        (
            json!({"path": "n", "gte": 72.5}),
            json!({"path": "n", "gte": 73}),
        ),
        (
            json!({"path": "n", "lt": 73}),
            json!({"path": "n", "lt": "73"}),
        ),
        (
            json!({"path": "t", "lte": "cheval"}),
            json!({"path": "t", "lte": "chat"}),
        ),
        (
            json!({"path": "t", "prefix": "che"}),
            json!({"path": "n", "prefix": "7"}),
        ),
        (
            json!({"path": "z", "eq": null}),
            json!({"path": "nothing", "eq": null}),
        ),
        (
            json!({"path": "in.side", "eq": [1.0, {"a": 1}]}),
            json!({"path": "in.side.0", "eq": 1}),
        ),
        (
            json!({"path": "$", "exists": true}),
            json!({"path": "$", "gt": 0}),
        ),
        (
            json!({"path": "n", "neq": null}),
            json!({"path": "nothing", "neq": 1}),
        ),
    ] {
        assert!(holds(yes.clone()), "{yes}");
        assert!(!holds(no.clone()), "{no}");
    }
    let both = |content: Value, data: Value| parse_both(&content, &data).0.accept(event.as_bytes());
    let (good, bad) = (
        json!([{"path": "n", "gt": 1}]),
        json!([{"path": "n", "gt": 99}]),
    );
    let data = json!([{"path": "app:k", "eq": 1}]);
    assert!(both(good.clone(), data.clone()) && !both(bad, data));
    assert!(!both(good, json!([{"path": "app:k", "eq": 2}])));
    let text = Value::from(r#"[{"path":"n","gt":1},{"path":"t","prefix":"c"}]"#);
    assert!(parse(&text).unwrap().accept(event.as_bytes()));
    let none = parse(&json!([{"path": "$", "exists": false}])).unwrap();
    assert!(none.accept(br#"{"id":"y"}"#) && !none.accept(event.as_bytes()));
}

#[test]
fn what_is_malformed_is_refused() {
    let one = |condition: Value| json!([condition]);
    for (bad, code, path) in [
        (json!({}), "INVALID_TYPE", "#/content"),
        (json!("no json"), "INVALID_TYPE", "#/content"),
        (json!([]), "ARRAY_LENGTH_SHORT", "#/content"),
        (
            json!(vec![json!({"path": "a", "eq": 1}); 11]),
            "ARRAY_LENGTH_LONG",
            "#/content",
        ),
        (one(json!("a")), "INVALID_TYPE", "#/content/0"),
        (
            one(json!({"eq": 1})),
            "OBJECT_MISSING_REQUIRED_PROPERTY",
            "#/content/0/",
        ),
        (
            one(json!({"path": 1, "eq": 1})),
            "INVALID_TYPE",
            "#/content/0/path",
        ),
        (
            one(json!({"path": "", "eq": 1})),
            "PATTERN",
            "#/content/0/path",
        ),
        (
            one(json!({"path": "a..b", "eq": 1})),
            "PATTERN",
            "#/content/0/path",
        ),
        (
            one(json!({"path": "$.a", "eq": 1})),
            "PATTERN",
            "#/content/0/path",
        ),
        (
            one(json!({"path": "a' OR 1", "eq": 1})),
            "PATTERN",
            "#/content/0/path",
        ),
        (
            one(json!({"path": "a.".repeat(200) + "a", "eq": 1})),
            "PATTERN",
            "#/content/0/path",
        ),
        (one(json!({"path": "a"})), "ONE_OF_MISSING", "#/content/0"),
        (
            one(json!({"path": "a", "like": 1})),
            "OBJECT_ADDITIONAL_PROPERTIES",
            "#/content/0",
        ),
        (
            one(json!({"path": "a", "gt": 1, "lt": 2})),
            "OBJECT_ADDITIONAL_PROPERTIES",
            "#/content/0",
        ),
        (
            one(json!({"path": "a", "gt": null})),
            "INVALID_TYPE",
            "#/content/0/gt",
        ),
        (
            one(json!({"path": "a", "in": 1})),
            "INVALID_TYPE",
            "#/content/0/in",
        ),
        (
            one(json!({"path": "a", "in": []})),
            "ARRAY_LENGTH_SHORT",
            "#/content/0/in",
        ),
        (
            one(json!({"path": "a", "in": vec![1; 101]})),
            "ARRAY_LENGTH_LONG",
            "#/content/0/in",
        ),
        (
            one(json!({"path": "a", "exists": 1})),
            "INVALID_TYPE",
            "#/content/0/exists",
        ),
        (
            one(json!({"path": "a", "prefix": 1})),
            "INVALID_TYPE",
            "#/content/0/prefix",
        ),
    ] {
        assert_eq!(parse(&bad), Err(vec![(code, path.to_owned())]), "{bad}");
    }
}
