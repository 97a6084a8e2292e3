//! Integrity hashes of events and accesses (spec/platform §9.4): SHA-256 over one canonical text
//! of the item, the same for every server that keeps it.

use std::borrow::Cow;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

pub mod check;
pub mod files;

/// `EVENT:0:sha256-…` of an event in its wire form.
#[must_use]
pub fn of_event(event: &Map<String, Value>) -> String {
    // What stands there in another form than it counts in.
    let streams = event
        .get("streamId")
        .filter(|_| !event.contains_key("streamIds"))
        .map(|stream| Value::Array(vec![stream.clone()]));
    let end = event.get("endTime").and_then(Value::as_f64);
    let duration = end.map(|end| {
        let start = event.get("time").and_then(Value::as_f64).unwrap_or(0.0);
        crate::number::float(end - start)
    });
    let duration = duration.as_ref().or_else(|| event.get("duration"));
    let attachments = event.get("attachments").map(without_tokens);
    let counts = |name: &str, value: &Value| match name {
        "integrity" | "headId" | "tags" | "streamId" | "endTime" | "duration" | "attachments" => {
            false
        }
        "trashed" => *value == Value::Bool(true),
        _ => true,
    };
    let members = event
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .filter(|(name, value)| counts(name, value))
        .chain(streams.as_ref().map(|streams| ("streamIds", streams)))
        .chain(
            duration
                .filter(|duration| duration.as_f64() != Some(0.0))
                .map(|duration| ("duration", duration)),
        )
        .chain(attachments.as_deref().map(|files| ("attachments", files)));
    let mut text = String::with_capacity(512);
    write_members(&mut text, members);
    of_event_text(&text)
}

/// Attachments without the tokens to read them with.
fn without_tokens(attachments: &Value) -> Cow<'_, Value> {
    let has_token = |file: &Value| file.get("readToken").is_some();
    let has_any = attachments
        .as_array()
        .is_some_and(|files| files.iter().any(has_token));
    if !has_any {
        return Cow::Borrowed(attachments);
    }
    let mut files = attachments.clone();
    for file in files.as_array_mut().into_iter().flatten() {
        if let Value::Object(file) = file {
            file.shift_remove("readToken");
        }
    }
    Cow::Owned(files)
}

/// `EVENT:0:sha256-…` of an event's canonical text.
pub(crate) fn of_event_text(text: &str) -> String {
    let mut integrity = String::with_capacity(64);
    integrity.push_str("EVENT:0:sha256-");
    STANDARD.encode_string(
        digest::digest(&digest::SHA256, text.as_bytes()),
        &mut integrity,
    );
    integrity
}

/// The canonical text of a value.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

/// `ACCESS:0:sha256-…` of an access in its wire form.
#[must_use]
pub fn of_access(access: &Map<String, Value>) -> String {
    let mut access = access.clone();
    for name in ["integrity", "lastUsed", "calls", "apiEndpoint"] {
        access.shift_remove(name);
    }
    let mut text = String::new();
    write_object(&mut text, &access);
    format!("ACCESS:0:sha256-{}", hash(&text))
}

/// Standard base64 of SHA-256 of a text.
fn hash(text: &str) -> String {
    STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

/// Members that are null are left out. The depth is that of parsed JSON, which the parser bounds.
fn write_object(text: &mut String, object: &Map<String, Value>) {
    let members = object.iter().map(|(name, value)| (name.as_str(), value));
    write_members(text, members);
}

/// The same for members in any order: they are written in that of the UTF-16 code units of their keys.
fn write_members<'a>(text: &mut String, members: impl Iterator<Item = (&'a str, &'a Value)>) {
    let mut members: Vec<(&str, &Value)> = members.filter(|(_, value)| !value.is_null()).collect();
    if members.iter().all(|(name, _)| name.is_ascii()) {
        members.sort_unstable_by_key(|&(name, _)| name);
    } else {
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
    text.push('{');
    for (i, (name, value)) in members.into_iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        write_text(text, name);
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&crate::number::javascript(number)),
        Value::String(string) => write_text(text, string),
        Value::Array(items) => {
            text.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(object) => write_object(text, object),
    }
}

fn write_text(text: &mut String, string: &str) {
    text.push('"');
    let plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    if string.bytes().all(plain) {
        text.push_str(string);
        text.push('"');
        return;
    }
    for c in string.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            c if is_escaped(c) => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
}

fn is_escaped(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{600}'..='\u{604}' | '\u{70f}'
        | '\u{17b4}' | '\u{17b5}' | '\u{200c}'..='\u{200f}' | '\u{2028}'..='\u{202f}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn the_vectors_of_the_contract() {
        let legacy = json!({
            "id": "cabcdefgh0000000000000002", "streamId": "diary", "type": "activity/plain",
            "content": null, "time": 10, "endTime": 70.5, "created": 1, "createdBy": "a",
            "modified": 2, "modifiedBy": "a", "trashed": false, "headId": "x", "tags": []
        });
        assert_eq!(
            of_event(&map(legacy)),
            "EVENT:0:sha256-fKC3NMxSVAfbzLr76UR9RYCYWQvs+isttQEnFqKjh+o="
        );
        let rich = json!({
            "id": "cabcdefgh0000000000000001", "streamIds": ["diary", "work"], "type": "note/txt",
            "time": 1_700_000_000.5, "duration": 0, "content": "Café \u{2028} \"q\" \u{ad}",
            "clientData": {"z": [null, {}], "b": 1, "gone": null}, "deleted": null,
            "attachments": [{"id": "f1", "fileName": "a.txt", "type": "text/plain", "size": 3,
                "integrity": "sha256-abc", "readToken": "secret"}],
            "created": 1_700_000_001.25, "createdBy": "acc1",
            "modified": 1_700_000_001.25, "modifiedBy": "acc1", "integrity": "old"
        });
        assert_eq!(
            of_event(&map(rich)),
            "EVENT:0:sha256-+u5WkzU1itHEbarU8ZelAF0z5cjoD5qdyB7xpcxW0iE="
        );
        let access = json!({
            "id": "cacc00000000000000000001", "token": "tok", "type": "app", "name": "my-app",
            "deviceName": null, "permissions": [{"streamId": "diary", "level": "read"}],
            "expires": 1e21, "n": 1e-7, "neg": -0.0, "lastUsed": 5, "calls": {"a": 1},
            "apiEndpoint": "https://x", "deleted": null, "created": 1.5, "createdBy": "x",
            "modified": 1.5, "modifiedBy": "x"
        });
        assert_eq!(
            of_access(&map(access)),
            "ACCESS:0:sha256-ThIL0fn1mFLMLH0dC0qh/hWMrRIHtGyyUz+ByMQaz9k="
        );
    }

    /// An access as the original server made and hashed it: its alias counts.
    #[test]
    fn a_recorded_access() {
        let access = json!({
            "id": "jzgysz8k1k0biw3dvcx24cex", "token": "hw23f90mn6wn6h792omc9ltf",
            "name": "aliased", "type": "shared", "deviceName": null, "alias": "r-ebnb2u84",
            "permissions": [{"level": "read", "streamId": "heart"}],
            "created": 1_795_369_714.851, "createdBy": "l9s03gh5ccg32b270bzjauhl",
            "modified": 1_795_369_714.851, "modifiedBy": "l9s03gh5ccg32b270bzjauhl",
            "apiEndpoint": "http://hw23f90mn6wn6h792omc9ltf@127.0.0.1:3000/r-ebnb2u84/"
        });
        assert_eq!(
            of_access(&map(access)),
            "ACCESS:0:sha256-rnj1B03/dNTzy2ncw3YR/reusNByq/Wir9r++ib/a4o="
        );
    }

    /// Events as the original server made and hashed them.
    #[test]
    fn recorded_events() {
        for (event, integrity) in [
            (
                json!({"streamIds": ["weight"], "type": "mass/kg", "content": 72.5,
                    "time": 1_700_000_000, "description": "first", "clientData": {"app:k": 1},
                    "created": 1_795_369_711.439, "createdBy": "l9s03gh5ccg32b270bzjauhl",
                    "modified": 1_795_369_711.439, "modifiedBy": "l9s03gh5ccg32b270bzjauhl",
                    "id": "r4c055aeg1twae3d8ge2ex3j"}),
                "EVENT:0:sha256-WLmS2Vtcyvcz4lsrHmdKCmEwJP1g1JekOsoLW4xZVjw=",
            ),
            (
                json!({"streamIds": ["heart"], "type": "activity/plain", "time": 1_700_000_240,
                    "created": 1_795_369_711.594, "createdBy": "l9s03gh5ccg32b270bzjauhl",
                    "modified": 1_795_369_711.594, "modifiedBy": "l9s03gh5ccg32b270bzjauhl",
                    "id": "lxpsupgdnib6nh17f2x0dotn", "duration": null}),
                "EVENT:0:sha256-wslaet3ln/IdTt065NJrtRruHW5BJ3JG+YdFG67Lchw=",
            ),
            (
                json!({"streamIds": ["heart"], "type": "activity/plain", "time": 1_700_000_180,
                    "created": 1_795_369_711.533, "createdBy": "l9s03gh5ccg32b270bzjauhl",
                    "modified": 1_795_369_711.533, "modifiedBy": "l9s03gh5ccg32b270bzjauhl",
                    "id": "g4zd2mbuebcp02ewuk8z398r", "duration": 3600}),
                "EVENT:0:sha256-03vCDQPd70zhbYwegXxRcUM0aHijJ7t2McONHMor4Ec=",
            ),
            (
                json!({"id": "r4c055aeg1twae3d8ge2ex3j", "streamIds": ["weight"],
                    "time": 1_700_000_000, "type": "mass/kg", "content": 74,
                    "description": "updated", "clientData": {"app:j": 2},
                    "created": 1_795_369_711.439, "createdBy": "l9s03gh5ccg32b270bzjauhl",
                    "modified": 1_795_369_712.666, "modifiedBy": "l9s03gh5ccg32b270bzjauhl"}),
                "EVENT:0:sha256-vLnU2EgEF5BR2og5B6vOlB8Pkf/TEJuBOStqX/9fa/o=",
            ),
            (
                json!({"id": "r4c055aeg1twae3d8ge2ex3j", "streamIds": ["weight"],
                    "time": 1_700_000_000, "type": "mass/kg", "content": 74,
                    "description": "updated", "clientData": {"app:j": 2},
                    "created": 1_795_369_711.439, "createdBy": "l9s03gh5ccg32b270bzjauhl",
                    "modified": 1_795_369_725.225, "modifiedBy": "l9s03gh5ccg32b270bzjauhl",
                    "trashed": true}),
                "EVENT:0:sha256-g+Nb5w2swAsFcsNUVHiAw8QyT8Jr03CsGEBvbh9mLKQ=",
            ),
            (
                json!({"id": "r4c055aeg1twae3d8ge2ex3j", "deleted": 1_795_369_725.288}),
                "EVENT:0:sha256-5A/zh/kopqfAZwIoEm4QZGm9yfPAyNotaUVPG/qiPEo=",
            ),
            (
                json!({"id": "wtlpadsnfipn17i9fv1sr2jk", "streamIds": ["health"],
                    "time": 1_700_000_400, "type": "picture/attached",
                    "attachments": [{"id": "b25ee18q5k2escy1mvimemhe", "size": 73,
                        "type": "image/png", "fileName": "dot.png",
                        "integrity": "sha256-8QYrgeF3H6G4gcA11ASFQY7LTHT6G0J8EVVQaiY4LEY=",
                        "readToken": "l9s03gh5ccg32b270bzjauhl-QKZA6fgmn--8-NnKN3n3Q7gqOV0"}],
                    "created": 1_795_369_712.936, "createdBy": "l9s03gh5ccg32b270bzjauhl",
                    "modified": 1_795_369_713.429, "modifiedBy": "l9s03gh5ccg32b270bzjauhl"}),
                "EVENT:0:sha256-CuHIllFCfkx7v53Brsxl3InCrkqCos1WhRKSwB1cpyg=",
            ),
        ] {
            assert_eq!(of_event(&map(event)), integrity);
        }
    }
}
