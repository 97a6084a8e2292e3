//! Whether an answer is what the document says: its status, its content type, its schema, and what
//! every answer has.

use serde_json::Value;

use super::document::{Document, Operation};
use super::wire::{Answer, Asked, Failure};

/// How deep schemas are followed.
const DEPTH_MAX: usize = 40;

/// Longest target that must be an answer of the API.
const TARGET_BYTES_MAX: usize = 6_000;

/// What is wrong, if anything is.
pub type Verdict = Result<(), String>;

/// Judges the answer to a request of an operation.
///
/// # Errors
/// What is wrong with it.
pub fn judge(
    document: &Document,
    operation: &Operation,
    asked: &Asked,
    answer: &Result<Answer, Failure>,
) -> Verdict {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return Err(failure.to_string()),
    };
    let status = answer.status;
    // Refused as HTTP, before it was a request of the API.
    let is_long = asked.target.len() > TARGET_BYTES_MAX;
    if (asked.is_malformed || is_long)
        && matches!(status, 400 | 414 | 431)
        && answer.body.is_empty()
    {
        return Ok(());
    }
    if status >= 500 && status != 503 {
        return Err(format!("the status is {status}"));
    }
    let contents = operation.responses.get(&status);
    let contents = contents.ok_or_else(|| format!("the status {status} is not documented"))?;
    for name in ["api-version", "access-control-allow-origin"] {
        if answer.header(name).is_none() {
            return Err(format!("the header {name} is missing"));
        }
    }
    if matches!(status, 429 | 503)
        && operation.id != "health.ready"
        && answer.header("retry-after").is_none()
    {
        return Err("Retry-After is missing".to_owned());
    }
    if asked.verb == "HEAD" {
        let is_empty = answer.body.is_empty();
        return is_empty
            .then_some(())
            .ok_or_else(|| "a HEAD has a body".to_owned());
    }
    if contents.is_empty() {
        let is_empty = answer.body.is_empty();
        return if is_empty {
            Ok(())
        } else {
            Err("there is a body".to_owned())
        };
    }
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let Some(schema) = contents.get(kind) else {
        return match contents.get("*/*") {
            Some(_) => Ok(()),
            None => Err(format!("the content type {kind:?} is not documented")),
        };
    };
    if kind != "application/json" {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("the body is no JSON: {error}"))?;
    fits(document, schema, &body, "#", DEPTH_MAX)?;
    let is_object = body.get("meta").is_some_and(Value::is_object);
    if operation.has_meta() && status != 421 && !is_object {
        return Err("meta is missing".to_owned());
    }
    Ok(())
}

/// Whether a value fits a schema, of those words of JSON Schema that the document uses.
fn fits(document: &Document, schema: &Value, value: &Value, path: &str, depth: usize) -> Verdict {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(());
    };
    let below =
        |schema: &Value, value: &Value, path: &str| fits(document, schema, value, path, depth);
    if schema.get("$ref").is_some() {
        below(document.resolved(schema), value, path)?;
    }
    for part in listed(schema, "allOf") {
        below(part, value, path)?;
    }
    let choices = listed(schema, "oneOf");
    if !choices.is_empty() {
        let wrong: Vec<String> = choices
            .iter()
            .filter_map(|choice| below(choice, value, path).err())
            .collect();
        if wrong.len() == choices.len() {
            return Err(wrong.join(", or "));
        }
    }
    if let Some(kinds) = schema.get("type") {
        let is_one = |kind: &Value| kind.as_str().is_some_and(|kind| is_of(kind, value));
        let fits = kinds
            .as_array()
            .map_or_else(|| is_one(kinds), |kinds| kinds.iter().any(is_one));
        if !fits {
            return Err(format!("{path} is not of type {kinds}"));
        }
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        return Err(format!("{path} is {value}, which is not documented"));
    }
    for name in listed(schema, "required").iter().filter_map(Value::as_str) {
        if value.is_object() && value.get(name).is_none() {
            return Err(format!("{path}/{name} is missing"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        if let Some(member) = value.get(name) {
            below(schema, member, &format!("{path}/{name}"))?;
        }
    }
    if let (Some(schema), Some(items)) = (schema.get("items"), value.as_array()) {
        for (index, item) in items.iter().enumerate() {
            below(schema, item, &format!("{path}/{index}"))?;
        }
    }
    Ok(())
}

fn listed<'a>(schema: &'a Value, word: &str) -> &'a [Value] {
    let list = schema.get(word).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn is_of(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document() -> Document {
        let error = json!({ "type": "object", "required": ["error"], "properties": {
            "error": { "properties": { "id": { "enum": ["forbidden"] } } } } });
        let good = json!({ "type": "object", "required": ["name", "meta"], "properties": {
            "name": { "$ref": "#/components/schemas/Name" },
            "meta": { "$ref": "#/components/schemas/Meta" } } });
        let response =
            |schema: &Value| json!({ "content": { "application/json": { "schema": schema } } });
        Document::read(json!({
            "paths": { "/a": { "get": { "operationId": "a", "responses": {
                "200": response(&good), "403": response(&error), "304": {} } } } },
            "components": { "schemas": { "Name": { "type": "string" }, "Meta": { "type": "object" } } },
        }))
        .unwrap()
    }

    fn verdict(status: u16, kind: &str, body: &str) -> Verdict {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let answer = Answer {
            status,
            headers: vec![
                header("api-version", "2"),
                header("access-control-allow-origin", "*"),
                header("content-type", kind),
            ],
            body: body.as_bytes().to_vec(),
        };
        let document = document();
        let operation = document.operations().first().unwrap();
        judge(&document, operation, &Asked::default(), &Ok(answer))
    }

    #[test]
    fn only_what_is_documented_passes() {
        let json = "application/json; charset=utf-8";
        for (status, kind, body, good) in [
            (200, json, r#"{"name":"x","meta":{}}"#, true),
            (200, json, r#"{"name":1,"meta":{}}"#, false),
            (200, json, r#"{"name":"x"}"#, false),
            (200, json, r#"{"name":"x","meta":{}"#, false),
            (200, "text/plain", "x", false),
            (304, "", "", true),
            (304, "", "x", false),
            (403, json, r#"{"error":{"id":"forbidden"},"meta":{}}"#, true),
            (403, json, r#"{"error":{"id":"other"},"meta":{}}"#, false),
            (403, json, r#"{"error":{"id":"forbidden"}}"#, false),
            (
                404,
                json,
                r#"{"error":{"id":"forbidden"},"meta":{}}"#,
                false,
            ),
            (
                500,
                json,
                r#"{"error":{"id":"forbidden"},"meta":{}}"#,
                false,
            ),
        ] {
            assert_eq!(verdict(status, kind, body).is_ok(), good, "{status} {body}");
        }
    }
}
