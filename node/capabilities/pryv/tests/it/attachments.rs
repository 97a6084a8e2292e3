//! Files of events over HTTP (spec/pryv-api §4.11).

use axum::body::Body;
use http::Request;
use http::request::Builder;
use serde_json::{Value, json};

use crate::support::{Answer, Core, error};

const BOUNDARY: &str = "fixtureboundary7MA4YWxk";
/// The digest of `hello attachment`.
const DIGEST: &str = "f6NrldXJiFntcrR4fzwosp6qEDlweGdVyXEcuxm+Yxw=";

/// A part of a form: headers beside the name, and data.
type Part<'a> = (&'a str, &'a str, &'a [u8]);

const NOTE: Part<'static> = (
    "filename=\"note.txt\"",
    "Content-Type: text/plain\r\n",
    b"hello attachment",
);
const EVENT: Part<'static> = (
    "name=\"event\"",
    "Content-Type: application/json\r\n",
    b"{\"streamIds\":[\"health\"],\"type\":\"picture/attached\",\"time\":1700000400}",
);

fn form(parts: &[Part<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    for (disposition, headers, data) in parts {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n{headers}\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(data);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn multipart(request: Builder) -> Builder {
    request.header(
        "content-type",
        format!("multipart/form-data; boundary={BOUNDARY}"),
    )
}

/// A person with a stream.
async fn person() -> (Core, String) {
    let core = Core::new();
    let token = core.register("samplebeta1").await;
    let stream = json!({ "id": "health", "name": "Health" });
    let made = core.post_as(&token, "/samplebeta1/streams", &stream).await;
    assert_eq!(made.status, 201);
    (core, token)
}

async fn send(core: &Core, token: &str, path: &str, body: Vec<u8>) -> Answer {
    let request = multipart(Request::post(path)).header("authorization", token);
    core.ask(request, body).await
}

/// An event with the note, and the address of the note.
async fn note(core: &Core, token: &str) -> (Value, String) {
    let made = send(core, token, "/samplebeta1/events", form(&[EVENT, NOTE])).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let event = made.json()["event"].clone();
    let path = format!(
        "/samplebeta1/events/{}/{}",
        event["id"].as_str().unwrap(),
        event["attachments"][0]["id"].as_str().unwrap()
    );
    (event, path)
}

fn token_of(event: &Value) -> &str {
    event["attachments"][0]["readToken"].as_str().unwrap()
}

#[tokio::test]
async fn a_file_goes_in_and_out() {
    let (core, token) = person().await;
    let (event, path) = note(&core, &token).await;
    let mut attached = event["attachments"][0].clone();
    assert!(token_of(&event).starts_with(&format!("{}-", event["createdBy"].as_str().unwrap())));
    let shown = attached.as_object_mut().unwrap();
    shown.remove("id");
    shown.remove("readToken");
    assert_eq!(
        attached,
        json!({ "fileName": "note.txt", "type": "text/plain", "size": 16,
            "integrity": format!("sha256-{DIGEST}") })
    );
    let by_token = format!("?readToken={}", token_of(&event));
    for (name, authorization) in [
        ("", Some(token.as_str())),
        ("/note.txt", Some(&token)),
        ("/x/y", Some(&token)),
        (by_token.as_str(), None),
        (&format!("/note.txt{by_token}"), None),
        (&by_token, Some("nonsense")),
    ] {
        let mut request = Request::get(format!("{path}{name}"));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = core.ask(request, Body::empty()).await;
        assert_eq!(answer.status, 200, "{name} {}", answer.text);
        assert_eq!(answer.bytes, b"hello attachment".as_slice());
        for (header, value) in [
            ("content-type", "text/plain"),
            ("content-length", "16"),
            (
                "content-disposition",
                "attachment; filename*=UTF-8''note.txt",
            ),
            ("digest", &format!("SHA-256={DIGEST}")),
            ("x-content-type-options", "nosniff"),
            ("accept-ranges", "bytes"),
            ("cache-control", "private"),
            ("pryv-access-id", event["createdBy"].as_str().unwrap()),
        ] {
            assert_eq!(answer.header(header), Some(value), "{header}");
        }
    }
    let head = Request::head(&path).header("authorization", &token);
    let head = core.ask(head, Body::empty()).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("16"));
}

#[tokio::test]
async fn parts_of_a_file() {
    let (core, token) = person().await;
    let (_, path) = note(&core, &token).await;
    let whole = core.get_as(&token, &path).await;
    let etag = whole.header("etag").unwrap().to_owned();
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = Request::get(&path).header("authorization", &token);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        core.ask(request, Body::empty()).await
    };
    for (range, text, content_range) in [
        ("bytes=0-4", "hello", "bytes 0-4/16"),
        ("bytes=6-", "attachment", "bytes 6-15/16"),
        ("bytes=-4", "ment", "bytes 12-15/16"),
    ] {
        let answer = ask(&[("range", range), ("if-range", &etag)]).await;
        assert_eq!((answer.status, answer.text.as_str()), (206, text));
        assert_eq!(answer.header("content-range"), Some(content_range));
        assert_eq!(
            answer.header("content-length"),
            Some(text.len().to_string().as_str())
        );
    }
    let beyond = ask(&[("range", "bytes=16-")]).await;
    assert_eq!((beyond.status, beyond.text.as_str()), (416, ""));
    assert_eq!(beyond.header("content-range"), Some("bytes */16"));
    let known = ask(&[("if-none-match", &etag)]).await;
    assert_eq!((known.status, known.text.as_str()), (304, ""));
    assert_eq!(known.header("etag"), Some(etag.as_str()));
    for headers in [
        [("range", "bytes=0-4"), ("if-range", "\"other\"")],
        [("range", "bytes=0-1,3-4"), ("if-none-match", "\"other\"")],
    ] {
        let answer = ask(&headers).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, 16));
    }
}

#[tokio::test]
async fn who_may_not_have_a_file() {
    let (core, token) = person().await;
    let (event, path) = note(&core, &token).await;
    let (other, _) = note(&core, &token).await;
    let read_token = token_of(&event);
    let access = read_token.split_once('-').unwrap().0;
    for (query, wanted) in [
        (String::new(), 401),
        (format!("?auth={token}"), 401),
        (format!("?auth={token}&readToken={read_token}"), 401),
        ("?readToken=".to_owned(), 401),
        ("?readToken=abc-def".to_owned(), 401),
        ("?readToken=abcdef".to_owned(), 401),
        (format!("?readToken={access}-"), 401),
        (format!("?readToken={}", token_of(&other)), 401),
        (format!("?readToken={read_token}x"), 401),
    ] {
        let answer = core.get(&format!("{path}{query}")).await;
        let wanted = error(wanted, "invalid-access-token");
        assert_eq!(answer.error(), wanted, "{query}");
    }
    let answer = core.get_as("nonsense", &path).await;
    assert_eq!(answer.error(), error(403, "invalid-access-token"));
    let stranger = core.register("stranger").await;
    let answer = core.get_as(&stranger, &path).await;
    assert_eq!(answer.error(), error(403, "invalid-access-token"));
    let id = event["id"].as_str().unwrap();
    for unknown in [
        format!("/samplebeta1/events/{id}/nosuchfile/x.png"),
        "/samplebeta1/events/nosuchevent/nosuchfile".to_owned(),
    ] {
        let answer = core.get_as(&token, &unknown).await;
        assert_eq!(answer.error(), error(404, "unknown-resource"));
        assert_eq!(answer.header("pryv-access-id"), Some(access));
    }
    let request = multipart(Request::post("/samplebeta1/events"));
    let answer = core.ask(request, form(&[EVENT, NOTE])).await;
    assert_eq!(answer.error(), error(401, "invalid-access-token"));
}

#[tokio::test]
async fn files_are_added_and_deleted() {
    let (core, token) = person().await;
    let (event, path) = note(&core, &token).await;
    let id = event["id"].as_str().unwrap();
    let event_path = format!("/samplebeta1/events/{id}");
    let dot = ("name=x; filename=\"caf\u{e9}.png\"", "", &b"\x89PNG"[..]);
    let added = send(&core, &token, &event_path, form(&[dot, NOTE])).await;
    assert_eq!(added.status, 200, "{}", added.text);
    let attached = added.json()["event"]["attachments"].clone();
    assert_eq!(attached.as_array().unwrap().len(), 3);
    assert_eq!(attached[0], event["attachments"][0]);
    assert_eq!(attached[1]["fileName"], "café.png");
    assert_eq!(attached[1]["type"], "application/octet-stream");
    let file = format!("{event_path}/{}", attached[1]["id"].as_str().unwrap());
    let answer = core.get_as(&token, &file).await;
    assert_eq!(answer.bytes, b"\x89PNG".as_slice());
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename*=UTF-8''caf%C3%A9.png")
    );
    let delete = async |token: &str| {
        let request = Request::delete(&path).header("authorization", token);
        core.ask(request, Body::empty()).await
    };
    assert_eq!(
        delete("x").await.error(),
        error(403, "invalid-access-token")
    );
    let deleted = delete(&token).await;
    assert_eq!(deleted.status, 200);
    assert_eq!(
        deleted.json()["event"]["attachments"],
        json!([attached[1], attached[2]])
    );
    assert_eq!(delete(&token).await.error(), error(404, "unknown-resource"));
    let gone = core.get_as(&token, &path).await;
    assert_eq!(gone.error(), error(404, "unknown-resource"));
    let read = core.get_as(&token, &event_path).await;
    assert_eq!(read.json()["event"], deleted.json()["event"]);
    let all = core.get_as(&token, "/samplebeta1/events?streams=health");
    assert_eq!(all.await.json()["events"], json!([read.json()["event"]]));
    let batch = json!([{ "method": "events.deleteAttachment",
        "params": { "id": id, "fileId": attached[1]["id"] } }]);
    let batch = core.post_as(&token, "/samplebeta1", &batch).await;
    let left = &batch.json()["results"][0]["event"]["attachments"];
    assert_eq!(left, &json!([attached[2]]));
}

#[tokio::test]
async fn each_file_of_a_form_has_the_limit_for_itself() {
    let (core, token) = person().await;
    let whole = vec![0_u8; 1024 * 1024];
    let (one, two) = (("filename=a", "", &*whole), ("filename=b", "", &*whole));
    let body = form(&[one, EVENT, two]);
    let made = send(&core, &token, "/samplebeta1/events", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let attachments = made.json()["event"]["attachments"].clone();
    let files = attachments.as_array().unwrap();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| file["size"] == whole.len()));
}

#[tokio::test]
async fn forms_that_are_refused() {
    let (core, token) = person().await;
    let (event, _) = note(&core, &token).await;
    let event_path = format!("/samplebeta1/events/{}", event["id"].as_str().unwrap());
    let text = ("name=a", "", &b"1"[..]);
    let bad_json = ("name=event", "", &b"{"[..]);
    let long_name = format!("filename=\"{}\"", "x".repeat(1_025));
    let many = vec![NOTE; 257];
    let limit = 1024 * 1024;
    let large = vec![0_u8; 1_500_000];
    let large = ("filename=a", "", large.as_slice());
    let larger = vec![0_u8; limit + 1];
    let larger = ("filename=a", "", larger.as_slice());
    let structure = "invalid-request-structure";
    for (path, body, id) in [
        ("/samplebeta1/events", form(&[text, text]), structure),
        ("/samplebeta1/events", form(&[EVENT, NOTE, text]), structure),
        ("/samplebeta1/events", form(&[bad_json]), structure),
        ("/samplebeta1/events", form(&[NOTE, bad_json]), structure),
        (
            "/samplebeta1/events",
            form(&[EVENT, (&long_name, "", b"x")]),
            structure,
        ),
        ("/samplebeta1/events", form(&many), structure),
        (
            "/samplebeta1/events",
            form(&[EVENT, large]),
            "payload-too-large",
        ),
        (
            "/samplebeta1/events",
            form(&[EVENT, larger]),
            "payload-too-large",
        ),
        (&event_path, form(&[larger]), "payload-too-large"),
        // The second text is refused before it is read.
        (
            "/samplebeta1/events",
            form(&[EVENT, ("name=a", "", large.2)]),
            structure,
        ),
        ("/samplebeta1/events", Vec::new(), structure),
        ("/samplebeta1/events", b"hello".to_vec(), structure),
        (
            "/samplebeta1/events",
            form(&[EVENT, NOTE])[..300].to_vec(),
            structure,
        ),
        (
            "/samplebeta1/events",
            form(&[NOTE]),
            "invalid-parameters-format",
        ),
        (&event_path, form(&[text, text, NOTE]), structure),
        (
            "/samplebeta1/events/nosuchevent",
            form(&[NOTE]),
            "unknown-resource",
        ),
    ] {
        let answer = send(&core, &token, path, body).await;
        let status = match id {
            "unknown-resource" => 404,
            "payload-too-large" => 413,
            _ => 400,
        };
        assert_eq!(answer.error(), error(status, id), "{path} {}", answer.text);
    }
    let request = Request::post("/samplebeta1/events")
        .header("authorization", &token)
        .header("content-type", "multipart/form-data");
    let answer = core.ask(request, form(&[EVENT])).await;
    assert_eq!(answer.error(), error(400, structure));
    for gone in ["start", "stop"] {
        let path = format!("/samplebeta1/events/{gone}");
        let answer = core.post(&path, &json!({})).await;
        assert_eq!(answer.error(), error(410, "removed-method"));
    }
    let read = core.get_as(&token, &event_path).await;
    assert_eq!(read.json()["event"], event);
}

#[tokio::test]
async fn a_file_as_large_as_allowed_is_taken() {
    let (core, token) = person().await;
    let largest = vec![0_u8; 1024 * 1024];
    let largest = ("filename=a", "", largest.as_slice());
    let made = send(
        &core,
        &token,
        "/samplebeta1/events",
        form(&[EVENT, largest]),
    )
    .await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn a_file_that_a_browser_would_run_is_sent_into_a_sandbox() {
    let (core, token) = person().await;
    let sandbox = Some("sandbox; default-src 'none'");
    for (kind, policy) in [
        ("text/html", sandbox),
        ("image/svg+xml", sandbox),
        ("image/png", None),
    ] {
        let kept = format!("Content-Type: {kind}\r\n");
        let file = ("filename=\"a\"", kept.as_str(), &b"<p>"[..]);
        let made = send(&core, &token, "/samplebeta1/events", form(&[EVENT, file])).await;
        let event = &made.json()["event"];
        let path = format!(
            "/samplebeta1/events/{}/{}",
            event["id"].as_str().unwrap(),
            event["attachments"][0]["id"].as_str().unwrap()
        );
        let by_token = format!("{path}?readToken={}", token_of(event));
        for answer in [core.get_as(&token, &path).await, core.get(&by_token).await] {
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some(kind));
            assert_eq!(answer.header("content-security-policy"), policy, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_name_is_written_as_clients_write_it() {
    let (core, token) = person().await;
    let file = ("filename=\"a (b) 'c'!*é.png\"", "", &b"x"[..]);
    let made = send(&core, &token, "/samplebeta1/events", form(&[EVENT, file])).await;
    let event = &made.json()["event"];
    let path = format!(
        "/samplebeta1/events/{}/{}",
        event["id"].as_str().unwrap(),
        event["attachments"][0]["id"].as_str().unwrap()
    );
    let answer = core.get_as(&token, &path).await;
    assert_eq!(
        answer.header("content-disposition"),
        Some("attachment; filename*=UTF-8''a%20(b)%20'c'!*%C3%A9.png")
    );
}

#[tokio::test]
async fn an_event_without_files_may_come_as_a_form() {
    let (core, token) = person().await;
    let nothing_chosen = ("name=file; filename=\"\"", "", &b""[..]);
    for body in [form(&[EVENT]), form(&[nothing_chosen, EVENT])] {
        let made = send(&core, &token, "/samplebeta1/events", body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        assert_eq!(made.json()["event"].get("attachments"), None);
    }
}

#[tokio::test]
async fn files_for_an_event_that_is_not_there_are_noted_as_refused() {
    let (core, token) = person().await;
    let path = "/samplebeta1/events/cnosuchevent0000000000000";
    let answer = send(&core, &token, path, form(&[NOTE])).await;
    assert_eq!(answer.error(), error(404, "unknown-resource"));
    let answer = core.send_as(&token, "POST", path, None).await;
    assert_eq!(answer.error(), error(404, "unknown-resource"));
    let log = "/samplebeta1/events?streams=:_audit:action-events.update";
    let log = core.send_as(&token, "GET", log, None).await.json();
    let log = log["events"].as_array().unwrap();
    assert_eq!(log.len(), 2, "{log:?}");
    for entry in log {
        assert_eq!(entry["type"], "audit-log/pryv-api-error");
        assert_eq!(entry["content"]["id"], "unknown-resource");
    }
}

#[tokio::test]
async fn without_a_file_nothing_is_changed() {
    let (core, token) = person().await;
    let (event, _) = note(&core, &token).await;
    let path = format!("/samplebeta1/events/{}", event["id"].as_str().unwrap());
    let typed = |kind: &str| {
        let request = Request::post(&path).header("authorization", &token);
        request.header("content-type", kind)
    };
    let json_type = "application/json";
    for answer in [
        core.ask(typed(json_type), Body::empty()).await,
        core.ask(typed(json_type), "{\"type\":\"x/y\"}").await,
        core.ask(typed("text/plain"), "x").await,
        core.ask(typed("application/x-www-form-urlencoded"), "a=b")
            .await,
        send(&core, &token, &path, form(&[])).await,
        send(&core, &token, &path, form(&[EVENT])).await,
    ] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        let answered = answer.json()["event"].clone();
        for name in ["type", "time", "streamIds", "attachments"] {
            assert_eq!(answered[name], event[name]);
        }
    }
    let answer = core.ask(typed(json_type), "{").await;
    assert_eq!(answer.error(), error(400, "invalid-request-structure"));
    let unknown = "/samplebeta1/events/nosuchevent";
    let answer = core.post_as(&token, unknown, &json!({})).await;
    assert_eq!(answer.error(), error(404, "unknown-resource"));
    let app =
        json!({ "name": "reader", "permissions": [{ "streamId": "health", "level": "read" }] });
    let app = core.post_as(&token, "/samplebeta1/accesses", &app).await;
    let app = app.json()["access"]["token"].as_str().unwrap().to_owned();
    let answer = core.post_as(&app, &path, &json!({})).await;
    assert_eq!(answer.error(), error(403, "forbidden"));
}
