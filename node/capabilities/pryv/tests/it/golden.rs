//! Replays recorded exchanges in their order and compares status, error id, the names of fields and
//! the JSON types of their values. Where this implementation differs on purpose, [`DIFFERENCES`]
//! says how and why; nothing else may.

use std::collections::BTreeMap;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Core, Wanted};

const RECORDED: &str = include_str!("../../../../../tests/golden/pryv/first-slice.jsonl");

/// Exchange → paths that are not compared (`status` for the status, `""` for the whole body).
const DIFFERENCES: &[(&str, &[&str], &str)] = &[
    ("reg.check_username.reserved", &["/reason"], "reserved words are told, spec/platform §3.6"),
    ("reg.service-info", &["/features"], "no series and no content queries yet"),
    ("user.service-info", &["/features"], "no series and no content queries yet"),
    ("users.create.bad-email", &["status", ""], "an address needs an @, spec/pryv-api §10.1"),
    ("reg.cores.email", &["status", ""], "the original's defect, spec/platform §3.3"),
    ("streams.get.fresh", &["/streams"], "pseudo-roots of features that are not here yet"),
    ("streams.get.parentId", &["/streams/1/clientData"], "order of siblings is no contract"),
    ("streams.get.parentId", &["/streams/0/clientData"], "order of siblings is no contract"),
    ("batch", &["/results/5/features", "/results/6/calls"], "no usage counters yet"),
    ("batch", &["/results/6/lastUsed"], "no usage counters yet"),
    ("reg-access.poll.need-signin", &["/deviceName", "/expireAfter", "/referer"], "spec/platform §3.7"),
    ("reg-access.create.missing-app", &["/error/data"], "says which parameter"),
    ("system.admin.users", &["/users"], "limit is honoured"),
];

#[tokio::test]
async fn recorded_exchanges_repeat() {
    let core = Core::of(Wanted { single: true, ..Wanted::default() });
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut count = 0;
    for line in RECORDED.lines() {
        let exchange: Value = serde_json::from_str(line).unwrap();
        let name = exchange["name"].as_str().unwrap();
        if name == "reg-access.refuse" {
            // Its request was opened by an exchange that was not recorded.
            let key = open_request(&core).await;
            known.insert("QrHXQNIRpTO5h5FZ".to_owned(), key);
        }
        let (status, body) = replay(&core, &exchange["request"], &known).await;
        let recorded = &exchange["response"];
        let ignored: Vec<&str> = DIFFERENCES
            .iter()
            .filter(|(of, ..)| *of == name)
            .flat_map(|(_, paths, _)| paths.iter().copied())
            .collect();
        if json!(status) != recorded["status"] && !ignored.contains(&"status") {
            faults.push(format!("{name}: status {status}, recorded {}: {body}", recorded["status"]));
        }
        if recorded["body"]["error"]["id"] != body["error"]["id"] && !ignored.contains(&"") {
            faults.push(format!("{name}: error {}", body["error"]["id"]));
        }
        compare(name, "", &recorded["body"], &body, &ignored, &mut faults);
        learn(&recorded["body"], &body, &mut known);
        count += 1;
    }
    assert_eq!(count, 93);
    assert!(faults.is_empty(), "{}\n", faults.join("\n"));
}

async fn open_request(core: &Core) -> String {
    let body = json!({ "requestingAppId": "sample-web-app", "requestedPermissions": [{}] });
    core.post("/reg/access", &body).await.json()["key"].as_str().unwrap().to_owned()
}

async fn replay(core: &Core, request: &Value, known: &BTreeMap<String, String>) -> (u16, Value) {
    let path = translate(request["path"].as_str().unwrap(), known);
    let mut builder = Request::builder().method(request["method"].as_str().unwrap()).uri(path);
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
    known.iter().fold(text.to_owned(), |text, (recorded, ours)| text.replace(recorded, ours))
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
                    let user = |url: &str| Some(url.split_once("//")?.1.split_once('@')?.0.to_owned());
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

fn compare(
    name: &str,
    path: &str,
    recorded: &Value,
    ours: &Value,
    ignored: &[&str],
    faults: &mut Vec<String>,
) {
    // Operands of validation rules are told in several ways by the original itself.
    if ignored.contains(&path) || path.ends_with("/params") {
        return;
    }
    match (recorded, ours) {
        (Value::Object(recorded), Value::Object(ours)) => {
            for (key, value) in recorded {
                let path = format!("{path}/{key}");
                match ours.get(key) {
                    Some(our) => compare(name, &path, value, our, ignored, faults),
                    None if ignored.contains(&path.as_str()) => {}
                    None => faults.push(format!("{name}: {path} is missing")),
                }
            }
            for key in ours.keys().filter(|key| !recorded.contains_key(*key)) {
                let path = format!("{path}/{key}");
                if !ignored.contains(&path.as_str()) {
                    faults.push(format!("{name}: {path} is new"));
                }
            }
        }
        (Value::Array(recorded), Value::Array(ours)) => {
            if recorded.len() != ours.len() {
                faults.push(format!("{name}: {path} has {} items: {ours:?}", ours.len()));
            }
            for (n, (value, our)) in recorded.iter().zip(ours).enumerate() {
                compare(name, &format!("{path}/{n}"), value, our, ignored, faults);
            }
        }
        _ if std::mem::discriminant(recorded) == std::mem::discriminant(ours) => {}
        _ => faults.push(format!("{name}: {path} is {ours}, recorded {recorded}")),
    }
}
