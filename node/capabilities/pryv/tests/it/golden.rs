//! Replays recorded exchanges in their order and compares status, error id, the names of fields and
//! the JSON types of their values. Where this implementation differs on purpose, [`DIFFERENCES`]
//! says how and why; nothing else may.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Core, Wanted};

const RECORDED: &str = include_str!("../../../../../tests/golden/pryv/first-slice.jsonl");

/// Exchange → paths that differ (`status` for the status, `""` for the whole body, `skip` for an exchange
/// that is left out because it would leave another state), and why.
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    (
        "events.create.invalid-content",
        &["skip"],
        "contents of known types are not checked yet",
    ),
    (
        "reg.check_username.reserved",
        &["/reason"],
        "reserved words are told, spec/platform §3.6",
    ),
    (
        "reg.service-info",
        &["/features"],
        "no series and no content queries yet",
    ),
    (
        "user.service-info",
        &["/features"],
        "no series and no content queries yet",
    ),
    (
        "users.create.bad-email",
        &["status", ""],
        "an address needs an @, spec/pryv-api §10.1",
    ),
    (
        "reg.cores.email",
        &["status", ""],
        "the original's defect, spec/platform §3.3",
    ),
    (
        "batch",
        &["/results/5/features", "/results/6/calls"],
        "no usage counters yet",
    ),
    ("batch", &["/results/6/lastUsed"], "no usage counters yet"),
    (
        "reg-access.poll.need-signin",
        &["/deviceName", "/expireAfter", "/referer"],
        "spec/platform §3.7",
    ),
    (
        "reg-access.create.missing-app",
        &["/error/data"],
        "says which parameter",
    ),
    ("system.admin.users", &["/users"], "limit is honoured"),
];

#[tokio::test]
async fn recorded_exchanges_repeat() {
    let core = Core::of(Wanted {
        single: true,
        ..Wanted::default()
    });
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut unexpected = Vec::new();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for line in RECORDED.lines() {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let name = exchange["name"].as_str().unwrap();
        count += 1;
        if name == "reg-access.refuse" {
            // Its request was opened by an exchange that was not recorded.
            let key = open_request(&core).await;
            known.insert("QrHXQNIRpTO5h5FZ".to_owned(), key);
        }
        let of_this = DIFFERENCES.iter().filter(|(of, ..)| *of == name);
        let expected: Vec<&str> = of_this
            .flat_map(|(_, paths, _)| paths.iter().copied())
            .collect();
        if expected.contains(&"skip") {
            continue;
        }
        let (status, body) = replay(&core, &exchange["request"], &known).await;
        let recorded = &exchange["response"];
        let mut faults = Vec::new();
        if json!(status) != recorded["status"] {
            faults.push((
                "status".to_owned(),
                format!("{status}, not {}", recorded["status"]),
            ));
        }
        if recorded["body"]["error"]["id"] != body["error"]["id"] {
            faults.push((String::new(), format!("error {}", body["error"]["id"])));
        }
        compare("", &recorded["body"], &body, &mut faults);
        for (path, what) in faults {
            let wanted = expected
                .iter()
                .find(|e| path == **e || path.starts_with(&format!("{e}/")));
            match wanted {
                Some(wanted) => {
                    seen.insert((name.to_owned(), (*wanted).to_owned()));
                }
                None => unexpected.push(format!("{name}: {path} {what}")),
            }
        }
        learn(&recorded["body"], &body, &mut known);
    }
    assert_eq!(count, 93);
    assert!(unexpected.is_empty(), "{}\n", unexpected.join("\n"));
    let declared: BTreeSet<(String, String)> = DIFFERENCES
        .iter()
        .flat_map(|(name, paths, _)| paths.iter().map(|p| ((*name).to_owned(), (*p).to_owned())))
        .filter(|(_, path)| path != "skip")
        .collect();
    assert_eq!(declared, seen, "differences that are no more");
}

async fn open_request(core: &Core) -> String {
    let body = json!({ "requestingAppId": "sample-web-app", "requestedPermissions": [{}] });
    core.post("/reg/access", &body).await.json()["key"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn replay(core: &Core, request: &Value, known: &BTreeMap<String, String>) -> (u16, Value) {
    let path = translate(request["path"].as_str().unwrap(), known);
    let mut builder = Request::builder()
        .method(request["method"].as_str().unwrap())
        .uri(path);
    for (name, value) in request["headers"].as_object().unwrap() {
        let value = value.as_str().unwrap();
        let value = match value.strip_prefix("Basic ") {
            Some(encoded) => {
                let text = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
                format!("Basic {}", STANDARD.encode(translate(&text, known)))
            }
            None => translate(value, known),
        };
        builder = builder.header(name, value);
    }
    let body = match &request["body"] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        body => translate(&body.to_string(), known),
    };
    let answer = core.ask(builder, Body::from(body)).await;
    let body = match answer.json() {
        Value::Null if answer.text.is_empty() => Value::Null,
        Value::Null => Value::String(answer.text),
        // `true` of a plain text.
        Value::Bool(_) => Value::String(answer.text),
        body => body,
    };
    (answer.status, body)
}

fn translate(text: &str, known: &BTreeMap<String, String>) -> String {
    known
        .iter()
        .fold(text.to_owned(), |text, (recorded, ours)| {
            text.replace(recorded, ours)
        })
}

/// Remembers what stands here for a recorded token, key or id.
fn learn(recorded: &Value, ours: &Value, known: &mut BTreeMap<String, String>) {
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (name, value) in recorded {
                let Some(our) = ours.get(name) else { continue };
                if let (Some(value), Some(our)) = (value.as_str(), our.as_str()) {
                    let drawn = match name.as_str() {
                        "token" | "key" => true,
                        "id" => value.len() == 24 && value != our,
                        _ => false,
                    };
                    if drawn {
                        known.insert(value.to_owned(), our.to_owned());
                    }
                    let user =
                        |url: &str| Some(url.split_once("//")?.1.split_once('@')?.0.to_owned());
                    if name == "apiEndpoint"
                        && let (Some(value), Some(our)) = (user(value), user(our))
                    {
                        known.insert(value, our);
                    }
                }
                learn(value, our, known);
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            for (value, our) in recorded.iter().zip(ours) {
                learn(value, our, known);
            }
        }
        _ => {}
    }
}

/// Collects (path, difference).
fn compare(path: &str, recorded: &Value, ours: &Value, faults: &mut Vec<(String, String)>) {
    // Operands of validation rules are told in several ways by the original itself.
    if path.ends_with("/params") {
        return;
    }
    let mut fault = |path: String, what: &str| faults.push((path, what.to_owned()));
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for key in recorded.keys().filter(|key| !ours.contains_key(*key)) {
                fault(format!("{path}/{key}"), "is missing");
            }
            for key in ours.keys().filter(|key| !recorded.contains_key(*key)) {
                fault(format!("{path}/{key}"), "is new");
            }
            for (key, value) in recorded {
                if let Some(our) = ours.get(key) {
                    compare(&format!("{path}/{key}"), value, our, faults);
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            if recorded.len() != ours.len() {
                let what = format!("has {} items, recorded {}", ours.len(), recorded.len());
                fault(path.to_owned(), &what);
            }
            for (n, (value, our)) in recorded.iter().zip(ours).enumerate() {
                compare(&format!("{path}/{n}"), value, our, faults);
            }
        }
        _ if std::mem::discriminant(recorded) == std::mem::discriminant(ours) => {}
        _ => fault(path.to_owned(), &format!("is {ours}, recorded {recorded}")),
    }
}
