//! Holds every answer that a test gets against `/openapi.json`: a status or an error id that the
//! operation does not have there fails the test.

use std::sync::OnceLock;

use axum::body::Body;
use homecore_http::App;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;

static DOCUMENT: OnceLock<Value> = OnceLock::new();

/// The document, which is the same for every core of these tests.
pub(crate) async fn document(app: &App) -> &'static Value {
    if DOCUMENT.get().is_none() {
        let asked = Request::get("/openapi.json").body(Body::empty()).unwrap();
        let body = app.handle(asked).await.into_body();
        let bytes = body.collect().await.unwrap().to_bytes();
        let read = serde_json::from_slice(&bytes).unwrap();
        return DOCUMENT.get_or_init(|| read);
    }
    DOCUMENT.get().unwrap()
}

/// The operation that a request reaches, if its path is one of the document.
fn operation<'a>(document: &'a Value, method: &Method, path: &str) -> Option<(String, &'a Value)> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    let is_named = |template: &str| template.starts_with('{');
    let matches = |template: &str| {
        let templates: Vec<&str> = template.split('/').filter(|s| !s.is_empty()).collect();
        let rest = template.ends_with("/{name}") && template.contains("{fileId}");
        (templates.len() == segments.len() || rest && segments.len() > templates.len())
            && templates
                .iter()
                .zip(&segments)
                .all(|(template, segment)| is_named(template) || template == segment)
    };
    let paths = document["paths"].as_object().unwrap();
    // As the router does: what is named first counts before what is a parameter.
    let found = paths
        .iter()
        .filter(|(template, _)| matches(template))
        .min_by_key(|(template, _)| template.split('/').map(is_named).collect::<Vec<_>>())?;
    let operation = found.1.get(method.as_str().to_lowercase())?;
    Some((format!("{method} {}", found.0), operation))
}

/// Fails when an answer is not documented. Requests that the document cannot tell apart (a host that
/// names a user, a form with a method of its own) are left out.
pub(crate) fn check(document: &Value, asked: &http::request::Parts, status: u16, text: &str) {
    let is_form = |headers: &HeaderMap| {
        let kind = headers.get("content-type").and_then(|v| v.to_str().ok());
        kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    };
    if asked.headers.contains_key("host") || is_form(&asked.headers) {
        return;
    }
    let Some((shown, operation)) = operation(document, &asked.method, asked.uri.path()) else {
        return;
    };
    let response = &operation["responses"][status.to_string()];
    assert!(
        response.is_object(),
        "{shown} answered {status}, which its description does not have \
         (routes.rs, or node/kernel/src/describe for a method): {text}"
    );
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let Some(id) = body["error"]["id"].as_str().filter(|_| status >= 400) else {
        return;
    };
    let schemas = response["content"]["application/json"]["schema"].to_string();
    assert!(
        schemas.contains(&format!("\"{id}\"")),
        "{shown} answered {status} with {id}, which its description does not have \
         (routes.rs, or node/kernel/src/describe for a method)"
    );
}
