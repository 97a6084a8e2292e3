//! `/openapi.json`: it can be read, is complete in itself, and the list of routes changes only on
//! purpose. That answers are as it says is looked at with every request of these tests
//! (`support/documented.rs`) and by the fuzz in `tests/contract`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use homecore_kernel::Method;
use http::Request;
use serde_json::Value;

use crate::support::Core;
use crate::support::documented::{check, document};

const ROUTES: &str = "../../../tests/golden/routes.txt";

/// `METHOD path operationId`, a line each.
fn lines(document: &Value) -> String {
    let mut lines = String::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (verb, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            writeln!(lines, "{} {path} {id}", verb.to_uppercase()).unwrap();
        }
    }
    lines
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the switch of this test alone")]
async fn openapi_routes_are_listed() {
    let core = Core::new();
    let lines = lines(document(&core.app).await);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(ROUTES);
    if std::env::var("HOMECORE_GOLDEN_UPDATE").is_ok() {
        std::fs::write(&path, &lines).unwrap();
    }
    let listed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        lines == listed,
        "the routes are not those of tests/golden/routes.txt; if that is meant, \
         HOMECORE_GOLDEN_UPDATE=1 cargo nextest run -p homecore-capability-pryv openapi writes it:\n\
         {lines}"
    );
}

/// Every `$ref` of a document.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn openapi_document_is_complete_in_itself() {
    let core = Core::new();
    let document = document(&core.app).await;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut found = BTreeSet::new();
    references(document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(
            document.pointer(pointer).is_some(),
            "{reference} is nowhere"
        );
    }
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for operation in operations.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(
                operation["responses"].as_object().unwrap().len() > 1,
                "{id}"
            );
            let parameters = operation["parameters"].as_array().unwrap();
            for segment in path.split('/').filter(|segment| segment.starts_with('{')) {
                let name = segment.trim_matches(['{', '}']);
                let is_there = |p: &Value| p["in"] == "path" && p["name"] == name;
                assert!(parameters.iter().any(is_there), "{id}: {name}");
            }
            for scheme in operation["security"].as_array().unwrap() {
                for name in scheme.as_object().unwrap().keys() {
                    let schemes = &document["components"]["securitySchemes"];
                    assert!(schemes[name].is_object(), "{id}: {name}");
                }
            }
        }
    }
    for method in Method::ALL {
        assert!(ids.contains(method.id()), "{} has no route", method.id());
    }
}

#[tokio::test]
async fn openapi_document_without_a_core_is_the_same() {
    let core = Core::new();
    let text = homecore_http::openapi::document([homecore_capability_pryv::outline()]);
    let printed: Value = serde_json::from_slice(&text).unwrap();
    assert!(&printed == document(&core.app).await);
}

#[tokio::test]
async fn openapi_document_is_cached_and_for_everybody() {
    let core = Core::new();
    let first = core.get("/openapi.json").await;
    assert_eq!(first.status, 200);
    assert_eq!(
        first.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    assert_eq!(first.header("access-control-allow-origin"), Some("*"));
    let etag = first.header("etag").unwrap();
    let asked = Request::get("/openapi.json").header("if-none-match", etag);
    let again = core.ask(asked, "").await;
    assert_eq!((again.status, again.text.as_str()), (304, ""));
    let domain = Core::of(crate::support::Wanted {
        domain: Some("example.com"),
        ..Default::default()
    });
    for host in ["example.com", "core-a.example.com", "alice.example.com"] {
        let asked = Request::get("/openapi.json").header("host", host);
        assert_eq!(domain.ask(asked, "").await.status, 200, "{host}");
    }
    assert_eq!(core.post("/openapi.json", &Value::Null).await.status, 404);
}

#[tokio::test]
#[should_panic(expected = "GET /{username}/streams answered 409")]
async fn openapi_answers_that_are_not_described_fail_tests() {
    let core = Core::new();
    let document = document(&core.app).await;
    let (asked, ()) = Request::get("/alice/streams")
        .body(())
        .unwrap()
        .into_parts();
    check(document, &asked, 409, "{}");
}
