//! Each word of a schema: what it lets through, and what is said of the rest.

use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<Schema, SchemaError> {
    Compiler::default().compile(schema)
}

/// `code path` of each violation.
fn found(schema: &Value, content: &Value) -> Vec<String> {
    let violations = compile(schema).unwrap().violations(content);
    violations
        .iter()
        .map(|violation| format!("{} {}", violation.code, violation.path))
        .collect()
}

/// Schema, a content that fits, one that does not, and what is said of it.
const CASES: &str = r#"
{"type": "integer"} | 2.0 | 2.5 | INVALID_TYPE #
{"type": ["string", "null"]} | null | 1 | INVALID_TYPE #
{"minimum": 1} | 1 | 0.5 | MINIMUM #
{"minimum": 1, "exclusiveMinimum": true} | 1.1 | 1 | MINIMUM_EXCLUSIVE #
{"maximum": 1} | 1 | 2 | MAXIMUM #
{"maximum": 1, "exclusiveMaximum": true} | "text" | 1 | MAXIMUM_EXCLUSIVE #
{"multipleOf": 0.5} | 1.5 | 1.2 | MULTIPLE_OF #
{"minLength": 2} | "éé" | "é" | MIN_LENGTH #
{"maxLength": 2} | "éé" | "abc" | MAX_LENGTH #
{"pattern": "^(https?)://.+$"} | "http://x" | "ftp" | PATTERN #
{"minItems": 1} | [1] | [] | ARRAY_LENGTH_SHORT #
{"maxItems": 1} | [1] | [1, 2] | ARRAY_LENGTH_LONG #
{"uniqueItems": true} | [1, "1", {"a": null}, {}] | [1, 2, 1.0] | ARRAY_UNIQUE #
{"items": {"type": "number"}} | [1] | [1, "2"] | INVALID_TYPE #/1
{"items": [{"type": "number"}]} | [1, "free"] | ["2"] | INVALID_TYPE #/0
{"items": [{}], "additionalItems": false} | [1] | [1, 2] | ARRAY_ADDITIONAL_ITEMS #
{"items": [{}], "additionalItems": {"type": "null"}} | [1, null] | [1, 2] | INVALID_TYPE #/1
{"minProperties": 1} | {"a": 1} | {} | OBJECT_PROPERTIES_MINIMUM #
{"maxProperties": 0} | {} | {"a": 1} | OBJECT_PROPERTIES_MAXIMUM #
{"required": ["a"]} | {"a": null} | {} | OBJECT_MISSING_REQUIRED_PROPERTY #/
{"properties": {"a/b": {"type": "null"}}} | {"c": 1} | {"a/b": 1} | INVALID_TYPE #/a~1b
{"patternProperties": {"^x": {"type": "null"}}} | {"y": 1} | {"x~": 1} | INVALID_TYPE #/x~0
{"properties": {"a": {}}, "additionalProperties": false} | {"a": 1} | {"b": 1} | OBJECT_ADDITIONAL_PROPERTIES #
{"additionalProperties": {"type": "null"}} | {"a": null} | {"b": 1} | INVALID_TYPE #/b
{"enum": [1, "a"]} | 1.0 | "1" | ENUM_MISMATCH #
{"not": {"type": "null"}} | 1 | null | NOT_PASSED #
{"anyOf": [{"type": "null"}, {"minimum": 1}]} | "any" | 0 | ANY_OF_MISSING #
{"oneOf": [{"type": "null"}, {"minimum": 1}]} | 1 | 0 | ONE_OF_MISSING #
{"oneOf": [{"maximum": 2}, {"minimum": 1}]} | 3 | 1 | ONE_OF_MISSING #
{"allOf": [{"type": "number"}, {"minimum": 1}]} | 1 | 0 | MINIMUM #
"#;

#[test]
fn every_word_holds_and_is_broken() {
    for case in CASES.lines().filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = case.split(" | ").collect();
        let [schema, good, bad] = [0, 1, 2].map(|i| serde_json::from_str(parts[i]).unwrap());
        assert_eq!(found(&schema, &good), [""; 0], "{case}");
        assert_eq!(found(&schema, &bad), [parts[3]], "{case}");
    }
}

#[test]
fn all_that_is_wrong_is_said_up_to_a_bound() {
    let schema = json!({
        "type": "object",
        "required": ["c"],
        "properties": {"a": {"type": "number"}, "b": {"items": {"type": "string", "minLength": 1}}},
    });
    assert_eq!(
        found(&schema, &json!({"a": "x", "b": ["ok", "", 1]})),
        [
            "OBJECT_MISSING_REQUIRED_PROPERTY #/",
            "INVALID_TYPE #/a",
            "MIN_LENGTH #/b/1",
            "INVALID_TYPE #/b/2"
        ]
    );
    let many = vec![json!(1); 1_000];
    assert_eq!(found(&schema, &json!({"b": many})).len(), VIOLATIONS_MAX);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({ "not": deep });
    }
    for bad in [
        json!(true),
        json!([]),
        json!({"type": "any"}),
        json!({"type": []}),
        json!({"type": 1}),
        json!({"minimum": "1"}),
        json!({"exclusiveMinimum": 1}),
        json!({"multipleOf": 0}),
        json!({"minLength": -1}),
        json!({"maxItems": 1.5}),
        json!({"pattern": "("}),
        json!({"pattern": "(?=ahead)"}),
        json!({"pattern": "((a{1000}){1000}){1000}"}),
        json!({"pattern": 1}),
        json!({"uniqueItems": "yes"}),
        json!({"items": true}),
        json!({"items": [1]}),
        json!({"required": true}),
        json!({"properties": []}),
        json!({"patternProperties": {"(": {}}}),
        json!({"enum": 1}),
        json!({"anyOf": []}),
        json!({"oneOf": {}}),
        json!({"$ref": "#/definitions/a"}),
        json!({"dependencies": {}}),
        deep,
    ] {
        assert!(compile(&bad).is_err(), "{bad}");
    }
    // What says nothing about the content is not looked at.
    for good in [
        json!({"description": 1, "format": "email", "attachmentRequired": true}),
        json!({"properties": {"$ref": {"type": "string"}}}),
        json!({"additionalProperties": "true"}),
        json!({"properties": {"required": ["a"]}}),
    ] {
        assert!(compile(&good).is_ok(), "{good}");
    }
}
