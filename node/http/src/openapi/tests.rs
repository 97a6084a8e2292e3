//! Schemas of parameters, and what a route of a method becomes.

use homecore_kernel::Method;
use homecore_kernel::describe::{Field, Record, Type};
use serde_json::json;

use super::document::Document;
use super::{Body, Operation, Outline, Verb, schema};

const ONE: Record = Record::closed(&[Field::new("a", Type::Flag).required()]);

#[test]
fn fields_become_schemas() {
    for (of, expected) in [
        (Type::TEXT, json!({ "type": "string" })),
        (Type::SOME_TEXT, json!({ "type": "string", "minLength": 1 })),
        (
            Type::Choice(&["a", "b"]),
            json!({ "type": "string", "enum": ["a", "b"] }),
        ),
        (Type::Count, json!({ "type": "integer", "minimum": 0 })),
        (Type::Json, json!({})),
        (
            Type::Records(&[&ONE]),
            json!({ "type": "array", "items": {
                "type": "object",
                "properties": { "a": { "type": "boolean" } },
                "required": ["a"],
                "additionalProperties": false,
            } }),
        ),
    ] {
        assert_eq!(schema::field(&Field::new("x", of)), expected);
    }
    let nullable = Field::new("x", Type::Flag).nullable();
    assert_eq!(
        schema::field(&nullable),
        json!({ "type": ["boolean", "null"] })
    );
    assert_eq!(
        schema::field(&Field::read_only("x")),
        json!({ "readOnly": true })
    );
}

#[test]
fn declared_fields_are_other_members() {
    const CLOSED: Record = Record::closed(&[]).with_declared();
    const OPEN: Record = Record::open(&[]).with_declared();
    let others = |record| schema::record(record)["additionalProperties"].clone();
    assert_eq!(others(&CLOSED)["type"], "string");
    assert_eq!(
        others(&OPEN)["type"],
        json!(null),
        "what is ignored may be anything"
    );
    assert!(others(&OPEN)["description"].is_string());
}

#[test]
fn parameters_of_a_method_go_where_the_route_has_them() {
    let names = |fields: &[Field]| fields.iter().map(|field| field.name).collect::<Vec<_>>();
    let read = Operation::of(Verb::Get, "/events/{id}", Method::EventsGetOne);
    assert_eq!(names(&read.in_path), ["id"]);
    assert_eq!(names(&read.in_query), ["includeHistory"]);
    assert_eq!(read.body, Body::Nothing);
    let change = Operation::of(Verb::Put, "/streams/{id}", Method::StreamsUpdate);
    assert!(change.in_query.is_empty());
    match change.body {
        Body::Record(record) => assert!(record.field("parentId").is_some()),
        other => panic!("the body is {other:?}"),
    }
}

#[test]
fn paths_below_a_user_have_the_user() {
    let outline = Outline {
        user: vec![Operation::of(Verb::Get, "/events", Method::EventsGet)],
        ..Outline::default()
    };
    let document = Document::of(outline);
    let document: serde_json::Value = serde_json::from_slice(document.text()).unwrap();
    let read = &document["paths"]["/{username}/events"]["get"];
    assert_eq!(read["operationId"], "events.get");
    assert_eq!(read["parameters"][0]["name"], "username");
    let ids =
        &read["responses"]["421"]["content"]["application/json"]["schema"]["properties"]["error"];
    assert_eq!(
        ids["allOf"][1]["properties"]["id"]["enum"],
        json!(["wrong-core"])
    );
}
