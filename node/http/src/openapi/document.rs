//! The document, written once, when it is asked for first, and sent as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use homecore_kernel::describe::{Field, Member, Type};
use homecore_types::ErrorId;
use http::header::{CACHE_CONTROL, ETAG};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::schema::{self, named, set};
use super::{Auth, Body as RequestBody, Content, Operation, Outline, Verb};
use crate::context::json_response;
use crate::health;
use crate::range::{self, Wanted};

/// Where the document is.
pub(crate) const ROOT: &str = "openapi.json";
/// Where it is, as a path.
const PATH: &str = "/openapi.json";

const ABOUT: &str = "Users are addressed by path; where the platform has a domain, \
    `{username}.{domain}/…` means the same. A JSON body is read when its content type is JSON; of any \
    other type there is none. Every answer has `API-Version`; every object has `meta` unless it is said \
    to have none. A status of 500 is a defect and therefore not listed; 503 can be tried again after \
    `Retry-After`. Paths that are not listed answer 404; what is no HTTP, or has too long a head, is \
    refused with 400 or 431 and no body.";

/// An operation at the root, or below a user.
#[derive(Clone, Debug)]
struct Placed {
    operation: Operation,
    below_user: bool,
}

/// The document of a core. Writing it takes some milliseconds and, for as long, megabytes: most
/// cores are never asked for it, so it is written when somebody asks.
#[derive(Clone)]
pub(crate) struct Document(Arc<LazyLock<Written, Box<dyn FnOnce() -> Written + Send>>>);

/// The document as it is sent.
struct Written {
    text: Bytes,
    etag: HeaderValue,
}

/// The operation that answers the document itself.
pub(crate) fn own_operation() -> Operation {
    Operation::new(
        Verb::Get,
        PATH,
        "openapi.get",
        "This document, written from the routes of the core",
    )
    .answers(200, Content::Named("OpenApi"))
    .answers(304, Content::Nothing)
    .plain()
}

impl Document {
    /// The document that says what `outline` has.
    pub(crate) fn of(outline: Outline) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(|| Written::of(outline)))))
    }

    #[cfg(test)]
    pub(crate) fn text(&self) -> &[u8] {
        &self.0.text
    }

    pub(crate) fn answer(&self, asked: &HeaderMap) -> Response {
        let Written { text, etag } = &**self.0;
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let mut response = match range::wanted(asked, etag.to_str().unwrap_or_default(), size) {
            Wanted::NotModified => (StatusCode::NOT_MODIFIED, Body::empty()).into_response(),
            _ => json_response(StatusCode::OK, text.clone()),
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").finish_non_exhaustive()
    }
}

impl Written {
    fn of(outline: Outline) -> Self {
        let text = text(outline);
        let etag = format!("\"{}-{:016x}\"", env!("CARGO_PKG_VERSION"), hash(&text));
        Self {
            etag: HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\"")),
            text,
        }
    }
}

/// FNV-1a: it only tells one document from another.
fn hash(text: &[u8]) -> u64 {
    text.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The document, with what the router answers itself.
pub(super) fn text(outline: Outline) -> Bytes {
    let own = health::operations().chain([own_operation()]);
    let at_root = own.chain(outline.root).map(|operation| Placed {
        operation,
        below_user: false,
    });
    let below_user = outline.user.into_iter().map(|operation| Placed {
        operation,
        below_user: true,
    });
    let operations: Vec<Placed> = at_root.chain(below_user).collect();
    Bytes::from(write(&operations, outline.schemas).to_string())
}

fn write(operations: &[Placed], schemas: Map<String, Value>) -> Value {
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut tags = BTreeSet::new();
    for placed in operations {
        let prefix = if placed.below_user { "/{username}" } else { "" };
        let path = format!("{prefix}{}", placed.operation.path.replace("{*", "{"));
        let verb = placed.operation.verb.name().to_owned();
        tags.insert(tag(placed.operation.id));
        paths
            .entry(path)
            .or_default()
            .insert(verb, operation(placed));
    }
    let tags: Vec<Value> = tags.iter().map(|name| json!({ "name": name })).collect();
    let mut all = own_schemas();
    all.extend(schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "homecore",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "servers": [{ "url": "/", "description": "The core that this document comes from" }],
        "tags": tags,
        "paths": paths,
        "components": { "schemas": all, "securitySchemes": security_schemes() },
    })
}

/// The part of an id before the dot.
fn tag(id: &str) -> &str {
    id.split('.').next().unwrap_or(id)
}

fn operation(placed: &Placed) -> Value {
    let operation = &placed.operation;
    let mut parameters = Vec::new();
    if placed.below_user {
        parameters.push(parameter(
            "path",
            &Field::new("username", Type::SOME_TEXT).required(),
        ));
    }
    parameters.extend(operation.in_path.iter().map(|f| parameter("path", f)));
    parameters.extend(operation.in_query.iter().map(|f| parameter("query", f)));
    let mut written = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [tag(operation.id)],
        "security": security(operation.auth),
        "parameters": parameters,
    });
    if let Some(body) = body(operation.body) {
        set(&mut written, "requestBody", body);
    }
    set(&mut written, "responses", Value::Object(responses(placed)));
    written
}

fn parameter(place: &str, field: &Field) -> Value {
    let mut parameter = json!({
        "name": field.name,
        "in": place,
        "required": field.required,
        "schema": schema::field(&Field { nullable: false, ..*field }),
    });
    if matches!(field.of, Type::Texts { .. }) {
        set(&mut parameter, "style", "form");
        set(&mut parameter, "explode", true);
    }
    parameter
}

fn body(body: RequestBody) -> Option<Value> {
    let json = "application/json";
    let form = |text: Option<Value>| {
        let mut parts = Map::new();
        if let Some(text) = text {
            parts.insert("event".to_owned(), text);
        }
        parts.insert("file".to_owned(), json!({ "contentMediaType": "*/*" }));
        json!({ "schema": { "type": "object", "properties": parts } })
    };
    let (content, is_required) = match body {
        RequestBody::Nothing => return None,
        RequestBody::Record(record) => {
            let is_required = record.fields.iter().any(|field| field.required);
            (
                json!({ json: { "schema": schema::record(record) } }),
                is_required,
            )
        }
        RequestBody::Schema(name) => (json!({ json: { "schema": named(name) } }), true),
        RequestBody::RecordOrFiles(record) => {
            let schema = schema::record(record);
            let content = json!({
                json: { "schema": schema },
                "multipart/form-data": form(Some(schema)),
            });
            (content, true)
        }
        RequestBody::Files => (json!({ "multipart/form-data": form(None) }), true),
    };
    Some(json!({ "required": is_required, "content": content }))
}

fn responses(placed: &Placed) -> Map<String, Value> {
    let operation = &placed.operation;
    let mut schemas: BTreeMap<u16, Vec<(&'static str, Value)>> = BTreeMap::new();
    let json = "application/json";
    for (status, content) in &operation.replies {
        let found = schemas.entry(*status).or_default();
        let object = |members: &[Member]| schema::object(members, operation.has_meta);
        match content {
            Content::Named(name) => {
                found.push((json, schema::named_object(name, operation.has_meta)));
            }
            Content::Members(members) => found.push((json, object(members))),
            Content::MembersOrText(members) => {
                found.push((json, object(members)));
                found.push(("text/html", json!({ "type": "string" })));
            }
            Content::Text => found.push(("text/plain", json!({ "type": "string" }))),
            Content::File => found.push(("*/*", json!({}))),
            Content::Nothing => {}
        }
    }
    let mut errors: BTreeMap<u16, BTreeSet<&'static str>> = BTreeMap::new();
    let mut refuses = operation.refuses.clone();
    if placed.below_user {
        refuses.extend([ErrorId::UnknownResource, ErrorId::WrongCore]);
    }
    for id in &refuses {
        errors.entry(id.status()).or_default().insert(id.wire());
    }
    for (status, ids) in errors {
        // Errors of plain routes have no meta, and neither has 421.
        let error = json!({
            "type": "object",
            "properties": {
                "error": { "allOf": [named("Error"), { "properties": { "id": { "enum": ids } } }] },
                "meta": named("Meta"),
            },
            "required": ["error"],
        });
        schemas.entry(status).or_default().push((json, error));
    }
    let response = |(status, mut found): (u16, Vec<(&'static str, Value)>)| {
        let mut content: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (kind, schema) in found.drain(..) {
            content.entry(kind).or_default().push(schema);
        }
        let content: Map<String, Value> = content
            .into_iter()
            .map(|(kind, mut schemas)| {
                let schema = match schemas.len() {
                    1 => schemas.remove(0),
                    _ => json!({ "oneOf": schemas }),
                };
                (kind.to_owned(), json!({ "schema": schema }))
            })
            .collect();
        let mut response = json!({ "description": reason(status) });
        if !content.is_empty() {
            set(&mut response, "content", Value::Object(content));
        }
        if matches!(status, 429 | 503) {
            let schema = json!({ "type": "integer" });
            let header = json!({ "description": "Seconds", "schema": schema });
            set(&mut response, "headers", json!({ "Retry-After": header }));
        }
        (status.to_string(), response)
    };
    schemas.into_iter().map(response).collect()
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("An answer")
}

fn security(auth: Auth) -> Value {
    let any = |names: &[&str]| -> Value {
        let each = |name: &&str| {
            let name = (*name).to_owned();
            Value::Object(Map::from_iter([(name, json!([]))]))
        };
        names.iter().map(each).collect()
    };
    match auth {
        Auth::Nobody => any(&[]),
        Auth::Token => any(&["token", "auth"]),
        Auth::File => any(&["token", "readToken"]),
        Auth::Admin | Auth::KnownAdmin => any(&["adminKey"]),
        Auth::AdminOrToken => any(&["adminKey", "token", "auth"]),
    }
}

fn security_schemes() -> Value {
    let key = |place: &str, name: &str, about: &str| json!({ "type": "apiKey", "in": place, "name": name, "description": about });
    json!({
        "token": key("header", "Authorization",
            "The token of an access: as it is, with `Bearer`, or as the user of `Basic`"),
        "auth": key("query", "auth", "The token of an access"),
        "readToken": key("query", "readToken", "The read token of an attachment"),
        "adminKey": key("header", "Authorization", "The administrators' key"),
    })
}

fn own_schemas() -> Map<String, Value> {
    let ids: BTreeSet<&str> = ErrorId::ALL.iter().map(|id| id.wire()).collect();
    let schemas = json!({
        "Error": {
            "type": "object",
            "properties": {
                "id": { "type": "string", "enum": ids },
                "message": { "type": "string", "description": "For people" },
                "data": { "description": "For programs: what exactly is wrong" },
                "coreUrl": { "type": "string", "description": "The core that serves the user (421)" },
            },
            "required": ["id", "message"],
        },
        "Meta": {
            "type": "object",
            "properties": {
                "apiVersion": { "type": "string" },
                "serverTime": { "type": "number", "description": "In seconds" },
                "serial": { "type": "string", "description": "Changes when service info does" },
            },
            "required": ["apiVersion", "serverTime", "serial"],
        },
        "OpenApi": { "type": "object", "required": ["openapi", "paths"] },
        "Status": {
            "type": "object",
            "properties": { "status": { "type": "string" } },
            "required": ["status"],
        },
        "Readiness": {
            "type": "object",
            "properties": {
                "ready": { "type": "boolean" },
                "reasons": { "type": "array", "items": { "type": "string" } },
            },
            "required": ["ready", "reasons"],
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}
