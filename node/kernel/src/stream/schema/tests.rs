//! What a platform may declare, and how what it may not is told.

use serde_json::json;

use super::declaration::DEPTH_MAX;
use super::*;

fn declared(account: Value) -> Result<Schema, SchemaError> {
    Schema::parse(&json!({ "systemStreams": { "account": account } }))
}

#[test]
fn a_declaration_is_read_as_it_is_written_for_the_original_server() {
    let schema = Schema::parse(&json!({ "systemStreams": {
        "account": [
            { "id": "insuranceNumber", "name": "Insurance Number", "type": "identifier/string",
              "isUnique": true, "isShown": false, "isEditable": false,
              "isRequiredInValidation": true, "regexValidation": "^[A-Z0-9]{10}$" },
            { "id": "contact", "name": "Contact", "type": "string/pryv", "children": [
                { "id": "phone", "name": "Phone", "type": "phone/string", "isIndexed": true,
                  "default": "none" },
            ] },
        ],
        "other": [
            { "id": "clientApp", "name": "Client apps", "type": "identifier/string",
              "children": [{ "id": "inside", "name": "Inside" }] },
        ],
    } }))
    .unwrap();
    let insurance = schema.field("insuranceNumber").unwrap();
    assert_eq!(insurance.id, ":system:insuranceNumber");
    assert_eq!(insurance.parent.as_deref(), Some(ACCOUNT_ROOT));
    assert!(!insurance.shown && !insurance.editable);
    assert!(insurance.rules.unique && insurance.rules.indexed && insurance.rules.required);
    assert!(
        insurance
            .rules
            .check("insuranceNumber", "ABCDEF0123")
            .is_ok()
    );
    let (code, _) = insurance
        .rules
        .check("insuranceNumber", "short")
        .unwrap_err();
    assert_eq!(code, "PATTERN");
    let phone = schema.field("phone").unwrap();
    assert_eq!(phone.parent.as_deref(), Some(":system:contact"));
    assert!(phone.shown && phone.editable && phone.rules.indexed && !phone.rules.unique);
    assert_eq!(phone.rules.default.as_deref(), Some("none"));
    let children: Vec<&str> = schema.children_of(":system:contact").collect();
    assert_eq!(children, [":system:phone"]);
    // What every platform has is there all the same.
    assert!(schema.get(":_system:language").is_some() && schema.field("email").is_none());
    let first: Vec<_> = schema
        .first_streams()
        .iter()
        .map(|stream| (stream.id.as_str(), stream.parent.as_deref()))
        .collect();
    assert_eq!(first, [("clientApp", None), ("inside", Some("clientApp"))]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let field = |key: &str, value: Value| {
        let mut field = json!({ "id": "phone", "name": "Phone", "type": "phone/string" });
        field[key] = value;
        field
    };
    for (account, at, problem) in [
        (json!({}), "", "must be a list of tables"),
        (json!([1]), "[0]", "must be a table"),
        (
            json!([{ "name": "x", "type": "a/b" }]),
            "[0].id",
            "is missing",
        ),
        (
            json!([field("id", json!("a b"))]),
            "[0].id",
            "must be 1 to 100",
        ),
        (
            json!([field("id", json!("email"))]),
            "[0].id",
            "email is built in",
        ),
        (
            json!([field("name", json!(""))]),
            "[0].name",
            "must have 1 to 100",
        ),
        (
            json!([field("type", json!("Phone"))]),
            "[0].type",
            "must be of the form",
        ),
        (
            json!([field("type", json!("series/x"))]),
            "[0].type",
            "must be of the form",
        ),
        (
            json!([field("isUnique", json!("yes"))]),
            "[0].isUnique",
            "must be true or false",
        ),
        (
            json!([field("regexValidation", json!("("))]),
            "[0].regexValidation",
            "",
        ),
        (
            json!([field("regexError", json!({ "code": "x" }))]),
            "[0].regexError",
            "must have a code",
        ),
        (
            json!([field("default", json!(1))]),
            "[0].default",
            "must be a text",
        ),
        (
            json!([field("colour", json!(1))]),
            "[0].colour",
            "is no key here",
        ),
        (
            json!([field("name", json!("P")), field("id", json!("PHONE"))]),
            "[1].id",
            "is there already",
        ),
    ] {
        let error = declared(account.clone()).unwrap_err();
        let wanted = format!("custom.systemStreams.account{at}");
        assert_eq!(error.at, wanted, "{account}: {error}");
        assert!(error.problem.contains(problem), "{account}: {error}");
    }
    let mut unique = field("isUnique", json!(true));
    unique["default"] = json!("none");
    let error = declared(json!([unique])).unwrap_err();
    assert_eq!(error.problem, "a unique field can have no default");
    let mut deep = field("name", json!("x"));
    for depth in 0..DEPTH_MAX {
        deep = json!({ "id": format!("d{depth}"), "name": "x", "type": "a/b", "children": [deep] });
    }
    assert!(
        declared(json!([deep]))
            .unwrap_err()
            .problem
            .starts_with("is deeper")
    );
    let error = Schema::parse(&json!({ "dataStores": [] })).unwrap_err();
    assert_eq!(error.at, "custom.dataStores");
}

#[test]
fn a_value_that_does_not_fit_has_the_code_and_the_text_that_were_declared() {
    let schema = declared(json!([{ "id": "avs", "name": "AVS", "type": "string/pryv",
        "regexValidation": "^756", "regexError": { "code": "avs-invalid", "message": "No AVS" } }]));
    let schema = schema.unwrap();
    let rules = &schema.field("avs").unwrap().rules;
    let violation = rules.read("avs", &json!("1"), "#").unwrap_err().to_json();
    assert_eq!(
        violation,
        json!({ "code": "avs-invalid", "message": "No AVS", "path": "#/avs", "param": "avs" })
    );
    let violation = rules.read("avs", &json!(756), "#").unwrap_err().to_json();
    assert_eq!(violation["code"], "INVALID_TYPE");
    let long = "7".repeat(VALUE_CHARS_MAX + 1);
    let violation = rules.read("avs", &json!(long), "#").unwrap_err().to_json();
    assert_eq!(violation["code"], "MAX_LENGTH");
    assert!(rules.read("avs", &json!("756.1"), "#").is_ok());
}

#[test]
fn what_is_unique_or_required_is_not_empty() {
    for (key, code) in [
        ("isUnique", Some("MIN_LENGTH")),
        ("isRequiredInValidation", Some("MIN_LENGTH")),
        ("isIndexed", None),
    ] {
        let schema = declared(json!([
            { "id": "own", "name": "Own", "type": "string/pryv", key: true },
        ]));
        let checked = schema.unwrap().field("own").unwrap().rules.check("own", "");
        assert_eq!(checked.err().map(|(code, _)| code).as_deref(), code);
    }
}

#[test]
fn a_declaration_follows_another_that_loses_and_doubles_nothing() {
    let field = |id: &str, unique: bool| json!({ "id": id, "name": id, "type": "string/pryv", "isUnique": unique });
    let of = |fields: &[Value]| declared(Value::from(fields)).unwrap();
    let before = of(&[field("plain", false), field("sole", true)]);
    let follows = |fields: &[Value]| of(fields).may_follow(&before).map_err(|error| error.at);
    assert_eq!(
        follows(&[field("plain", false), field("sole", true)]),
        Ok(())
    );
    let more = [
        field("new", true),
        field("sole", false),
        field("plain", false),
    ];
    assert_eq!(
        follows(&more),
        Ok(()),
        "a new field, and one that is unique no more"
    );
    let at = |name: &str| Err(format!("custom.systemStreams.account: {name}"));
    assert_eq!(
        follows(&[field("plain", true), field("sole", true)]),
        at("plain")
    );
    assert_eq!(follows(&[field("plain", false)]), at("sole"));
    assert_eq!(
        Schema::usual()
            .may_follow(&before)
            .map_err(|error| error.at),
        at("plain")
    );
}
