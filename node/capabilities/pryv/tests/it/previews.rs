//! Previews over HTTP (spec/pryv-api §9.6).

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, Core, THERE, error};

/// A picture of one pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\xFF\0\0\0\0\0!\xF9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// A person with a stream.
async fn person() -> (Core, String) {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let stream = json!({ "id": "photos", "name": "Photos" });
    let made = core.post_as(&token, "/samplebeta1/streams", &stream).await;
    assert_eq!(made.status, 201);
    (core, token)
}

/// An event with a file; its id.
async fn event(core: &Core, token: &str, kind: &str, file: Option<&[u8]>) -> String {
    let event = json!({ "streamIds": ["photos"], "type": kind, "time": 1 }).to_string();
    let mut body =
        format!("--b\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\n{event}\r\n")
            .into_bytes();
    if let Some(file) = file {
        // The type that a client claims decides nothing.
        body.extend(b"--b\r\nContent-Disposition: form-data; filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n");
        body.extend(file);
        body.extend(b"\r\n");
    }
    body.extend(b"--b--\r\n");
    let request = Request::post("/samplebeta1/events")
        .header("authorization", token)
        .header("content-type", "multipart/form-data; boundary=b");
    let made = core.ask(request, body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.json()["event"]["id"].as_str().unwrap().to_owned()
}

fn path(id: &str) -> String {
    format!("/previews/samplebeta1/events/{id}")
}

/// Width and height, from the header of a progressive JPEG.
fn size(answer: &Answer) -> (u16, u16) {
    let bytes = &answer.bytes;
    // The frame of a progressive one.
    let at = bytes.windows(2).position(|pair| pair == b"\xFF\xC2");
    let frame = &bytes[at.unwrap() + 5..];
    let number = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    (number(2), number(0))
}

async fn with(core: &Core, token: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(path).header("authorization", token);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    core.ask(request, Body::empty()).await
}

#[tokio::test]
async fn a_picture_is_shown_small() {
    let (core, token) = person().await;
    let id = event(&core, &token, "picture/attached", Some(GIF)).await;
    for (name, expected) in [
        ("", (256, 256)),
        (".jpg", (256, 256)),
        (".jpeg", (256, 256)),
        ("?width=100", (256, 256)),
        ("?w=256", (512, 512)),
        (".jpg?h=600", (768, 768)),
        ("?height=1e9", (1_024, 1_024)),
        ("?width=300&height=100", (512, 512)),
        (&format!("?auth={token}&w=1"), (256, 256)),
    ] {
        let answer = core.get_as(&token, &format!("{}{name}", path(&id))).await;
        assert_eq!(answer.status, 200, "{name} {}", answer.text);
        assert_eq!(size(&answer), expected, "{name}");
        let length = answer.bytes.len().to_string();
        for (header, value) in [
            ("content-type", "image/jpeg"),
            ("content-length", length.as_str()),
            ("cache-control", "private, no-cache"),
            ("x-content-type-options", "nosniff"),
            ("accept-ranges", "bytes"),
            ("access-control-allow-origin", "*"),
        ] {
            assert_eq!(answer.header(header), Some(value), "{header}");
        }
        assert!(answer.header("pryv-access-id").is_some());
    }
    // Where the host names the user, the name comes first.
    let below = format!("/samplebeta1/previews/events/{id}");
    assert_eq!(core.get_as(&token, &below).await.status, 200);
    let by_address = core.get(&format!("{below}.jpg?auth={token}")).await;
    assert_eq!(by_address.status, 200);
    let head = Request::head(path(&id)).header("authorization", &token);
    let head = core.ask(head, Body::empty()).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn a_client_that_has_it_gets_no_second_copy() {
    let (core, token) = person().await;
    let id = event(&core, &token, "picture/attached", Some(GIF)).await;
    let path = path(&id);
    let whole = core.get_as(&token, &path).await;
    let etag = whole.header("etag").unwrap().to_owned();
    let before = "Sun, 22 Nov 2015 17:48:33 GMT";
    let later = "Fri, 31 Dec 9999 23:59:59 GMT";
    for (headers, status) in [
        (vec![("if-none-match", etag.as_str())], 304),
        (vec![("if-modified-since", before)], 200),
        (vec![("if-modified-since", "yesterday")], 200),
        (
            vec![("if-none-match", "\"x\""), ("if-modified-since", later)],
            200,
        ),
        (vec![("range", "bytes=0-1")], 206),
        (vec![("range", "bytes=9999999-")], 416),
    ] {
        let answer = with(&core, &token, &path, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
        let length = match status {
            200 => whole.bytes.len(),
            206 => 2,
            _ => 0,
        };
        assert_eq!(answer.bytes.len(), length, "{headers:?}");
    }
    let wider = core.get_as(&token, &format!("{path}?w=300")).await;
    assert!(wider.header("etag").unwrap() != etag);
}

#[tokio::test]
async fn what_has_no_preview() {
    let (core, token) = person().await;
    let other = event(&core, &token, "file/attached", Some(GIF)).await;
    let answer = core.get_as(&token, &path(&other)).await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    let mut bomb = GIF.to_vec();
    bomb.splice(6..10, [0xFF; 4]);
    for file in [
        None,
        Some(b"no picture".as_slice()),
        Some(&GIF[..30]),
        Some(&bomb),
    ] {
        let id = event(&core, &token, "picture/attached", file).await;
        let answer = core.get_as(&token, &path(&id)).await;
        assert_eq!(answer.error(), error(422, "corrupted-data"), "{file:?}");
        assert_eq!(answer.json().get("meta"), None, "{}", answer.text);
    }
    let answer = core.get_as(&token, &path("nosuchevent.jpg")).await;
    assert_eq!(answer.error(), error(404, "unknown-resource"));
    assert_eq!(answer.json().get("meta"), None);
    // In the trash it can be seen, deleted it cannot.
    let id = event(&core, &token, "picture/attached", Some(GIF)).await;
    for wanted in [200, 404] {
        let event = format!("/samplebeta1/events/{id}");
        core.send_as(&token, "DELETE", &event, None).await;
        let answer = core.get_as(&token, &path(&id)).await;
        assert_eq!(answer.status, wanted);
    }
}

#[tokio::test]
async fn who_may_not_see_one() {
    let (core, token) = person().await;
    let id = event(&core, &token, "picture/attached", Some(GIF)).await;
    let path = path(&id);
    assert_eq!(core.get_as(&token, &path).await.status, 200);
    let stranger = core.register("stranger").await;
    let access = json!({ "name": "shared", "type": "shared",
        "permissions": [{ "streamId": "photos", "level": "create-only" }] });
    let access = core.post_as(&token, "/samplebeta1/accesses", &access).await;
    let blind = access.json()["access"]["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let read = core
        .get_as(&token, &format!("/samplebeta1/events/{id}"))
        .await;
    let read_token = &read.json()["event"]["attachments"][0]["readToken"];
    let by_read_token = format!("{path}?readToken={}", read_token.as_str().unwrap());
    let invalid = "invalid-access-token";
    for (answer, expected) in [
        (core.get(&path).await, error(401, invalid)),
        (core.get(&by_read_token).await, error(401, invalid)),
        (core.get_as("nonsense", &path).await, error(403, invalid)),
        (core.get_as(&stranger, &path).await, error(403, invalid)),
        (core.get_as(&blind, &path).await, error(403, "forbidden")),
    ] {
        assert_eq!(answer.error(), expected);
        assert_eq!(answer.json().get("meta"), None);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let bad = core.get_as(&token, &format!("{path}?width=wide&h=1")).await;
    assert_eq!(bad.error(), error(400, "invalid-parameters-format"));
    for nobody in ["/previews/nobody/events/x", "/previews/a%20b/events/x"] {
        let answer = core.get_as(&token, nobody).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"));
    }
    for no_route in ["/previews", "/previews/samplebeta1", "/clean-up-cache"] {
        let answer = core.get_as(&token, no_route).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"), "{no_route}");
    }
    core.fake.add_elsewhere("faraway");
    for elsewhere in [
        "/previews/faraway/events/x",
        "/faraway/previews/events/x.jpg",
    ] {
        let answer = core.get(elsewhere).await;
        assert_eq!(answer.error(), error(421, "wrong-core"));
        assert_eq!(answer.json()["error"]["coreUrl"], THERE);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let own = core.previews().get("/faraway/events/x").await;
    assert_eq!(own.error(), error(421, "wrong-core"));
}

#[tokio::test]
async fn a_listener_of_their_own_has_previews_and_nothing_else() {
    let (core, token) = person().await;
    let id = event(&core, &token, "picture/attached", Some(GIF)).await;
    let own = core.previews();
    let event = format!("/samplebeta1/events/{id}");
    let answer = own.get_as(&token, &format!("{event}.jpg?w=1")).await;
    assert_eq!((answer.status, size(&answer)), (200, (256, 256)));
    let refused = own.get(&event).await;
    assert_eq!(refused.error(), error(401, "invalid-access-token"));
    for other in ["/samplebeta1/events", "/samplebeta1/streams", "/users"] {
        let answer = own.get_as(&token, other).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"), "{other}");
    }
    let clean_up = async |key: &str| own.post_as(key, "/clean-up-cache", &Value::Null).await;
    let refused = clean_up(&token).await;
    assert_eq!(refused.error(), error(404, "unknown-resource"));
    let cleaned = clean_up(ADMIN).await;
    assert_eq!(cleaned.status, 200);
    assert_eq!(cleaned.json(), json!({ "message": "Clean-up successful." }));
}
