//! Parameters and answers as JSON Schema (2020-12, which `OpenAPI` 3.1 uses).

use homecore_kernel::describe::{Checked, Field, Member, Record, Type};
use homecore_kernel::stream::schema::VALUE_CHARS_MAX;
use serde_json::{Map, Value, json};

/// A reference to a named schema.
pub(super) fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Adds a member to an object.
pub(super) fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value.into());
    }
}

/// The schema of a field.
pub(super) fn field(field: &Field) -> Value {
    let mut schema = kind(field.of);
    if let (Value::Object(members), true) = (&mut schema, field.nullable)
        && let Some(one) = members.get("type").cloned()
    {
        members.insert("type".to_owned(), json!([one, "null"]));
    }
    if let (Value::Object(members), true) = (&mut schema, field.checked == Checked::ReadOnly) {
        members.insert("readOnly".to_owned(), Value::Bool(true));
    }
    schema
}

fn kind(of: Type) -> Value {
    match of {
        Type::Text { min, max } => {
            let mut schema = json!({ "type": "string" });
            if min > 0 {
                set(&mut schema, "minLength", min);
            }
            if let Some(max) = max {
                set(&mut schema, "maxLength", max);
            }
            schema
        }
        Type::Pattern { pattern, example } => {
            json!({ "type": "string", "pattern": pattern, "examples": [example] })
        }
        Type::Choice(texts) => json!({ "type": "string", "enum": texts }),
        Type::Number => json!({ "type": "number" }),
        Type::Span => json!({ "type": "number", "minimum": 0 }),
        Type::Count => json!({ "type": "integer", "minimum": 0 }),
        Type::Flag => json!({ "type": "boolean" }),
        Type::Object => json!({ "type": "object" }),
        Type::Null => json!({ "type": "null" }),
        Type::Texts { min, example } => {
            let items = json!({ "type": "string", "examples": [example] });
            json!({ "type": "array", "items": items, "minItems": min })
        }
        Type::Json => json!({}),
        Type::Record(fields) => record(fields),
        Type::Records(records) => match records {
            [one] => json!({ "type": "array", "items": record(one) }),
            several => {
                let items: Vec<Value> = several.iter().map(|one| record(one)).collect();
                json!({ "type": "array", "items": { "oneOf": items } })
            }
        },
    }
}

/// The schema of an object of parameters.
pub(super) fn record(record: &Record) -> Value {
    let members = record.fields.iter();
    let members: Map<String, Value> = members.map(|f| (f.name.to_owned(), field(f))).collect();
    let required = record.fields.iter().filter(|field| field.required);
    let required: Vec<&str> = required.map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "properties": members });
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    let others = match (record.declared, record.open) {
        (true, is_open) => Some(declared(is_open)),
        (false, false) => Some(Value::Bool(false)),
        (false, true) => None,
    };
    if let Some(others) = others {
        set(&mut schema, "additionalProperties", others);
    }
    schema
}

/// Of the account fields that a platform declares: their names are its own.
fn declared(others_are_ignored: bool) -> Value {
    let what = "Account fields that the platform declares (`custom.systemStreams.account`): texts";
    if others_are_ignored {
        return json!({ "description": format!("{what}. Others are ignored.") });
    }
    json!({ "type": "string", "maxLength": VALUE_CHARS_MAX, "description": what })
}

/// The schema of an answer with these members, with `meta` or without.
pub(super) fn object(members: &[Member], has_meta: bool) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for member in members {
        let item = named(member.schema);
        let schema = if member.is_list {
            json!({ "type": "array", "items": item })
        } else {
            item
        };
        properties.insert(member.name.to_owned(), schema);
        if member.always {
            required.push(member.name);
        }
    }
    if has_meta {
        properties.insert("meta".to_owned(), named("Meta"));
        required.push("meta");
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// A named schema, with `meta` or without.
pub(super) fn named_object(name: &str, has_meta: bool) -> Value {
    if has_meta {
        json!({ "allOf": [named(name), object(&[], true)] })
    } else {
        named(name)
    }
}
