//! Bodies that are told in another form.

use super::*;

fn request(kind: &str, body: Value) -> Request {
    Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: BTreeMap::from([("Content-Type".to_owned(), kind.to_owned())]),
        body,
    }
}

#[test]
fn forms_are_written_as_browsers_write_them() {
    let body = serde_json::json!({ "$multipart": [
        { "name": "event", "type": "application/json", "data": "{}" },
        { "name": "file", "filename": "a.bin", "type": "image/png", "data": { "$base64": "AP8=" } },
    ] });
    let bytes = request("multipart/form-data; boundary=xyz", body)
        .bytes()
        .unwrap();
    let expected: &[u8] = b"--xyz\r\nContent-Disposition: form-data; name=\"event\"\r\n\
        Content-Type: application/json\r\n\r\n{}\r\n\
        --xyz\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.bin\"\r\n\
        Content-Type: image/png\r\n\r\n\x00\xff\r\n--xyz--\r\n";
    assert_eq!(bytes, expected);
}

#[test]
fn long_bodies_have_the_recorded_length() {
    let long = request("application/json", Value::from("<1000 bytes>"));
    let bytes = long.bytes().unwrap();
    assert_eq!(bytes.len(), 1_000);
    serde_json::from_slice::<Value>(&bytes).unwrap();
    let plain = request("text/plain", Value::from("plain"));
    assert_eq!(plain.bytes().unwrap(), b"plain");
}

#[test]
fn answers_take_the_recorded_form() {
    let answer = |kind: &str, body: &[u8]| {
        let headers = BTreeMap::from([("content-type".to_owned(), kind.to_owned())]);
        Message::received(200, headers, body).body
    };
    assert_eq!(
        answer("application/json", b"{\"a\":1}"),
        serde_json::json!({ "a": 1 })
    );
    assert_eq!(answer("text/plain", b"true"), Value::from("true"));
    assert_eq!(
        answer("image/png", b"\x00\xff"),
        serde_json::json!({ "$base64": "AP8=", "$length": 2 })
    );
    assert_eq!(answer("application/json", b""), Value::Null);
}
