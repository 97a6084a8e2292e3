//! What is bound, and where it is put in.

use std::collections::BTreeMap;

use super::*;
use serde_json::json;

const ACCESS: &str = "l9s03gh5ccg32b270bzjauhl";
const TOKEN: &str = "ecfz07e3oua27xpqdehhqjvs";
const OUR_ACCESS: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";
const OUR_TOKEN: &str = "bbbbbbbbbbbbbbbbbbbbbbbb";

fn learnt() -> Bindings {
    let body = |access: &str, token: &str, mac: &str| {
        json!({
            "access": { "id": access, "token": token, "createdBy": "system" },
            "event": { "attachments": [{ "readToken": format!("{access}-{mac}") }] },
        })
    };
    let mut bindings = Bindings::default();
    bindings.learn(
        &body(ACCESS, TOKEN, "QKZA6fgmn--8"),
        &body(OUR_ACCESS, OUR_TOKEN, "zzz"),
    );
    bindings
}

#[test]
fn ours_are_put_into_every_part_of_a_request() {
    let request = Request {
        method: "POST".to_owned(),
        path: format!("/u/accesses/{ACCESS}:1?readToken={ACCESS}-QKZA6fgmn--8"),
        headers: BTreeMap::from([
            ("Authorization".to_owned(), format!("Bearer {TOKEN}")),
            (
                "Other".to_owned(),
                format!("Basic {}", STANDARD.encode(format!("{TOKEN}:"))),
            ),
        ]),
        body: json!({ "apiEndpoint": format!("http://{TOKEN}@host/u/") }),
    };
    let ours = learnt().translate_request(&request).unwrap();
    let expected = format!("/u/accesses/{OUR_ACCESS}:1?readToken={OUR_ACCESS}-zzz");
    assert_eq!(ours.path, expected);
    assert_eq!(ours.headers["Authorization"], format!("Bearer {OUR_TOKEN}"));
    let basic = STANDARD.encode(format!("{OUR_TOKEN}:"));
    assert_eq!(ours.headers["Other"], format!("Basic {basic}"));
    let endpoint = format!("http://{OUR_TOKEN}@host/u/");
    assert_eq!(ours.body, json!({ "apiEndpoint": endpoint }));
}

#[test]
fn what_is_bound_stays_bound() {
    let mut bindings = learnt();
    bindings.bind(TOKEN, "cccccccccccccccccccccccc");
    assert_eq!(bindings.translate(TOKEN), OUR_TOKEN);
    bindings.bind("dddddddddddddddddddddddd", OUR_TOKEN);
    assert_eq!(
        bindings.translate("dddddddddddddddddddddddd"),
        "dddddddddddddddddddddddd"
    );
}

#[test]
fn words_and_lists_of_unequal_lengths_bind_nothing() {
    let mut bindings = Bindings::default();
    let long = "eeeeeeeeeeeeeeeeeeeeeeee";
    bindings.learn(
        &json!({ "createdBy": "system", "name": long, "events": [{ "id": ACCESS }] }),
        &json!({ "createdBy": "other", "name": "x", "events": [{ "id": "a" }, { "id": "b" }] }),
    );
    for text in ["system", long, ACCESS] {
        assert_eq!(bindings.translate(text), text);
    }
}

#[test]
fn ids_of_the_audit_store_are_bound() {
    let mut bindings = Bindings::default();
    let body = |id: &str| json!({ "id": format!(":_audit:{id}"), "streamId": ":_audit:actions" });
    bindings.learn(&body(ACCESS), &body(OUR_ACCESS));
    let bound = bindings.translate(&format!(":_audit:{ACCESS}"));
    assert_eq!(bound, format!(":_audit:{OUR_ACCESS}"));
    let stream = ":_audit:access-";
    assert_eq!(bindings.translate(stream), stream);
}

#[test]
fn endpoints_tell_tokens() {
    let mut bindings = Bindings::default();
    let body = |token: &str| json!({ "apiEndpoint": format!("http://{token}@host/u/") });
    bindings.learn(&body(TOKEN), &body(OUR_TOKEN));
    assert_eq!(bindings.translate(TOKEN), OUR_TOKEN);
}
